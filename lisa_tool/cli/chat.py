"""`lisa-tool chat IMAGE`: questions about one image, typed at a prompt or piped in."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TextIO

from lisa_tool.cli.arguments import Parser, UsageError
from lisa_tool.cli.asking import add_asking, settings_of
from lisa_tool.cli.chat_input import is_typed, piped_lines, typed_lines
from lisa_tool.cli.chat_session import HELP, Chat, open_picture
from lisa_tool.cli.exit_codes import exit_code
from lisa_tool.cli.named_folder import also_allow, folder_of
from lisa_tool.cli.output import Reply, Unwritable, complain, error_reply, printable, write
from lisa_tool.errors import Cancelled
from lisa_tool.segmenter import open_segmenter

WRITES_ITSELF = True  # each reply when it is there, to the standard output that the process began with

CANCELLED = exit_code(Cancelled(""))

EPILOG = f"""\
examples:
  lisa-tool chat photo.jpg
  lisa-tool chat photo.jpg --model xinlai/LISA-7B-v1 --precision nf4
  printf 'the largest dog\\nits collar\\n' | lisa-tool chat photo.jpg --json

A line is a question about the image, or one of
{HELP}
Ctrl-C stops an answer. At the prompt it drops the line, and twice ends the chat.

The model and what it saw of the image stay in memory: only the first question waits for them.
When lines are piped in there is no prompt; blank lines are left out, /image reads only where IMAGE may be,
Ctrl-C ends all, and the exit code is that of the last error.
With --json every line but /quit is answered by one line of JSON: the result, {{"error": ...}}, for /image and
/reset {{"image": ...}}, {{"saved": [folder, ...]}} or {{"help": ...}}."""


def parser() -> Parser:
    """The options of this command."""
    it = Parser("chat", "IMAGE", "Ask about one image, question after question.", EPILOG)
    it.add_argument("image", metavar="IMAGE", help="path, file://, data: or https:// reference")
    add_asking(it)
    return it


def run(args: argparse.Namespace) -> Reply:
    """Chat to the end. Raises LisaError where no chat comes about; errors of a question are shown in it."""
    if args.image == "-":
        raise UsageError("IMAGE cannot be -: the questions come from standard input", "Give its path.")
    typed = is_typed()
    base = settings_of(args)
    settings = also_allow(folder_of(args.image), base)
    # A person who types a path means that file, as with IMAGE itself. A program's lines may hold anything.
    anywhere = typed and "roots" not in base.model_fields_set
    picture = open_picture(args.image, settings, anywhere=anywhere)
    out: TextIO | None = sys.stdout
    with open_segmenter(settings) as segmenter:
        chat = Chat(
            segmenter=segmenter,
            settings=settings,
            picture=picture,
            anywhere=anywhere,
            out=out,
            as_json=args.json,
            mode=args.mask_only,
            deadline_s=args.deadline,
            conversation_id=args.conv,
        )
        try:
            return Reply(None, "", (_typed if typed else _piped)(chat))
        except Unwritable as e:
            if e.error:
                raise e.error from e
    return Reply(None, "")


def _typed(chat: Chat) -> int:
    if not chat.as_json:
        model = printable(chat.segmenter.model.name)
        write(f"{chat.picture.told}, model {model}; /help lists the commands\n", chat.out)
    on_terminal = not chat.as_json and chat.out is not None and chat.out.isatty()
    for line in typed_lines(prompt_on_stdout=on_terminal):
        if line == "/quit":
            break
        try:
            reply = chat.respond(line)
        except KeyboardInterrupt:  # in a command: an answer is stopped in another way
            reply = error_reply(Cancelled(f"{line.split()[0]} was stopped with Ctrl-C", ""))
        _show(reply, chat)
    if chat.conversation_id and not chat.as_json:
        write(f"to go on: --conv {chat.conversation_id}\n", chat.out)
    return 0


def _piped(chat: Chat) -> int:
    code = 0
    for line in piped_lines():
        if line == "/quit":
            break
        reply = chat.respond(line)
        _show(reply, chat)
        code = reply.exit_code or code
        if reply.exit_code == CANCELLED:
            break
    return code


def _show(reply: Reply, chat: Chat) -> None:
    if chat.as_json:
        write(json.dumps(reply.document) + "\n", chat.out)
    elif reply.is_error:
        complain(reply.text)
    else:
        write(reply.text + "\n\n", chat.out)
