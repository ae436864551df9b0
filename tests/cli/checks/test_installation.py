import importlib.metadata

import pytest

from lisa_tool.cli.checks import installation

REQUIREMENTS = [
    "numpy>=1.26",
    "pydantic<3,>=2.7",
    'pillow>=13; python_version >= "3.11"',
    'no-such-runtime>=1.20; extra == "lite"',
    'numpy; extra == "lite"',
    "no-such-server; extra == 'server'",
    'pytest>=8; extra == "test"',
    'lisa-tool[lite,server]; extra == "all"',
]


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIREMENTS)


def test_the_base_packages_are_those_without_an_extra() -> None:
    found = installation.base_packages()
    assert list(found) == ["numpy", "pydantic", "pillow"]
    assert all(found.values())


def test_an_extra_lists_what_is_missing_and_the_command_that_installs_it() -> None:
    extras = {extra.name: extra for extra in installation.extras()}
    assert extras["lite"].missing == ["no-such-runtime"]
    assert extras["lite"].install == "pip install 'lisa-tool[lite]'"
    assert extras["test"].missing == []


def test_an_extra_of_extras_needs_what_they_need() -> None:
    extras = {extra.name: extra for extra in installation.extras()}
    assert list(extras["all"].packages) == ["no-such-runtime", "numpy", "no-such-server"]


def test_a_folder_that_is_not_installed_has_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", not_installed)
    assert installation.extras() == []
    assert installation.base_packages() == {}
