"""What is installed: versions, the extras of lisa-tool, and the command that adds a missing one."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9._-]+)\s*(?:\[(?P<extras>[^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Extra:
    """An optional part of lisa-tool and the packages it needs: name -> version, None when missing."""

    name: str
    packages: dict[str, str | None]
    install: str

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name, version in self.packages.items() if version is None]


def program_versions() -> dict[str, str]:
    """lisa-tool, Python and the platform."""
    return {
        "lisa-tool": package_version("lisa-tool") or "not installed, runs from a folder",
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def base_packages() -> dict[str, str | None]:
    """The packages of the base install -> version, None when missing."""
    return {name: package_version(name) for name in _by_extra(_requirements()).get("", [])}


def extras() -> list[Extra]:
    """The extras that the installed lisa-tool declares; none when it runs from a folder uninstalled."""
    return [
        Extra(
            name,
            {package: package_version(package) for package in packages},
            f"pip install 'lisa-tool[{name}]'",
        )
        for name, packages in sorted(_by_extra(_requirements()).items())
        if name
    ]


def package_version(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> list[str]:
    try:
        return importlib.metadata.requires("lisa-tool") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _by_extra(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Extra ('' for the base install) -> names of its packages.

    `lisa-tool[a,b]` inside an extra stands for the packages of those.
    """
    named: dict[str, list[str]] = {}
    included: dict[str, list[str]] = {}
    for line in requirements:
        found = _REQUIREMENT.match(line)
        if found is None:
            continue
        name = found["name"]
        for extra in _EXTRA.findall(line) or [""]:
            packages = named.setdefault(extra, [])
            if name == "lisa-tool":
                included.setdefault(extra, []).extend(
                    part.strip() for part in (found["extras"] or "").split(",")
                )
            elif name not in packages:
                packages.append(name)
    for extra, others in included.items():
        named[extra] = list(
            dict.fromkeys([*named[extra], *(p for other in others for p in named.get(other, []))])
        )
    return named
