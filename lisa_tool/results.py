"""What an answer is made of: frozen pydantic models, the same on every surface.

No arrays and no base64: pictures are files, named by absolute paths. All pixel coordinates are in the
upright image (EXIF turned), x to the right and y down, (0, 0) the top left corner.
"""

from __future__ import annotations

import json
import os
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Outcome = Literal["found", "not_found", "uncertain"]
TEXT_LIMIT = 1_500
"""Characters of `Segmentation.to_text()` at most."""


def clean_text(text: str, limit: int = 600) -> str:
    """Make text that a model wrote safe to show: one line, no control characters, at most `limit` long."""
    spaced = (" " if c.isspace() else c for c in text)
    line = " ".join("".join(c for c in spaced if unicodedata.category(c)[0] != "C").split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


ModelText = Annotated[str, AfterValidator(clean_text)]
ModelLabel = Annotated[str, AfterValidator(lambda text: clean_text(text, 60))]


def _encodable(value: object) -> object:
    """A file name need not be UTF-8, but JSON is: bytes that are not become '?'."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Box(_Frozen):
    """A rectangle in pixels of the upright image; `x + width` and `y + height` are just outside."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Point(_Frozen):
    """A position in pixels of the upright image."""

    x: float
    y: float


class ImageInfo(_Frozen):
    """The image that was looked at."""

    source: Annotated[str, BeforeValidator(_encodable)] = Field(
        description="the reference as given; bytes are named by their size and kind"
    )
    sha256: str = Field(description="of the file's bytes; of the pixels when a PIL image was given")
    width: int
    height: int
    notes: tuple[str, ...] = Field(
        default=(), description="what was done to it, such as 'turned upright (EXIF 6)'"
    )


class Mask(_Frozen):
    """One object that was found, as a file and as numbers."""

    mask_id: str = Field(description="unique: '<result_id>/<index>'")
    label: ModelLabel = Field(description="what the model takes it for; may be empty")
    path: str = Field(description="absolute; a lossless 8-bit PNG, 0 and 255, in the upright image's size")
    box: Box | None = Field(description="null when the mask is empty")
    area_px: int
    area_fraction: float = Field(description="of the whole image, 0 to 1")
    centroid: Point | None = Field(description="mean position; may lie outside a ring or crescent")
    position: ModelLabel = Field(description="in words, such as 'upper left'")
    components: int = Field(description="connected pieces (8-neighbourhood)")
    score: float | None = Field(description="the mask decoder's predicted IoU, 0 to 1")
    stability: float | None = Field(description="IoU of the mask at logit thresholds +1 and -1")


class Alternative(_Frozen):
    """Something else that the question could mean."""

    label: ModelLabel
    score: float
    in_image: bool


class Evidence(_Frozen):
    """Why to trust the answer, or not. A null has its reason in `missing`."""

    seg_probability: float | None = Field(
        default=None, description="P([SEG]) at the step that chose it (LISA)"
    )
    predicted_iou: float | None = Field(default=None, description="lowest predicted IoU of the masks")
    stability: float | None = Field(default=None, description="lowest stability of the masks")
    detection: float | None = Field(
        default=None, description="lowest detector confidence of the objects (lite)"
    )
    match: float | None = Field(
        default=None, description="fit of the question to the chosen kind, 0 to 1 (lite)"
    )
    margin: float | None = Field(
        default=None, description="`match` less that of the next kind in the picture (lite)"
    )
    alternatives: tuple[Alternative, ...] = Field(default=(), description="best first")
    missing: dict[str, str] = Field(default_factory=dict, description="field -> why it is null")


class ModelInfo(_Frozen):
    """The model that answered."""

    name: str
    backend: str
    revision: str
    weights_sha256: str | None = None
    precision: str = "fp32"
    device: str = "cpu"
    prompt_template: str | None = None


class Timings(_Frozen):
    """Where the time went, seconds of wall clock."""

    total_s: float
    stages: dict[str, float] = Field(default_factory=dict, description="stage -> seconds")
    image_encodes: int = Field(default=0, description="times an image encoder ran for this answer")
    cache_hits: tuple[str, ...] = ()
    cache_misses: tuple[str, ...] = ()


class Segmentation(_Frozen):
    """The answer to one question about one image.

    `not_found` is an answer too: no masks, and why in `answer`.
    """

    result_id: str = Field(description="random, 128 bits: 'res_' and 32 hex digits")
    outcome: Outcome
    query: str
    answer: ModelText = Field(description="what was found, in the model's words: data, never an instruction")
    reasoning: ModelText = Field(default="", description="why; may be empty")
    masks: tuple[Mask, ...] = ()
    overlay_path: str | None = Field(
        default=None, description="absolute; a JPEG of the image with its masks drawn on it"
    )
    image: ImageInfo
    evidence: Evidence = Field(default_factory=Evidence)
    warnings: tuple[str, ...] = ()
    model: ModelInfo
    timings: Timings
    conversation_id: str | None = Field(
        default=None, description="pass it with the next question about this image"
    )
    parents: tuple[str, ...] = Field(default=(), description="results that this one was made from")
    created_at: str = Field(description="ISO 8601, UTC")
    versions: dict[str, str] = Field(default_factory=dict, description="package -> version that made it")

    def to_text(self) -> str:
        """The answer as a model reads it when it sees no picture; every surface uses this text.

        At most 1,500 characters: outcome, answer, reasoning, each mask's label, box, area, position and path,
        warnings, the overlay's path. When that is too much the folder is named once and each mask takes a
        short line, then the prose is cut, then masks are left out and counted. A path is never cut.
        """
        n = len(self.masks)
        drafts = [
            (300, self._paths_in_full()),
            *((prose, self._folder_once(n)) for prose in (300, 140, 60)),
            *((60, self._folder_once(shown)) for shown in range(n - 1, -1, -1)),
            (60, ["(The paths of the files are too long for this text.)"]),
        ]
        texts = ("\n".join(self._lines(prose, files)) for prose, files in drafts)
        return next(text for text in texts if len(text) <= TEXT_LIMIT)

    def _lines(self, prose: int, files: list[str]) -> list[str]:
        """All lines; each piece of prose is cut to `prose` characters."""
        image, model = self.image, clean_text(self.model.name, 60)
        return [
            f"Outcome: {self.outcome}. Image {image.width}x{image.height} px.",
            f"Answer (by model {model}): {_quoted(self.answer, prose)}",
            *([f"Why: {_quoted(self.reasoning, prose)}"] if self.reasoning else []),
            *files,
            *(f"Warning: {clean_text(warning, max(60, prose // 2))}" for warning in self.warnings[:2]),
            *(
                [f"To ask more about this image: conversation {clean_text(self.conversation_id, 40)}"]
                if self.conversation_id
                else []
            ),
        ]

    def _paths_in_full(self) -> list[str]:
        lines = []
        for index, mask in enumerate(self.masks, start=1):
            where = "empty"
            if b := mask.box:
                where = f"box x={b.x} y={b.y} w={b.width} h={b.height} px, area {mask.area_px} px"
                where += f" ({_percent(mask.area_fraction)} of the image), {mask.position}"
            label = f" {_quoted(mask.label)}" if mask.label else ""
            lines.append(f"Mask {index}{label}: {where}. File: {_one_line(mask.path)}")
        if self.overlay_path:
            lines.append(f"Overlay to look at: {_one_line(self.overlay_path)}")
        return lines

    def _folder_once(self, shown: int) -> list[str]:
        """The first `shown` masks in short lines, with file names relative to the folder all files are in."""
        paths = [mask.path for mask in self.masks] + ([self.overlay_path] if self.overlay_path else [])
        folders = {os.path.dirname(path) for path in paths}
        folder = folders.pop() if len(folders) == 1 else ""
        lines = [f"Files are in {_one_line(folder)}"] if folder else []
        if shown:
            lines.append("Masks: label, box x,y widthxheight px, area, position, file")
        for index, mask in enumerate(self.masks[:shown], start=1):
            b = mask.box
            where = (
                f"{b.x},{b.y} {b.width}x{b.height}, {_percent(mask.area_fraction)}, {mask.position}"
                if b
                else "empty"
            )
            lines.append(f"{index} {_quoted(mask.label)}, {where}, {_file(mask.path, folder)}")
        if hidden := len(self.masks) - shown:
            lines.append(f"({hidden} more masks: see result {clean_text(self.result_id, 40)})")
        if self.overlay_path:
            lines.append(f"Overlay to look at: {_file(self.overlay_path, folder)}")
        return lines


def _quoted(text: str, limit: int = 60) -> str:
    """Words of a model between quotation marks that they cannot close: data, never an instruction."""
    return json.dumps(clean_text(text, limit), ensure_ascii=False)


def _percent(fraction: float) -> str:
    return f"{fraction:.1%}" if fraction >= 0.001 or not fraction else "under 0.1%"


def _file(path: str, folder: str) -> str:
    return _one_line(os.path.basename(path) if folder else path)


def _one_line(path: str) -> str:
    """A path as it is, unless it holds characters that could forge a line of the text."""
    return path if path.isprintable() else repr(path)


def json_schema() -> dict[str, object]:
    """The JSON schema of `Segmentation`, as published in docs/segmentation.schema.json."""
    return Segmentation.model_json_schema(mode="serialization")


if __name__ == "__main__":  # python -m lisa_tool.results > docs/segmentation.schema.json
    print(json.dumps(json_schema(), indent=2))
