from pathlib import Path

import pytest

from lisa_tool.cli.checks.settings_in_force import (
    Setting,
    limits_in_force,
    settings_in_force,
    unknown_names,
)
from lisa_tool.settings import Limits, Settings, load_settings


def found(variable: str) -> Setting:
    settings = load_settings()
    everything = [*settings_in_force(settings), *limits_in_force(settings.limits)]
    return next(setting for setting in everything if setting.variable == variable)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('url_hosts = ["a.org"]\n[limits]\nmax_side = 99\n')
    monkeypatch.setenv("LISA_CONFIG", str(path))
    return path


def test_every_setting_and_every_limit_is_listed_with_its_meaning() -> None:
    settings = load_settings()
    listed = settings_in_force(settings)
    assert {s.variable for s in listed} == {
        f"LISA_{n.upper()}" for n in Settings.model_fields if n != "limits"
    }
    limits = limits_in_force(settings.limits)
    assert len(limits) == len(Limits.model_fields)
    assert all(s.meaning and s.source == "default" for s in [*listed, *limits])


def test_a_value_of_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_MODEL", "lite")
    monkeypatch.setenv("lisa_limits__max_pixels", "1000")
    assert found("LISA_MODEL").source == "environment LISA_MODEL"
    limit = found("LISA_LIMITS__MAX_PIXELS")
    assert (limit.value, limit.source) == (1000, "environment LISA_LIMITS__MAX_PIXELS")


def test_all_limits_may_come_from_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_LIMITS", '{"max_pixels": 1000}')
    limit = found("LISA_LIMITS__MAX_PIXELS")
    assert (limit.value, limit.source) == (1000, "environment LISA_LIMITS")
    assert found("LISA_LIMITS__MAX_SIDE").source == "default"


def test_an_empty_variable_is_not_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_MODEL", "")
    assert found("LISA_MODEL").source == "default"


def test_a_value_of_the_config_file_names_the_file(config: Path) -> None:
    assert found("LISA_URL_HOSTS").source == f"config file {config}"
    limit = found("LISA_LIMITS__MAX_SIDE")
    assert (limit.value, limit.source) == (99, f"config file {config}")
    assert found("LISA_LIMITS__MAX_PIXELS").source == "default"


def test_the_environment_wins_over_the_config_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_LIMITS__MAX_SIDE", "50")
    limit = found("LISA_LIMITS__MAX_SIDE")
    assert (limit.value, limit.source) == (50, "environment LISA_LIMITS__MAX_SIDE")


def test_a_misspelt_name_is_pointed_out(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_names() == []
    monkeypatch.setenv("LISA_MODLE", "lite")
    config.write_text('output_dri = "x"\n')
    notes = " ".join(unknown_names())
    assert "environment variable LISA_MODLE is not a setting" in notes
    assert "did you mean LISA_MODEL?" in notes
    assert "did you mean LISA_OUTPUT_DIR?" in notes
