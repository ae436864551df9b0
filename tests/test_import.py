from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lisa_tool
from lisa_tool import errors

HEAVY = {
    "torch", "transformers", "onnxruntime", "mcp", "langchain_core", "cv2", "PIL", "numpy",
    "pydantic", "requests", "httpx",
}  # fmt: skip

PUBLIC = {
    "BackendError", "BadSettings", "Box", "CallError", "Cancelled", "CheckpointInvalid",
    "CheckpointNotFound", "CheckpointUnsupported", "ConversationNotFound", "DeadlineExceeded", "DeviceFailed",
    "DownloadFailed", "Evidence", "ImageError", "ImageInfo", "ImageNotFound", "ImageShapeUnsupported",
    "ImageTooLarge", "ImageUnreadable", "InternalError", "InvalidQuery", "Limits", "LisaError", "Mask",
    "MissingExtra", "ModelInfo", "ModelTooLarge", "NotFinite", "OutOfMemory", "OutputError", "OutputFull",
    "OutputNotWritable", "PathNotAllowed", "Point", "Progress", "ResultNotFound", "Segmentation",
    "Segmenter", "ServerBusy", "Settings", "Timings", "UnknownModel", "UnsafeWeights", "UrlFetchFailed",
    "UrlNotAllowed", "WeightsCorrupt", "__version__", "list_images", "load_settings", "open_segmenter",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_importing_the_package_imports_nothing_else() -> None:
    assert not HEAVY & loaded_by("import lisa_tool")


def test_an_error_can_be_caught_without_the_rest() -> None:
    assert not HEAVY & loaded_by("from lisa_tool import LisaError, ServerBusy")


def test_opening_nothing_yet_loads_no_model_library() -> None:
    loaded = loaded_by("from lisa_tool import open_segmenter, load_settings, Segmentation, list_images")
    assert not {"torch", "transformers", "onnxruntime", "mcp", "requests", "httpx"} & loaded


@pytest.mark.parametrize("module", ["store", "images", "cli.images", "cli.doctor", "cli.eval", "lite"])
def test_what_measures_no_mask_works_without_opencv(module: str) -> None:
    loaded = loaded_by(f"import sys; sys.modules['cv2'] = None; import lisa_tool.{module}")
    assert "onnxruntime" not in loaded


def test_the_public_names_are_pinned() -> None:
    assert set(lisa_tool.__all__) == PUBLIC
    assert len(lisa_tool.__all__) == len(PUBLIC)
    assert set(dir(lisa_tool)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_can_be_imported(name: str) -> None:
    value = getattr(lisa_tool, name)
    assert getattr(value, "__name__", name) == name


def test_every_error_is_public() -> None:
    names = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert names <= PUBLIC


def test_the_names_for_type_checkers_are_the_names_at_run_time() -> None:
    source = Path(lisa_tool.__file__).read_text(encoding="utf-8")
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) == PUBLIC - {"__version__"}
    for name, module in seen.items():
        assert getattr(lisa_tool, name) is getattr(sys.modules[str(module)], name)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segmentt'"):
        _ = getattr(lisa_tool, "segment" + "t")


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(lisa_tool.__file__).with_name("py.typed").exists()
