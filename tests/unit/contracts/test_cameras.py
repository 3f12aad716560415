"""What stands in the key of a camera."""

import pytest

from aegis.contracts import cameras


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("9.a", ("9", "a", "")),
        ("64.a.gym", ("64", "a", "gym")),
        ("junk", ("junk", "", "")),
        ("1.a.b.c", ("1", "a", "b.c")),
    ],
)
def test_a_camera_s_key_is_read_whatever_it_is(key: str, named: tuple[str, str, str]) -> None:
    assert cameras.from_key(key) == named
