"""Commands that ask the running system: cameras, watchlist, alerts, state, status."""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import nkeys
from nats.js.api import DeliverPolicy

from aegis.cli import events, report
from aegis.cli.errors import CommandError
from aegis.cli.state import State
from aegis.contracts import codec, subjects
from aegis.contracts.messages import (
    AddCamera,
    AddEntry,
    ListAll,
    Remove,
    Reply,
    SetState,
    ShowPictures,
    SiteRecord,
    SiteState,
)
from aegis.runtime import policy, site_file, status
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusConfig, BusUnavailableError, PayloadTooLargeError
from aegis.runtime.certificates import write_private
from aegis.vision.pictures import read_picture

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
PHOTO_BYTES = 900_000
PHOTO_SIDES = (1600, 1200, 800, 640)
LONGEST_SIDE = 4096
"""A photo can be few bytes and many pixels, which would fill the registry's memory."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@contextlib.asynccontextmanager
async def connected(arguments: argparse.Namespace) -> AsyncIterator[Bus]:
    """Connect to the running system as the person whose key file was given."""
    config = State(arguments.state).bus_config(arguments.key)
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


async def ask(bus: Bus, operation: str, request: object) -> Any:  # noqa: ANN401 - JSON
    """Ask the registry and give its answer.

    Raises:
        CommandError: with the registry's reason, or because it does not answer.

    """
    try:
        data = await bus.request(subjects.registry(operation), codec.encode(request), patience=ANSWER_SECONDS)
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
        _print_list(listed, ("id", "name", "url", "fps", "partition", "origin"), as_json=arguments.json)


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
        _print_list(listed, ("id", "name", "category", "photos", "embedder"), as_json=arguments.json)


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


async def show_alerts(arguments: argparse.Namespace) -> None:
    """``aegis alerts list | follow``."""
    async with connected(arguments) as bus:
        if arguments.action == "follow":
            stream = events.follow(bus, "cli", (subjects.ALERTS,))
        else:
            stream = events.read(bus, subjects.ALERTS, "cli", DeliverPolicy.ALL, to_end=True)
        watching = asyncio.create_task(_tell_absence(bus))
        try:
            async for event in stream:
                print(event.raw.decode() if arguments.json else event.line(), flush=True)
        finally:
            watching.cancel()


async def _tell_absence(bus: Bus) -> None:
    """Say on standard error when the system goes away and when it is back, so that silence is not taken for peace."""
    there = True
    while True:
        await asyncio.sleep(0.5)
        if bus.connected != there:
            there = bus.connected
            print(
                "aegis: the system is back" if there else "aegis: the system is away; waiting for it", file=sys.stderr
            )


async def pictures(arguments: argparse.Namespace) -> None:
    """``aegis alerts picture``: lay probe, frame and enrolled photo side by side in a folder."""
    async with connected(arguments) as bus:
        wanted = arguments.reference.upper()
        kept = events.read(bus, subjects.ALERTS, "cli", DeliverPolicy.ALL, to_end=True)
        seen = [event.sighting async for event in kept if event.sighting and event.sighting.reference == wanted]
        if not seen:
            raise CommandError(f"there is no alert {wanted}; see: aegis alerts list")
        request = ShowPictures(chip=seen[0].chip, frame=seen[0].frame, entry=seen[0].entry)
        found = await ask(bus, "pictures-show", request)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, data in found.items():
        path = arguments.out / f"{wanted}-{name}"
        write_private(path, base64.b64decode(data))
        print(path)


async def set_state(arguments: argparse.Namespace, state: SiteState) -> None:
    """``aegis arm | disarm``."""
    async with connected(arguments) as bus:
        await ask(bus, "state-set", SetState(state=state))
    print(f"the site is {state.value}")


async def show_status(arguments: argparse.Namespace) -> None:
    """``aegis status``."""
    async with connected(arguments) as bus:
        answers = await status.collect(bus)
        if not answers:
            raise CommandError("no service answers")
        entry = await Bucket(bus, policy.BUCKET).get(policy.SITE)
    site = codec.decode(SiteRecord, entry.value) if entry else None
    if arguments.json:
        latencies, counts = report.latencies(answers), report.counts(answers)
        known = {"id": site.id, "name": site.name, "state": site.state.value} if site else None
        print(json.dumps({"site": known, "services": answers, "latencies": latencies, "counts": counts}, indent=2))
        return
    if site:
        print(f"{site.name} is {site.state.value}{': no face is processed' * (site.state is SiteState.DISARMED)}\n")
    print("\n".join([*report.services(answers), "", *report.cameras(answers), "", *report.figures(answers)]))


def _print_list(rows: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = [columns, *(tuple(str(row[column]) for column in columns) for row in rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    for line in table:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
