"""Writes the files below deploy/ that follow from the code: ``python -m tests.deploy.generated``."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from aegis.runtime import edges, topology

ROOT = Path(__file__).resolve().parents[2]
NATS = ROOT / "deploy" / "k8s" / "base" / "nats"
MADE = "# Written by tests/deploy/generated.py; do not edit by hand.\n"


NKEYS = {role: f"${topology.key_variable(role)}" for role in (*topology.ROLES, edges.KEY)}
"""The public keys come from the environment of the servers."""


def accounts() -> str:
    """Give the accounts of a cluster's bus."""
    return written(edges.central_accounts(NKEYS))


def edge_accounts() -> str:
    """Give those of an edge's own bus."""
    return written(edges.edge_accounts(NKEYS))


def written(accounts: Mapping[str, object]) -> str:
    """Write accounts as nats-server's configuration has them."""
    text = json.dumps(accounts, indent=2)
    # nats-server takes a variable only where it stands bare.
    bare = re.sub(r'"(\$AEGIS_\w+)"', r"\1", text)
    return f"{MADE}accounts: {bare}\n"


EDGE = ROOT / "deploy" / "k8s" / "overlays" / "edge" / "nats"
FILES = {NATS / "accounts.conf": accounts, EDGE / "accounts.conf": edge_accounts}


if __name__ == "__main__":
    for path, make in FILES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
