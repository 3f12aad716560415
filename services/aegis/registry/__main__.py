"""Run the service: ``python -m aegis.registry``."""

from aegis.registry.service import SERVICE
from aegis.runtime.service import main

main(SERVICE)
