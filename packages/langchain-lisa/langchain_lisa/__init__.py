"""lisa-tool under the name that LangChain's integrations have: the same objects, nothing of its own.

    from langchain_lisa import LisaSegmentTool, LisaToolkit, LisaMiddleware

`LisaMiddleware` needs langchain, the others langchain-core only; it is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lisa_tool.integrations.langchain import (
    LisaListImagesTool,
    LisaSegmentTool,
    LisaToolkit,
    LisaViewResultTool,
)

if TYPE_CHECKING:
    from lisa_tool.integrations.langchain_middleware import LisaMiddleware

__all__ = ["LisaListImagesTool", "LisaMiddleware", "LisaSegmentTool", "LisaToolkit", "LisaViewResultTool"]

if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for public

    def __getattr__(name: str) -> object:
        if name != "LisaMiddleware":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module("lisa_tool.integrations.langchain_middleware").LisaMiddleware
