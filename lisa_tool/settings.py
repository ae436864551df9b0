"""What can be configured, and every bound that has a number.

Settings come, strongest first, from arguments, `LISA_*` environment variables, and the TOML file named by
`LISA_CONFIG` (default `~/.lisa-tool/config.toml`). Defaults are the safe ones: no URLs, images only from the
working directory.

    LISA_MODEL=lite LISA_ROOTS=~/Pictures:~/Desktop LISA_OUTPUT_DIR=~/masks LISA_LIMITS__MAX_PIXELS=20000000
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from lisa_tool.errors import BadSettings

MIB = 1024 * 1024

Mode = Literal["explain", "fast", "mask_only"]
"""How much of an answer is wanted: the whole of it, all up to the first mask, or the mask alone."""

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8", "nf4"]
"""How the language model's weights are kept; `auto` is bf16 on a GPU that has it, fp16 on an older one, fp32
on a CPU."""


class Limits(BaseModel):
    """Every number that bounds something. The anchors are in the threat model (docs/threat-model.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_bytes: int = Field(default=20 * MIB, gt=0, description="size of one image file")
    max_pixels: int = Field(default=40_000_000, gt=0, description="width x height of one image")
    max_side: int = Field(default=16_384, gt=0, description="longest side of one image, pixels")
    min_side: int = Field(default=2, gt=0, description="shortest side of one image, pixels")
    max_aspect_ratio: float = Field(default=100, ge=1, description="long side / short side")
    max_query_chars: int = Field(default=2_000, gt=0, description="characters in one question")
    max_masks: int = Field(default=16, gt=0, description="masks in one answer")
    max_listed_images: int = Field(default=100, gt=0, description="images in one listing")
    max_scanned_files: int = Field(default=20_000, gt=0, description="files looked at for one listing")
    url_timeout_s: float = Field(default=10, gt=0, description="one download from start to end, seconds")
    url_max_redirects: int = Field(default=3, ge=0, description="redirects followed in one download")
    max_inline_bytes: int = Field(
        default=2 * MIB, gt=0, description="one image in a data: URI given to the MCP server"
    )
    max_request_bytes: int = Field(default=4 * MIB, gt=0, description="one HTTP request to the MCP server")
    deadline_s: float = Field(default=120, gt=0, description="one call from arrival to answer, seconds")
    max_waiting: int = Field(default=8, ge=0, description="callers waiting for the model")
    cache_bytes: int = Field(default=256 * MIB, ge=0, description="image embeddings kept in memory")
    kv_cache_bytes: int = Field(
        default=512 * MIB, ge=0, description="key-value prefixes of conversations kept in memory (LISA)"
    )
    max_new_tokens: int = Field(default=512, gt=0, description="tokens in one answer (LISA)")
    max_history_turns: int = Field(default=8, gt=0, description="earlier questions that a conversation keeps")
    max_conversations: int = Field(default=64, gt=0, description="conversations kept, oldest forgotten first")
    conversation_bytes: int = Field(
        default=64 * MIB, gt=0, description="images given as bytes or pixels, kept for conversations"
    )
    conversation_idle_s: float = Field(
        default=3_600, gt=0, description="a conversation is forgotten after this time without a question"
    )
    output_max_bytes: int = Field(default=2048 * MIB, gt=0, description="all result folders together")
    output_max_results: int = Field(default=1_000, gt=0, description="result folders kept")
    output_min_free_bytes: int = Field(
        default=64 * MIB, ge=0, description="space left free on the output disk"
    )


def _home() -> Path:
    return Path.home() / ".lisa-tool"


class Settings(BaseSettings):
    """The settings of one segmenter. Use `load_settings`, which turns mistakes into `BadSettings`."""

    model_config = SettingsConfigDict(
        env_prefix="LISA_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    model: str = Field(default="lite", description="backend or checkpoint")
    roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default_factory=lambda: (Path.cwd(),), description="folders whose images may be read"
    )
    output_dir: Path = Field(default_factory=lambda: _home() / "results", description="where results go")
    url_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="hosts that https images may come from; '*' is any public host; empty turns URLs off",
    )
    answer_mode: Mode = Field(
        default="explain", description="how much of an answer: explain, fast or mask_only"
    )
    precision: Precision = Field(
        default="auto", description="of a LISA checkpoint: fp32, bf16, fp16, int8 or nf4"
    )
    device: str = Field(default="auto", description="of a LISA checkpoint: cpu, cuda, cuda:1, or auto")
    revision: str | None = Field(
        default=None, description="of a checkpoint on the hub; without it the one of the first download"
    )
    offline: bool = Field(default=False, description="never ask the hub")
    weights_dir: Path = Field(
        default_factory=lambda: _home() / "weights", description="where converted checkpoints go"
    )
    clip_path: Path | None = Field(
        default=None, description="folder of the CLIP that a LISA checkpoint needs; without it the hub's"
    )
    clip_fit: Literal["crop", "pad"] = Field(
        default="crop",
        description="crop: CLIP sees the middle square, as LISA was trained; pad: the whole image, smaller",
    )
    prompt_template: Literal["llava_v1", "llava_llama_2"] = Field(
        default="llava_v1", description="of a LISA checkpoint; every released one wants llava_v1"
    )
    quantize_all: bool = Field(
        default=False, description="with int8 and nf4 also lm_head and projections, as LISA's own scripts"
    )
    limits: Limits = Limits()

    @field_validator("roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return [v for v in value.split(os.pathsep) if v] if isinstance(value, str) else value

    @field_validator("roots", mode="after")
    @classmethod
    def _absolute_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(_absolute(p) for p in value))

    @field_validator("output_dir", mode="after")
    @classmethod
    def _absolute_output(cls, value: Path) -> Path:
        str(value).encode()  # results name their files in JSON, which is UTF-8
        return _absolute(value)

    @field_validator("weights_dir", "clip_path", mode="after")
    @classmethod
    def _absolute_weights(cls, value: Path | None) -> Path | None:
        return None if value is None else _absolute(value)

    @field_validator("url_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        return [v for v in value.replace(",", " ").split() if v] if isinstance(value, str) else value

    @field_validator("url_hosts", mode="after")
    @classmethod
    def _lower_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(v.lower().rstrip(".") for v in value))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_path())


def config_path() -> Path:
    """The TOML file that settings are read from when it exists."""
    return Path(os.environ.get("LISA_CONFIG") or _home() / "config.toml").expanduser()


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` that are not None win over environment and file.

    Raises BadSettings, naming the field and what is wrong with it. A name that is no setting is an error in
    the arguments and in the file; among the environment variables it is left alone, for other programs may
    use the prefix too (see `unknown_variables`).
    """
    try:
        file = config_path()
    except RuntimeError as e:
        raise BadSettings("this user has no home folder", "Set HOME to a folder that you may write.") from e
    if os.environ.get("LISA_CONFIG") and not file.is_file():
        raise BadSettings(f"LISA_CONFIG = {str(file)!r} is not a file")
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as e:
        first = e.errors()[0]
        name = "__".join(part for part in first["loc"] if isinstance(part, str)).upper()
        raise BadSettings(f"setting LISA_{name} = {_short(first['input'])}: {first['msg']}") from e
    except (
        ValueError,
        OSError,
        RuntimeError,
    ) as e:  # TOML or JSON syntax, an unreadable file, no home folder
        raise BadSettings(f"the settings cannot be read ({config_path()}): {e}") from e


def unknown_variables() -> tuple[str, ...]:
    """The `LISA_*` environment variables that name no setting; often a spelling mistake."""
    known = {"LISA_CONFIG", *(f"LISA_{name.upper()}" for name in Settings.model_fields)}
    ours = (name for name in os.environ if name.upper().startswith("LISA_"))
    return tuple(sorted(name for name in ours if name.upper().split("__")[0] not in known))


def _absolute(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path cannot hold the character NUL")
    return Path(os.path.abspath(path.expanduser()))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
