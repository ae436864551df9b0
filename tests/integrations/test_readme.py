"""The snippets of integrations/README.md run, and its table names what there is."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from lisa_tool.cli.checks.installation import extras
from lisa_tool.integrations import _common as common
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Settings
from tests.integrations.frameworks import REQUIRED
from tests.integrations.scripted import ScriptedModel, calls
from tests.red import RedBackend

FOLDER = Path(__file__).parents[2] / "integrations"
README = (FOLDER / "README.md").read_text("utf-8")
HEADINGS = {
    "LangChain": "langchain",
    "LlamaIndex": "llama_index.core",
    "OpenAI Agents": "agents",
    "Pydantic AI": "pydantic_ai",
    "Google ADK": "google.adk",
    "smolagents": "smolagents",
}
"""Heading -> the module that has to be there for its snippets."""


def snippets(heading: str) -> list[str]:
    """The Python blocks under a heading; "" is what stands before the first one."""
    parts = re.split(r"^## (.*)$", README, flags=re.MULTILINE)
    sections = dict(zip(["", *parts[1::2]], parts[0::2], strict=True))
    return re.findall(r"^```python\n(.*?)^```$", sections[heading], re.MULTILINE | re.DOTALL)


def model_for(heading: str) -> Any:
    """What the snippets call `model` or `llm`."""
    if heading == "LangChain":
        ask = calls({"image": "photos/coffee.jpg", "query": "the cup"})
        return ScriptedModel(script=[ask, AIMessage("There it is.")])
    if heading == "LlamaIndex":
        return importlib.import_module("llama_index.core.llms.mock").MockFunctionCallingLLM()
    if heading == "Pydantic AI":
        return "test"
    return importlib.import_module("smolagents").Model() if heading == "smolagents" else None


@pytest.mark.usefixtures("swept")
@pytest.mark.filterwarnings("default")  # a warning of a framework is not ours to mend
@pytest.mark.parametrize("heading", HEADINGS)
def test_every_snippet_runs(
    heading: str, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = HEADINGS[heading]
    if not (importlib.util.find_spec(module.split(".")[0]) and importlib.util.find_spec(module)):
        assert not REQUIRED
        pytest.skip(f"needs {module}")
    (tmp_path / "photos").mkdir()
    shutil.copy(photo, tmp_path / "photos" / "coffee.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "open_segmenter", lambda wanted: LocalSegmenter(RedBackend(), wanted))
    names: dict[str, Any] = {"model": model_for(heading), "llm": model_for(heading)}
    found = snippets(heading)
    assert found
    for text in [*snippets(""), *found]:
        exec(compile(text, "integrations/README.md", "exec"), names)
    assert isinstance(names["settings"], Settings)
    if heading == "LangChain":
        assert names["answer"]["messages"][-1].content == "There it is."
        assert names["message"].artifact["outcome"] == "found"
    else:
        assert names["agent"]


def test_there_are_snippets_for_every_section_and_no_others() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == list(HEADINGS)


def test_the_table_names_every_adapter() -> None:
    named = set(re.findall(r"`lisa_tool\.integrations\.(\w+)`", README))
    modules = {path.stem for path in FOLDER.glob("*.py") if not path.name.startswith("_")}
    assert named == modules - {"langchain_middleware"}


def test_every_extra_it_installs_exists() -> None:
    named = {name for group in re.findall(r"lisa-tool\[([a-z,-]+)\]", README) for name in group.split(",")}
    assert named <= {extra.name for extra in extras()}
