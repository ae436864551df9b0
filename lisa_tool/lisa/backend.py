"""The `lisa` backend: one loaded checkpoint behind the pipeline, with its caches and its memory policy."""

from __future__ import annotations

import gc
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
from lisa_tool.lisa.generate import Generation, Seg, Stopping, generate, greedy, predict_seg
from lisa_tool.lisa.loading import Loaded, load_lisa
from lisa_tool.lisa.prefix import KeyValues, common_prefix
from lisa_tool.lisa.processing import clip_pixels, crop_warning, sam_pixels
from lisa_tool.lisa.prompt import (
    TEMPLATES,
    build_prompt,
    clean_answer,
    clean_user_text,
    segmentation_question,
)
from lisa_tool.lisa.sam import full_size_logits
from lisa_tool.lisa.tokenizer import SEG, TextStream
from lisa_tool.pipeline import PredictedMask, Prediction, Question
from lisa_tool.results import Evidence, ModelInfo, Outcome
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


@dataclass(frozen=True)
class _Embedding:
    """SAM's image embedding, (1, 256, 64, 64), and the image's size inside the padded square."""

    embedding: Tensor
    resized_hw: tuple[int, int]


class LisaBackend:
    """Answers with the masks and words of a LISA checkpoint, which the first question loads."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self._settings = settings
        self._loaded: Loaded | None = None
        self._embeddings: ByteBoundedCache[_Embedding] = ByteBoundedCache(limits.cache_bytes // 2)
        self._image_tokens: ByteBoundedCache[Tensor] = ByteBoundedCache(limits.cache_bytes // 2)
        self._prefixes: ByteBoundedCache[tuple[list[int], KeyValues]] = ByteBoundedCache(
            limits.kv_cache_bytes
        )

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

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        """See `Backend.predict`. Out of memory, it drops its caches and tries once more, smaller."""
        loaded = self._load(call)
        try:
            return self._predict(loaded, image, question, call)
        except RuntimeError as e:  # torch.OutOfMemoryError is one, and the CPU's allocator has no other
            if not _out_of_memory(e):
                raise
        # Outside of `except`: the traceback holds the tensors of the failed try.
        self._forget()
        call.tell("trying again with less memory", 0.1)
        try:
            return self._predict(loaded, image, question, call, thrifty=True)
        except RuntimeError as e:
            if not _out_of_memory(e):
                raise
        self._forget()
        raise OutOfMemory("the model ran out of memory for this image and question")

    def close(self) -> None:
        """Let go of model and caches."""
        self._loaded = None
        self._forget()

    def _load(self, call: Call) -> Loaded:
        if self._loaded is None:
            with call.stage("loading the model", 0.05), call.uncounted():
                self._loaded = load_lisa(self._settings, call)
            call.check()
        return self._loaded

    def _forget(self) -> None:
        for cache in (self._prefixes, self._embeddings, self._image_tokens):
            cache.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _predict(
        self, loaded: Loaded, image: LoadedImage, question: Question, call: Call, *, thrifty: bool = False
    ) -> Prediction:
        prompt = self._prompt(loaded, question)
        answer, said = self._answer(loaded, image, prompt, question, call, thrifty)
        masks, ious = self._masks(loaded, image, answer.segs, call, thrifty)
        return self._prediction(image, question, prompt, answer, said, masks, ious)

    def _prompt(self, loaded: Loaded, question: Question) -> _Prompt:
        """The prompt of this question after as many earlier turns as fit in the model's positions."""
        tokenizer, limits = loaded.tokenizer, self._settings.limits
        specials = tokenizer.special_strings
        asked = segmentation_question(clean_user_text(question.text, specials))
        turns = [
            (clean_user_text(turn.query, specials), clean_answer(turn.answer, specials))
            for turn in question.history
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
        call: Call,
        thrifty: bool,
    ) -> tuple[Generation, str]:
        """The model's answer and its text; in `mask_only` the answer is one [SEG] that was never chosen."""
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
            embedded = model.embed_prompt(prompt.ids, self._tokens(loaded, image, call))
        with call.stage("answering", 0.3):
            if question.mode == "mask_only":
                seg, values = predict_seg(model, embedded, tokenizer.seg_token_id, prefix=prefix)
                answer, said = Generation([tokenizer.seg_token_id], [seg], "seg"), f"{SEG}."
            else:
                stream = TextStream(tokenizer)
                written: list[str] = []

                def tell(token_id: int) -> None:
                    written.append(stream.feed(token_id))
                    n = len(written)
                    call.tell(f"answering, token {n}", 0.3 + 0.3 * n / (n + 32), text=written[-1])

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
                    on_token=tell,
                    check=call.check,
                )
                said = "".join(written) + stream.close()
        if not thrifty:
            self._prefixes.put(key, (prompt.ids, values), values.nbytes)
        return answer, said

    def _tokens(self, loaded: Loaded, image: LoadedImage, call: Call) -> Tensor:
        """CLIP's view of the image as (1, 256, hidden)."""
        tokens = self._image_tokens.get(image.info.sha256)
        call.looked_up("image tokens", hit=tokens is not None)
        if tokens is None:
            with call.stage("looking at the image", 0.1):
                pixels = clip_pixels(image.rgb, fit=self._settings.clip_fit, size=loaded.clip_size)
                tokens = loaded.model.embed_clip(torch.from_numpy(pixels))
            call.image_encodes += 1
            self._image_tokens.put(image.info.sha256, tokens, tokens.nbytes)
        return tokens

    def _embedding(self, loaded: Loaded, image: LoadedImage, call: Call) -> _Embedding:
        """SAM's view of the image."""
        kept = self._embeddings.get(image.info.sha256)
        call.looked_up("image embedding", hit=kept is not None)
        if kept is None:
            with call.stage("encoding the image", 0.6):
                pixels, resized_hw = sam_pixels(image.rgb, loaded.model.config.sam.image_size)
                embedding = loaded.model.sam.embed_image(torch.from_numpy(pixels).to(loaded.sam_device))
                kept = _Embedding(embedding, resized_hw)
            call.image_encodes += 1
            self._embeddings.put(image.info.sha256, kept, embedding.nbytes)
        return kept

    def _masks(
        self, loaded: Loaded, image: LoadedImage, segs: list[Seg], call: Call, thrifty: bool
    ) -> tuple[list[Callable[[], NDArray[np.float32]]], list[float]]:
        """For each [SEG] what makes its full-size logits, and its predicted IoU; SAM runs for no other."""
        if not segs:
            return [], []
        kept = self._embedding(loaded, image, call)
        with call.stage("cutting the masks", 0.8):
            states = torch.stack([seg.state for seg in segs])
            batches = torch.split(states, 1) if thrifty else [states]
            decoded = [loaded.model.decode_masks(batch, kept.embedding) for batch in batches]
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
            outcome = "uncertain" if probability < UNSURE or min(ious) < UNSURE else "found"
        if question.mode == "mask_only":
            warnings.append(MASK_ONLY_WARNING)
        elif answer.finish == "length":
            warnings.append(f"the answer was cut after {len(answer.token_ids)} tokens")
        missing = dict.fromkeys(("detection", "match", "margin"), _NO_DETECTOR)
        if probability is None:
            missing["seg_probability"] = "the answer has no [SEG]"
        return Prediction(
            outcome=outcome,
            answer=words or "The model gave no words and no mask.",
            reasoning=reasoning,
            masks=tuple(PredictedMask("", round(i, 4), make) for make, i in zip(masks, ious, strict=True)),
            evidence=Evidence(
                seg_probability=None if probability is None else round(probability, 4), missing=missing
            ),
            warnings=tuple(filter(None, warnings)),
            asked=prompt.asked,
            said=said,
        )


@dataclass(frozen=True)
class _FullSize:
    """Makes one mask's logits in the image's size when they are needed: a large image's take 92 MiB."""

    low_res: Tensor
    square: int
    resized_hw: tuple[int, int]
    size_hw: tuple[int, int]

    def __call__(self) -> NDArray[np.float32]:
        logits = full_size_logits(self.low_res, self.square, self.resized_hw, self.size_hw)[0]
        array: NDArray[np.float32] = logits.numpy()
        return array


def _out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text
