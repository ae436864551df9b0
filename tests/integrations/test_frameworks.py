"""Every adapter in its real framework: a call, a picture, an error.

What is not installed is skipped, which CI does not allow: it installs all and sets LISA_TEST_FRAMEWORKS=1.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lisa_tool.errors import LisaError, MissingExtra
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from tests.cli.fakes import raising
from tests.integrations.frameworks import FRAMEWORKS, REQUIRED, Run
from tests.test_errors import RAISED
from tests.test_import import loaded_by

# A warning of a framework is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("swept")]


def runner(name: str) -> Callable[..., Run]:
    """Runs one framework; skips the test when it is not here."""
    module, run = FRAMEWORKS[name]
    top = module.split(".")[0]
    if not (importlib.util.find_spec(top) and importlib.util.find_spec(module)):
        assert not REQUIRED, f"{module} is not installed"
        pytest.skip(f"needs {module}: pip install 'lisa-tool[{name}]'")
    return run


@pytest.mark.skipif(not REQUIRED, reason="only where CI installs the group `frameworks`")
@pytest.mark.parametrize(
    "module",
    [
        "fastmcp",
        "langchain",
        "langchain_anthropic",
        "langchain_google_genai",
        "langchain_openai",
        "langgraph",
    ],
)
def test_what_other_tests_here_would_skip_without_is_installed(module: str) -> None:
    assert importlib.util.find_spec(module)


@pytest.fixture(params=FRAMEWORKS)
def ask(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Runs each framework."""
    return runner(request.param)


def test_the_model_reads_the_text_of_the_result(
    ask: Callable[..., Run], segmenter: LocalSegmenter, photo: str
) -> None:
    run = ask(segmenter, {"image": photo, "query": "what is red?"})
    assert run.end == "done"
    assert "Outcome: found. Image 120x80 px." in run.text
    assert "box x=10 y=10 w=20 h=30 px" in run.text
    assert run.pictures == []


def test_the_model_is_told_what_each_argument_is(
    ask: Callable[..., Run], segmenter: LocalSegmenter, photo: str
) -> None:
    described = ask(segmenter, {"image": photo, "query": "what is red?"}).described
    assert set(described) == {"query", "image", "explain", "conversation"}
    assert all(len(text) > 20 for text in described.values())


def test_the_model_sees_the_overlay_when_that_is_wanted(
    ask: Callable[..., Run], segmenter: LocalSegmenter, photo: str
) -> None:
    run = ask(segmenter, {"image": photo, "query": "what is red?"}, return_image="overlay")
    assert "Outcome: found." in run.text
    (picture,) = run.pictures
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("JPEG", (120, 80))


def test_a_follow_up_names_the_conversation_and_no_image(
    ask: Callable[..., Run], segmenter: LocalSegmenter, photo: str
) -> None:
    first = segmenter.segment(photo, "what is red?")
    run = ask(segmenter, {"query": "and what else?", "conversation": first.conversation_id})
    assert f"conversation {first.conversation_id}" in run.text


@pytest.mark.parametrize("error", RAISED)
def test_no_error_ends_the_run_and_each_says_what_to_do(
    error: type[LisaError], ask: Callable[..., Run], behaving: Callable[..., Any]
) -> None:
    failing = behaving(raising(error("it did not work")))
    run = ask(failing, {"image": "cup.png", "query": "red?"})
    assert run.end == "done"
    assert error("it did not work").to_text() in run.text


@pytest.mark.parametrize("name", ["pydantic-ai", "google-adk"])
def test_the_program_gets_the_json_beside_it(name: str, segmenter: LocalSegmenter, photo: str) -> None:
    run = runner(name)(segmenter, {"image": photo, "query": "what is red?"})
    assert Segmentation.model_validate(run.program).to_text() == run.text


def test_smolagents_code_works_with_the_result_and_with_a_pil_image(
    segmenter: LocalSegmenter, photo: str
) -> None:
    runner("smolagents")
    from smolagents import CodeAgent
    from smolagents.models import ChatMessage, MessageRole, Model
    from smolagents.monitoring import LogLevel

    from lisa_tool.integrations.smolagents import SegmentTool

    class Scripted(Model):
        def generate(self, messages: Any, **_: Any) -> ChatMessage:
            code = (
                "found = segment_image(query='what is red?', image=picture)\n"
                "print(found)\n"
                "final_answer([found['masks'][0]['box'], str(found)])"
            )
            return ChatMessage(role=MessageRole.ASSISTANT, content=f"<code>\n{code}\n</code>")

    agent = CodeAgent(
        tools=[SegmentTool(segmenter=segmenter)], model=Scripted(), verbosity_level=LogLevel.OFF
    )
    with Image.open(photo) as picture:
        box, text = agent.run("Where?", additional_args={"picture": picture})  # type: ignore[misc]
    assert box == {"x": 10, "y": 10, "width": 20, "height": 30}
    assert str(text).startswith("Outcome: found.")


def test_smolagents_keeps_few_overlays_where_nobody_shows_them(segmenter: LocalSegmenter, photo: str) -> None:
    runner("smolagents")
    from lisa_tool.integrations.smolagents import SHOWN, SegmentTool

    tool, step = SegmentTool(segmenter=segmenter), SimpleNamespace(observations_images=None)
    for _ in range(SHOWN + 2):
        tool(query="what is red?", image=photo)
    tool.show_overlay(step)
    assert len(step.observations_images) == SHOWN
    tool.show_overlay(step)
    assert len(step.observations_images) == SHOWN


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("langchain", "langchain_core"),
        ("langchain_middleware", "langchain"),
        ("llamaindex", "llama_index"),
        ("openai_agents", "agents"),
        ("pydantic_ai", "pydantic_ai"),
        ("google_adk", "google.adk"),
        ("smolagents", "smolagents"),
    ],
)
def test_without_its_framework_an_adapter_says_which_command_installs_it(
    name: str, framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [m for m in sys.modules if m == framework or m.startswith(f"{framework}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, framework, None)
    monkeypatch.delitem(sys.modules, f"lisa_tool.integrations.{name}", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'lisa-tool\[[a-z-]+\]'"):
        importlib.import_module(f"lisa_tool.integrations.{name}")


def test_the_package_of_adapters_imports_none_of_them() -> None:
    loaded = loaded_by("import lisa_tool.integrations")
    assert not {"langchain_core", "llama_index", "agents", "pydantic_ai", "google", "smolagents"} & loaded
