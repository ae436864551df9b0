"""The `lisa` backend: one loaded checkpoint behind the pipeline, with its caches and its memory policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lisa_tool.engine.cache import ByteBoundedCache
from lisa_tool.engine.call import Call
from lisa_tool.errors import InvalidQuery, NotFinite, OutOfMemory
from lisa_tool.images import LoadedImage
from lisa_tool.lisa.answer import split_answer
from lisa_tool.lisa.checkpoint.work import Part
from lisa_tool.lisa.config import MASKS_AT_ONCE
from lisa_tool.lisa.generate import Generation, Seg, Stopping, generate, greedy, predict_seg
from lisa_tool.lisa.loading import Loaded, load_lisa
from lisa_tool.lisa.prefix import KeyValues, common_prefix
from lisa_tool.lisa.processing import crop_warning
from lisa_tool.lisa.prompt import (
    TEMPLATES,
    build_prompt,
    clean_answer,
    clean_user_text,
    segmentation_question,
)
from lisa_tool.lisa.sam import full_size_logits
from lisa_tool.lisa.shortage import Shortage
from lisa_tool.lisa.sight import Sight
from lisa_tool.lisa.tokenizer import SEG, LisaTokenizer, TextStream
from lisa_tool.pipeline import PredictedMask, Prediction, Question
from lisa_tool.results import Evidence, ModelInfo, Outcome, clean_text
from lisa_tool.settings import Settings

UNSURE = 0.5  # P([SEG]) or predicted IoU below which an answer is `uncertain`; not calibrated
MASK_ONLY_WARNING = "in this mode a mask is always made: that the thing is in the picture is not checked"
_NO_DETECTOR = "lisa has no detector"


@dataclass(frozen=True)
class _Prompt:
    """A question as the model reads it: the text of the turn, all ids, and how long the answer may get."""

    asked: str
    ids: list[int]
    max_new_tokens: int


class _Words:
    """Tells the answer's text while it is made; when it is made again, only what is new."""

    def __init__(self, tokenizer: LisaTokenizer, call: Call) -> None:
        self._tokenizer, self._call = tokenizer, call
        self._told = 0
        self.begin()

    def begin(self) -> None:
        """The first token comes next, for the first time or again."""
        self._stream, self._n_tokens, self.text = TextStream(self._tokenizer), 0, ""

    def add(self, token_id: int) -> None:
        """One more token."""
        self._n_tokens += 1
        self._grow(self._stream.feed(token_id))

    def end(self) -> str:
        """The whole text."""
        self._grow(self._stream.close())
        return self.text

    def _grow(self, text: str) -> None:
        self.text += text
        new, self._told = self.text[self._told :], max(self._told, len(self.text))
        n = self._n_tokens
        self._call.tell(f"answering, token {n}", 0.3 + 0.3 * n / (n + 32), text=new)


class LisaBackend:
    """Answers with the masks and words of a LISA checkpoint, which the first question loads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: Loaded | None = None
        self._sight = Sight(settings.limits.cache_bytes, settings.clip_fit)
        self._prefixes: ByteBoundedCache[tuple[list[int], KeyValues]] = ByteBoundedCache(
            settings.limits.kv_cache_bytes
        )
        self._shortage = Shortage(self._forget)

    @property
    def model(self) -> ModelInfo:
        """The checkpoint; revision and weights are known once it is loaded."""
        if self._loaded:
            return self._loaded.info
        return ModelInfo(
            name=self._settings.model,
            backend="lisa",
            revision=self._settings.revision or "not loaded yet",
            precision=self._settings.precision,
            device=self._settings.device,
            prompt_template=self._settings.prompt_template,
        )

    @property
    def packages(self) -> tuple[str, ...]:
        """See `Backend.packages`."""
        quantized = self._loaded is not None and self._loaded.policy.quantized
        return ("torch", "transformers", "segment-anything", *(["bitsandbytes"] if quantized else []))

    @torch.inference_mode()
    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        """See `Backend.predict`. Out of memory, it drops its caches and does that half again, smaller."""
        loaded = self._shortage.once(lambda: self._load(call))
        prompt = self._prompt(loaded, question)
        words = _Words(loaded.tokenizer, call)

        def again() -> None:
            call.tell("trying again with less memory", 0.1)
            words.begin()

        answer = self._shortage.twice(
            lambda thrifty: self._answer(loaded, image, prompt, question, words, call, thrifty), again
        )
        said = f"{SEG}." if question.mode == "mask_only" else words.end()
        masks, ious = self._shortage.twice(
            lambda thrifty: self._masks(loaded, image, answer.segs, call, thrifty), again
        )
        return self._prediction(image, question, prompt, answer, said, masks, ious)

    def close(self) -> None:
        """Let go of model and caches."""
        self._loaded = None
        self._forget()

    def _load(self, call: Call) -> Loaded:
        if self._loaded is None:
            with call.stage("loading the model", 0.05), call.uncounted():
                self._loaded = load_lisa(self._settings, Part(call, 0.05, 0.1))
            call.check()
        return self._loaded

    def _forget(self) -> None:
        self._prefixes.clear()
        self._sight.forget()

    def _prompt(self, loaded: Loaded, question: Question) -> _Prompt:
        """The prompt of this question after as many earlier turns as fit in the model's positions."""
        tokenizer, limits = loaded.tokenizer, self._settings.limits
        specials = tokenizer.special_strings
        asked = segmentation_question(clean_user_text(question.text, specials))
        turns = [
            (clean_user_text(turn.query, specials), clean_answer(turn.answer, specials))
            for turn in question.history
            if turn.answer
        ]
        room = loaded.model.config.llama.max_positions - loaded.model.n_image_tokens + 1
        template = TEMPLATES[self._settings.prompt_template]
        for first in range(len(turns) + 1):
            ids = tokenizer.encode(build_prompt(template, [*turns[first:], (asked, None)]))
            left = room - len(ids)
            if left >= limits.max_new_tokens or (left > 0 and first == len(turns)):
                return _Prompt(asked, ids, min(left, limits.max_new_tokens))
        raise InvalidQuery(
            f"the question takes {len(ids)} tokens and the model has room for {room}", "Ask in fewer words."
        )

    def _answer(
        self,
        loaded: Loaded,
        image: LoadedImage,
        prompt: _Prompt,
        question: Question,
        words: _Words,
        call: Call,
        thrifty: bool,
    ) -> Generation:
        """The model's answer; in `mask_only` it is one [SEG] that was never chosen."""
        model, tokenizer = loaded.model, loaded.tokenizer
        key = image.info.sha256
        kept = None if thrifty else self._prefixes.get(key)
        n_shared = common_prefix(prompt.ids, kept[0]) if kept else 0
        call.looked_up("prompt prefix", hit=n_shared > 0)
        prefix = None
        if kept and n_shared:
            prefix = kept[1].first(n_shared + model.n_image_tokens - 1)
            embedded = model.embed_prompt(prompt.ids[n_shared:], None)
        else:
            embedded = model.embed_prompt(prompt.ids, self._sight.tokens(loaded, image, call))
        with call.stage("answering", 0.3):
            if question.mode == "mask_only":
                seg, values = predict_seg(model, embedded, tokenizer.seg_token_id, prefix=prefix)
                answer = Generation([tokenizer.seg_token_id], [seg], "seg")
            else:
                stopping = Stopping(
                    eos_id=tokenizer.eos_token_id,
                    seg_id=tokenizer.seg_token_id,
                    max_new_tokens=prompt.max_new_tokens,
                    at_first_seg=question.mode == "fast",
                )
                answer, values = generate(
                    model,
                    embedded,
                    stopping,
                    prefix=prefix,
                    choose=greedy,
                    on_token=words.add,
                    check=call.check,
                )
        if not thrifty:
            self._keep(key, [*prompt.ids, *answer.token_ids[:-1]], values, model.n_image_tokens)
        return answer

    def _keep(self, key: str, ids: list[int], values: KeyValues, n_image_tokens: int) -> None:
        """Keep as much of the keys and values as has room, at least up to the image's end."""
        room = self._settings.limits.kv_cache_bytes // (values.nbytes // values.n_positions)
        n_ids = min(len(ids), room - n_image_tokens + 1)
        if n_ids == len(ids):
            self._prefixes.put(key, (ids, values), values.nbytes)
        elif common_prefix([*ids[:n_ids], -1], ids):  # the image is among them
            part = values.first(n_ids + n_image_tokens - 1).copy()
            self._prefixes.put(key, (ids[:n_ids], part), part.nbytes)

    def _masks(
        self, loaded: Loaded, image: LoadedImage, segs: list[Seg], call: Call, thrifty: bool
    ) -> tuple[list[Callable[[], NDArray[np.float32]]], list[float]]:
        """For each [SEG] what makes its full-size logits, and its predicted IoU; SAM runs for no other."""
        if not segs:
            return [], []
        kept = self._sight.embedding(loaded, image, call)
        states = torch.stack([seg.state for seg in segs[: self._settings.limits.max_masks]])
        decoded = []
        with call.stage("cutting the masks", 0.8):
            for some in torch.split(states, 1 if thrifty else MASKS_AT_ONCE):
                call.check()
                decoded.append(loaded.model.decode_masks(some, kept.embedding))
            low_res = torch.cat([logits for logits, _ in decoded]).cpu()  # (n, 1, 256, 256)
            if not low_res.isfinite().all():
                raise NotFinite("the mask decoder's numbers overflowed")
            ious = torch.cat([iou for _, iou in decoded])[:, 0].tolist()
        size_hw = image.info.height, image.info.width
        square = loaded.model.config.sam.image_size
        return [_FullSize(one[None], square, kept.resized_hw, size_hw) for one in low_res], ious

    def _prediction(
        self,
        image: LoadedImage,
        question: Question,
        prompt: _Prompt,
        answer: Generation,
        said: str,
        masks: list[Callable[[], NDArray[np.float32]]],
        ious: list[float],
    ) -> Prediction:
        words, reasoning = split_answer(said)
        warnings = [crop_warning((image.info.height, image.info.width), self._settings.clip_fit)]
        probability = min((seg.probability for seg in answer.segs), default=None)
        outcome: Outcome = "not_found"
        if probability is not None:
            # An answer may begin with other words than [SEG]: without words its probability says little.
            asked = min(ious) if question.mode == "mask_only" else min(probability, *ious)
            outcome = "uncertain" if asked < UNSURE else "found"
        if question.mode == "mask_only":
            warnings.append(MASK_ONLY_WARNING)
        elif answer.finish == "length":
            warnings.append(f"the answer was cut after {len(answer.token_ids)} tokens")
        missing = dict.fromkeys(("detection", "match", "margin"), _NO_DETECTOR)
        if probability is None:
            missing["seg_probability"] = "the answer has no [SEG]"
        return Prediction(
            outcome=outcome,
            answer=words if clean_text(words) else "The model gave no words and no mask.",
            reasoning=reasoning,
            masks=tuple(PredictedMask("", round(i, 4), make) for make, i in zip(masks, ious, strict=True)),
            evidence=Evidence(
                seg_probability=None if probability is None else round(probability, 4), missing=missing
            ),
            warnings=tuple(filter(None, warnings)),
            asked=prompt.asked,
            said=said,
            left_out=len(answer.segs) - len(masks),
        )


@dataclass(frozen=True)
class _FullSize:
    """Makes one mask's logits in the image's size when they are needed: a large image's take 92 MiB."""

    low_res: Tensor
    square: int
    resized_hw: tuple[int, int]
    size_hw: tuple[int, int]

    def __call__(self) -> NDArray[np.float32]:
        try:
            logits = full_size_logits(self.low_res, self.square, self.resized_hw, self.size_hw)[0]
        except RuntimeError as e:
            if "allocate" in str(e):
                raise OutOfMemory("there was not enough memory for a mask of this image's size") from e
            raise
        array: NDArray[np.float32] = logits.numpy()
        return array
