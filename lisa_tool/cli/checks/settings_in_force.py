"""The settings in force, where each comes from, and names that look like settings but are not."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lisa_tool.settings import Limits, Settings, config_path, unknown_variables


@dataclass(frozen=True)
class Setting:
    """One setting: its environment variable, its value as JSON, where that comes from, what it is for."""

    variable: str
    value: Any
    source: str
    meaning: str


def settings_in_force(settings: Settings) -> list[Setting]:
    """All settings but the limits."""
    values = settings.model_dump(mode="json", exclude={"limits"})
    return [
        Setting(
            f"LISA_{name.upper()}", value, _source((name,)), Settings.model_fields[name].description or ""
        )
        for name, value in values.items()
    ]


def limits_in_force(limits: Limits) -> list[Setting]:
    """Every bound."""
    return [
        Setting(
            f"LISA_LIMITS__{name.upper()}",
            value,
            _source(("limits", name)),
            Limits.model_fields[name].description or "",
        )
        for name, value in limits.model_dump(mode="json").items()
    ]


def unknown_names() -> list[str]:
    """A sentence for each environment variable and config key that no setting answers to."""
    unknown = {name: f"environment variable {name}" for name in unknown_variables()}
    for key in _config_file().keys() - Settings.model_fields.keys():
        unknown.setdefault(f"LISA_{key.upper()}", f"{key!r} in {config_path()}")
    return [_unknown_name(name, what) for name, what in sorted(unknown.items())]


def _unknown_name(name: str, what: str) -> str:
    known = [f"LISA_{known.upper()}" for known in Settings.model_fields]
    near = difflib.get_close_matches(name.upper(), known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{what} is not a setting of this version and has no effect{meant}"


def _source(path: tuple[str, ...]) -> str:
    """Where the value at `path` comes from, the strongest source first."""
    environment = _environment()
    variable = "LISA_" + "__".join(path).upper()
    if environment.get(variable):
        return f"environment {variable}"
    group = "LISA_" + path[0].upper()  # LISA_LIMITS='{"max_side": 99}'
    if len(path) > 1 and _holds(_json(environment.get(group, "")), path[1:]):
        return f"environment {group}"
    return f"config file {config_path()}" if _holds(_config_file(), path) else "default"


def _holds(table: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(table, Mapping) or key not in table:
            return False
        table = table[key]
    return True


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _environment() -> dict[str, str]:
    return {name.upper(): value for name, value in os.environ.items()}


def _config_file() -> dict[str, Any]:
    """The config file as it stands; a broken one is reported by `load_settings`."""
    try:
        return tomllib.loads(config_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
