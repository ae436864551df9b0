"""What is shipped and what is written about it agree: versions, files, pins, links, licences."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lisa_tool
import lisa_tool.cli
from lisa_tool.cli.checks.installation import base_packages, extras
from lisa_tool.settings import MIB, Limits

ROOT = Path(__file__).parents[1]
LITE = ROOT / "packages" / "lisa-tool-lite"
DOCUMENTS = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *LITE.glob("*.md"),
        *ROOT.glob("lisa_tool/**/*.md"),
    ]
    if not {".venv", "remade"} & set(path.parts)
)


def project(folder: Path) -> dict[str, Any]:
    """pyproject.toml of a distribution."""
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))


def requirements() -> list[Requirement]:
    """Everything that CI installs: what users need, the extras, the groups, what builds."""
    mine, lite = project(ROOT), project(LITE)
    lines = [
        *mine["project"]["dependencies"],
        *(line for extra in mine["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in mine["dependency-groups"].values() for line in group),
        *mine["build-system"]["requires"],
        *lite["project"]["dependencies"],
        *lite["build-system"]["requires"],
    ]
    return [Requirement(line) for line in lines]


def pins() -> dict[str, str]:
    """constraints.txt as package -> version."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


# Versions


def test_the_version_is_the_same_everywhere() -> None:
    version = project(ROOT)["project"]["version"]
    assert lisa_tool.__version__ == version
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)[0] == version
    assert "## [Unreleased]" in changelog


def test_the_version_of_the_weights_is_the_same_everywhere_and_one_that_lite_takes() -> None:
    import lisa_tool_lite

    version = project(LITE)["project"]["version"]
    assert lisa_tool_lite.__version__ == version
    (wanted,) = (r for r in requirements() if r.name == "lisa-tool-lite")
    assert wanted.specifier.contains(version)


def test_the_installed_command_is_the_one_that_is_declared() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="lisa-tool")
    assert script.value == project(ROOT)["project"]["scripts"]["lisa-tool"]
    assert script.load() is lisa_tool.cli.main


def test_the_doctor_knows_every_package_and_extra_that_is_declared() -> None:
    declared = project(ROOT)["project"]
    assert set(base_packages()) == {Requirement(line).name for line in declared["dependencies"]}
    assert {extra.name: set(extra.packages) for extra in extras()} == {
        name: {Requirement(line).name for line in lines}
        for name, lines in declared["optional-dependencies"].items()
    }


# Pins


def test_everything_that_is_installed_for_tests_is_pinned_within_its_range() -> None:
    pinned = pins() | {"lisa-tool-lite": project(LITE)["project"]["version"]}  # ours, from this folder
    for wanted in requirements():
        version = pinned.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} has no pin in constraints.txt"
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted} does not allow {version}"


# Files


@pytest.mark.parametrize("folder", [ROOT, LITE], ids=["lisa-tool", "lisa-tool-lite"])
def test_each_package_is_typed_and_has_its_licence(folder: Path) -> None:
    declared = project(folder)["project"]
    package = folder / declared["name"].replace("-", "_")
    assert (package / "py.typed").is_file()
    assert declared["license"] == "Apache-2.0"
    for name in declared["license-files"]:
        assert (folder / name).is_file()
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in (folder / "LICENSE").read_text(
        "utf-8"
    )
    assert (folder / declared["readme"]).is_file()


def test_the_wheel_holds_all_data_of_the_package_and_no_rubbish(tmp_path: Path) -> None:
    listed = wheel_files(ROOT)
    data = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "lisa_tool").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert data <= listed
    from_the_top = {"lisa_tool/mcp_server.py"}  # stands at the top of the repository
    assert {name for name in listed - data if ".dist-info/" not in name} == from_the_top
    kinds = {Path(name).suffix for name in data}
    assert {".py", ".typed", ".txt", ".json", ".jpg", ".png", ".md"} == kinds
    assert sum((ROOT / name).stat().st_size for name in data) < 8_000_000


def test_the_wheel_of_the_weights_holds_every_weight_file() -> None:
    import lisa_tool_lite

    listed = wheel_files(LITE)
    assert {f"lisa_tool_lite/weights/{name}" for name in lisa_tool_lite.manifest()} <= listed
    assert "lisa_tool_lite/manifest.json" in listed


def wheel_files(folder: Path) -> set[str]:
    """The files of a distribution that hatchling would pack, without packing them."""
    script = (
        "import sys; from hatchling.builders.wheel import WheelBuilder\n"
        "print(*(f.distribution_path for f in WheelBuilder(sys.argv[1]).recurse_included_files()), sep='\\n')"
    )
    run = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines())


def test_every_photo_has_its_source_and_licence() -> None:
    photos = ROOT / "lisa_tool" / "eval" / "photos"
    sources = (photos / "SOURCES.md").read_text("utf-8")
    for path in photos.glob("*.jpg"):
        row = re.search(rf"^\| {re.escape(path.name)} \|(.*)$", sources, re.MULTILINE)
        assert row, f"{path.name} is not in SOURCES.md"
        assert re.search(r"public domain|CC0|CC-BY-4\.0|MIT|BSD-3-Clause", row[1])
        if "CC-BY" in row[1]:  # its licence wants the author named wherever it goes
            assert path.name in (ROOT / "NOTICE").read_text("utf-8")


def test_the_notice_leads_to_where_weights_and_photos_come_from() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    for path in (
        "packages/lisa-tool-lite/NOTICE",
        "lisa_tool/eval/photos/SOURCES.md",
        "docs/images/demo.jpg",
    ):
        assert path in notice
        assert (ROOT / path).is_file()


# Documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path) if path else document
        assert found.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in anchors(found), f"{document.name} links to {target}"


def anchors(document: Path) -> set[str]:
    """The anchors that a forge makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_promise_names_tests_that_exist() -> None:
    security = (ROOT / "SECURITY.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z]-\d+) \| ([^|]+) \| (.*) \|$", security, re.MULTILINE)
    assert len(rows) >= 15
    assert len({id_ for id_, _, _ in rows}) == len(rows)
    for id_, _, cell in rows:
        tests = re.findall(r"`(tests/[^`:]+)::(\w+)`", cell)
        assert tests, id_
        for path, name in tests:
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{id_}: {path}::{name}"


def test_the_threat_model_lists_every_limit_with_its_default() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    expected = {}
    for name, value in Limits().model_dump().items():
        expected[name] = f"{value // MIB} MiB" if name.endswith("_bytes") else f"{value:.12g}"
    assert rows == expected


def test_every_make_target_of_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:`|^    )make ([a-z]+)", document.read_text("utf-8"), re.MULTILINE))
        assert named <= targets, document.name
