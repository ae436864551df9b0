from __future__ import annotations

import os
from pathlib import Path

import pytest

from lisa_tool.errors import CheckpointInvalid, WeightsCorrupt
from lisa_tool.lisa.checkpoint.convert import convert_checkpoint
from lisa_tool.lisa.checkpoint.manifest import Manifest, read_manifest, verify, verify_once
from tests.lisa.checkpoint.checkpoints import NANO, Waiting, copy_of, cut, edit_json, flip_a_bit

SHARD = "model-00001-of-00001.safetensors"
HASHED = "verifying the weights"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "nano"
    convert_checkpoint(NANO, target, work=Waiting())
    return target


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    """A converted checkpoint, to be damaged."""
    return copy_of(converted, tmp_path / "nano")


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    found = read_manifest(folder)
    assert found
    return found


def was_hashed(folder: Path, manifest: Manifest, stamps: Path) -> bool:
    """Whether `verify_once` read the files."""
    waiting = Waiting()
    verify_once(folder, manifest.files, stamps, waiting)
    return HASHED in waiting.stages


def test_a_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "{" * 100_000])
def test_a_manifest_that_cannot_be_read_is_an_error(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(CheckpointInvalid, match="manifest"):
        read_manifest(folder)


def test_a_bit_that_flipped_is_found_by_the_hash_and_both_hashes_are_told(
    folder: Path, manifest: Manifest
) -> None:
    flip_a_bit(folder / SHARD)
    verify(folder, manifest.files, hashes=False, work=Waiting())
    with pytest.raises(
        WeightsCorrupt, match=rf"its sha256 is [0-9a-f]{{64}}, it should be {manifest.files[SHARD].sha256}"
    ):
        verify(folder, manifest.files, hashes=True, work=Waiting())


def test_a_file_that_was_cut_off_is_found_by_its_size_alone(folder: Path, manifest: Manifest) -> None:
    cut(folder / SHARD)
    with pytest.raises(WeightsCorrupt, match=f"{SHARD} has .* bytes, it should have"):
        verify(folder, manifest.files, hashes=False, work=Waiting())


def test_a_file_that_is_missing_is_an_error(folder: Path, manifest: Manifest) -> None:
    (folder / "tokenizer.model").unlink()
    with pytest.raises(WeightsCorrupt, match=r"tokenizer\.model is missing"):
        verify(folder, manifest.files, hashes=False, work=Waiting())


def test_a_manifest_cannot_lead_out_of_its_folder(folder: Path) -> None:
    edit_json(
        folder / "manifest.json", lambda m: m["files"].update({"../x": {"sha256": "0" * 64, "bytes": 1}})
    )
    manifest = read_manifest(folder)
    assert manifest
    with pytest.raises(CheckpointInvalid, match="not in its folder"):
        verify(folder, manifest.files, hashes=False, work=Waiting())


def test_the_files_are_hashed_the_first_time_and_not_again(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    assert was_hashed(folder, manifest, tmp_path / "stamps")
    assert not was_hashed(folder, manifest, tmp_path / "stamps")


def test_a_file_that_changed_since_is_hashed_again(folder: Path, manifest: Manifest, tmp_path: Path) -> None:
    verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())
    flip_a_bit(folder / SHARD)
    with pytest.raises(WeightsCorrupt, match="damaged"):
        verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())


def test_a_change_that_hides_its_time_is_hashed_again(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())
    before = (folder / SHARD).stat()
    flip_a_bit(folder / SHARD)
    os.utime(folder / SHARD, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(WeightsCorrupt, match="damaged"):
        verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())


def test_a_verified_folder_that_was_moved_is_verified_anew(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())
    folder.rename(tmp_path / "moved")
    assert was_hashed(tmp_path / "moved", manifest, tmp_path / "stamps")


def test_damage_is_found_each_time_and_never_remembered(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    flip_a_bit(folder / SHARD)
    for _ in range(2):
        with pytest.raises(WeightsCorrupt):
            verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())


@pytest.mark.parametrize("stamp", ["", "[", '{"weights_sha256": 1}'])
def test_a_stamp_that_cannot_be_read_counts_for_nothing(
    folder: Path, manifest: Manifest, tmp_path: Path, stamp: str
) -> None:
    verify_once(folder, manifest.files, tmp_path / "stamps", Waiting())
    for path in (tmp_path / "stamps").iterdir():
        path.write_text(stamp, "utf-8")
    assert was_hashed(folder, manifest, tmp_path / "stamps")


def test_where_nothing_can_be_remembered_the_files_are_hashed_each_time(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "stamps").write_text("a file in the way", "utf-8")
    assert was_hashed(folder, manifest, tmp_path / "stamps")
    assert was_hashed(folder, manifest, tmp_path / "stamps")
