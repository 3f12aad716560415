"""The ``aegis`` command."""

import argparse
import asyncio
import contextlib
import importlib.metadata
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from nats.errors import Error as BusError

from aegis.cli import alerts, calibration, cluster, cohort, demo, models, notify, plan, requests, site, up, users
from aegis.cli.backup import command as backups
from aegis.cli.doctor import command as examination
from aegis.cli.errors import CommandError
from aegis.cli.state import State, default_state
from aegis.runtime import tasks

ASKING = {
    "camera": requests.camera,
    "watchlist": requests.watchlist,
    "cohort": cohort.cohort,
    "alerts": alerts.alerts,
    "user": users.users,
    "calibrate": calibration.calibrate,
    "notify": notify.notify,
    "drill": notify.drill,
    "status": site.show_status,
    "backup": backups.backup,
    "restore": backups.restore,
    "doctor": examination.doctor,
    **dict.fromkeys(site.STATES, site.set_state),
}
"""What asks a running system, by command."""


def parser() -> argparse.ArgumentParser:
    """Describe every command."""
    # Both may stand before or behind the command, so the latter must not bring its own defaults.
    common = _common(argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS))
    listed = argparse.ArgumentParser(add_help=False)
    listed.add_argument("--json", action="store_true", help="as JSON")
    root = _common(argparse.ArgumentParser(prog="aegis", description="Watchlist alerts for sites with cameras."))
    root.set_defaults(state=default_state(), key=None)
    root.add_argument("--version", action="version", version=f"aegis {importlib.metadata.version('aegis-watch')}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("up", parents=[common], help="run everything on this machine")
    command.add_argument("--config", type=Path, required=True, metavar="SITE.YAML", help="the site file")
    command.add_argument("--until-done", action="store_true", help="end when every file camera was played once")

    command = commands.add_parser("check", parents=[common], help="read a site file and say what is wrong with it")
    command.add_argument("file", type=Path, metavar="SITE.YAML", help="the site file")

    command = commands.add_parser("demo", parents=[common], help="run the demonstration: a drill with a made-up camera")
    command.add_argument("--once", action="store_true", help="play it once and end")
    command.add_argument(
        "--whip",
        default=demo.WHIP,
        metavar="HOST:PORT",
        help="where browsers and phones deliver; by TLS beyond loopback",
    )

    _camera(commands.add_parser("camera", help="cameras of the running system"), common, listed)
    _watchlist(commands.add_parser("watchlist", help="people of the watchlist"), common, listed)

    _cohort(commands.add_parser("cohort", help="people who are never on the list, to compare with"), common)

    _alerts(commands.add_parser("alerts", help="alerts of the running system"), common, listed)

    _user(commands.add_parser("user", help="people who may review alerts"), common, listed)

    _notify(commands, common)

    commands.add_parser(
        "calibrate", parents=[common, listed], help="derive the thresholds anew, and say what comes of it"
    )
    commands.add_parser("status", parents=[common, listed], help="services, cameras, figures")
    commands.add_parser("arm", parents=[common], help="process faces and raise alerts")
    commands.add_parser("shadow", parents=[common], help="process faces and count, but alert nobody")
    commands.add_parser("disarm", parents=[common], help="process no face at all")

    backups.add_parsers(commands, common)
    examination.add_parsers(commands, common, listed)
    _canary(commands.add_parser("canary", parents=[common], help="show a consenting person, who must be alerted of"))

    _plan(commands.add_parser("plan", parents=[common, listed], help="what so many cameras need"))
    _cluster(commands.add_parser("cluster", help="a system on a Kubernetes cluster"), common)

    _evaluate(commands.add_parser("evaluate", parents=[common], help="measure error rates on photos of known people"))

    actions = commands.add_parser("models", help="model files").add_subparsers(dest="action", required=True)
    actions.add_parser("pull", parents=[common], help="fetch them, by their pinned hashes")
    actions.add_parser("verify", parents=[common], help="check them")
    return root


def _common(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--state", type=Path, metavar="DIR", help="state directory")
    command.add_argument("--as", type=Path, dest="key", metavar="KEYFILE", help="who you are: a key file")
    return command


def _camera(command: argparse.ArgumentParser, common: argparse.ArgumentParser, listed: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", parents=[common], help="add a camera")
    add.add_argument("name", metavar="NAME", help="its id: a-z, 0-9, _ and -")
    add.add_argument("url", metavar="URL", help="rtsp://, file:, usb: or whip:; a password as ${VAR}, or - for stdin")
    add.add_argument("--title", help="its name for people")
    add.add_argument("--fps", type=float, default=5.0, help="looks a second")
    add.add_argument("--loop", action="store_true", help="play a file for ever")
    add.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="how RTSP carries its video")
    add.add_argument("--token-env", metavar="NAME", help="variable that holds the bearer token of a whip camera")
    add.add_argument("--edge", default="", metavar="NAME", help="the edge whose replicas take it; those of the centre")
    actions.add_parser("list", parents=[common, listed], help="all cameras")
    remove = actions.add_parser("remove", parents=[common], help="remove a camera")
    remove.add_argument("name", metavar="NAME")


def _watchlist(
    command: argparse.ArgumentParser, common: argparse.ArgumentParser, listed: argparse.ArgumentParser
) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", parents=[common], help="enrol a person")
    add.add_argument("name", metavar="NAME", help="the person's name, as it will stand in alerts")
    add.add_argument("--category", required=True, help="one of the site file's categories")
    add.add_argument("--photo", action="append", required=True, metavar="FILE", help="may be given several times")
    actions.add_parser("list", parents=[common, listed], help="everybody on it")
    remove = actions.add_parser("remove", parents=[common], help="take a person off it")
    remove.add_argument("id", metavar="ID")


def _alerts(command: argparse.ArgumentParser, common: argparse.ArgumentParser, listed: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    shadow = argparse.ArgumentParser(add_help=False)
    shadow.add_argument("--shadow", action="store_true", help="those that a site in shadow would have raised")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("reference", metavar="REFERENCE", help="as in the mail, for example K7Q-2MX")
    actions.add_parser("list", parents=[common, listed, shadow], help="all that are kept, sightings too")
    picture = actions.add_parser("picture", parents=[common, named], help="the pictures behind one, to compare")
    picture.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write them")
    actions.add_parser(
        "follow", parents=[common, listed, shadow], help="as they happen; one CloudEvent a line with --json"
    )
    actions.add_parser(
        "show", parents=[common, named, listed], help="how one stands; with --as, what you may know of others' views"
    )
    actions.add_parser("ack", parents=[common, named], help="say that you have seen it and are looking into it")
    actions.add_parser("confirm", parents=[common, named], help="say that you have compared, and it is this person")
    dismiss = actions.add_parser("dismiss", parents=[common, named], help="say that it is a mistake")
    dismiss.add_argument("--reason", required=True, metavar="TEXT", help="why, to everyone who was told")


def _user(command: argparse.ArgumentParser, common: argparse.ArgumentParser, listed: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", parents=[common], help="make a key for a person who may review alerts")
    add.add_argument("name", metavar="NAME", help="the person's name, as others will read it")
    add.add_argument("--out", type=Path, metavar="FILE", help="where to write the key; a file of the name otherwise")
    actions.add_parser("list", parents=[common, listed], help="all of them")
    remove = actions.add_parser("remove", parents=[common], help="take that away from a person")
    remove.add_argument("id", metavar="ID")


def _plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cameras", type=int, required=True, metavar="N", help="of one site")
    command.add_argument("--sites", type=int, default=1, metavar="N", help="so many sites alike")
    seen = command.add_mutually_exclusive_group()
    seen.add_argument("--traffic", choices=plan.TRAFFIC, default="usual", help="how often somebody is in view")
    seen.add_argument("--occupied", type=float, metavar="SHARE", help="the same as a share of the time, 0 to 1")
    command.add_argument("--fps", type=float, default=5.0, help="looks a second")
    command.add_argument("--megabits", type=float, default=2.0, help="bit rate of a camera, in Mbit/s")
    command.add_argument("--alerts", type=float, default=10.0, metavar="N", help="a day")
    command.add_argument("--single", action="store_true", help="one replica of each; a lost machine is an outage")
    speed = command.add_mutually_exclusive_group()
    speed.add_argument("--speed", type=float, default=1.0, help="of a core, of one of the measured machine")
    speed.add_argument("--measure", action="store_true", help="measure that here")


def _cluster(command: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    init = actions.add_parser("init", parents=[common], help="write its keys and certificates, as Secrets to apply")
    init.add_argument("directory", type=Path, metavar="DIR", help="where to; what is there is kept")
    init.add_argument("--config", type=Path, required=True, metavar="SITE.YAML", help="the site file")
    init.add_argument("--site-key", type=Path, metavar="FILE", help="the site's key, if it has one already")
    init.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="what the bus or WHIP is called from outside, beside the names of before",
    )
    init.add_argument("--renew", action="store_true", help="issue the certificates anew, long before they end")
    edge = actions.add_parser("edge", parents=[common], help="write what an edge of it is given")
    edge.add_argument("directory", type=Path, metavar="DIR", help="where to; what is there is kept")
    edge.add_argument("--centre", type=Path, required=True, metavar="DIR", help="what `aegis cluster init` wrote")
    edge.add_argument("--renew", action="store_true", help="issue the certificate anew")
    declare = actions.add_parser("declare", parents=[common], help="make every stream and bucket as this version wants")
    declare.add_argument("--replicas", type=int, choices=(1, 3, 5), default=3, help="servers that keep each")
    declare.add_argument("--wait", type=float, default=120.0, metavar="SECONDS", help="for a bus that is away")


def _cohort(command: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", parents=[common], help="embed photos of people here, and use their templates")
    build.add_argument("folder", type=Path, metavar="FOLDER", help="PERSON/PHOTO, or one photo of each person")
    actions.add_parser("show", parents=[common], help="how large it is, of which embedder, when it was built")
    actions.add_parser("remove", parents=[common], help="forget it")


def _notify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    actions = commands.add_parser("notify", help="who is told of alerts").add_subparsers(dest="action", required=True)
    test = actions.add_parser("test", parents=[common], help="send a person a marked test, and say what became of it")
    test.add_argument("person", metavar="PERSON", help="the key in the site file's section notify.people")
    test.add_argument("--via", default="", metavar="CHANNEL", help="by this alone: email, sms, webhook or other")
    explain = actions.add_parser("explain", parents=[common], help="who was told of an alert, and why not the others")
    explain.add_argument("reference", metavar="REFERENCE", help="as in the mail, for example K7Q-2MX")
    explain.add_argument("--json", action="store_true", help="as JSON")
    drill = commands.add_parser("drill", parents=[common], help="raise an exercise, and time it until a human answers")
    drill.add_argument("--category", default="", help="one of the site file's categories; by default its first")
    drill.add_argument("--camera", default="", metavar="ID", help="where nobody is seen; by default the first camera")
    drill.add_argument(
        "--wait", type=_at_least_one, default=600, metavar="SECONDS", help="for an answer; it exits 1 without one"
    )


def _canary(command: argparse.ArgumentParser) -> None:
    command.add_argument("--photo", type=Path, required=True, metavar="FILE", help="of one face, not the enrolled one")
    command.add_argument("--camera", required=True, metavar="ID", help="a whip: camera that is for this alone")
    command.add_argument("--token-env", required=True, metavar="NAME", help="variable that holds its bearer token")
    command.add_argument("--every", type=int, default=300, metavar="SECONDS", help="at least 120")
    command.add_argument("--whip", metavar="URL", help="where ingest takes video; by default that of this machine")
    command.add_argument("--ca", type=Path, metavar="FILE", help="certificate of the authority that signed ingest's")
    command.add_argument("--http", metavar="HOST:PORT", help="where to answer /metrics, /livez and /readyz")
    command.add_argument("--once", action="store_true", help="show once; it exits 1 unless the person was seen")


def _evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="PERSON/PHOTO, a flat folder, or a CSV alone")
    command.add_argument("--groups", type=Path, metavar="CSV", help="a column photo, and columns that are groups")
    command.add_argument("--enrol", metavar="COLUMN=VALUE", help="enrol only photos that have this value")
    command.add_argument(
        "--cohort", type=Path, metavar="FOLDER", help="photos of others; else some people are set aside"
    )
    command.add_argument("--gallery", type=_at_least_one, default=600, metavar="N", help="people to enrol at most")
    command.add_argument("--seed", type=int, default=1, metavar="S", help="who plays which part")
    command.add_argument("--out", type=Path, default=Path("evaluation"), metavar="DIR", help="where the report goes")


def _at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is expected, not {text!r}")
    return number


def _measure(arguments: argparse.Namespace) -> int:
    # What it computes with takes seconds to import, which no other command should pay.
    from aegis.cli.evaluation.command import evaluate  # noqa: PLC0415

    evaluate(arguments)
    return 0


async def _perform(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            return await up.up(up.prepare(arguments.config, State(arguments.state), until_done=arguments.until_done))
        case "check":
            up.check(arguments.file)
        case "cluster" if arguments.action == "declare":
            return await _until_told(cluster.declare(arguments))
        case "cluster":
            cluster.init(arguments) if arguments.action == "init" else cluster.edge(arguments)
        case "plan":
            plan.show(arguments)
        case "canary":
            # WebRTC and models take a second to import, too.
            from aegis.cli.canary import canary  # noqa: PLC0415

            return await _until_told(canary(arguments))
        case "demo":
            return await demo.demo(State(arguments.state), once=arguments.once, whip=arguments.whip)
        case "models":
            models.pull_models() if arguments.action == "pull" else models.verify_models()
        case command:
            await ASKING[command](arguments)
    return 0


async def _until_told(work: Coroutine[Any, Any, None]) -> int:
    """Do what runs alone in a container, whose first process ignores every signal that it does not handle."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    told, working = asyncio.create_task(stop.wait()), asyncio.create_task(work)
    await asyncio.wait({told, working}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        await tasks.end([told])
        await working
        return 0
    await tasks.end([working])
    return 128 + signal.SIGTERM


def main(words: Sequence[str] | None = None) -> None:
    """Run one command; exits 0, 1 when it could not be done, 2 when it was asked wrongly, or as a signal says."""
    arguments = parser().parse_args(words)
    logging.basicConfig(level=logging.CRITICAL)
    try:
        # An event loop would keep Ctrl-C from what computes for minutes.
        sys.exit(_measure(arguments) if arguments.command == "evaluate" else asyncio.run(_perform(arguments)))
    except CommandError as error:
        print(f"aegis: {error}", file=sys.stderr)
        sys.exit(error.code)
    except BusError as error:
        print(f"aegis: the bus refuses: {error}; is this the right key file?", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, BrokenPipeError):
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        sys.exit(130)
