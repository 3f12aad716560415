from pathlib import Path

import pytest

from aegis.runtime.model_sources import verify
from aegis.runtime.models import ModelCard, ModelCardError, UrlSource, WheelSource, load_cards

OWN = """
id = "arcface-own"
task = "embed"
file = "arcface.onnx"
bytes = 1000
sha256 = "%s"
licence = "Apache-2.0"
notice = "Ours."
rgb = false
mean = 127.5
std = 128
size = 112
dimension = 512
template_version = "arcface-own.1"

[[sources]]
kind = "url"
address = "https://models.example/arcface.onnx"

[[sources]]
kind = "wheel"
distribution = "some-faces"
version = "1.0"
member = "some_faces/arcface.onnx"
""" % ("ab" * 32)


@pytest.mark.parametrize("name", ["yunet-2023mar", "sface-2021dec"])
def test_a_shipped_card_describes_the_file_in_the_models_directory(
    cards: dict[str, ModelCard], models_dir: Path, name: str
) -> None:
    path = verify(cards[name], models_dir)
    assert path.stat().st_size == cards[name].bytes


def test_every_shipped_card_can_be_had_from_the_official_source_first(cards: dict[str, ModelCard]) -> None:
    for card in cards.values():
        official, *others = card.sources
        assert isinstance(official, UrlSource)
        assert official.address.startswith("https://github.com/opencv/opencv_zoo/")
        assert others
        assert card.licence in ("MIT", "Apache-2.0")


def test_a_site_adds_its_own_embedder(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "README").write_text("not a card")
    cards = load_cards(tmp_path)
    own = cards["arcface-own"]
    assert set(cards) == {"arcface-own", "yunet-2023mar", "sface-2021dec"}
    assert (own.rgb, own.mean, own.std, own.dimension) == (False, 127.5, 128.0, 512)
    assert own.sources == (
        UrlSource(address="https://models.example/arcface.onnx"),
        WheelSource(distribution="some-faces", version="1.0", member="some_faces/arcface.onnx"),
    )


def test_a_card_may_have_no_source(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN[: OWN.index("[[sources]]")])
    assert load_cards(tmp_path)["arcface-own"].sources == ()


@pytest.mark.parametrize(
    ("good", "bad", "field"),
    [
        ('task = "embed"', 'task = "guess"', "task"),
        ('task = "embed"', 'task = "detect"', "rgb"),
        ('file = "arcface.onnx"', 'file = "../arcface.onnx"', "file"),
        ("bytes = 1000", "bytes = 0", "bytes"),
        ("bytes = 1000", "bytes = true", "bytes"),
        ("ab" * 32, "AB" * 32, "sha256"),
        ("ab" * 32, "ab", "sha256"),
        ('notice = "Ours."', "", "notice"),
        ("rgb = false", "rgb = 0", "rgb"),
        ("mean = 127.5", "mean = nan", "mean"),
        ("std = 128", "std = 0", "std"),
        ("size = 112", "size = 160", "size"),
        ("dimension = 512", 'dimension = "512"', "dimension"),
        ("dimension = 512", "dimension = 512\nscale = 2", "scale"),
        ("https://models", "file://models", "sources[1].address"),
        ("https://models", "https://me:secret@models", "sources[1].address"),
        ("https://models.example", "https://[", "sources[1].address"),
        ('kind = "url"', 'kind = "ftp"', "sources[1].kind"),
        ('"some-faces"', '"--index-url=https://elsewhere.example"', "sources[2].distribution"),
        ('version = "1.0"', 'version = "1.0 --pre"', "sources[2].version"),
        ('version = "1.0"', "", "sources[2].version"),
        ("some_faces/", "../", "sources[2].member"),
        ('kind = "wheel"', 'kind = "wheel"\nhash = "x"', "sources[2].hash"),
        ('id = "arcface-own"', 'id = "sface-2021dec"', "id"),
        ('"arcface.onnx"', '"face_recognition_sface_2021dec.onnx"', "file"),
        ("rgb = false", "rgb = ", "file"),
    ],
)
def test_a_bad_card_is_refused_with_its_file_and_field(tmp_path: Path, good: str, bad: str, field: str) -> None:
    assert good in OWN
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(good, bad))
    with pytest.raises(ModelCardError) as caught:
        load_cards(tmp_path)
    assert (caught.value.file, caught.value.field) == (path, field)
    assert str(caught.value).startswith(f"{path}: {field}: ")


def test_a_directory_of_cards_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelCardError, match="does not exist"):
        load_cards(tmp_path / "cards")
