"""The command `lisa-mcp`: serve over stdio or HTTP, or enter the server into a client's configuration."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from pathlib import Path

import lisa_tool
from lisa_tool.cli.arguments import add_model
from lisa_tool.cli.exit_codes import exit_code
from lisa_tool.errors import InternalError, LisaError
from lisa_tool.mcp import install
from lisa_tool.settings import Settings, load_settings

logger = logging.getLogger(__name__)

GRACE_S = 2
"""How long open requests may go on after Ctrl-C."""

EPILOG = """\
examples:
  lisa-mcp --allow ~/Pictures --allow ~/Desktop
  lisa-mcp --http --port 8931 --allow ~/Pictures
  lisa-mcp install --client claude-desktop --allow ~/Pictures

Without --http it speaks over standard input and output, as desktop clients want it. No image can be read
until a folder is allowed: --allow, LISA_ROOTS, or roots in the config file. `lisa-tool doctor` shows the
settings; the token file holds a line `user token` for each user."""


def main(argv: list[str] | None = None) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(format="lisa-mcp: %(levelname)s: %(message)s", level=logging.WARNING)
    try:
        if words[:1] == ["install"]:
            install.run(install_parser().parse_args(words[1:]))
        else:
            _serve(parser().parse_args(words))
        return 0
    except KeyboardInterrupt:
        return 130
    except LisaError as e:
        error = e
    except Exception:
        error_id = secrets.token_hex(4)
        logger.exception("internal error %s", error_id)
        error = InternalError(f"internal error {error_id}")
    print(f"lisa-mcp: {error.to_text()}", file=sys.stderr)
    return exit_code(error)


def parser() -> argparse.ArgumentParser:
    """The options of the server."""
    it = _parser("lisa-mcp", "Let MCP clients find things in images.", EPILOG)
    it.add_argument("--version", action="version", version=f"lisa-mcp {lisa_tool.__version__}")
    _add_server_options(it)
    http = it.add_argument_group("over HTTP")
    http.add_argument("--http", action="store_true", help="serve http://127.0.0.1:8931/mcp instead of stdio")
    http.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="listen here (127.0.0.1)")
    http.add_argument("--port", metavar="N", type=_port, default=8931, help="listen on this port (8931)")
    http.add_argument(
        "--allowed-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name that clients call it by, such as lisa.example.org; may be given more than once",
    )
    http.add_argument("--token-file", metavar="FILE", type=Path, help="who may call, with which bearer token")
    return it


def install_parser() -> argparse.ArgumentParser:
    """The options of `lisa-mcp install`."""
    it = _parser("lisa-mcp install", "Show or write the entry of a client's configuration.")
    install.add_install_options(it)
    _add_server_options(it)
    return it


def _parser(prog: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_server_options(it: argparse.ArgumentParser) -> None:
    it.add_argument(
        "--allow",
        metavar="DIR",
        type=lambda text: Path(text).expanduser(),
        action="append",
        help="read images from this folder; may be given more than once (LISA_ROOTS)",
    )
    it.add_argument("--out", metavar="DIR", type=Path, help="where results go (LISA_OUTPUT_DIR)")
    add_model(it)


def server_settings(args: argparse.Namespace | None = None) -> Settings:
    """The settings of a server: no folder is allowed until one is named. Raises BadSettings."""
    given = vars(args) if args else {}
    settings = load_settings(
        roots=given.get("allow"),
        output_dir=given.get("out"),
        model=given.get("model"),
        precision=given.get("precision"),
        device=given.get("device"),
    )
    if "roots" not in settings.model_fields_set:
        settings = settings.model_copy(update={"roots": ()})
    for folder in settings.roots:
        if not folder.is_dir():
            logger.warning("%s is not a folder: nothing can be read from it", folder)
    return settings


def _serve(args: argparse.Namespace) -> None:
    settings = server_settings(args)
    from lisa_tool.mcp.app import build_server

    if not args.http:
        build_server(settings).run()
        return
    import uvicorn

    from lisa_tool.mcp.http import Endpoint, Tokens, http_app

    tokens = Tokens.read(args.token_file) if args.token_file else None
    endpoint = Endpoint(args.host, args.port, tuple(args.allowed_host), tokens)
    server = build_server(settings, token_verifier=endpoint.verifier(), auth=endpoint.auth())
    print(f"lisa-mcp: serving {endpoint.url}", file=sys.stderr)
    uvicorn.run(
        http_app(server, endpoint, settings.limits),
        host=endpoint.host,
        port=endpoint.port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
    )


def _port(text: str) -> int:
    if not (text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)
