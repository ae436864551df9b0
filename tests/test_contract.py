from __future__ import annotations

from pathlib import Path

import pytest

from lisa_tool.images import ImageReference
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings
from tests.contract import SegmenterContract
from tests.red import RedBackend, red_photo


class TestRed(SegmenterContract):
    @pytest.fixture
    def segmenter(self, settings: Settings) -> Segmenter:
        return LocalSegmenter(RedBackend(), settings)

    @pytest.fixture
    def photo(self, tmp_path: Path) -> ImageReference:
        path = tmp_path / "photo.png"
        red_photo((10, 10, 20, 30), (70, 40, 25, 25)).save(path)
        return path

    @pytest.fixture
    def question(self) -> str:
        return "what is red?"
