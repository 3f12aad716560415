"""Who may reach whom by the network policies of rendered manifests, worked out as the specification has it.

What two policies select is allowed by either; what none selects is allowed altogether. A connection between two pods
must be allowed on the way out of one and on the way into the other.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.rendering import Manifest, containers, of_kind, templates

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Pods of one kind: in our own namespace, or in another one with a name."""

    labels: Labels
    namespace: str = "aegis"


class Policies:
    """The network policies of rendered manifests."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._policies = [manifest["spec"] for manifest in of_kind(manifests, "NetworkPolicy")]

    def _rules(self, labels: Labels, way: str) -> list[Manifest] | None:
        """Give the rules of one way that hold for pods with these labels; None where nothing is restricted."""
        mine = [p for p in self._policies if way in p["policyTypes"] and selects(p["podSelector"], labels)]
        return [rule for policy in mine for rule in policy.get(way.lower()) or []] if mine else None

    def allow(self, source: Place, target: Place, port: int, protocol: str = "TCP", name: str = "") -> bool:
        """Whether a connection is allowed; ``name`` is what the target calls its port."""
        ports = (port, name)

        def passes(place: Place, other: Place, way: str) -> bool:
            if place.namespace != "aegis":
                return True
            rules = self._rules(place.labels, way)
            peers = "from" if way == "Ingress" else "to"
            return rules is None or any(
                _has_port(rule, ports, protocol) and (peers not in rule or any(_is(p, other) for p in rule[peers]))
                for rule in rules
            )

        return passes(source, target, "Egress") and passes(target, source, "Ingress")

    def outside(self, labels: Labels) -> dict[tuple[str, int], set[str]]:
        """Give the protocols and ports by which pods reach addresses outside the cluster, and those addresses."""
        found: dict[tuple[str, int], set[str]] = {}
        for rule in self._rules(labels, "Egress") or []:
            for peer in rule.get("to", [{"ipBlock": {"cidr": "anything"}}]):
                for port in rule.get("ports", [{"port": 0}]) if "ipBlock" in peer else []:
                    key = port.get("protocol", "TCP"), int(port.get("port", 0))
                    found.setdefault(key, set()).add(peer["ipBlock"]["cidr"])
        return found


def selects(selector: Manifest, labels: Labels) -> bool:
    """Whether a label selector holds for these labels."""
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _holds(expression: Manifest, labels: Labels) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def _has_port(rule: Manifest, wanted: tuple[int, str], protocol: str) -> bool:
    ports = rule.get("ports", [])
    number = wanted[0]
    return not ports or any(
        (p.get("port") in wanted or ("endPort" in p and p["port"] <= number <= p["endPort"]))
        and p.get("protocol", "TCP") == protocol
        for p in ports
    )


def _is(peer: Manifest, place: Place) -> bool:
    if "ipBlock" in peer:
        return False  # the addresses of pods are nobody's to name
    namespace = {"kubernetes.io/metadata.name": place.namespace}
    home = selects(peer["namespaceSelector"], namespace) if "namespaceSelector" in peer else place.namespace == "aegis"
    return home and selects(peer.get("podSelector", {}), place.labels)


def listening(manifests: Iterable[Manifest]) -> Iterator[tuple[Labels, str, int, str]]:
    """Give the labels, name, number and protocol of every port that a container declares."""
    for template in templates(manifests).values():
        for container in containers(template):
            for port in container.get("ports", []):
                yield template["metadata"]["labels"], port["name"], port["containerPort"], port.get("protocol", "TCP")


def inside(manifests: tuple[Manifest, ...], sources: Mapping[str, Place]) -> set[tuple[str, str, int]]:
    """Give every connection that is allowed: from one of the named sources, to a component, at a port."""
    policies = Policies(manifests)
    targets: dict[tuple[str, str, int, str], Any] = {
        (labels["app.kubernetes.io/component"], name, port, protocol): labels
        for labels, name, port, protocol in listening(manifests)
    }
    return {
        (source, component, port)
        for source, place in sources.items()
        for (component, name, port, protocol), labels in targets.items()
        if policies.allow(place, Place(labels), port, protocol, name)
    }
