"""An edge: a small bus in a building, at which ingest and detect stand, with one link to the centre's bus.

The link comes into an account of its own at the centre, out of which leads what these two may do and nothing else.
Frames never pass it. A leaf node does not let ``$JS`` and ``$KV`` through, so both sides call these by other names
between them; services know nothing of it. While the link is down no lease can be renewed, so within seconds nothing
at the edge is processed.
"""

from collections.abc import Mapping
from typing import Any

from aegis.contracts import subjects
from aegis.runtime.topology import ROLES, SITE, server_accounts, server_permissions

EDGE = "EDGE"
KEY = "edge"
"""Whose key the link has."""
STAGES = ("ingest", "detect")
LOCAL = subjects.frame_captured("*", "*")
HIDDEN = ("$JS.API.>", "$KV.>")


def central_accounts(nkeys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Give the accounts of a bus that takes edges, as nats-server's configuration writes them."""
    accounts = server_accounts(nkeys)
    # What an edge asks of the centre, or says to it.
    said = dict.fromkeys(subject for stage in STAGES for subject in ROLES[stage].publish if subject != LOCAL)
    # What the centre asks of an edge; each partition by its number, since the others are the centre's own.
    first, count = subjects.PARTITIONS, subjects.EDGE_PARTITIONS * subjects.MOST_EDGES
    looks = [subjects.look_requested(partition, "*") for partition in range(first, first + count)]
    answered = [
        {"service": subject, "response_type": "stream", "accounts": [SITE]} for subject in (*looks, subjects.STATUS)
    ]
    accounts[SITE]["exports"] += [
        {"service": subject, "response_type": "stream", "accounts": [EDGE]} for subject in said
    ]
    accounts[SITE]["exports"] += [{"stream": subject, "accounts": [EDGE]} for subject in _heard()]
    accounts[SITE]["imports"] += [
        {"service": {"account": EDGE, "subject": subject}} for subject in (*looks, subjects.STATUS)
    ]
    accounts[EDGE] = {
        "users": [{"nkey": nkeys[KEY]}],
        "exports": answered,
        "imports": [
            *({"service": {"account": SITE, "subject": subject}, "to": between(subject)} for subject in said),
            *({"stream": {"account": SITE, "subject": subject}} for subject in _heard()),
        ],
    }
    return accounts


def edge_accounts(nkeys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Give the one account of an edge's own bus, which keeps nothing."""
    permissions = server_permissions()
    users = []
    for stage in STAGES:
        allowed = permissions[stage]["publish"]["allow"]
        permissions[stage]["publish"]["allow"] = [between(subject) for subject in allowed]
        users.append({"nkey": nkeys[stage], "permissions": permissions[stage]})
    return {SITE: {"users": users, "mappings": {subject: between(subject) for subject in HIDDEN}}}


def between(subject: str) -> str:
    """Give the name of a subject on the link."""
    return subject.replace("$", f"{SITE}.", 1) if subject.startswith("$") else subject


def _heard() -> list[str]:
    """Give what the centre tells everybody, an edge too."""
    asked = (LOCAL, subjects.look_requested("*", "*"), subjects.STATUS)
    return list(dict.fromkeys(s for stage in STAGES for s in ROLES[stage].subscribe if s not in asked))
