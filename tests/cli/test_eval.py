import argparse
import sys
import types

import pytest

from tests.cli.runner import CommandLine


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
