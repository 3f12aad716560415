"""Asking the running system, and the commands that ask it about cameras and the watchlist."""

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import nkeys

from aegis.cli.errors import CommandError
from aegis.cli.state import State
from aegis.contracts import codec, subjects
from aegis.contracts.messages import (
    AddCamera,
    AddEntry,
    ListAll,
    Remove,
    Reply,
)
from aegis.runtime import site_file
from aegis.runtime.bus import Bus, BusConfig, BusUnavailableError, PayloadTooLargeError
from aegis.vision.pictures import read_picture

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
PHOTO_BYTES = 900_000
PHOTO_SIDES = (1600, 1200, 800, 640)
LONGEST_SIDE = 4096
"""A photo can be few bytes and many pixels, which would fill the registry's memory."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@contextlib.asynccontextmanager
async def connected(arguments: argparse.Namespace, role: str = "operator") -> AsyncIterator[Bus]:
    """Connect to the running system as the person whose key file was given; ``role`` is what the key is for."""
    config = State(arguments.state).bus_config(arguments.key, role)
    _check_files(config)
    try:
        async with asyncio.timeout(CONNECT_SECONDS) as patience, Bus.connect(config, "cli") as bus:
            patience.reschedule(None)
            yield bus
    except TimeoutError:
        raise CommandError(f"the bus at {config.url} does not answer; is the system running?") from None


def _check_files(config: BusConfig) -> None:
    if config.ca is not None and not config.ca.is_file():
        raise CommandError(f"there is no certificate {config.ca} of the bus's authority; set AEGIS_BUS_CA to it")
    if config.key is None:
        return
    try:
        nkeys.from_seed(bytearray(config.key.read_bytes().strip()))
    except OSError as error:
        raise CommandError(f"key file {config.key}: {error.strerror}; give one with --as") from None
    except nkeys.NkeysError:
        raise CommandError(f"{config.key} is no key file; give one with --as") from None


async def ask(bus: Bus, operation: str, request: object, *, of: Callable[[str], str] = subjects.registry) -> Any:  # noqa: ANN401 - JSON
    """Ask the registry, or another service by its subjects ``of``, and give its answer.

    Raises:
        CommandError: with its reason, or because it does not answer.

    """
    try:
        data = await bus.request(of(operation), codec.encode(request), patience=ANSWER_SECONDS)
    except BusUnavailableError as error:
        raise CommandError(f"{error}; it may have been done or not: look before you try again") from None
    except PayloadTooLargeError as error:
        raise CommandError(str(error)) from None
    reply = codec.decode(Reply, data)
    if reply.problem:
        raise CommandError(reply.problem)
    return json.loads(reply.body)


async def camera(arguments: argparse.Namespace) -> None:
    """``aegis camera add | list | remove``."""
    request: object
    if arguments.action == "add":
        request = AddCamera(
            camera=arguments.name,
            url=camera_url(arguments.url),
            name=arguments.title or arguments.name,
            fps=arguments.fps,
            loop=arguments.loop,
            transport=arguments.transport,
            token=os.environ.get(arguments.token_env or "", ""),
            edge=arguments.edge,
        )
        if request.url.startswith("whip:") and not request.token:
            raise CommandError("a whip camera needs --token-env NAME, the variable that holds its bearer token", 2)
        async with connected(arguments) as bus:
            added = await ask(bus, "camera-add", request)
        print(f"camera {added['id']} added")
    elif arguments.action == "remove":
        async with connected(arguments) as bus:
            await ask(bus, "camera-remove", Remove(id=arguments.name))
        print(f"camera {arguments.name} removed")
    else:
        async with connected(arguments) as bus:
            listed = await ask(bus, "camera-list", ListAll())
        print_list(listed, ("id", "name", "url", "fps", "partition", "origin"), as_json=arguments.json)


def camera_url(url: str) -> str:
    """Fill in variables and read a password from standard input; one that stands in the argument is refused.

    Raises:
        CommandError: a password stands on the command line, where every user of the machine can read it.

    """

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise CommandError(f"the environment variable {match[1]} is not set", 2)
        return quote(os.environ[match[1]], safe="")

    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may hold the password
        raise CommandError("this is not an address; write [ ] / @ of a password as %5B %5D %2F %40", 2) from None
    if parts.password == "-":  # noqa: S105 - the sign for standard input
        user = parts.netloc.partition(":")[0]
        password = quote(sys.stdin.readline().rstrip("\n"), safe="")
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
    elif parts.password and not _VARIABLE.fullmatch(parts.password):
        raise CommandError(
            "a password on the command line can be read by others: write ${NAME} in its place and set that environment "
            "variable, or write - and give it on standard input",
            2,
        )
    try:
        return site_file.check_camera_url(_VARIABLE.sub(variable, url), Path.cwd())
    except ValueError as error:
        raise CommandError(str(error), 2) from None


async def watchlist(arguments: argparse.Namespace) -> None:
    """``aegis watchlist add | list | remove``."""
    if arguments.action == "add":
        limit = PHOTO_BYTES // len(arguments.photo)
        photos = tuple(shrink(Path(photo), limit) for photo in arguments.photo)
        async with connected(arguments) as bus:
            try:
                added = await ask(
                    bus, "watchlist-add", AddEntry(name=arguments.name, category=arguments.category, photos=photos)
                )
            except CommandError as error:
                text = str(error)
                for number, path in enumerate(arguments.photo, 1):
                    text = text.replace(f"photo {number}:", f"{path}:")
                raise CommandError(text) from None
        for warning in added["warnings"]:
            print(f"note: {warning}", file=sys.stderr)
        print(f"{added['name']} added to the watchlist as {added['id']}")
    elif arguments.action == "remove":
        async with connected(arguments) as bus:
            await ask(bus, "watchlist-remove", Remove(id=arguments.id))
        print(f"{arguments.id} removed from the watchlist")
    else:
        async with connected(arguments) as bus:
            listed = await ask(bus, "watchlist-list", ListAll())
        print_list(listed, ("id", "name", "category", "photos", "embedder"), as_json=arguments.json)
        many = [entry["name"] for entry in listed if entry["resembles_many"]]
        if many and not arguments.json:
            resemble = f"{', '.join(many)} resemble{'s' * (len(many) == 1)}"
            print(f"note: {resemble} more people than almost everybody does; expect more mistakes", file=sys.stderr)


def shrink(path: Path, limit: int) -> bytes:
    """Read a photo and make it small enough for the bus.

    Raises:
        CommandError: it cannot be read as a picture.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    image = read_picture(data)
    if image is None:
        raise CommandError(f"{path}: cannot be read as a picture; give a JPEG or PNG file")
    if len(data) <= limit and max(image.shape[:2]) <= LONGEST_SIDE:
        return data
    for side in PHOTO_SIDES:
        scale = min(1.0, side / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, 92))[1].tobytes()
        if len(data) <= limit:
            return data
    raise CommandError(f"{path}: cannot be made smaller than {limit} bytes; give fewer photos at once")


def print_list(rows: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for line in table((columns, *(tuple(str(row[column]) for column in columns) for row in rows))):
        print(line)


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lay out rows of texts in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
