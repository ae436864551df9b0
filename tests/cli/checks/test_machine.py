import os
import stat
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


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_LIMITS", (limit,))
    unlimited = machine.memory()
    limit.write_text("1048576\n")
    assert machine.memory() == Memory(2**20, 2**20)
    limit.write_text("max\n")
    assert machine.memory().total == unlimited.total


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
