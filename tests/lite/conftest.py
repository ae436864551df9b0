"""The heavier parts of `lite`, made once for all tests in this folder."""

from __future__ import annotations

import pytest

from lisa_tool.lite.matching import Matcher


@pytest.fixture(scope="session")
def matcher() -> Matcher:
    return Matcher()
