"""The weight files are the ones that the manifest names, and small enough to ship."""

import hashlib

import lisa_tool_lite
import pytest

from lisa_tool.errors import WeightsCorrupt
from lisa_tool.lite import matching, open_lite, sessions
from lisa_tool.lite.embedder import SentenceEmbedder

MAX_BYTES = 85_000_000  # all files together; package indexes refuse a distribution of more than 100 MB


@pytest.mark.parametrize("name", sorted(lisa_tool_lite.manifest()))
def test_weight_file_is_the_one_in_the_manifest(name):
    content = lisa_tool_lite.weight_path(name).read_bytes()

    expected = lisa_tool_lite.manifest()[name]
    assert len(content) == expected["bytes"]
    assert hashlib.sha256(content).hexdigest() == expected["sha256"]


def test_every_weight_file_is_in_the_manifest():
    folder = lisa_tool_lite.weight_path("detector.onnx").parent

    assert {path.name for path in folder.iterdir()} == set(lisa_tool_lite.manifest())


def test_all_weights_together_fit_the_budget():
    assert sum(entry["bytes"] for entry in lisa_tool_lite.manifest().values()) <= MAX_BYTES


def test_notice_names_every_file_with_its_size_and_checksum():
    notice = lisa_tool_lite.weight_path("detector.onnx").parents[2].joinpath("NOTICE")
    if not notice.exists():
        pytest.skip("lisa-tool-lite is installed as a wheel: its NOTICE is in the metadata")

    text = notice.read_text("utf-8")
    manifest = lisa_tool_lite.manifest()
    parts = {part.partition("\n")[0]: part for part in text.split("\n\n")}
    for name, entry in manifest.items():
        assert f"  file     {entry['bytes']} bytes, sha256 {entry['sha256']}" in parts[name]


def test_unknown_weight_file_is_a_key_error_that_lists_the_known():
    with pytest.raises(KeyError, match=r"detector\.onnx"):
        lisa_tool_lite.weight_path("no.onnx")


def test_a_cut_weight_file_is_reported_before_it_is_opened(tmp_path, monkeypatch):
    cut = tmp_path / "detector.onnx"
    cut.write_bytes(b"only the start")
    monkeypatch.setattr(lisa_tool_lite, "weight_path", lambda name: cut)

    with pytest.raises(WeightsCorrupt, match="14 bytes instead of"):
        sessions.Session("detector.onnx")


@pytest.fixture
def damage(tmp_path, monkeypatch):
    """Puts a copy in the place of a weight file: as large as that, and with another beginning."""
    weight_path = lisa_tool_lite.weight_path

    def put(name):
        content = weight_path(name).read_bytes()
        copy = tmp_path / name
        copy.write_bytes(b"\xff" * 1000 + content[1000:])
        monkeypatch.setattr(lisa_tool_lite, "weight_path", lambda n: copy if n == name else weight_path(n))

    return put


@pytest.mark.parametrize("name", sorted(n for n in lisa_tool_lite.manifest() if n.endswith(".onnx")))
def test_a_network_damaged_at_the_same_size_is_corrupt(damage, name):
    damage(name)

    with pytest.raises(WeightsCorrupt, match=rf"{name}' is damaged"):
        sessions.Session(name)


def test_a_damaged_tokenizer_is_corrupt(damage):
    damage("sentence_tokenizer.json")

    with pytest.raises(WeightsCorrupt, match="sentence_tokenizer"):
        SentenceEmbedder()


def test_damaged_knowledge_is_corrupt_and_not_an_internal_error(damage, settings):
    damage("knowledge.npz")
    matching.load_vectors.cache_clear()

    with pytest.raises(WeightsCorrupt, match=r"knowledge\.npz' is damaged"), open_lite(settings) as segmenter:
        _ = segmenter._backend._matcher


def test_an_error_while_an_intact_file_is_read_stays_what_it_is():
    with pytest.raises(ZeroDivisionError), sessions.damage_reported("imagenet_labels.txt"):
        _ = 1 / 0
