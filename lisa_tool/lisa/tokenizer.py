"""LISA's text as token ids, and back: sentencepiece, with the splitting rule of the models' training.

Today's transformers give other ids for the same prompt, so the rule is written out here. The strings that
the training added (`[SEG]`, `<im_start>`, `<im_end>`, ...) are cut out of a text first and swallow the white
space on both sides; `<s>`, `</s>` and `<unk>` are cut out and swallow nothing. Sentencepiece does the rest.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from lisa_tool.errors import CheckpointInvalid, MissingExtra
from lisa_tool.lisa.checkpoint.files import has, inside
from lisa_tool.lisa.config import read_config_json, read_small

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

IMAGE_TOKEN_INDEX: Final = -200
"""Stands in the ids for the image: the model puts CLIP's vectors there. No row of the vocabulary."""

IMAGE: Final = "<image>"
SEG: Final = "[SEG]"
IM_START: Final = "<im_start>"
IM_END: Final = "<im_end>"

_BLANK: Final = "\u2581"  # as sentencepiece writes it
_OPENING: Final = "([{\"'“\u2018"  # no blank between these and a [SEG] behind them
_CLOSING: Final = ".,;:!?)]}\"'”’…"  # nor between a [SEG] and these


class LisaTokenizer:
    """The tokenizer of one checkpoint: strings to ids and back."""

    def __init__(self, pieces: SentencePieceProcessor, added: Mapping[str, int], *, legacy: bool) -> None:
        """Raises CheckpointInvalid where the added strings are not those of a LISA checkpoint.

        added: string -> id; the ids go on from the last one of `pieces`.
        legacy: text behind a special string gets a leading blank from sentencepiece, as the very start does.
        """
        _check_added(added, pieces.get_piece_size())
        controls = (pieces.bos_id(), pieces.eos_id(), pieces.unk_id())
        self._pieces = pieces
        self._legacy = legacy
        self._added = dict(added)
        self._specials = {pieces.id_to_piece(i): i for i in controls} | self._added
        self._strings = {i: string for string, i in self._specials.items()}
        longest_first = sorted(self._specials, key=len, reverse=True)
        self._cut = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self.bos_token_id, self.eos_token_id, _ = controls
        self.seg_token_id, self.im_start, self.im_end = added[SEG], added[IM_START], added[IM_END]
        self.vocab_size = pieces.get_piece_size() + len(added)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read tokenizer.model, added_tokens.json and tokenizer_config.json.

        Raises CheckpointInvalid, WeightsCorrupt for a link to nothing, MissingExtra without sentencepiece.
        """
        pieces = _read_pieces(folder)
        config = _read_optional(folder, "tokenizer_config.json")
        added = _read_optional(folder, "added_tokens.json") or _decoder_entries(config)
        new = {string: i for string, i in added.items() if i not in range(pieces.get_piece_size())}
        return cls(pieces, new, legacy=config.get("legacy") in (None, True))

    @property
    def special_strings(self) -> frozenset[str]:
        """Every string that is not taken as plain text: keep them out of what a user writes."""
        return frozenset({IMAGE, *self._specials})

    def encode(self, prompt: str) -> list[int]:
        """The ids of a prompt: `bos_token_id` first, and IMAGE_TOKEN_INDEX for each `<image>`."""
        first, *others = map(self.encode_plain, prompt.split(IMAGE))
        ids = [self.bos_token_id, *first]
        for chunk in others:
            ids += [IMAGE_TOKEN_INDEX, *chunk]
        return ids

    def encode_plain(self, text: str) -> list[int]:
        """The ids of a text that holds no image, without `bos_token_id`."""
        parts = self._cut.split(text)  # plain, special, plain, special, ..., plain
        ids: list[int] = []
        for n, part in enumerate(parts):
            if n % 2:
                ids.append(self._specials[part])
                continue
            if n > 0 and parts[n - 1] in self._added:
                part = part.lstrip()
            if n + 1 < len(parts) and parts[n + 1] in self._added:
                part = part.rstrip()
            ids += self._encode_part(part, first=n == 0)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """What the reference prints for a whole sequence, blank for blank; images are left out.

        `answer_text` is better to read.
        """
        texts: list[str] = []
        n_pieces = self._pieces.get_piece_size()
        for is_added, run in groupby((i for i in ids if i != IMAGE_TOKEN_INDEX), lambda i: i >= n_pieces):
            if is_added:
                texts += map(self._strings.__getitem__, run)
            else:
                texts.append("".join(self._decode_run(run)))
        return " ".join(texts)

    def answer_text(self, ids: Sequence[int]) -> str:
        """An answer as a person would write it: what a `TextStream` gives for all of `ids`."""
        stream = TextStream(self)
        return "".join(map(stream.feed, ids)) + stream.close()

    def shown(self, token_id: int) -> str | bytes:
        """What one id adds to an answer: text, one byte of a character, or "" for every special string."""
        if token_id == IMAGE_TOKEN_INDEX or token_id in self._strings:
            return ""
        piece = self._pieces.id_to_piece(token_id)
        if self._pieces.is_byte(token_id):
            return bytes.fromhex(piece.removeprefix("<0x").removesuffix(">"))
        return piece.replace(_BLANK, " ")

    def _encode_part(self, part: str, *, first: bool) -> list[int]:
        """The ids of text between special strings; `first`: it stands at the very start."""
        if self._legacy:
            return list(self._pieces.encode(part))
        pieces = self._pieces.encode(part, out_type=str)
        if pieces and not first and not part.startswith(" "):
            head = pieces[0].removeprefix(_BLANK)
            pieces = [head, *pieces[1:]] if head else pieces[1:]
        # What is left of the first piece may be no piece itself: then it is <unk>, in the reference too.
        return [self._pieces.piece_to_id(piece) for piece in pieces]

    def _decode_run(self, ids: Iterable[int]) -> Iterator[str]:
        """The texts of ids without added ones. There is a blank before a text that `</s>` ends."""
        plain: list[int] = []
        for i in ids:
            if i not in self._strings:
                plain.append(i)
                continue
            if plain:
                yield " " + self._pieces.decode(plain)
            yield self._strings[i]
            plain = []
        if plain:
            yield self._pieces.decode(plain)


class TextStream:
    """The text of an answer while its ids are made: what `feed` returned so far is always readable.

    No character comes in halves, special strings other than `[SEG]` are left out, `[SEG]` has the blanks
    around it that a person would write (the ids hold none), and white space waits until something follows it.
    """

    def __init__(self, tokenizer: LisaTokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # white space that nothing followed yet
        self._last = ""  # the last character given, or SEG

    def feed(self, token_id: int) -> str:
        """The text that this id brings to light; often "" for a while, then more at once."""
        shown = self._tokenizer.shown(token_id)
        if isinstance(shown, bytes):
            return self._placed(self._utf8.decode(shown))
        text = self._placed(self._utf8.decode(b"", final=True) + shown)
        return text + self._seg() if token_id == self._tokenizer.seg_token_id else text

    def close(self) -> str:
        """The end of the answer: a character that was never completed, as U+FFFD, or ""."""
        return self._placed(self._utf8.decode(b"", final=True))

    def _placed(self, text: str) -> str:
        text = self._held + text
        body = text.rstrip()
        self._held = text[len(body) :]
        if not body:
            return ""
        if self._last in ("", SEG):
            body = body.lstrip()
        if self._last == SEG and body[0] not in _CLOSING:
            body = f" {body}"
        self._last = body[-1]
        return body

    def _seg(self) -> str:
        lead = self._held or ("" if self._last in _OPENING else " ")
        at_start = not self._last
        self._held, self._last = "", SEG
        return SEG if at_start else lead + SEG


def _read_pieces(folder: Path) -> SentencePieceProcessor:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as e:
        raise MissingExtra("LISA's tokenizer needs sentencepiece: pip install 'lisa-tool[lisa]'") from e
    if not has(folder, "tokenizer.model"):
        raise CheckpointInvalid(
            "the checkpoint has no tokenizer.model",
            "Put the checkpoint's sentencepiece file tokenizer.model into its folder; tokenizer.json does "
            "not replace it.",
        )
    data = read_small(inside(folder, "tokenizer.model"))
    pieces = SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(data)
    except RuntimeError as e:
        raise CheckpointInvalid(
            "tokenizer.model of the checkpoint cannot be read as a sentencepiece model"
        ) from e
    if -1 in (pieces.bos_id(), pieces.eos_id(), pieces.unk_id()):
        raise CheckpointInvalid("tokenizer.model of the checkpoint has no <s>, </s> or <unk>")
    return pieces


def _read_optional(folder: Path, name: str) -> dict[str, Any]:
    return read_config_json(inside(folder, name)) if has(folder, name) else {}


def _decoder_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """string -> id, from the field in which newer files keep what was added."""
    try:
        return {str(entry["content"]): int(i) for i, entry in config.get("added_tokens_decoder", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise CheckpointInvalid("added_tokens_decoder in tokenizer_config.json is not id -> token") from e


def _check_added(added: Mapping[str, Any], n_pieces: int) -> None:
    found = ", ".join(sorted(added)[:8]) or "nothing"
    missing = [string for string in (SEG, IM_START, IM_END) if string not in added]
    if missing:
        raise CheckpointInvalid(
            f"the tokenizer has no {' and no '.join(missing)}; beyond sentencepiece's own it has {found}",
            "A LISA v1 checkpoint has [SEG], <im_start> and <im_end> in added_tokens.json: is it complete?",
        )
    wanted = range(n_pieces, n_pieces + len(added))
    if "" in added or {*map(repr, added.values())} != {*map(repr, wanted)}:  # repr: 1000 is not "1000" or 1e3
        raise CheckpointInvalid(
            f"the tokenizer's added tokens ({found}) are not numbered from {n_pieces} on without a gap"
        )
