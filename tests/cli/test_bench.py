import json
from pathlib import Path

import pytest

from tests.cli.runner import CommandLine
from tests.cli.test_eval import without

pytestmark = pytest.mark.slow

TIMED = ("bench", "timed", "--size", "small", "--tokens", "3,1,3", "--also", "none")


@pytest.fixture
def torch_is_there() -> None:
    for module in ("torch", "transformers", "segment_anything"):
        pytest.importorskip(module, reason="needs the extra: pip install 'lisa-tool[lisa]'")


@pytest.mark.usefixtures("torch_is_there")
def test_the_last_line_is_the_document_that_json_prints(cli: CommandLine) -> None:
    shown, asked = cli(*TIMED), cli(*TIMED, "--json")
    assert shown.code == asked.code == 0
    last = json.loads(shown.out.splitlines()[-1])
    for document in (last, asked.document):
        assert document["flops"] == {}
        assert [answer["tokens"] for answer in document["timed"]["answers"]] == [1, 3]
        assert [stages["precision"] for stages in document["timed"]["stages"]] == ["fp32"]
        assert document["machine"]["threads"] == 1
    assert "Answers of a random small in fp32" in shown.out


@pytest.mark.usefixtures("torch_is_there")
def test_counting_alone_makes_no_model(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lisa_tool.eval.bench.random_model", lambda *_: pytest.fail("made"))
    monkeypatch.setattr("lisa_tool.eval.bench.COUNTED_SIZES", ("small",))
    ran = cli("bench", "counted", "--json")
    assert (ran.code, ran.document["timed"], list(ran.document["flops"])) == (0, None, ["small"])


@pytest.mark.usefixtures("torch_is_there")
def test_answers_that_differ_are_said_in_words_and_in_the_exit_code(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lisa_tool.eval.stopwatch.Agreement.holds", lambda self, dtype: False)
    ran = cli(*TIMED)
    assert ran.code == 1
    assert "THE ANSWERS DIFFER" in ran.out
    assert json.loads(ran.out.splitlines()[-1])["timed"]["same_answer"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tokens", "0"], "'0' is not a whole number from 1"),
        (["--tokens", "1,x"], "'x' is not a whole number from 1"),
        (["--also", "bf16,fp7"], "'fp7' is not one of fp32, bf16, fp16, int8, nf4"),
        (["--size", "9b"], "invalid choice: '9b'"),
        (["everything"], "invalid choice: 'everything'"),
        (["--threads", "0"], "'0' is not a whole number from 1"),
    ],
)
def test_mistakes_are_usage_errors(cli: CommandLine, words: list[str], said: str) -> None:
    ran = cli("bench", *words, "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert said in ran.error["message"]


@pytest.mark.usefixtures("torch_is_there")
@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_a_device_that_is_not_there_is_said_so(cli: CommandLine, device: str) -> None:
    ran = cli("bench", "timed", "--device", device, "--json")
    assert (ran.code, ran.error["code"]) == (2, "bad_settings")


def test_a_part_that_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    code, error = without("torch", "bench", tmp=tmp_path)
    assert (code, error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lisa]'" in error["message"]
