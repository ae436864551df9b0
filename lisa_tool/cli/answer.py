"""An answer as a person at a terminal reads it. (What a model reads is `Segmentation.to_text`.)"""

from __future__ import annotations

import shutil
import textwrap

from lisa_tool.cli.output import printable
from lisa_tool.results import Mask, Segmentation


def answer_text(result: Segmentation, width: int | None = None) -> str:
    """Outcome and answer, why, a line for each mask, the overlay, warnings, and the time it took.

    width: where to wrap; the terminal's when None.
    """
    width = min(100, width or shutil.get_terminal_size().columns)
    lines = [
        *wrapped(f"{result.outcome}: ", result.answer, width),
        *(wrapped("  why: ", result.reasoning, width) if result.reasoning else []),
        *_mask_lines(result.masks, width),
        *([f"  overlay: {printable(result.overlay_path)}"] if result.overlay_path else []),
        *(
            line
            for note in (*result.image.notes, *result.warnings)
            for line in wrapped("  note: ", note, width)
        ),
        f"  {_summary(result)}",
        *([f"  to go on: --conv {result.conversation_id}"] if result.conversation_id else []),
    ]
    return "\n".join(lines)


def wrapped(heading: str, text: str, width: int) -> list[str]:
    """The lines of a heading and a text that someone else wrote, at most `width` long where words allow."""
    indent = " " * len(heading) if heading.startswith(" ") else "  "
    return textwrap.wrap(
        heading + printable(text),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _mask_lines(masks: tuple[Mask, ...], width: int) -> list[str]:
    """One line for each mask; its path moves to a line of its own where the terminal is too narrow."""
    facts = [_facts(index, mask) for index, mask in enumerate(masks, 1)]
    columns = [max(map(len, column)) for column in zip(*facts, strict=True)]
    lines = []
    for mask, fact in zip(masks, facts, strict=True):
        line = "  " + "  ".join(text.ljust(size) for text, size in zip(fact, columns, strict=True)).rstrip()
        path = printable(mask.path)
        lines += [f"{line}  {path}"] if len(line) + 2 + len(path) <= width else [line, f"     {path}"]
    return lines


def _facts(index: int, mask: Mask) -> tuple[str, str, str, str]:
    if mask.box is None:
        return f"{index}.", printable(mask.label), "empty", ""
    box = mask.box
    return (
        f"{index}.",
        printable(mask.label),
        f"{mask.area_fraction:.1%} of the image, {mask.position}",
        f"box x={box.x} y={box.y} {box.width}x{box.height}",
    )


def _summary(result: Segmentation) -> str:
    size = f"{result.image.width}x{result.image.height}"
    return f"{result.timings.total_s:.1f} s, model {result.model.name}, image {size}"
