"""Where a system keeps its things, and how other commands find it."""

import json
from pathlib import Path

import pytest

from aegis.cli.errors import CommandError
from aegis.cli.state import (
    KNOWS_SECRETS,
    SERVICES,
    Running,
    State,
    default_state,
    models_dir,
    service_environment,
    site_key_file,
)

RUNNING = Running(pid=7, run="r1", port=4333, site_file="/site.yaml", whip_host="127.0.0.1", whip_port=8480)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_what_runs_is_found_until_it_stops(state: State) -> None:
    state.write_running(RUNNING)
    assert state.running() == RUNNING
    assert ((state.directory / "running.json").stat().st_mode & 0o077) == 0
    state.forget_running()
    state.forget_running()
    with pytest.raises(CommandError, match="no system runs"):
        state.running()


@pytest.mark.parametrize("text", ["", "{not JSON", "[]", "5", "{}", '{"pid": 1}', json.dumps({"other": 1})])
def test_a_file_that_says_nothing_is_as_none(state: State, text: str) -> None:
    (state.directory / "running.json").write_text(text)
    with pytest.raises(CommandError, match=f"no system runs with the state directory {state.directory}; start one"):
        state.running()


def test_the_bus_is_that_of_the_running_system_or_the_one_that_is_named(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AEGIS_BUS_URL", "AEGIS_BUS_CA", "AEGIS_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match="no system runs"):
        state.bus_config(None)
    state.write_running(RUNNING)
    config = state.bus_config(None)
    assert config.url.endswith(":4333")
    assert config.key is not None
    assert "operator" in config.key.name
    assert state.bus_directory in config.key.parents
    assert config.inbox == "_INBOX_operator"
    assert state.bus_config(Path("/mine")).key == Path("/mine")
    monkeypatch.setenv("AEGIS_BUS_URL", "tls://bus:4222")
    monkeypatch.setenv("AEGIS_KEY_FILE", "/keys/me")
    named = state.bus_config(None)
    assert (named.url, named.ca, named.key) == ("tls://bus:4222", None, Path("/keys/me"))
    assert state.bus_config(Path("/mine")).key == Path("/mine")


def test_things_lie_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AEGIS_SITE_KEY_FILE", "AEGIS_MODELS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert default_state() == tmp_path / "s" / "aegis"
    assert site_key_file() == tmp_path / "c" / "aegis" / "site.key"
    assert models_dir() == tmp_path / "d" / "aegis" / "models"
    monkeypatch.setenv("AEGIS_SITE_KEY_FILE", "/key")
    monkeypatch.setenv("AEGIS_MODELS_DIR", "/models")
    assert (site_key_file(), models_dir()) == (Path("/key"), Path("/models"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_gets_its_own_key_and_no_secret_that_it_does_not_need(
    state: State, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOBBY_PASSWORD", "hush")
    monkeypatch.setenv("AEGIS_HTTP_PORT", "9")
    environ = service_environment(state, RUNNING, service)
    assert ("LOBBY_PASSWORD" in environ) == (service in KNOWS_SECRETS)
    assert "AEGIS_HTTP_PORT" not in environ, "six services cannot share one port"
    assert Path(environ["AEGIS_KEY_FILE"]).name.startswith(service)
    assert environ["AEGIS_RUN"] == "r1"
    assert service in Path(environ["AEGIS_LOG_FILE"]).name
    assert environ["AEGIS_WHIP_PORT"] == "8480"
    assert service_environment(state, RUNNING, service, "1")["AEGIS_WHIP_PORT"] == "0", "one replica has the port"
    assert "AEGIS_WHIP_CERT" not in environ


def test_whip_for_others_is_served_over_tls(state: State) -> None:
    public = Running(pid=7, run="r1", port=1, site_file="/s", whip_host="0.0.0.0", whip_port=8480)
    assert public.whip_public
    assert not RUNNING.whip_public
    environ = service_environment(state, public, "ingest")
    assert environ["AEGIS_WHIP_CERT"].startswith(str(state.whip))
    assert environ["AEGIS_WHIP_KEY"].startswith(str(state.whip))
