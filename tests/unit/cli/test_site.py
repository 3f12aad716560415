"""Commands about a site that need no bus: whether a site file can be used."""

from pathlib import Path

import pytest

from aegis.cli import up
from aegis.cli.report import NOBODY

SITE = "site: {id: s, kind: venue}\n"


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("", f"note: {NOBODY}\n"),
        ("notify: {}\n", f"note: {NOBODY}\n"),
        ('notify: {webhooks: [{url: "https://x.example/hook", secret_env: SECRET}]}\n', ""),
    ],
)
def test_a_site_file_that_names_nobody_can_be_used_and_is_noted(
    notify: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s" * 32)
    path = tmp_path / "site.yaml"
    path.write_text(SITE + notify)
    up.check(path)
    out, err = capsys.readouterr()
    assert (out, err) == (f"{path} can be used\n", said)
