"""The command line: `lisa-tool COMMAND ...`.

Only the command that is called is imported, and no command imports a model or its runtime for its help.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import os
import secrets
import sys

import lisa_tool
from lisa_tool.cli.arguments import Shown, UsageError, wants_json
from lisa_tool.cli.exit_codes import MEANINGS
from lisa_tool.cli.output import Reply, Unwritable, error_reply, show
from lisa_tool.errors import Cancelled, InternalError, LisaError, OutOfMemory

logger = logging.getLogger(__name__)

COMMANDS = {
    "segment": "answer a question about an image with masks",
    "chat": "ask about one image, question after question",
    "images": "list the images that can be read, newest first",
    "doctor": "what is installed, what works, what this machine can run; a self-test",
    "convert": "make a LISA checkpoint ready for use, once: pickles to safetensors",
    "eval": "measure lite on photos, compare LISA with the reference: eval lite|speed|parity|published",
    "bench": "measure LISA against the reference's procedure, without a checkpoint: lisa-tool bench",
}

_COMMAND_LINES = "\n".join(f"  {name:<9} {what}" for name, what in COMMANDS.items())
_CODE_LINES = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
HELP = f"""\
lisa-tool answers a question about a picture with masks: files that say which pixels are meant.
The question may need reasoning: for "what keeps her dry?" the answer is the umbrella.
It runs on this machine without a GPU or an account, and says how sure it is.

Examples
  lisa-tool segment photo.jpg "what would you drink from?"
  lisa-tool segment photo.jpg the largest dog --out masks --json
  curl -s https://example.org/photo.jpg | lisa-tool segment - "what is dangerous here?"
  lisa-tool chat photo.jpg
  lisa-tool images ~/Pictures --limit 10
  lisa-tool convert xinlai/LISA-7B-v1
  lisa-tool doctor
  lisa-tool eval lite
  lisa-tool bench

Commands (lisa-tool COMMAND --help tells more)
{_COMMAND_LINES}

Exit codes
{_CODE_LINES}

Settings (an option wins over an environment variable, that over the config file)
  LISA_MODEL       the model that answers; lite when not set
  LISA_ROOTS       folders that images may be read from, separated by {os.pathsep!r};
                   the working directory and the image's own folder when not set
  LISA_OUTPUT_DIR  where results go; ~/.lisa-tool/results when not set
  LISA_URL_HOSTS   hosts that https images may come from; none when not set
  LISA_LIMITS__*   every bound, such as LISA_LIMITS__DEADLINE_S=60; `lisa-tool doctor` lists them
  LISA_CONFIG      the config file; ~/.lisa-tool/config.toml when not set

With --json standard output holds exactly one JSON document whatever happens (`chat`: one for each line it
is given); for an error it is
{{"error": {{"code": ..., "message": ..., "hint": ..., "retryable": ...}}}}."""


def main(argv: list[str] | None = None) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = wants_json(words)
    logging.basicConfig(format="lisa-tool: %(levelname)s: %(message)s", level=logging.WARNING)
    try:
        answer = _run(words)
    except Shown as shown:
        answer = shown.reply
    except Unwritable as e:  # whoever read the output is gone, before all of it was written
        answer = error_reply(e.error) if e.error else Reply(None, "", 1)
    except LisaError as e:
        answer = error_reply(e)
    except KeyboardInterrupt:
        answer = error_reply(Cancelled("cancelled with Ctrl-C"))
    except MemoryError:
        answer = error_reply(OutOfMemory("there was not enough memory"))
    except Exception:
        error_id = secrets.token_hex(4)
        logger.exception("internal error %s", error_id)
        answer = error_reply(InternalError(f"internal error {error_id}"))
    return show(answer, as_json=as_json)


def _run(words: list[str]) -> Reply:
    if not words or words[0] in ("-h", "--help", "help"):
        raise Shown({"help": HELP}, HELP)
    if words[0] in ("--version", "-V"):
        raise Shown({"version": lisa_tool.__version__}, f"lisa-tool {lisa_tool.__version__}")
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        if {"-h", "--help"} & set(words) and name.startswith("-"):
            raise Shown({"help": HELP}, HELP)
        raise _unknown(name)
    command = importlib.import_module(f"lisa_tool.cli.{name}")
    args = command.parser().parse_intermixed_args(rest)
    # Whatever a library prints is not part of the document.
    guarded = args.json and not hasattr(command, "WRITES_ITSELF")
    with contextlib.redirect_stdout(sys.stderr) if guarded else contextlib.nullcontext():
        reply: Reply = command.run(args)
    return reply


def _unknown(name: str) -> UsageError:
    if name.startswith("-"):
        return UsageError(
            f"{name!r} stands before the command",
            "Options come after it: lisa-tool segment IMAGE QUERY --json",
        )
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    if near:
        return UsageError(f"there is no command {name!r}", f"Did you mean: lisa-tool {near[0]}")
    if os.path.splitext(name)[1] or os.sep in name:
        return UsageError(
            f"{name!r} is not a command", f"To ask about an image: lisa-tool segment {name} QUERY"
        )
    return UsageError(
        f"there is no command {name!r}", f"There are {', '.join(COMMANDS)}. See: lisa-tool --help"
    )
