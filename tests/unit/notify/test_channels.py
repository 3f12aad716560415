"""What is checked of the recipients' settings before anything is told."""

import datetime as dt
from pathlib import Path

import cv2
import numpy as np
import pytest

from aegis.notify import email_channel, pictures
from aegis.notify.email_channel import EmailChannel, MailServer
from aegis.runtime.site_notify import EmailConfig


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://me:p%40ss@mail.example.org", ("smtps", "mail.example.org", 465, "me", "p@ss")),
        ("smtp://mail.example.org:2587", ("smtp", "mail.example.org", 2587, None, None)),
        ("smtp://mail.example.org", ("smtp", "mail.example.org", 587, None, None)),
        ("smtp+insecure://10.1.2.3", ("smtp+insecure", "10.1.2.3", 25, None, None)),
        ("smtp+insecure://me:hush@127.0.0.1:1025", ("smtp+insecure", "127.0.0.1", 1025, "me", "hush")),
        ("smtp+insecure://me:hush@[::1]:1025", ("smtp+insecure", "::1", 1025, "me", "hush")),
    ],
)
def test_a_mail_server_s_address(url: str, server: tuple[str, str, int, str | None, str | None]) -> None:
    scheme, host, port, user, password = server
    expected = MailServer(scheme=scheme, host=host, port=port, user=user, password=password)
    assert email_channel.parse_server(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "smtp+insecure://me:hush@mail.example.org:1025",
        "smtps://me:hush/pass@mail.example.org",
        "smtps://me:hush@",
        "smtps://me:hush@mail.example.org:70000",
    ],
)
def test_a_bad_address_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="smtp") as caught:
        email_channel.parse_server(url)
    assert "hush" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(email_channel.parse_server("smtps://me:hush@mail.example.org"))


def test_addresses_of_people() -> None:
    assert email_channel.parse_address("Guard <guard@example.org>", "to").addr_spec == "guard@example.org"
    assert email_channel.parse_address("aegis@localhost", "from").addr_spec == "aegis@localhost"
    for bad in ("guard", "guard@", "@example.org", "a b@example.org", "guard@example.org\r\nBcc: x@y"):
        with pytest.raises(ValueError, match="no mail address"):
            email_channel.parse_address(bad, "to")


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        config = EmailConfig(smtp="smtps://mail.example.org", to=("a@b.c",), sender="d@e.f", pictures=False, ca=path)
        with pytest.raises(ValueError, match=str(path)):
            EmailChannel(config, None, dt.UTC)


@pytest.mark.parametrize(("rows", "columns"), [(112, 112), (900, 600), (1, 5000), (5000, 1)])
def test_pictures_come_to_one_height(rows: int, columns: int) -> None:
    image = np.full((rows, columns, 3), 90, np.uint8)
    scaled = pictures.scale(cv2.imencode(".png", image)[1].tobytes())
    assert scaled is not None
    decoded = cv2.imdecode(np.frombuffer(scaled, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    height, width = decoded.shape[:2]
    assert height == pictures.HEIGHT
    assert 1 <= width <= pictures.WIDEST


def test_what_is_no_picture_is_none() -> None:
    assert pictures.scale(b"no picture") is None
    assert pictures.scale(b"") is None
