"""A site file with cameras and categories, to which tests add a section notify."""

from pathlib import Path

import pytest

from aegis.runtime import site_file
from aegis.runtime.site_file import SiteFileError

SITE = """\
site: {id: north, kind: venue}
cameras:
  - {id: north-gate, url: "rtsp://${CAMERA_PASSWORD}@10.0.0.7/"}
  - {id: south-gate, url: "rtsp://10.0.0.8/"}
  - {id: lobby, url: "rtsp://10.0.0.9/"}
categories: {barred: {severity: high}, order: {severity: critical}}
notify:
"""
ENVIRON = {
    "CAMERA_PASSWORD": "me:hidden",
    "TWILIO_TOKEN": "hidden-token",
    "HOOK_SECRET": "hidden-hook",
    "VMS_SECRET": "hidden-vms",
    "SLACK_URL": "slack://hidden-slack",
    "PW": "hidden%40word",
}
PEOPLE = "  email: {smtp: 'smtp://x'}\n  people: {gate: {email: a@b.c}, police: {email: p@b.c, outside: true}}\n"
"""Lines 8 and 9."""


def parse(folder: Path, text: str, environ: dict[str, str] | None = None) -> site_file.SiteFile:
    path = folder / "site.yaml"
    path.write_text(text)
    return site_file.read(path, ENVIRON if environ is None else environ)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SiteFileError) as caught:
        parse(folder, text).check()
    return caught.value.problems
