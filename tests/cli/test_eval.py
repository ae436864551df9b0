import argparse
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.cli.runner import CommandLine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("words", "split", "as_json"),
    [([], "all", False), (["--split", "held", "--json"], "held", True), (["--split", "dev"], "dev", False)],
)
def test_eval_hands_its_options_to_the_measurement_and_json_is_one_document(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, words: list[str], split: str, as_json: bool
) -> None:
    seen: list[argparse.Namespace] = []

    def measure(args: argparse.Namespace) -> int:
        seen.append(args)
        print("group  right")
        print('{"accuracy": 1}')
        return 0

    fake = types.ModuleType("lisa_tool.eval.lite")
    fake.main = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lisa_tool.eval.lite", fake)
    package = types.ModuleType("lisa_tool.eval")
    package.lite = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lisa_tool.eval", package)
    ran = cli("eval", "lite", *words)
    assert ran.code == 0
    if as_json:
        assert ran.document == {"accuracy": 1}
    else:
        assert ran.out == 'group  right\n{"accuracy": 1}\n'
    assert (seen[0].split, seen[0].json) == (split, as_json)


@pytest.mark.parametrize("what", ["lite", "speed"])
@pytest.mark.parametrize("missing", ["cv2", "onnxruntime", "tokenizers", "lisa_tool_lite"])
def test_a_part_that_is_not_installed_is_named_with_the_command_that_installs_it(
    what: str, missing: str, tmp_path: Path
) -> None:
    code, error = without(missing, "eval", what, tmp=tmp_path)
    assert (code, error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lite]'" in error["message"]


@pytest.mark.parametrize("missing", ["cv2", "onnxruntime", "tokenizers", "lisa_tool_lite"])
def test_segment_too_names_what_is_not_installed(missing: str, tmp_path: Path, coffee: Path) -> None:
    code, error = without(missing, "segment", str(coffee), "the cup", tmp=tmp_path)
    assert (code, error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lite]'" in error["message"]


def without(module: str, *words: str, tmp: Path) -> tuple[int, dict[str, str]]:
    """Exit code and error of `lisa-tool WORDS --json` in a process where `module` cannot be found."""
    script = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == sys.argv[1]:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from lisa_tool.cli import main\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", script, module, *words, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp)
    assert "Traceback" not in ran.stderr
    error: dict[str, str] = json.loads(ran.stdout)["error"]
    return ran.returncode, error


@pytest.mark.parametrize("repeat", ["0", "-1", "x"])
def test_a_repeat_that_is_no_count_is_a_usage_error(cli: CommandLine, repeat: str) -> None:
    ran = cli("eval", "speed", "--repeat", repeat, "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert "whole number from 1" in ran.error["message"]
    assert "lisa-tool eval lite|speed|parity FOLDER" in ran.error["hint"]
