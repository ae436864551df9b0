"""`lisa-tool doctor`: its verdict, its exit code, and what it says to do first."""

import subprocess
import sys
from pathlib import Path

import pytest

from lisa_tool.cli import doctor
from lisa_tool.cli.checks import selftest
from lisa_tool.cli.checks.backends import BackendCheck
from lisa_tool.cli.checks.machine import Gpu
from lisa_tool.cli.checks.selftest import SelfTest
from lisa_tool.cli.doctor import Report
from lisa_tool.engine.machine import Memory
from tests.cli.runner import CommandLine

GIB = 2**30
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
    assert "'gpt' is no backend, no folder and no name on the hub" in ran.document["advice"]


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
    words = " ".join(ran.out.split())
    assert "did you mean LISA_MODEL?" in words
    assert "gone' of LISA_ROOTS does not exist" in words


def test_a_setting_that_is_not_the_default_says_where_it_comes_from(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__DEADLINE_S", "7")
    monkeypatch.setenv("LISA_LIMITS__CACHE_BYTES", "1048576")
    words = " ".join(cli("doctor", "--quick").out.split())
    assert words.count("[set in") == 2
    assert "DEADLINE_S 7 one call from arrival to answer, seconds [set in the environment]" in words
    assert "CACHE_BYTES 1 MiB image embeddings kept in memory [set in the environment]" in words


def test_the_report_fits_a_terminal_of_eighty_columns(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("folder-" * 12)
    monkeypatch.setenv("LISA_ROOTS", str(long))
    report = cli("doctor", "--quick").out
    assert str(long) in report  # a path is not broken
    assert [line for line in report.splitlines()[:-1] if len(line) > 80 and str(tmp_path) not in line] == []
    assert [line for line in cli("doctor", "--model", "13b").out.splitlines()[:-1] if len(line) > 80] == []


# LISA checkpoints


@pytest.fixture
def twelve_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose GPU has 12 GiB, all of it free."""
    monkeypatch.setattr(doctor, "gpus", lambda: [Gpu("NVIDIA GeForce RTX 3060", 12 * GIB, 12 * GIB, "550")])


@pytest.mark.usefixtures("twelve_gigabytes")
def test_the_table_of_a_model_says_what_fits_and_ends_with_the_command_that_uses_it(cli: CommandLine) -> None:
    ran = cli("doctor", "--model", "13b")
    rows = {
        line.split("  ")[1]: line.split() for line in ran.out.splitlines() if line.endswith(("fits", "no"))
    }
    assert {precision: row[-1] for precision, row in rows.items()} == {
        "fp32": "no",
        "bf16, fp16": "no",
        "int8": "no",
        "nf4": "fits",
    }
    assert rows["nf4"][-3:] == ["12", "GB", "fits"]
    weights, *others, total = map(float, rows["nf4"][1:6])
    assert total == pytest.approx(weights + sum(others), abs=0.2)  # each rounded to a tenth
    assert "NVIDIA GeForce RTX 3060, 12.0 GiB free" in ran.out
    assert ran.code == 0
    assert last_line(ran.out).endswith("--model xinlai/LISA-13B-llama2-v1 --precision nf4")


@pytest.mark.usefixtures("twelve_gigabytes")
def test_json_of_a_model_has_every_precision_in_bytes(cli: CommandLine) -> None:
    document = cli("doctor", "--model", "13b", "--json").document
    assert document["model"] == "xinlai/LISA-13B-llama2-v1"
    assert document["here"] == {"device": "cuda", "name": "NVIDIA GeForce RTX 3060", "free_bytes": 12 * GIB}
    fits = {fit["precision"]: fit for fit in document["fits"]}
    assert list(fits) == ["fp32", "bf16", "fp16", "int8", "nf4"]
    need = fits["nf4"]["need"]
    parts = ("weights", "kv", "activations", "runtime")
    assert sum(need[part] for part in parts) == fits["nf4"]["total_bytes"]
    assert (fits["nf4"]["fits"], fits["int8"]["fits"]) == (True, False)


@pytest.mark.usefixtures("twelve_gigabytes")
def test_settings_that_need_more_memory_show_in_the_table(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__MAX_NEW_TOKENS", "3000")
    assert cli("doctor", "--model", "13b", "--json").document["advice"].startswith("xinlai/LISA-13B")


def test_a_model_that_fits_nowhere_here_ends_with_what_would_hold_it(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "gpus", lambda: [Gpu("small", 8 * GIB, 8 * GIB, "550")])
    ran = cli("doctor", "--model", "13b")
    assert ran.code == 5
    assert "a GPU of 12 GB" in last_line(ran.out)


def test_a_machine_that_does_not_tell_its_memory_gets_the_table_without_a_verdict(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "gpus", list)
    monkeypatch.setattr(doctor, "memory", lambda: Memory(None, None))
    ran = cli("doctor", "--model", "7b")
    assert (ran.code, last_line(ran.out)) == (0, "this system does not tell how much memory is free")
    assert "24 GB          not told" in ran.out


def test_a_model_whose_sizes_are_not_known_is_an_error_with_the_names_that_are(cli: CommandLine) -> None:
    ran = cli("doctor", "--model", "gpt", "--json")
    assert (ran.code, ran.error["code"]) == (5, "unknown_model")
    assert "xinlai/LISA-7B-v1" in ran.error["hint"]


@pytest.mark.usefixtures("twelve_gigabytes")
@pytest.mark.parametrize(
    ("precision", "works", "advice"),
    [
        ("nf4", True, "everything works, without the self-test"),
        ("auto", True, "everything works, without the self-test"),
        ("bf16", False, "--precision nf4"),
    ],
)
def test_a_checkpoint_in_the_settings_works_when_its_precision_fits(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, precision: str, works: bool, advice: str
) -> None:
    monkeypatch.setattr(doctor, "all_backends", lambda: [WORKS, BackendCheck("lisa", True, "works")])
    monkeypatch.delattr(selftest, "self_test")  # it would load, or even fetch, the checkpoint
    monkeypatch.setenv("LISA_MODEL", "xinlai/LISA-13B-llama2-v1")
    monkeypatch.setenv("LISA_PRECISION", precision)
    report = cli("doctor", "--json").document
    assert report["works"] is works
    assert advice in report["advice"]
    assert any("self-test is left out" in note for note in report["notes"])


def test_a_checkpoint_in_the_settings_needs_the_packages_of_lisa(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lisa = BackendCheck("lisa", False, "not installed: torch", "pip install 'lisa-tool[lisa]'")
    monkeypatch.setattr(doctor, "all_backends", lambda: [WORKS, lisa])
    monkeypatch.setenv("LISA_MODEL", "somebody/LISA-fork")
    ran = cli("doctor")
    assert ran.code == 5
    assert last_line(ran.out) == (
        "not working: lisa: not installed: torch; run: pip install 'lisa-tool[lisa]'"
    )


@pytest.mark.usefixtures("twelve_gigabytes")
@pytest.mark.parametrize(("precision", "code"), [("nf4", 5), ("int8", 5), ("fp16", 0)])
def test_a_quantised_precision_needs_bitsandbytes_too(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, precision: str, code: int
) -> None:
    lisa = BackendCheck("lisa", True, "works, but", "pip install 'lisa-tool[quant]'")
    monkeypatch.setattr(doctor, "all_backends", lambda: [WORKS, lisa])
    monkeypatch.setenv("LISA_MODEL", "somebody/LISA-fork")
    monkeypatch.setenv("LISA_PRECISION", precision)
    ran = cli("doctor")
    assert ran.code == code
    assert ("run: pip install 'lisa-tool[quant]'" in last_line(ran.out)) == (code == 5)


def test_a_checkpoint_on_the_hub_whose_sizes_are_not_known_yet_is_no_problem(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "all_backends", lambda: [WORKS, BackendCheck("lisa", True, "works")])
    monkeypatch.setenv("LISA_MODEL", "somebody/LISA-fork")
    assert cli("doctor").code == 0


def test_a_folder_in_the_settings_that_holds_no_checkpoint_is_not_working(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "all_backends", lambda: [WORKS, BackendCheck("lisa", True, "works")])
    monkeypatch.setenv("LISA_MODEL", str(tmp_path))
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert "no config.json" in ran.document["advice"]


def test_the_doctor_loads_no_torch() -> None:
    code = (
        "import sys; from lisa_tool.cli import main; main(['doctor', '--quick']); "
        "main(['doctor', '--model', '7b']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
