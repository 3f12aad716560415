"""Run the service: ``python -m aegis.notify``."""

from aegis.notify.service import SERVICE
from aegis.runtime.service import main

main(SERVICE)
