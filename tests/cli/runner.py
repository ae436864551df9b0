"""Call `lisa-tool` in this process and keep what it printed."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from lisa_tool.cli import main


@dataclass(frozen=True)
class Ran:
    """One command line that has run."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output; fails when there is anything else."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error in the document."""
        assert list(self.document) == ["error"]
        error: dict[str, Any] = self.document["error"]
        assert list(error) == ["code", "message", "hint", "retryable"]
        return error


class CommandLine:
    """`cli("segment", "photo.jpg", "the dog", "--json", stdin=b"")`"""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object, stdin: bytes = b"") -> Ran:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capsys.readouterr()
        code = main([str(word) for word in words])
        printed = self._capsys.readouterr()
        return Ran(code, printed.out, printed.err)
