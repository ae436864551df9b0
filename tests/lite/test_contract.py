from __future__ import annotations

from pathlib import Path

import pytest

from lisa_tool.images import ImageReference
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.segmenter import Segmenter
from tests.contract import SegmenterContract


class TestLite(SegmenterContract):
    @pytest.fixture
    def segmenter(self, lite: LocalSegmenter) -> Segmenter:
        return lite

    @pytest.fixture
    def photo(self, coffee: Path) -> ImageReference:
        return coffee

    @pytest.fixture
    def question(self) -> str:
        return "what would you drink from?"
