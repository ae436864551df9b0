"""An answer on its way to a reader: the model's words as they come, each mask, then how it ended.

The progress line shares the terminal with it: it is erased before anything is written, and drawn only where
the cursor is at the start of a line. Words are a model's: nothing in them is obeyed by the terminal.
"""

from __future__ import annotations

import shutil
import threading
from typing import TextIO

from lisa_tool.cli.answer import wrapped
from lisa_tool.cli.output import Unwritable, printable, write
from lisa_tool.cli.progress import ProgressLine, stage_of
from lisa_tool.engine.call import Progress
from lisa_tool.results import Mask, Segmentation


class Screen:
    """Writes one answer. Pass `update` as the progress callback.

    failure: set when `out` takes nothing any more; `cancel` is then set too, for nobody reads the answer.
    """

    def __init__(self, out: TextIO | None, line: ProgressLine, cancel: threading.Event) -> None:
        self.failure: Unwritable | None = None
        self._out = out
        self._line = line
        self._cancel = cancel
        self._n_masks = 0
        self._had_words = False
        self._writing = ""  # the stage that writes words; "" when the cursor is at the start of a line

    def update(self, progress: Progress) -> None:
        """Write what is new in this progress, or show how far it is."""
        if self.failure:
            return
        try:
            self._write_news(progress)
        except Unwritable as e:
            self.failure = e
            self._cancel.set()
        self._line.update(progress)

    def end_words(self) -> None:
        """Bring the cursor to the start of a line. Raises Unwritable."""
        if self._writing:
            self._writing = ""
            write("\n", self._out)
            self._line.release()

    def ending(self, result: Segmentation, before: tuple[str, ...]) -> str:
        """What is left to tell: words and masks that did not come by themselves, notes, and a last line.

        before: the warnings of the answer before this one; those that come again are not repeated.
        """
        width = _width()
        lines = []
        if not self._had_words:
            lines += wrapped("", result.answer, width)
            lines += wrapped("  why: ", result.reasoning, width) if result.reasoning else []
        for number, mask in list(enumerate(result.masks, 1))[self._n_masks :]:
            lines += _mask_lines(number, mask, "is")
        for note in result.warnings:
            lines += wrapped("  note: ", note, width) if note not in before else []
        if set(result.warnings) & set(before):
            lines.append("  note: what was noted before holds here too")
        overlay = f", overlay: {printable(result.overlay_path)}" if result.overlay_path else ""
        return "\n".join([*lines, f"  {result.outcome}, {result.timings.total_s:.1f} s{overlay}"])

    @property
    def masks_lost(self) -> str:
        """What to add to an error: that the masks which were shown are gone with it. "" without masks."""
        return "\n  The masks of this answer were not kept." if self._n_masks else ""

    def _write_news(self, progress: Progress) -> None:
        if self._writing and stage_of(progress) != self._writing:
            self.end_words()
        if progress.text:
            self._line.hold()
            self._writing = stage_of(progress)
            self._had_words = True
            write(_one_line(progress.text), self._out)
        if progress.mask:
            self.end_words()
            self._n_masks += 1
            self._line.hold()
            write("\n".join(_mask_lines(self._n_masks, progress.mask, "goes to")) + "\n", self._out)
            self._line.release()


def _mask_lines(number: int, mask: Mask, verb: str) -> list[str]:
    """A file is in its place only with the whole result: what is written before says where it *goes to*."""
    facts = f"{mask.area_fraction:.1%} of the image, {mask.position}" if mask.box else "empty"
    label = f" {mask.label}," if mask.label else ""
    about, path = printable(f"  mask {number}:{label} {facts}, {verb}"), printable(mask.path)
    return [f"{about} {path}"] if len(about) + 1 + len(path) <= _width() else [about, f"    {path}"]


def _width() -> int:
    return min(100, shutil.get_terminal_size().columns)


def _one_line(words: str) -> str:
    return printable("".join(" " if c.isspace() else c for c in words))
