"""The way from a command line to one reply, whatever happens on the way."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lisa_tool
from lisa_tool.cli import COMMANDS, HELP
from lisa_tool.errors import LisaError
from tests.cli.fakes import answering, install, raising
from tests.cli.runner import CommandLine

RUN = [sys.executable, "-c", "import sys; from lisa_tool.cli import main; sys.exit(main())"]


@pytest.fixture
def environment() -> dict[str, str]:
    """For a process of its own: it finds lisa_tool whether or not it is installed."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_shows_every_command_and_an_example_of_it(cli: CommandLine, words: list[str]) -> None:
    ran = cli(*words)
    assert ran.code == 0
    for command in COMMANDS:
        assert f"lisa-tool {command}" in ran.out


def test_every_example_in_the_help_is_a_command_line_that_parses() -> None:
    lines = [line.strip() for line in HELP.splitlines() if re.match(r"  (lisa-tool|curl) ", line)]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line[line.index("lisa-tool") :])
        importlib.import_module(f"lisa_tool.cli.{words[1]}").parser().parse_intermixed_args(words[2:])


def test_every_environment_variable_in_the_help_is_a_setting() -> None:
    known = {f"LISA_{name.upper()}" for name in lisa_tool.Settings.model_fields} | {"LISA_CONFIG"}
    known |= {f"LISA_LIMITS__{name.upper()}" for name in lisa_tool.Limits.model_fields}
    assert set(re.findall(r"LISA_[A-Z_]*[A-Z]", HELP)) <= known | {"LISA_LIMITS"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_own_help(cli: CommandLine, command: str) -> None:
    ran = cli(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"usage: lisa-tool {command}" in ran.out
    assert "--json" in ran.out


def test_help_and_version_are_json_on_request(cli: CommandLine) -> None:
    assert list(cli("--help", "--json").document) == ["help"]
    assert list(cli("segment", "--json", "--help").document) == ["help"]
    assert cli("--version", "--json").document == {"version": lisa_tool.__version__}
    assert cli("--version").out == f"lisa-tool {lisa_tool.__version__}\n"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["segmnt", "a.jpg", "the dog"], "Did you mean: lisa-tool segment"),
        (["photo.jpg", "the dog"], "lisa-tool segment photo.jpg QUERY"),
        (["frobnicate"], "segment, chat, images, doctor"),
        (["--json", "segment"], "Options come after it"),
        (["segment"], "usage: lisa-tool segment"),
        (["segment", "a.jpg"], "usage: lisa-tool segment"),
        (["segment", "a.jpg", "the dog", "--frob"], "usage: lisa-tool segment"),
        (["segment", "a.jpg", "the dog", "--deadline", "nan"], "usage: lisa-tool segment"),
        (["segment", "a.jpg", "the dog", "--deadline", "0"], "usage: lisa-tool segment"),
        (["segment", "a.jpg", "the dog", "--allow", "/no/such/folder"], "usage: lisa-tool segment"),
        (["images", "--limit", "0"], "usage: lisa-tool images"),
        (["images", "a", "b"], "usage: lisa-tool images"),
        (["doctor", "now"], "usage: lisa-tool doctor"),
        (["eval"], "usage: lisa-tool eval"),
        (["eval", "gpt"], "usage: lisa-tool eval"),
    ],
)
def test_wrong_usage_says_what_to_type_instead(cli: CommandLine, words: list[str], advice: str) -> None:
    as_text = cli(*words)
    assert (as_text.code, as_text.out) == (2, "" if "--json" not in words else as_text.out)
    as_json = cli(*words, "--json")
    assert (as_json.code, as_json.err) == (2, "")
    assert as_json.error["code"] == "usage"
    assert advice in as_json.error["hint"]


def test_json_after_a_double_dash_is_part_of_the_question(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def behave(**options: object) -> lisa_tool.Segmentation:
        asked.append(options["query"])
        return answering()()

    install(monkeypatch, behave)
    ran = cli("segment", "photo.jpg", "--", "what", "is", "--json")
    assert (ran.code, asked) == (0, ["what is --json"])
    assert ran.out.startswith("found")


def test_a_bug_is_an_internal_error_whose_details_are_only_in_the_log(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, raising(ZeroDivisionError("secret detail")))
    ran = cli("segment", "photo.jpg", "the dog", "--json")
    assert ran.code == 1
    assert ran.error["code"] == "internal_error"
    assert "secret detail" not in ran.out
    error_id = ran.error["message"].removeprefix("internal error ")
    assert error_id in caplog.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [(MemoryError(), 6, "out_of_memory"), (KeyboardInterrupt(), 130, "cancelled")],
)
def test_no_memory_and_ctrl_c_are_errors_like_any_other(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, name: str
) -> None:
    install(monkeypatch, raising(error))
    ran = cli("segment", "photo.jpg", "the dog", "--json")
    assert (ran.code, ran.error["code"]) == (code, name)


def test_what_a_library_prints_does_not_reach_the_json_document(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatty(**options: object) -> lisa_tool.Segmentation:
        print("downloading...")
        return answering()()

    install(monkeypatch, chatty)
    ran = cli("segment", "photo.jpg", "the dog", "--json")
    assert ran.document["outcome"] == "found"
    assert "downloading..." in ran.err


def test_an_error_for_a_person_goes_to_standard_error_with_its_hint(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, raising(lisa_tool.ServerBusy("3 callers wait", "Wait.")))
    ran = cli("segment", "photo.jpg", "the dog")
    assert (ran.code, ran.out) == (6, "")
    assert ran.err == "lisa-tool: 3 callers wait.\n  Wait.\n"


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["segment", "--help"], ["images"], ["doctor", "--quick"], ["nonsense"]],
)
def test_no_model_runtime_is_imported_without_a_question(
    tmp_path: Path, environment: dict[str, str], words: list[str]
) -> None:
    code = (
        "import sys; from lisa_tool.cli import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'onnxruntime', 'transformers', 'mcp', 'cv2'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_help_needs_nothing_but_the_standard_library(tmp_path: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys; from lisa_tool.cli import main; main(['--help']);"
        "sys.exit(str({'pydantic', 'PIL', 'numpy'} & set(sys.modules) or 0).replace('0', ''))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.stderr.strip() == ""


def test_a_reader_that_closes_early_is_no_error(tmp_path: Path, environment: dict[str, str]) -> None:
    ran = subprocess.Popen(
        [*RUN, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment
    )
    assert ran.stdout and ran.stderr
    ran.stdout.close()  # long before the child has started Python
    assert ran.wait(30) == 0
    assert ran.stderr.read() == b""
    ran.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_an_output_error(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [*RUN, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
    assert ran.returncode == 4
    assert "No space left" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_json_stays_valid_where_the_output_holds_only_ascii(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    code = (
        "import sys, tests.cli.fakes as fakes, lisa_tool.cli.segment as command;"
        "from lisa_tool.cli import main;"
        "command.open_segmenter = lambda s: fakes.FakeSegmenter(fakes.answering(answer='a café table'));"
        "sys.exit(main(sys.argv[1:]))"
    )
    environment["PYTHONIOENCODING"] = "ascii"
    for words, check in ((["--json"], json.loads), ([], str)):
        ran = subprocess.run(
            [sys.executable, "-c", code, "segment", "a.jpg", "the table", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="ascii",
        )
        assert ran.returncode == 0, ran.stderr
        assert "caf" in str(check(ran.stdout))


def test_errors_keep_their_json_form_on_the_command_line(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    error: LisaError = lisa_tool.ServerBusy("3 callers wait", "Wait.")
    install(monkeypatch, raising(error))
    assert cli("segment", "a.jpg", "the dog", "--json").error == error.to_dict()
