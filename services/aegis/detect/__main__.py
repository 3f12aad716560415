"""Run the service: ``python -m aegis.detect``."""

from aegis.detect.service import SERVICE
from aegis.runtime.service import main

main(SERVICE)
