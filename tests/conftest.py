"""Fixtures for all tests: nothing of the user's environment, home or working directory reaches a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lisa_tool.settings import Settings, load_settings
from tests.cli.runner import CommandLine

if TYPE_CHECKING:
    from lisa_tool.pipeline import LocalSegmenter

PHOTOS = Path(__file__).parents[1] / "lisa_tool" / "eval" / "photos"

pytest.register_assert_rewrite("tests.contract")


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `LISA_*` variable, and a home that is empty."""
    for name in [name for name in os.environ if name.startswith("LISA_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Images are read from `tmp_path`, results go to `tmp_path/results`."""
    return load_settings(roots=(tmp_path,), output_dir=tmp_path / "results")


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSegmenter]:
    """The embedded default, loaded once for all tests; it reads the photos of the benchmark."""
    from lisa_tool.pipeline import LocalSegmenter
    from lisa_tool.segmenter import open_segmenter

    pytest.importorskip("lisa_tool_lite", reason="needs the weights: pip install ./packages/lisa-tool-lite")
    settings = load_settings(roots=(PHOTOS,), output_dir=tmp_path_factory.mktemp("results"))
    with open_segmenter(settings) as segmenter:
        assert isinstance(segmenter, LocalSegmenter)
        yield segmenter


@pytest.fixture
def coffee() -> Path:
    """A photo of a cup of coffee with a spoon on a wooden table."""
    return PHOTOS / "coffee.jpg"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Calls `lisa-tool` in this process: `cli("segment", "photo.jpg", "the dog", "--json")`."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def lite_cli(lite: LocalSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lisa-tool segment` and `chat` meet lite loaded already; everything around the model is their own."""

    from lisa_tool.pipeline import LocalSegmenter
    from lisa_tool.segmenter import Segmenter, open_segmenter

    def open_shared(settings: Settings) -> Segmenter:
        if settings.model != "lite":
            return open_segmenter(settings)
        shared = LocalSegmenter(lite._backend, settings)
        monkeypatch.setattr(shared, "close", lambda: None)
        return shared

    for command in ("segment", "chat"):
        monkeypatch.setattr(f"lisa_tool.cli.{command}.open_segmenter", open_shared)
