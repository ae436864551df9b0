"""A folder of red things, and a segmenter that finds them: fast, and real from the reference to the files."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from tests.cli.fakes import FakeSegmenter
from tests.red import RedBackend, red_photo

CUP, BALL = (10, 10, 20, 30), (70, 50, 25, 25)


@pytest.fixture(scope="module")
def swept() -> Iterator[None]:
    """What frameworks forget to close is collected before other tests, whose fault it would seem, begin."""
    yield
    gc.collect()


@pytest.fixture
def backend() -> RedBackend:
    return RedBackend()


@pytest.fixture
def segmenter(backend: RedBackend, settings: Settings) -> LocalSegmenter:
    return LocalSegmenter(backend, settings)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """The path of a photo with one red thing."""
    path = tmp_path / "cup.png"
    red_photo(CUP).save(path)
    return str(path)


@pytest.fixture
def other_photo(tmp_path: Path) -> str:
    """The path of a photo with two red things."""
    path = tmp_path / "two.png"
    red_photo(CUP, BALL).save(path)
    return str(path)


@pytest.fixture
def behaving(settings: Settings) -> Callable[[Callable[..., Segmentation]], Any]:
    """Makes a segmenter that does what a function does, with the test's settings."""

    def make(behave: Callable[..., Segmentation]) -> FakeSegmenter:
        fake = FakeSegmenter(behave)
        fake.settings = settings  # type: ignore[attr-defined]
        return fake

    return make
