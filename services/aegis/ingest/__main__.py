"""``python -m aegis.ingest``."""

from aegis.ingest.service import SERVICE
from aegis.runtime.service import main

main(SERVICE)
