"""`lisa-tool doctor`: its verdict, its exit code, and what it says to do first."""

from pathlib import Path

import pytest

from lisa_tool.cli import doctor
from lisa_tool.cli.checks import selftest
from lisa_tool.cli.checks.backends import BackendCheck
from lisa_tool.cli.checks.selftest import SelfTest
from lisa_tool.cli.doctor import Report
from tests.cli.runner import CommandLine

WORKS = BackendCheck("lite", True, "works")
BROKEN = BackendCheck("lite", False, "weight file a.onnx is damaged", "pip install --force-reinstall x")


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where everything works, until a test breaks something."""
    monkeypatch.setattr(doctor, "all_backends", lambda: [WORKS])
    monkeypatch.setattr(selftest, "self_test", lambda settings, progress: SelfTest(True, "passed"))


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def test_a_healthy_installation_ends_with_everything_works(cli: CommandLine) -> None:
    ran = cli("doctor")
    assert (ran.code, last_line(ran.out)) == (0, "everything works")
    assert "Self-test\n  passed" in ran.out


def test_json_holds_every_part_of_the_report(cli: CommandLine) -> None:
    ran = cli("doctor", "--json")
    assert ran.code == 0
    assert set(ran.document) == set(Report.__dataclass_fields__)
    assert (ran.document["works"], ran.document["advice"]) == (True, "everything works")
    assert {"lisa-tool", "python", "platform"} <= set(ran.document["versions"])


def test_quick_leaves_the_self_test_out(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(selftest, "self_test")
    ran = cli("doctor", "--quick", "--json")
    assert (ran.code, ran.document["self_test"]) == (0, None)
    assert ran.document["advice"] == "everything works, without the self-test"


def test_a_broken_backend_is_what_to_repair_first(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "all_backends", lambda: [BROKEN])
    monkeypatch.delattr(selftest, "self_test")  # it could only fail for the same reason
    ran = cli("doctor")
    assert ran.code == 5
    assert last_line(ran.out) == (
        "not working: lite: weight file a.onnx is damaged; run: pip install --force-reinstall x"
    )


def test_a_failed_self_test_is_not_working(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "self_test", lambda settings, progress: SelfTest(False, "FAILED: IoU 0.10"))
    ran = cli("doctor", "--json")
    assert (ran.code, ran.document["works"]) == (5, False)
    assert ran.document["self_test"]["summary"] == "FAILED: IoU 0.10"
    assert "pip install --force-reinstall" in ran.document["advice"]


def test_an_output_folder_that_cannot_be_written_is_not_working(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LISA_OUTPUT_DIR", str(tmp_path / "file" / "results"))
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert "results cannot be written" in ran.document["advice"]
    assert "LISA_OUTPUT_DIR" in ran.document["advice"]


def test_a_missing_package_of_the_base_install_comes_first(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "base_packages", lambda: {"numpy": "2.0", "gone": None})
    monkeypatch.delattr(selftest, "self_test")
    ran = cli("doctor")
    assert ran.code == 5
    assert last_line(ran.out) == "not working: not installed: gone; run: pip install gone"
    assert "gone MISSING" in ran.out


def test_a_model_that_does_not_exist_is_not_working(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_MODEL", "gpt")
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert "no backend is called 'gpt'" in ran.document["advice"]


def test_the_doctor_still_reports_when_the_settings_are_wrong(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__MAX_PIXELS", "many")
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert "LISA_LIMITS__MAX_PIXELS" in ran.document["advice"]
    assert ran.document["backends"]
    assert cli("doctor").code == 5


def test_settings_that_do_nothing_are_noted(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LISA_MODLE", "lite")
    monkeypatch.setenv("LISA_ROOTS", str(tmp_path / "gone"))
    ran = cli("doctor")
    assert ran.code == 0
    assert "did you mean LISA_MODEL?" in ran.out
    assert "gone' of LISA_ROOTS does not exist" in ran.out


def test_a_setting_that_is_not_the_default_says_where_it_comes_from(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__DEADLINE_S", "7")
    monkeypatch.setenv("LISA_LIMITS__CACHE_BYTES", "1048576")
    lines = cli("doctor", "--quick").out.splitlines()
    changed = [line.split() for line in lines if line.endswith("[set in the environment]")]
    assert [words[:2] for words in changed] == [["DEADLINE_S", "7"], ["CACHE_BYTES", "1"]]
