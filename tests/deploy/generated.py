"""Writes the files below deploy/ that follow from the code: ``python -m tests.deploy.generated``."""

import json
import re
from pathlib import Path

import yaml

from aegis.cli import cluster
from aegis.runtime import bus_server, edges, topology

ROOT = Path(__file__).resolve().parents[2]
NATS = ROOT / "deploy" / "k8s" / "base" / "nats"
MADE = "# Written by tests/deploy/generated.py; do not edit by hand.\n"


NKEYS = {role: f"${topology.key_variable(role)}" for role in (*topology.ROLES, edges.KEY)}
"""The public keys come from the environment of the servers."""


def accounts() -> str:
    """Give the accounts of a cluster's bus; who integrators are stands in a file that the component mqtt replaces.

    What nats-server includes does not see what stands around it, so it is included here.
    """
    made = edges.central_accounts(NKEYS)
    made[topology.PUBLIC]["users"] = "$AEGIS_INTEGRATORS"
    return f"{MADE}include integrators.conf\naccounts: {written(made)}\n"


def integrators() -> str:
    """Give the users of the integrators' account: those with its key."""
    users = edges.central_accounts(NKEYS)[topology.PUBLIC]["users"]
    return f"{MADE}AEGIS_INTEGRATORS: {written(users)}\n"


def mqtt_integrators() -> str:
    """Give the same with the one user of MQTT, whose clients have no nkeys."""
    user = {
        "user": bus_server.MQTT_USER,
        "password": "$AEGIS_MQTT_PASSWORD",
        "allowed_connection_types": ["MQTT"],
        "permissions": topology.mqtt_permissions(),
    }
    users = [*edges.central_accounts(NKEYS)[topology.PUBLIC]["users"], user]
    return f"{MADE}AEGIS_INTEGRATORS: {written(users)}\n"


def edge_accounts() -> str:
    """Give those of an edge's own bus."""
    return f"{MADE}accounts: {written(edges.edge_accounts(NKEYS))}\n"


def written(value: object) -> str:
    """Write a value as nats-server's configuration has it."""
    # A variable is taken only where it stands bare.
    return re.sub(r'"(\$AEGIS_\w+)"', r"\1", json.dumps(value, indent=2))


def external_secrets() -> str:
    """Give what a store has to hold: the Secrets that ``aegis cluster init`` makes, each key by its name."""
    keys = {name: [file.partition("=")[0] for file in files] for name, files in cluster.SECRETS.items()}
    keys["aegis-bus-nkeys"] = [topology.key_variable(role) for role in cluster.KEYS]
    made = {
        name: {"data": [{"secretKey": key, "remoteRef": {"key": name, "property": key}} for key in listed]}
        for name, listed in keys.items()
    }
    # Whatever variables the site's own file expands.
    made["aegis-site-secrets"] = {"dataFrom": [{"extract": {"key": "aegis-site-secrets"}}]}
    manifests = (
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "aegis"}},
            "spec": spec,
        }
        for name, spec in sorted(made.items())
    )
    return MADE + yaml.safe_dump_all(manifests, sort_keys=False)


COMPONENTS = ROOT / "deploy" / "k8s" / "components"
EDGE = ROOT / "deploy" / "k8s" / "overlays" / "edge" / "nats"
FILES = {
    NATS / "accounts.conf": accounts,
    NATS / "integrators.conf": integrators,
    COMPONENTS / "mqtt" / "integrators.conf": mqtt_integrators,
    EDGE / "accounts.conf": edge_accounts,
    COMPONENTS / "external-secrets" / "secrets.yaml": external_secrets,
}


if __name__ == "__main__":
    for path, make in FILES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
