"""packages/langchain-lisa: the same objects under the name of a LangChain integration."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import langchain_lisa
import pytest
from langchain_core.messages import AIMessage

import lisa_tool
from lisa_tool.integrations import _common as common
from lisa_tool.integrations import langchain
from lisa_tool.pipeline import LocalSegmenter
from tests.integrations.scripted import ScriptedModel, calls
from tests.red import RedBackend
from tests.test_import import loaded_by

FOLDER = Path(__file__).parents[2] / "packages" / "langchain-lisa"
README = (FOLDER / "README.md").read_text("utf-8")


def test_its_names_are_those_of_lisa_tool() -> None:
    assert set(langchain_lisa.__all__) == {*langchain.__all__, "LisaMiddleware"}
    for name in langchain.__all__:
        assert getattr(langchain_lisa, name) is getattr(langchain, name)


def test_importing_it_imports_no_agent_framework() -> None:
    assert not {"langchain", "langgraph", "torch", "onnxruntime", "mcp"} & loaded_by("import langchain_lisa")


def test_a_name_that_it_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LisaTool'"):
        _ = getattr(langchain_lisa, "Lisa" + "Tool")


def test_it_has_the_version_of_lisa_tool() -> None:
    declared = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]
    assert declared["version"] == lisa_tool.__version__
    minor = lisa_tool.__version__.rpartition(".")[0]
    assert declared["dependencies"] == [f"lisa-tool[langchain]>={minor},<0.{int(minor.split('.')[1]) + 1}"]


def test_its_readme_has_the_sections_of_the_ecosystem() -> None:
    assert re.findall(r"^## (\w+)", README, re.MULTILINE)[:4] == [
        "Overview", "Setup", "Instantiation", "Invocation",
    ]  # fmt: skip
    assert re.search(r"^## API reference$", README, re.MULTILINE)


def test_its_readme_has_no_link_that_is_dead_on_a_package_index() -> None:
    assert not re.findall(r"\]\((?!https://)", README)


def test_the_snippets_of_its_readme_run(photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain", reason="needs langchain: pip install 'lisa-tool[langchain-agent]'")
    (tmp_path / "photos").mkdir()
    shutil.copy(photo, tmp_path / "photos" / "coffee.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "open_segmenter", lambda wanted: LocalSegmenter(RedBackend(), wanted))
    ask = calls({"image": "photos/coffee.jpg", "query": "the cup"})
    names: dict[str, Any] = {"model": ScriptedModel(script=[ask, AIMessage("There it is.")])}
    for text in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        exec(compile(text, "langchain-lisa/README.md", "exec"), names)
    assert names["answer"]["messages"][-1].content == "There it is."
    assert names["message"].artifact["outcome"] == "found"
