import hashlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

from lisa_tool.cli.checks import backends
from lisa_tool.cli.checks.backends import all_backends, backend_of, check_lisa, check_lite, damaged_files


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


def test_lisa_without_its_packages_names_them_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_LISA_MODULES", {"json": "json", "no_a": "no-a", "no_b": "no-b"})
    check = check_lisa()
    assert (check.works, check.status) == (False, "not installed: no-a, no-b")
    assert check.remedy == "pip install 'lisa-tool[lisa]'"


def test_lisa_works_without_bitsandbytes_and_says_what_that_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "_LISA_MODULES", {"json": "json"})
    monkeypatch.setattr(backends, "_QUANT_MODULES", {"no_such_module": "bitsandbytes"})
    check = check_lisa()
    assert check.works
    assert "int8 and nf4 need bitsandbytes" in check.status
    assert check.remedy == "pip install 'lisa-tool[quant]'"
    monkeypatch.setattr(backends, "_QUANT_MODULES", {"json": "json"})
    assert (check_lisa().works, check_lisa().remedy) == (True, "")


def test_looking_at_lisa_imports_nothing_of_it() -> None:
    code = (
        "import sys; from lisa_tool.cli.checks.backends import check_lisa; check_lisa(); "
        "sys.exit(bool({'torch', 'transformers', 'segment_anything', 'bitsandbytes'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_remote_backend_is_named_as_one_of_a_later_version() -> None:
    assert [(b.name, b.works) for b in all_backends()[2:]] == [("remote", False)]
    assert all_backends()[2].status == "not in this version"


@pytest.mark.parametrize(
    ("model", "backend"),
    [
        ("lite", "lite"),
        ("remote", "remote"),
        ("xinlai/LISA-7B-v1", "lisa"),
        (".", "lisa"),
        ("/", "lisa"),
        ("gpt", None),
        ("a/b/c", None),
        ("/no/such/folder", None),
        ("../x", None),
        ("https://example.org/x", None),
        ("x\0y", None),
        ("", None),
        ("~no-such-user/x", None),
        ("x" * 5000, None),
    ],
)
def test_a_model_is_a_backend_or_else_a_folder_or_a_name_on_the_hub(model: str, backend: str | None) -> None:
    assert backend_of(model) == backend


def test_no_file_is_damaged_in_an_empty_list() -> None:
    assert damaged_files({}, {}) == []
