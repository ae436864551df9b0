"""The weight files are the ones that the manifest names, and small enough to ship."""

import hashlib

import lisa_tool_lite
import pytest

from lisa_tool.errors import WeightsCorrupt
from lisa_tool.lite import sessions

MAX_BYTES = 85_000_000  # all files together; package indexes refuse a distribution of more than 100 MB
OWN = {"knowledge.npz"}  # made from this project's own text


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


def test_notice_names_every_file_and_the_checksum_of_those_by_others():
    notice = lisa_tool_lite.weight_path("detector.onnx").parents[2].joinpath("NOTICE")
    if not notice.exists():
        pytest.skip("lisa-tool-lite is installed as a wheel: its NOTICE is in the metadata")

    text = notice.read_text("utf-8")
    manifest = lisa_tool_lite.manifest()
    assert [name for name in manifest if f"\n{name}\n" not in text] == []
    assert [name for name in manifest.keys() - OWN if manifest[name]["sha256"] not in text] == []


def test_unknown_weight_file_is_a_key_error_that_lists_the_known():
    with pytest.raises(KeyError, match=r"detector\.onnx"):
        lisa_tool_lite.weight_path("no.onnx")


def test_a_cut_weight_file_is_reported_before_it_is_opened(tmp_path, monkeypatch):
    cut = tmp_path / "detector.onnx"
    cut.write_bytes(b"only the start")
    monkeypatch.setattr(lisa_tool_lite, "weight_path", lambda name: cut)

    with pytest.raises(WeightsCorrupt, match="14 bytes instead of"):
        sessions.Session("detector.onnx")
