"""Run the service: ``python -m aegis.match``."""

from aegis.match.service import SERVICE
from aegis.runtime.service import main

main(SERVICE)
