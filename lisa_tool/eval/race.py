"""The reference's procedure against ours: one model, prompt and answer, both in every round.

The reference is `answer_uncached`, an explicit loop. Neither runs SAM here: both need it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lisa_tool.eval.random_model import Questions, stopping_after
from lisa_tool.eval.stopwatch import Agreement, Clock, Cost, Runs, Watch, cheapest, counted
from lisa_tool.eval.uncached import answer_uncached
from lisa_tool.lisa.checkpoint.work import Work
from lisa_tool.lisa.generate import generate, predict_seg
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.prefix import KeyValues, common_prefix


@dataclass(frozen=True)
class Answer:
    """An answer of `tokens`: by the reference, by ours, and to another question about the same image.

    image_kept: image tokens are at hand. prefix_kept: also keys and values of what the prompts share.
    """

    tokens: int
    reference: Cost
    ours: Cost
    image_kept: Cost
    prefix_kept: Cost

    @property
    def ratio(self) -> float:
        """Reference to ours."""
        return self.reference.seconds / self.ours.seconds


@dataclass(frozen=True)
class Race:
    """What came of it.

    mask_only_s: until the state of a mask without words is there; mask_only_kept_s: with everything kept.
    reference_agrees, prefix_agrees: with ours, and with the second question without a kept prefix.
    """

    answers: list[Answer]
    mask_only_s: float
    mask_only_kept_s: float
    reference_agrees: Agreement
    prefix_agrees: Agreement


def race(
    model: LisaModel, questions: Questions, clock: Clock, lengths: Sequence[int], repeat: int, work: Work
) -> Race:
    """Run all of it `repeat` times, after a short unmeasured round, and keep the quickest of each."""
    with torch.inference_mode(), counted(model) as runs:
        _Round(model, questions, clock, runs, min(2, max(lengths)), lambda n: work.check()).run()
        rounds = []
        for index in range(repeat):

            def on_reference_token(n: int, index: int = index) -> None:
                work.check()
                done = index + n / max(lengths)
                work.tell(f"answering as the reference does, token {n}", done / repeat)

            one = _Round(model, questions, clock, runs, max(lengths), on_reference_token)
            one.run()
            rounds.append(one)
    return Race(
        answers=[
            Answer(
                n,
                reference=cheapest([r.reference for r in rounds], n),
                ours=cheapest([r.ours for r in rounds], n),
                image_kept=cheapest([r.image_kept for r in rounds], n),
                prefix_kept=cheapest([r.prefix_kept for r in rounds], n),
            )
            for n in lengths
        ],
        mask_only_s=min(r.mask_only_s for r in rounds),
        mask_only_kept_s=min(r.mask_only_kept_s for r in rounds),
        reference_agrees=rounds[0].reference.agreement(),
        prefix_agrees=rounds[0].prefix_kept.agreement(),
    )


class _Round:
    """Every procedure once, in the order in which they need each other."""

    reference: Watch
    ours: Watch
    image_kept: Watch
    prefix_kept: Watch
    mask_only_s: float
    mask_only_kept_s: float

    def __init__(
        self,
        model: LisaModel,
        questions: Questions,
        clock: Clock,
        runs: Runs,
        n_tokens: int,
        on_reference_token: Callable[[int], None],
    ) -> None:
        self._model, self._questions, self._clock, self._runs = model, questions, clock, runs
        self._on_reference_token = on_reference_token
        self._stopping = stopping_after(model, n_tokens)

    def run(self) -> None:
        model, questions, stopping = self._model, self._questions, self._stopping

        self.ours = self._watch()
        image_tokens = model.embed_clip(questions.clip_pixels)
        embedded = model.embed_prompt(questions.first, image_tokens)
        _, values = generate(model, embedded, stopping, choose=self.ours)

        self.reference = self._watch(self.ours.token_ids, self._on_reference_token)
        answer_uncached(model, questions.first, questions.clip_pixels, stopping, choose=self.reference)

        self.image_kept = self._watch()
        embedded = model.embed_prompt(questions.second, image_tokens)
        generate(model, embedded, stopping, choose=self.image_kept)

        n_shared = common_prefix(questions.second, questions.first)
        prefix = values.first(n_shared + model.n_image_tokens - 1)
        rest = questions.second[n_shared:]
        self.prefix_kept = self._watch(self.image_kept.token_ids)
        generate(model, model.embed_prompt(rest, None), stopping, prefix=prefix, choose=self.prefix_kept)

        self.mask_only_s = self._mask_only(questions.first, None)
        self.mask_only_kept_s = self._mask_only(rest, prefix)

    def _watch(
        self, script: Sequence[int] | None = None, on_token: Callable[[int], None] = lambda n: None
    ) -> Watch:
        return Watch(self._clock, self._runs, self._stopping, script, on_token)

    def _mask_only(self, ids: list[int], prefix: KeyValues | None) -> float:
        start = self._clock()
        image_tokens = None if prefix else self._model.embed_clip(self._questions.clip_pixels)
        embedded = self._model.embed_prompt(ids, image_tokens)
        predict_seg(self._model, embedded, self._stopping.seg_id, prefix=prefix)
        return self._clock() - start
