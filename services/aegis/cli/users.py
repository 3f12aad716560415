"""``aegis user``: the people who may review alerts, each by a key of their own."""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from aegis.cli.errors import CommandError
from aegis.cli.requests import ask, connected, print_list
from aegis.contracts.messages import ListAll, Remove
from aegis.contracts.people import AddUser
from aegis.runtime import person_keys
from aegis.runtime.person_keys import PersonKey, PersonKeyError


async def users(arguments: argparse.Namespace) -> None:
    """``aegis user add | list | remove``."""
    if arguments.action == "add":
        await _add(arguments)
    elif arguments.action == "remove":
        async with connected(arguments) as bus:
            removed = await ask(bus, "user-remove", Remove(id=arguments.id))
        print(f"{removed['name']} may not review alerts any more")
    else:
        async with connected(arguments) as bus:
            listed = await ask(bus, "user-list", ListAll())
        print_list(listed, ("id", "name", "public_key"), as_json=arguments.json)


async def _add(arguments: argparse.Namespace) -> None:
    path: Path = arguments.out or Path(re.sub(r"\W+", "-", arguments.name.casefold()).strip("-") + ".nk")
    seed = person_keys.new_seed()
    async with connected(arguments) as bus:
        # First, since a user whose key is nowhere would be in the way.
        with _written(path, seed):
            added = await ask(bus, "user-add", AddUser(name=arguments.name, public_key=PersonKey(seed).public))
    print(f"{added['name']} may review alerts, as {added['id']}, with the key in {path}")
    print("Give it to that person alone, who keeps it like a key: whoever has it reviews in that name.")


@contextlib.contextmanager
def _written(path: Path, seed: bytes) -> Iterator[None]:
    """Write a key file, never over another one, and take it back if what follows fails.

    Raises:
        CommandError: it cannot be written.

    """
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(seed + b"\n")
    except FileExistsError:
        raise CommandError(f"{path} is there already; name another file with --out") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; name another file with --out") from None
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def person_key(path: Path) -> PersonKey:
    """Read a person's key file, which nobody else may read.

    Raises:
        CommandError: naming the file.

    """
    try:
        seed = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give your own key file with --as") from None
    if mode & 0o077:
        raise CommandError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        return PersonKey(seed)
    except PersonKeyError:
        raise CommandError(f"{path} is no person's key file; aegis user add makes one") from None
