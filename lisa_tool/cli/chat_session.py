"""One chat: an image, the conversation about it, its answers so far, and what the commands do with them."""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from lisa_tool.cli.arguments import UsageError
from lisa_tool.cli.chat_screen import Screen
from lisa_tool.cli.interrupt import cancel_on_ctrl_c
from lisa_tool.cli.named_folder import file_of
from lisa_tool.cli.output import Reply, error_reply, printable
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.cli.save_answer import save_answer
from lisa_tool.errors import Cancelled, ConversationNotFound, LisaError, PathNotAllowed
from lisa_tool.images import ImageReference, load_image
from lisa_tool.images.roots import Roots, read_inside
from lisa_tool.results import ImageInfo, Segmentation
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Mode, Settings

COMMANDS = {  # name -> operand, what it does
    "/image": ("PATH", "ask about another image, in a new conversation"),
    "/reset": ("", "begin a new conversation about the same image"),
    "/save": ("DIR", "copy the last answer's masks, overlay and result.json to a new folder in DIR"),
    "/save-all": ("DIR", "the same for all answers of this conversation"),
    "/help": ("", "show this list"),
    "/quit": ("", "end the chat, as Ctrl-D does"),
}
HELP = "\n".join(f"  {f'{name} {operand}':<13}  {what}" for name, (operand, what) in COMMANDS.items())


@dataclass(frozen=True)
class Picture:
    """An image to ask about: as a segmenter takes it, as a person named it, and what is known of it."""

    reference: ImageReference
    name: str
    info: ImageInfo

    @property
    def told(self) -> str:
        """One line for a person."""
        notes = "".join(f", {note}" for note in self.info.notes)
        return printable(f"{self.name}, {self.info.width}x{self.info.height}{notes}")


def open_picture(name: str, settings: Settings, *, anywhere: bool) -> Picture:
    """Look at an image before anything is asked about it. Raises ImageError.

    anywhere: a file outside of the folders that `settings` allow may be named too.
    """
    try:
        return Picture(name, name, load_image(name, settings).info)
    except PathNotAllowed:
        path = file_of(name)
        if not anywhere or path is None:
            raise
    # The segmenter may not read there, so it is given the file itself.
    data = read_inside(str(path), Roots.of((path.parent,)), settings.limits)
    return Picture(data, name, load_image(data, settings).info)


@dataclass(kw_only=True)
class Chat:
    """Answers one line after the other. A command that fails changes nothing.

    settings: those that the segmenter was opened with.
    anywhere: see `open_picture`.
    out: where words and masks are written while they come, unless `as_json`.
    answers: of this conversation, the oldest first.
    """

    segmenter: Segmenter
    settings: Settings
    picture: Picture
    anywhere: bool
    out: TextIO | None
    as_json: bool = False
    mode: Mode | None = None
    deadline_s: float | None = None
    conversation_id: str | None = None
    answers: list[Segmentation] = field(default_factory=list)

    def respond(self, line: str) -> Reply:
        """Do what the line says, or answer it; an error of either is a reply too. Raises Unwritable."""
        try:
            return self._command(line) if line.startswith("/") else self._ask(line)
        except LisaError as e:
            return error_reply(e)

    def _ask(self, question: str) -> Reply:
        with cancel_on_ctrl_c() as cancel, ProgressLine(sys.stderr) as line:
            screen = Screen(self.out, line, cancel)
            try:
                # Whatever a library prints is not part of the answer.
                with contextlib.redirect_stdout(sys.stderr):
                    result = self.segmenter.segment(
                        self.picture.reference,
                        question,
                        conversation_id=self.conversation_id,
                        mode=self.mode,
                        progress=line.update if self.as_json else screen.update,
                        cancel=cancel,
                        deadline_s=self.deadline_s,
                    )
                screen.end_words()
            except LisaError as e:
                if screen.failure:
                    raise screen.failure from e
                screen.end_words()
                return self._failed(e, screen)
        text = screen.ending(result, self.answers[-1].warnings if self.answers else ())
        self.conversation_id = result.conversation_id
        self.answers.append(result)
        return Reply(result.model_dump(mode="json"), text)

    def _failed(self, error: LisaError, screen: Screen) -> Reply:
        if isinstance(error, ConversationNotFound):
            self.conversation_id = None
            error = ConversationNotFound(error.message, "The next question begins a new conversation.")
        if isinstance(error, Cancelled):
            error = Cancelled("the answer was stopped with Ctrl-C", "")
        reply = error_reply(error)
        return Reply(reply.document, reply.text + screen.masks_lost, reply.exit_code, is_error=True)

    def _command(self, line: str) -> Reply:
        name, operand = (*line.split(maxsplit=1), "")[:2]
        if name not in COMMANDS:
            raise _unknown(name, line)
        wanted = COMMANDS[name][0]
        if bool(wanted) != bool(operand):
            raise UsageError(f"{name} takes {wanted or 'nothing after it'}", "/help lists the commands.")
        match name:
            case "/image":
                self.picture = open_picture(_path(operand), self.settings, anywhere=self.anywhere)
                return self._anew()
            case "/reset":
                return self._anew()
            case "/save" | "/save-all":
                return self._save(operand, self.answers if name == "/save-all" else self.answers[-1:])
            case _:
                return Reply({"help": HELP}, f"{HELP}\nAll else is a question about the image.")

    def _anew(self) -> Reply:
        self.conversation_id = None
        self.answers = []
        return Reply({"image": self.picture.info.model_dump(mode="json")}, self.picture.told)

    def _save(self, operand: str, answers: list[Segmentation]) -> Reply:
        if not answers:
            raise UsageError("there is no answer to save yet", "Ask something first.")
        target = Path(os.path.abspath(os.path.expanduser(_path(operand))))
        saved = [str(save_answer(answer, target)) for answer in answers]
        return Reply({"saved": saved}, "\n".join(f"  saved in {printable(folder)}" for folder in saved))


def _unknown(name: str, line: str) -> UsageError:
    if os.path.exists(_path(line)):
        return UsageError(f"{name!r} is not a command", f"To ask about another image: /image {line}")
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return UsageError(f"there is no command {name!r}", f"{hint}/help lists the commands.")


def _path(typed: str) -> str:
    """A path as it was typed, or dropped into a terminal that quoted it or escaped its blanks."""
    if os.name != "posix":
        return typed.strip('"')
    with contextlib.suppress(ValueError):  # an apostrophe in a name
        words = shlex.split(typed)
        return words[0] if len(words) == 1 else typed
    return typed
