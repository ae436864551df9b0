"""What each stage of a question costs in one precision, and the bytes that its weights really take.

Decoding is bound by memory and everything else by arithmetic, so each is held to its own peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lisa_tool.eval.flops import QuestionFlops
from lisa_tool.eval.peaks import Peak
from lisa_tool.eval.random_model import Questions, stopping_after
from lisa_tool.eval.stopwatch import Clock, Runs, Watch
from lisa_tool.lisa.checkpoint.work import Work
from lisa_tool.lisa.generate import generate
from lisa_tool.lisa.memory import kv_bytes_per_token
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.precision import Kept, weight_bytes

N_TOKENS = 16  # of the answer whose tokens are timed


@dataclass(frozen=True)
class Stages:
    """Seconds of each stage and bytes, of a model kept in `precision`.

    weight_bytes: all of them, with the scales of quantised ones, once they have been used. layer_bytes: those
    of the language model's layers, which is what int8 and nf4 make smaller. token_bytes: read for one token,
    weights and the middle length of keys and values. peak_bytes: the most that torch has taken on a GPU while
    a question was answered. prefill_s: until the first token is chosen.
    """

    precision: Kept
    weight_bytes: int
    layer_bytes: int
    token_bytes: int
    peak_bytes: int | None
    clip_s: float
    prefill_s: float
    token_s: float
    sam_s: float
    mask_s: float


@dataclass(frozen=True)
class Rates:
    """What the hardware was made to do in a second.

    token_bytes_s: read while decoding. prefill_flops_s, sam_flops_s: operations. mbu, prefill_mfu, sam_mfu:
    the same as parts of the peak; None where none is known.
    """

    token_bytes_s: float
    prefill_flops_s: float
    sam_flops_s: float
    mbu: float | None
    prefill_mfu: float | None
    sam_mfu: float | None


def rates(stages: Stages, flops: QuestionFlops, peak: Peak | None) -> Rates:
    """Set the measured seconds against bytes and operations; `peak` is one of 16 bit, so not for fp32."""
    token_bytes_s = stages.token_bytes / stages.token_s
    prefill = flops.step(flops.prompt) / stages.prefill_s
    sam = flops.sam / stages.sam_s
    if peak is None or stages.precision == "fp32":
        return Rates(token_bytes_s, prefill, sam, None, None, None)
    mbu, prefill_mfu, sam_mfu = token_bytes_s / peak.bytes_s, prefill / peak.flops, sam / peak.flops
    return Rates(token_bytes_s, prefill, sam, mbu, prefill_mfu, sam_mfu)


@torch.inference_mode()
def measure_stages(
    model: LisaModel, precision: Kept, questions: Questions, clock: Clock, repeat: int, work: Work
) -> Stages:
    """Ask `repeat` times, after one unmeasured time, and keep the quickest of each stage."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    _ask(model, questions, clock, 2)
    asked = []
    for index in range(repeat):
        work.check()
        work.tell(f"timing the stages in {precision}", index / repeat)
        asked.append(_ask(model, questions, clock, N_TOKENS))
    clip_s, prefill_s, token_s, sam_s, mask_s = (min(column) for column in zip(*asked, strict=True))
    n_prompt = len(questions.first) + model.n_image_tokens - 1
    kv_bytes = kv_bytes_per_token(model.config, precision) * (n_prompt + N_TOKENS // 2)
    embeddings: int = model.llm.model.embed_tokens.weight.nbytes  # of which a token reads one row
    return Stages(
        precision=precision,
        weight_bytes=weight_bytes(model),
        layer_bytes=weight_bytes(model.llm.model.layers),
        token_bytes=weight_bytes(model.llm) - embeddings + kv_bytes,
        peak_bytes=torch.cuda.max_memory_allocated(model.device) if model.device.type == "cuda" else None,
        clip_s=clip_s,
        prefill_s=prefill_s,
        token_s=token_s,
        sam_s=sam_s,
        mask_s=mask_s,
    )


def _ask(
    model: LisaModel, questions: Questions, clock: Clock, n_tokens: int
) -> tuple[float, float, float, float, float]:
    """Seconds of CLIP, the prefill, each further token, SAM's encoder, and one mask."""
    stopping = stopping_after(model, n_tokens)
    start = clock()
    image_tokens = model.embed_clip(questions.clip_pixels)
    clip_s = clock() - start
    watch = Watch(clock, Runs(), stopping)
    generate(model, model.embed_prompt(questions.first, image_tokens), stopping, choose=watch)
    first, last = watch.costs[0].seconds, watch.costs[-1].seconds
    start = clock()
    embedding = model.sam.embed_image(questions.sam_pixels)
    sam_s = clock() - start
    state = image_tokens[0, -1:]  # any will do: (1, hidden)
    start = clock()
    model.decode_masks(state, embedding)
    return clip_s, first, (last - first) / (n_tokens - 1), sam_s, clock() - start
