"""Run the service: ``python -m aegis.embed``."""

from aegis.embed.service import SERVICE
from aegis.runtime.service import main

main(SERVICE)
