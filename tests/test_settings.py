from __future__ import annotations

import os
from pathlib import Path

import pytest

from lisa_tool.errors import BadSettings
from lisa_tool.settings import Limits, Settings, config_path, load_settings, unknown_variables


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty config file that LISA_CONFIG names."""
    path = tmp_path / "config.toml"
    path.touch()
    monkeypatch.setenv("LISA_CONFIG", str(path))
    return path


def test_the_defaults_are_the_safe_ones() -> None:
    settings = load_settings()
    assert settings.model == "lite"
    assert settings.roots == (Path.cwd(),)
    assert settings.url_hosts == ()
    assert settings.output_dir == Path.home() / ".lisa-tool" / "results"


def test_argument_beats_environment_beats_file_beats_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().model == "lite"
    config.write_text('model = "from-file"', encoding="utf-8")
    assert load_settings().model == "from-file"
    monkeypatch.setenv("LISA_MODEL", "from-env")
    assert load_settings().model == "from-env"
    assert load_settings(model="from-argument").model == "from-argument"


def test_an_argument_that_is_none_leaves_the_choice_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_MODEL", "from-env")
    assert load_settings(model=None).model == "from-env"


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_ROOTS", "")
    assert load_settings().roots == (Path.cwd(),)


def test_the_config_file_of_the_home_folder_is_read() -> None:
    path = Path.home() / ".lisa-tool" / "config.toml"
    path.parent.mkdir()
    path.write_text('model = "m"\nroots = ["/a"]\n[limits]\nmax_pixels = 7\n', encoding="utf-8")
    settings = load_settings()
    assert (settings.model, settings.roots, settings.limits.max_pixels) == ("m", (Path("/a"),), 7)


@pytest.mark.parametrize("field", sorted(Limits.model_fields))
def test_every_limit_is_read_from_the_environment(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LISA_LIMITS__{field.upper()}", "3")
    limits = load_settings().limits
    assert getattr(limits, field) == 3
    assert limits.model_copy(update={field: getattr(Limits(), field)}) == Limits()


@pytest.mark.parametrize("field", sorted(Limits.model_fields))
def test_every_limit_has_an_edge_that_is_checked(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LISA_LIMITS__{field.upper()}", "-1")
    with pytest.raises(BadSettings, match=rf"LISA_LIMITS__{field.upper()} = '-1'"):
        load_settings()


def test_a_limit_in_the_environment_leaves_those_of_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("[limits]\nmax_pixels = 7\nmax_masks = 2\n", encoding="utf-8")
    monkeypatch.setenv("LISA_LIMITS__MAX_PIXELS", "9")
    assert (load_settings().limits.max_pixels, load_settings().limits.max_masks) == (9, 2)


def test_roots_are_split_made_absolute_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LISA_ROOTS", os.pathsep.join(["~/Pictures", "photos", "", "/data/../data", "/data"]))
    assert load_settings().roots == (Path.home() / "Pictures", tmp_path / "photos", Path("/data"))


def test_the_output_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(output_dir="out").output_dir == tmp_path / "out"


def test_hosts_are_split_and_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_URL_HOSTS", "Example.org, upload.wikimedia.org. example.org")
    assert load_settings().url_hosts == ("example.org", "upload.wikimedia.org")


def test_settings_are_frozen(settings: Settings) -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, "model", "other")  # noqa: B010 - a type checker may know that it is frozen
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings.limits, "max_pixels", 1)  # noqa: B010


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("LISA_LIMITS__MAX_PIXELS", "many", "LISA_LIMITS__MAX_PIXELS = 'many'"),
        ("LISA_LIMITS__MAX_PIXEL", "7", "LISA_LIMITS__MAX_PIXEL = '7'"),
        ("LISA_LIMITS", "not json", "limits"),
        ("LISA_LIMITS__MAX_MASKS", "9" * 500 + "x", "LISA_LIMITS__MAX_MASKS = '999"),
        ("LISA_CONFIG", "/nowhere/config.toml", "LISA_CONFIG = '/nowhere/config.toml' is not a file"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    name: str, value: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert named in error.value.message
    assert len(error.value.message) < 300


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("model = ", "config.toml"),
        ('modell = "lite"', "LISA_MODELL = 'lite'"),
        ("[limits]\nmax_pixels = -1", "LISA_LIMITS__MAX_PIXELS = -1"),
        ("roots = [3]", "LISA_ROOTS = 3"),
        ("model = '\xe9'", "config.toml"),
    ],
)
def test_a_mistake_in_the_file_names_the_line_or_the_file(config: Path, toml: str, named: str) -> None:
    config.write_bytes(toml.encode("latin-1"))
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert named in error.value.message


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ouput_dir", "x"),
        ("model", 3),
        ("output_dir", "a\0b"),
        ("output_dir", "caf\udce9"),
        ("roots", "a\0b"),
    ],
)
def test_a_mistake_in_an_argument_names_the_argument(argument: str, value: object) -> None:
    with pytest.raises(BadSettings, match=f"LISA_{argument.upper()} = "):
        load_settings(**{argument: value})


def test_a_machine_without_a_home_folder_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(BadSettings, match="home"):
        load_settings()


def test_a_variable_that_is_not_ours_is_left_alone_but_can_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_ROOT", "/typo")
    monkeypatch.setenv("LISA_SIMULATOR_HOME", "/opt/lisa")
    monkeypatch.setenv("LISA_ROOTS", "/photos")
    monkeypatch.setenv("LISA_LIMITS__MAX_MASKS", "2")
    assert load_settings().roots == (Path("/photos"),)
    assert unknown_variables() == ("LISA_ROOT", "LISA_SIMULATOR_HOME")


def test_the_variable_that_names_the_file_is_known(config: Path) -> None:
    assert unknown_variables() == ()
    assert config_path() == config
