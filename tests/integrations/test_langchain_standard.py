"""LangChain's own tests of a tool, on the real tool with the real embedded default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from lisa_tool.integrations.langchain import LisaSegmentTool
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import load_settings
from tests.conftest import PHOTOS

ARGUMENTS = {"image": str(PHOTOS / "coffee.jpg"), "query": "what would you drink from?"}


class OnLite:
    """The tool as these tests make it."""

    segmenter: LocalSegmenter

    @pytest.fixture(autouse=True)
    def _lite(self, lite: LocalSegmenter) -> None:
        type(self).segmenter = lite

    @property
    def tool_constructor(self) -> type[LisaSegmentTool]:
        return LisaSegmentTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"segmenter": self.segmenter}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return ARGUMENTS


class TestUnit(OnLite, ToolsUnitTests):
    """Construction, environment, name, schema."""

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        roots, results = PHOTOS.parent, Path(os.sep, "tmp", "masks")
        environment = {"LISA_ROOTS": str(roots), "LISA_OUTPUT_DIR": str(results), "LISA_MODEL": "lite"}
        return environment, {}, {"settings": load_settings(roots=(roots,), output_dir=results, model="lite")}


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:.*is marked with '@pytest.mark.asyncio' but")  # some of the tests are not
class TestIntegration(OnLite, ToolsIntegrationTests):
    """Calls: with and without a ToolCall, sync and async."""
