"""Settings: read once, and everything that is wrong told together."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from aegis.runtime.settings import ServiceSettings, SettingsError, load, setting, variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(ServiceSettings):
    needed: Path = setting(doc="Where it lies.")
    share: float = setting(0.5, least=0.0, most=1.0)
    rounds: int = setting(3, least=1)
    loud: bool = setting(default=False)
    mode: str = setting("slow", choices=("slow", "fast"))


def test_what_is_set_is_read_and_the_rest_takes_its_default() -> None:
    settings = load(
        Example,
        {"AEGIS_NEEDED": "/x", "AEGIS_SHARE": "0.25", "AEGIS_LOUD": "Yes", "AEGIS_MODE": "fast", "AEGIS_BUS_CA": "/c"},
    )
    assert settings == Example(needed=Path("/x"), share=0.25, loud=True, mode="fast", bus_ca=Path("/c"))
    assert (settings.rounds, settings.log_file) == (3, None)


def test_an_empty_value_is_none() -> None:
    assert load(Example, {"AEGIS_NEEDED": "/x", "AEGIS_ROUNDS": ""}).rounds == 3


def test_all_bad_ones_are_told_together_by_name() -> None:
    bad = {
        "AEGIS_SHARE": "much",
        "AEGIS_ROUNDS": "0",
        "AEGIS_LOUD": "perhaps",
        "AEGIS_MODE": "brisk",
        "AEGIS_HTTP_PORT": "65536",
        "AEGIS_LOG_LEVEL": "LOUD",
    }
    with pytest.raises(SettingsError) as error:
        load(Example, bad)
    told = {problem.split("=")[0].split(" ")[0]: problem for problem in error.value.problems}
    assert set(told) == {*bad, "AEGIS_NEEDED"}
    assert told["AEGIS_NEEDED"] == "AEGIS_NEEDED is not set: Where it lies."
    assert told["AEGIS_MODE"] == "AEGIS_MODE='brisk': expected one of slow, fast"
    assert told["AEGIS_HTTP_PORT"] == "AEGIS_HTTP_PORT='65536': expected 0 to 65535"
    assert "a number" in told["AEGIS_SHARE"]
    assert "expected one of 1, true" in told["AEGIS_LOUD"]
    assert str(error.value).count(";") == len(told) - 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SHARE", "-0.01"),
        ("SHARE", "1.01"),
        ("SHARE", "nan"),
        ("SHARE", "inf"),
        ("ROUNDS", "1.5"),
        ("ROUNDS", "1e3"),
        ("ROUNDS", "9" * 5000),
        ("MODE", "SLOW"),
    ],
)
def test_a_value_beyond_its_limits_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"AEGIS_{name}="):
        load(Example, {"AEGIS_NEEDED": "/x", f"AEGIS_{name}": text})


@pytest.mark.parametrize(("name", "text", "value"), [("SHARE", "0", 0.0), ("SHARE", "1", 1.0), ("ROUNDS", "1", 1)])
def test_limits_are_allowed(name: str, text: str, value: float) -> None:
    settings = load(Example, {"AEGIS_NEEDED": "/x", f"AEGIS_{name}": text})
    assert getattr(settings, name.lower()) == value


def test_every_setting_of_every_service_says_what_it_does() -> None:
    for field in ServiceSettings.__dataclass_fields__.values():
        assert field.metadata["doc"].endswith("."), variable(field.name)
