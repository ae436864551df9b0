"""Sentences as vectors: all-MiniLM-L6-v2, where similar meaning is a high dot product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lisa_tool.lite.sessions import Session, damage_reported, weights_file

WIDTH: Final = 384
MAX_TOKENS: Final = 128  # the model was trained on at most this many; the rest of a text is ignored
TEXTS_AT_ONCE: Final = 64


class SentenceEmbedder:
    def __init__(self) -> None:
        self._session = Session("sentence.onnx")
        path = str(weights_file("sentence_tokenizer.json"))
        with damage_reported("sentence_tokenizer.json"):
            self._tokenizer = Tokenizer.from_file(path)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns (n, 384) float32 rows of length 1, in the order of `texts`."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(tokens), WIDTH), np.float32)
        # Texts of like length share a call, so that little padding is computed.
        by_length = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        for start in range(0, len(by_length), TEXTS_AT_ONCE):
            some = by_length[start : start + TEXTS_AT_ONCE]
            longest = max(len(tokens[i]) for i in some)
            ids = np.zeros((len(some), longest), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(some):
                ids[row, : len(tokens[i])] = tokens[i]
                mask[row, : len(tokens[i])] = 1
            (vectors[some],) = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
        return vectors
