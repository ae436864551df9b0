"""A folder of numbers recorded from the reference, and what lies beside it.

    golden/nano/meta.json, golden/nano/CASE.safetensors, golden/nano/checkpoint/   the recording
    golden/images/, golden/metrics.json, ...                                       beside it

tests/golden/README.md describes all of it. What is missing or damaged is one RecordingInvalid that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lisa_tool.errors import BadSettings

T = TypeVar("T")
Tensors = dict[str, Tensor]


class RecordingInvalid(BadSettings):
    """The folder is not a recording, or a part of it is missing or damaged."""

    code: ClassVar[str] = "recording_invalid"
    default_hint: ClassVar[str] = (
        "Give a folder with meta.json, checkpoint/ and recorded *.safetensors, beside images/ and the folder "
        "of CLIP, as tests/golden/nano is."
    )


class Evaluation(BaseModel):
    """An answer of the reference's `evaluate()`. script_ids: what was chosen, if not the most probable."""

    image: str
    conv_type: str
    turns: list[tuple[str, str | None]]
    prompt: str
    script_ids: list[int] | None = None
    max_new_tokens: int
    new_token_ids: list[int]
    decoded_raw: str | None = None


class Forward(BaseModel):
    """A pass of the reference's validation: the answers are part of the input. Questions about one image."""

    image: str
    conversations: list[str] = Field(min_length=1)


class Weights(BaseModel):
    """What each part of the loss counts."""

    ce: float
    bce: float
    dice: float


class Training(BaseModel):
    """The loss of one training step; which conversations are about which image is among the tensors."""

    images: list[str]
    conversations: list[str] = Field(min_length=1)
    weights: Weights


class ImageFacts(BaseModel):
    """Sizes are (height, width), sums are over the values that the model sees."""

    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    sha256_rgb_uint8_hwc: str
    sha256_resized_uint8_hwc: str
    sam_input_sum: float
    clip_sum: float


class _Meta(BaseModel):
    seg_token_idx: int
    len_tokenizer: int
    images: dict[str, ImageFacts]
    cases: dict[str, dict[str, Any]]


Case = Evaluation | Forward | Training
_KINDS: Mapping[str, type[Case]] = {"evaluate": Evaluation, "forward": Forward, "train": Training}


@dataclass(frozen=True)
class Recording:
    """What `meta.json` says. unknown: cases and files that no comparison here knows."""

    folder: Path
    seg_token_id: int
    vocab_size: int
    images: Mapping[str, ImageFacts]
    cases: Mapping[str, Case]
    unknown: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read meta.json and see that every case has its file. Raises RecordingInvalid."""
        folder = folder.resolve()
        meta = read_json(folder / "meta.json", _Meta)
        cases: dict[str, Case] = {}
        for name, fields in meta.cases.items():
            if kind := _KINDS.get(name.partition("_")[0]):
                cases[name] = _validated(kind, fields, f"{folder.name}/meta.json at cases.{name}.")
        for part in ("checkpoint", *(f"{name}.safetensors" for name in cases)):
            if not (folder / part).exists():
                raise RecordingInvalid(f"{folder.name}/{part} is missing")
        files = {path.stem for path in folder.glob("*.safetensors")}
        unknown = tuple(sorted((files | meta.cases.keys()) - cases.keys()))
        return cls(folder, meta.seg_token_idx, meta.len_tokenizer, meta.images, cases, unknown)

    def beside(self, name: str) -> Path:
        """The path of what may lie beside the folder."""
        return self.folder.parent / name

    def tensors(self, case: str) -> Tensors:
        """What was recorded of a case."""
        return read_tensors(self.folder / f"{case}.safetensors")


def read_tensors(path: Path) -> Tensors:
    """All tensors of a file. Raises RecordingInvalid."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as e:
        raise RecordingInvalid(f"{_shown(path)} cannot be read: {_reason(e)}") from e


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file of this form. Raises RecordingInvalid."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise RecordingInvalid(f"{_shown(path)} cannot be read: {_reason(e)}") from e
    return _validated(kind, data, f"{_shown(path)} at ")


def tensor(tensors: Tensors, name: str, case: str) -> Tensor:
    """One tensor that a case cannot do without. Raises RecordingInvalid."""
    try:
        return tensors[name]
    except KeyError as e:
        raise RecordingInvalid(f"{case}.safetensors has no {name}") from e


def _validated(kind: type[T], value: object, where: str) -> T:
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_json(value) if isinstance(value, bytes) else adapter.validate_python(value)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordingInvalid(f"{(where + place).removesuffix(' at ')} is wrong: {first['msg']}") from e


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
