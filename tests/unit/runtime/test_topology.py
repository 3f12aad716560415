"""What is declared on the bus, held against what must never be declared."""

import itertools

import pytest
from nats.js.api import StorageType

from aegis.contracts import subjects
from aegis.runtime import topology
from aegis.runtime.leases import STOP_AFTER, TIME_TO_LIVE

LIMITED = [name for name in topology.ROLES if name != "admin"]


def test_only_admin_may_do_everything() -> None:
    assert topology.ROLES["admin"].publish == topology.ROLES["admin"].subscribe == (">",)


@pytest.mark.parametrize("name", LIMITED)
def test_a_right_names_what_it_is_for(name: str) -> None:
    role = topology.ROLES[name]
    for right in (*role.publish, *role.subscribe):
        tokens = right.split(".")
        assert right not in (">", "*")
        assert tokens[0] in ("aegis", "$JS", "$KV"), right
        assert not {">", "*"} & set(tokens[: 2 if tokens[0] == "$KV" else 3]), right


@pytest.mark.parametrize("name", LIMITED)
def test_nobody_but_admin_may_change_a_stream(name: str) -> None:
    calls = [right for right in topology.ROLES[name].publish if right.startswith("$JS.API.")]
    reading: tuple[str, ...] = (
        "$JS.API.CONSUMER.CREATE.",
        "$JS.API.CONSUMER.MSG.NEXT.",
        "$JS.API.CONSUMER.INFO.",
        "$JS.API.DIRECT.GET.",
    )
    if topology.ROLES[name].account == topology.PUBLIC:
        reading += ("$JS.API.CONSUMER.", "$JS.API.STREAM.INFO.", "$JS.API.STREAM.NAMES", "$JS.API.INFO")
    assert not [right for right in calls if not right.startswith(reading)]


@pytest.mark.parametrize("name", topology.ROLES)
def test_no_right_stands_twice(name: str) -> None:
    permissions = topology.server_permissions()[name]
    for direction in ("publish", "subscribe"):
        allowed = permissions[direction]["allow"]
        assert len(allowed) == len(set(allowed)), direction


def test_every_inbox_is_its_roles_alone() -> None:
    permissions = topology.server_permissions()
    for name, other in itertools.permutations(LIMITED, 2):
        assert f"{topology.inbox(other)}.>" not in permissions[name]["subscribe"]["allow"]
    assert len({topology.inbox(name) for name in topology.ROLES}) == len(topology.ROLES)


def test_between_the_accounts_pass_copies_and_nothing_else() -> None:
    assert {name for name, role in topology.ROLES.items() if role.account != topology.SITE} == {"integrator"}
    accounts = topology.server_accounts(dict.fromkeys(topology.ROLES, "U"))
    for name, other in itertools.permutations((topology.SITE, topology.PUBLIC)):
        for export in accounts[name]["exports"]:
            assert export["accounts"] == [other]
            subject = export.get("service") or export["stream"]
            allowed = ("CONSUMER.CREATE", "FC", "aegis.copy") if name == topology.SITE else ("CREATE", "UPDATE")
            assert subject.removeprefix("$JS.").removeprefix("API.").removeprefix("STREAM.").startswith(allowed)
            assert set(topology.PUBLISHED) & set(subject.split("."))


def test_streams_have_names_and_subjects_of_their_own() -> None:
    names = [stream.name for stream in topology.STREAMS]
    kept = [subject for stream in topology.STREAMS for subject in stream.subjects or []]
    assert len(names) == len(set(names))
    assert len(kept) == len(set(kept))
    named = {value for name, value in vars(subjects).items() if name.isupper() and isinstance(value, str)}
    assert named - {subjects.PREFIX, subjects.STATUS, subjects.TRACE_KEPT} <= set(names)


def test_every_right_to_read_is_to_something_that_exists() -> None:
    names = {stream.name for stream in topology.STREAMS}
    for role in LIMITED:
        for right in topology.ROLES[role].publish:
            tokens = right.split(".")
            if tokens[0] == "$JS" and right not in ("$JS.API.INFO", "$JS.API.STREAM.NAMES"):
                assert names & set(tokens[-2:]) or tokens[2] in names, right
            elif tokens[0] == "$KV":
                assert f"KV_{tokens[1]}" in names, right


def test_what_is_of_faces_stays_in_memory_for_seconds() -> None:
    for stream in topology.STREAMS:
        if stream.name in (subjects.FACES, subjects.VECTORS):
            assert stream.storage is StorageType.MEMORY
            assert stream.max_age == topology.LOOK_SECONDS


def test_a_lease_is_given_up_before_its_key_can_expire() -> None:
    (leases,) = [stream for stream in topology.STREAMS if stream.name == "KV_leases"]
    assert leases.max_age == TIME_TO_LIVE > STOP_AFTER
