import os
import stat
import sys
from pathlib import Path

import pytest

from lisa_tool.cli.checks.machine import Gpu, cores, gpus, output_folder, parse_gpus
from lisa_tool.engine import machine
from lisa_tool.engine.machine import Memory, parse_meminfo

GIB = 2**30


def test_memory_is_read_from_meminfo_in_bytes() -> None:
    text = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\nHugePages_Total:       0\n\n"
    assert parse_meminfo(text) == Memory(total=16 * 2**20, available=8 * 2**20)


def test_memory_that_the_system_does_not_tell_is_unknown() -> None:
    assert parse_meminfo("") == Memory(None, None)


MIB = 2**20
V2 = {"limit": "memory.max", "usage": "memory.current"}
V1 = {"limit": "memory.limit_in_bytes", "usage": "memory.usage_in_bytes"}


def put(folder: Path, names: dict[str, str], limit: str | int, usage: int, stat: str = "") -> None:
    """A control group as the kernel shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names["limit"]).write_text(f"{limit}\n")
    (folder / names["usage"]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(stat)


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the control groups are seen; there is none yet, and the process is in one of version 2."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text("0::/\n")
    return tmp_path / "cgroup"


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
class TestInAContainer:
    def test_its_limit_counts_less_what_it_uses_already(self, cgroups: Path) -> None:
        unlimited = machine.memory()
        put(cgroups, V2, 8 * MIB, 3 * MIB)
        assert machine.memory() == Memory(8 * MIB, 5 * MIB)
        put(cgroups, V2, "max", 3 * MIB)
        assert machine.memory().total == unlimited.total

    def test_files_that_it_has_read_are_no_use_of_memory(self, cgroups: Path) -> None:
        put(cgroups, V2, 8 * MIB, 8 * MIB, f"anon {MIB}\nactive_file {2 * MIB}\ninactive_file {3 * MIB}\n")
        assert machine.memory() == Memory(8 * MIB, 5 * MIB)

    def test_more_in_use_than_the_limit_leaves_nothing(self, cgroups: Path) -> None:
        put(cgroups, V2, 2 * MIB, 3 * MIB)
        assert machine.memory() == Memory(2 * MIB, 0)

    def test_the_process_own_group_and_those_around_it_count(self, cgroups: Path, tmp_path: Path) -> None:
        (tmp_path / "own").write_text("0::/pod/app\n")
        put(cgroups / "pod", V2, 9 * MIB, 8 * MIB)
        put(cgroups / "pod" / "app", V2, 4 * MIB, MIB)
        assert machine.memory() == Memory(4 * MIB, MIB)

    @pytest.mark.parametrize("path", ["/docker/0123", "/../outside", "/d\u00f6cker"])
    def test_a_path_that_is_not_seen_here_means_the_outermost_group(
        self, cgroups: Path, tmp_path: Path, path: str
    ) -> None:
        (tmp_path / "own").write_text(f"0::{path}\n", "utf-8")
        put(cgroups, V2, 4 * MIB, MIB)
        put(cgroups / ".." / "outside", V2, 1, 0)
        assert machine.memory() == Memory(4 * MIB, 3 * MIB)

    def test_version_1_says_the_same_in_other_words(self, cgroups: Path, tmp_path: Path) -> None:
        (tmp_path / "own").write_text("12:cpu,cpuacct:/\n9:memory:/docker/a:b\n0::/\n")
        put(cgroups / "memory", V1, 2**63 - 4096, 20 * GIB)
        put(cgroups / "memory" / "docker" / "a:b", V1, 8 * MIB, 2 * MIB)
        assert machine.memory() == Memory(8 * MIB, 6 * MIB)


def test_gpus_are_read_from_nvidia_smi() -> None:
    text = "NVIDIA GeForce RTX 3060, 12288, 11000, 550.54.14\nNVIDIA H200, 143771, 143000, 570.1\n"
    assert parse_gpus(text) == [
        Gpu("NVIDIA GeForce RTX 3060", 12 * GIB, 11000 * 2**20, "550.54.14"),
        Gpu("NVIDIA H200", 143771 * 2**20, 143000 * 2**20, "570.1"),
    ]


@pytest.mark.parametrize("text", ["", "No devices were found\n", "NVIDIA GB10, [N/A], [N/A], 580.1\n"])
def test_a_driver_without_a_gpu_gives_none(text: str) -> None:
    assert parse_gpus(text) == []


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for nvidia-smi")
@pytest.mark.parametrize(
    ("script", "found"), [("echo 'A, 1024, 512, 1.0'", 1), ("echo 'A, 1024, 512, 1'; exit 9", 0)]
)
def test_nvidia_smi_is_asked_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: int
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(gpus()) == found


def test_a_machine_without_nvidia_smi_has_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


def test_at_least_one_core_works() -> None:
    assert cores() >= 1


def test_looking_at_the_output_folder_does_not_create_it(tmp_path: Path) -> None:
    found = output_folder(tmp_path / "a" / "b", 0)
    assert (found.exists, found.problem) == (False, None)
    assert found.free is not None
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_an_output_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    found = output_folder(tmp_path, 0)
    assert (found.exists, found.problem) == (True, None)
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_an_output_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = output_folder(tmp_path / "file" / "results", 0)
    assert found.problem is not None
    assert "file' cannot be written: Not a directory" in found.problem


def test_a_full_disk_is_a_problem_before_anything_is_written(tmp_path: Path) -> None:
    found = output_folder(tmp_path, 2**62)
    assert found.problem is not None
    assert "MiB are free" in found.problem
