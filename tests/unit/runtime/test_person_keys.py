"""Keys of people: what one signs, the other verifies."""

import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.runtime import person_keys
from aegis.runtime.person_keys import PersonKey, PersonKeyError

KEY = PersonKey(person_keys.new_seed())


def test_every_key_is_another_and_of_a_user() -> None:
    made = {PersonKey(person_keys.new_seed()).public for _ in range(20)}
    assert len(made) == 20
    assert {public[0] for public in made} == {"U"}


def test_a_seed_is_read_as_it_stands_in_a_file() -> None:
    seed = person_keys.new_seed()
    assert PersonKey(seed + b"\n").public == PersonKey(seed).public


@given(st.binary(max_size=200))
def test_what_was_signed_is_verified(data: bytes) -> None:
    signature = KEY.sign(data)
    assert person_keys.verify(KEY.public, data, signature)
    assert not person_keys.verify(KEY.public, data + b".", signature)
    assert not person_keys.verify(PersonKey(person_keys.new_seed()).public, data, signature)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_is_none(signature: bytes) -> None:
    assert not person_keys.verify(KEY.public, b"data", signature)


@pytest.mark.parametrize(
    "seed", [b"", b"no seed", b"\xff\xd8", b"SU", pytest.param(KEY.public.encode(), id="public"), b"A" * 58]
)
def test_what_is_no_seed_is_refused(seed: bytes) -> None:
    with pytest.raises(PersonKeyError):
        PersonKey(seed)


def test_the_key_of_an_account_is_no_person_s() -> None:
    with pytest.raises(PersonKeyError):
        PersonKey(bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT)))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_a_public_key(text: str) -> None:
    with pytest.raises(PersonKeyError):
        person_keys.public_bytes(text)
