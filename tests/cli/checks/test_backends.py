import hashlib
import sys
import types
from pathlib import Path

import pytest

from lisa_tool.cli.checks import backends
from lisa_tool.cli.checks.backends import all_backends, check_lite, damaged_files


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small weights package of two files that takes the place of the real one."""
    contents = {"a.onnx": b"aaaa", "b.onnx": b"bbbb"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    package = types.ModuleType("lisa_tool_lite")
    package.manifest = lambda: {  # type: ignore[attr-defined]
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": 4} for name, data in contents.items()
    }
    package.weight_path = lambda name: tmp_path / name  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lisa_tool_lite", package)
    monkeypatch.setattr(backends, "_LITE_MODULES", {"json": "json"})
    return tmp_path


def test_lite_works_when_every_weight_file_has_its_checksum(weights: Path) -> None:
    check = check_lite()
    assert (check.works, check.remedy) == (True, "")
    assert "2 weight files" in check.status


def test_a_changed_byte_in_a_weight_file_is_found_and_the_remedy_named(weights: Path) -> None:
    (weights / "b.onnx").write_bytes(b"bbbX")
    check = check_lite()
    assert not check.works
    assert "b.onnx is damaged" in check.status
    assert "a.onnx" not in check.status
    assert check.remedy.startswith("pip install --force-reinstall")


def test_a_weight_file_that_is_gone_is_found(weights: Path) -> None:
    (weights / "a.onnx").unlink()
    check = check_lite()
    assert not check.works
    assert "a.onnx cannot be read: No such file" in check.status


def test_lite_without_its_packages_names_the_command(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_LITE_MODULES", {"json": "json", "no_such_module": "no-such-package"})
    check = check_lite()
    assert (check.works, check.status) == (False, "not installed: no-such-package")
    assert check.remedy == "pip install 'lisa-tool[lite]'"


def test_backends_of_later_versions_are_named_as_such() -> None:
    assert [(b.name, b.works, b.status) for b in all_backends()[1:]] == [
        ("lisa", False, "not in this version"),
        ("remote", False, "not in this version"),
    ]


def test_no_file_is_damaged_in_an_empty_list() -> None:
    assert damaged_files({}, {}) == []
