"""How much memory a LISA checkpoint needs, counted before anything is loaded.

Pure arithmetic on the sizes: no torch, no files. What a number rests on:

    weights      exact but for a few KiB: what torch and bitsandbytes 0.50 allocate
    kv           exact: keys and values of one question and its answer
    activations  the largest of three stages that follow one another; each formula is the peak that the
                 operators of that stage reach, which the tests compare with a count of live tensors (on a
                 real CPU SAM's encoder took 6 % more, for its kernels' own buffers)
    runtime      an assumption: what CUDA or the process takes before the first tensor
    kept         a bound of the settings: caches between questions, given up when memory runs out
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Literal, get_args

from lisa_tool.errors import ModelTooLarge
from lisa_tool.lisa.clip_sizes import ClipSizes
from lisa_tool.lisa.config import MASKS_AT_ONCE, SAM, LisaConfig
from lisa_tool.lisa.published import CLIP_VIT_L_14, LISA_7B
from lisa_tool.lisa.tensors import checkpoint_shapes
from lisa_tool.settings import Limits

Precision = Literal["fp32", "bf16", "fp16", "int8", "nf4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""From the most exact to the smallest."""

Device = Literal["cuda", "cpu"]

GIB = 2**30
CARDS_GB = (8, 12, 16, 24, 32, 40, 48, 80)
"""What common GPUs are sold as."""

RUNTIME_BYTES: dict[Device, int] = {"cuda": GIB // 2, "cpu": GIB}
"""Taken before the first tensor, and lost between tensors: CUDA's context; Python with torch. Assumed."""

_WORDS_TOKENS = 60  # of a prompt: the template's 36 and a question of 25; the image's come on top
_ALWAYS_FP32 = tuple(f"{SAM}{part}." for part in ("image_encoder.neck", "prompt_encoder", "mask_decoder"))
_NF4_BLOCK, _NF4_OUTER_BLOCK = 64, 256
_NF4_TABLES = 4 * (16 + 256 + 1)  # values of a nibble, of a byte of scale, and the scales' mean


@dataclass(frozen=True)
class MemoryNeed:
    """What one precision takes on one device, in bytes; `kept` is given up when the rest needs the room."""

    precision: Precision
    device: Device
    weights: int
    kv: int
    activations: int
    runtime: int
    kept: int

    @property
    def total(self) -> int:
        """What must be free for a question to be answered."""
        return self.weights + self.kv + self.activations + self.runtime

    @property
    def smallest_card_gb(self) -> int | None:
        """The smallest common GPU that holds it; None when none does."""
        return next((gb for gb in CARDS_GB if self.total <= card_bytes(gb)), None)


def memory_needed(
    config: LisaConfig,
    clip: ClipSizes,
    precision: Precision,
    *,
    device: Device = "cuda",
    quantize_all: bool = False,
    limits: Limits | None = None,
) -> MemoryNeed:
    """Count the bytes of one precision, with a prompt of usual length and the longest answer allowed.

    quantize_all: with int8 and nf4 also lm_head, mm_projector and text_hidden_fcs.
    """
    limits = limits or Limits()
    prompt_tokens = clip.n_patches + _WORDS_TOKENS
    tokens = min(prompt_tokens + limits.max_new_tokens, config.llama.max_positions)
    return MemoryNeed(
        precision=precision,
        device=device,
        weights=_weights(config, clip, precision, device, quantize_all),
        kv=tokens * kv_bytes_per_token(config, precision),
        activations=max(
            _image_encoder_peak(config, precision),
            _prefill_peak(config, precision, prompt_tokens),
            _mask_peak(config, limits),
        ),
        runtime=RUNTIME_BYTES[device],
        kept=limits.cache_bytes + limits.kv_cache_bytes,
    )


def memory_by_precision(
    config: LisaConfig,
    clip: ClipSizes,
    *,
    device: Device = "cuda",
    quantize_all: bool = False,
    limits: Limits | None = None,
) -> dict[Precision, MemoryNeed]:
    """`memory_needed` for every precision, from the most exact to the smallest."""
    return {
        precision: memory_needed(
            config, clip, precision, device=device, quantize_all=quantize_all, limits=limits
        )
        for precision in PRECISIONS
    }


def bytes_by_key(
    config: LisaConfig, precision: Precision, *, device: Device, quantize_all: bool
) -> dict[str, int]:
    """Checkpoint key -> what the model keeps of that tensor; CLIP's are not among them."""

    def n_bytes(key: str, shape: tuple[int, ...]) -> int:
        if key.startswith(_ALWAYS_FP32):
            return 4 * prod(shape)
        if _is_quantized(key, shape, precision, quantize_all):
            return _quantized_bytes(shape, precision, device)
        return _width(precision) * prod(shape)

    return {key: n_bytes(key, shape) for key, shape in checkpoint_shapes(config).items()}


def kv_bytes_per_token(config: LisaConfig, precision: Precision) -> int:
    """Keys and values of one position in all layers."""
    llama = config.llama
    head_width = llama.hidden_size // llama.n_heads
    return 2 * llama.n_layers * llama.n_kv_heads * head_width * _width(precision)


def best_that_fits(needs: Mapping[Precision, MemoryNeed], free_bytes: int) -> MemoryNeed | None:
    """The most exact precision that fits; bf16 rather than fp16, which takes the same room."""
    return next((needs[p] for p in PRECISIONS if p in needs and needs[p].total <= free_bytes), None)


def check_fits(
    needs: Mapping[Precision, MemoryNeed],
    precision: Precision,
    free_bytes: int,
    where: str,
    *,
    running: bool = False,
) -> None:
    """Refuse what cannot be loaded, before it is tried.

    needs: of the device in question, see `memory_by_precision`.
    where: names that device in the message, such as "NVIDIA GeForce RTX 3060" or "main memory".
    running: `free_bytes` was read after torch had taken its share there, so `runtime` is not needed again.

    Raises ModelTooLarge; its hint names the most exact precision that fits, or what would hold the model.
    """
    need = needs[precision]
    room = free_bytes + (need.runtime if running else 0)
    if need.total <= room:
        return
    raise ModelTooLarge(
        f"in {precision} the model needs {in_gib(need.total)} of memory, {in_gib(need.weights)} of it for "
        f"weights, and {where} has room for {in_gib(room)}",
        _advice(needs, room),
    )


def card_bytes(gb: int) -> int:
    """What a GPU sold as `gb` GB has to give: error correction and the driver take up to 7 % of it."""
    return gb * GIB * 93 // 100


def in_gib(n_bytes: int) -> str:
    """Bytes for people."""
    return f"{n_bytes / GIB:.1f} GiB"


def _advice(needs: Mapping[Precision, MemoryNeed], room: int) -> str:
    best = best_that_fits(needs, room)
    if best:
        return (
            f"Use {best.precision}, which needs {in_gib(best.total)}: --precision {best.precision}, "
            f"or LISA_PRECISION={best.precision}."
        )
    smallest = min(needs.values(), key=lambda need: need.total)
    advice = f"No precision fits: the smallest, {smallest.precision}, needs {in_gib(smallest.total)}"
    if smallest.device == "cuda":
        card = smallest.smallest_card_gb
        advice += f", which a GPU of {card} GB has" if card else ", more than one GPU has"
    smaller = best_that_fits(memory_by_precision(LISA_7B, CLIP_VIT_L_14, device=smallest.device), room)
    if smaller:
        advice += f". LISA-7B fits: --model xinlai/LISA-7B-v1 --precision {smaller.precision}"
    return f"{advice}."


def _weights(
    config: LisaConfig, clip: ClipSizes, precision: Precision, device: Device, quantize_all: bool
) -> int:
    in_checkpoint = bytes_by_key(config, precision, device=device, quantize_all=quantize_all)
    return clip.n_parameters(config.clip_layer) * _width(precision) + sum(in_checkpoint.values())


def _is_quantized(key: str, shape: tuple[int, ...], precision: Precision, quantize_all: bool) -> bool:
    """Of the linear layers' matrices the language model's, and those around it when asked for."""
    if precision not in ("int8", "nf4") or len(shape) != 2:
        return False
    around = ("lm_head.", "model.mm_projector.", "model.text_hidden_fcs.")
    return key.startswith("model.layers.") or (quantize_all and key.startswith(around))


def _quantized_bytes(shape: tuple[int, ...], precision: Precision, device: Device) -> int:
    """What bitsandbytes keeps of one matrix (n_out, n_in)."""
    n = prod(shape)
    if precision == "int8":
        return n + 4 * shape[0]  # a byte each and a scale per row
    blocks = ceil(n / _NF4_BLOCK)
    scales = blocks + 4 * ceil(blocks / _NF4_OUTER_BLOCK)  # quantised a second time
    if device == "cpu":
        scales = max(scales, 2 * blocks)  # a CPU with AVX512-BF16 unpacks them to bf16 at the first use
    return ceil(n / 2) + scales + _NF4_TABLES


def _width(precision: Precision) -> int:
    """Bytes of one number that is not quantised."""
    return 4 if precision == "fp32" else 2


def _image_encoder_peak(config: LisaConfig, precision: Precision) -> int:
    """SAM's encoder inside the attention of a global block, where every patch looks at every other.

    The scores are fused away, but not the positions added to them: one number for each head and pair of
    patches. With them live their rows and columns, and of each patch the
    residual, its norm, query, key, value and the outcome.
    """
    sam = config.sam
    patches = sam.grid**2
    positions = sam.n_heads * patches**2
    return _width(precision) * (positions + 2 * sam.n_heads * patches * sam.grid + 6 * patches * sam.width)


def _prefill_peak(config: LisaConfig, precision: Precision, tokens: int) -> int:
    """The language model over the whole prompt, inside an MLP.

    There live the residual, its norm in fp32 and the positions' cosines and sines, and of the MLP the gate,
    its activation times the other branch, and that branch; int8 adds sums in int32, nf4 an unpacked weight.
    """
    llama = config.llama
    head_width = llama.hidden_size // llama.n_heads
    branches = 5 if precision == "int8" else 3
    per_token = branches * llama.intermediate_size + 3 * llama.hidden_size + 2 * head_width
    unpacked = llama.intermediate_size * llama.hidden_size if precision == "nf4" else 0
    return _width(precision) * (tokens * per_token + unpacked)


def _mask_peak(config: LisaConfig, limits: Limits) -> int:
    """SAM's decoder in fp32, then one mask in the size of the largest image, thresholded."""
    n_masks = min(limits.max_masks, MASKS_AT_ONCE)
    return n_masks * 7 * 4 * config.sam.grid**2 * config.sam.embed_width + 5 * limits.max_pixels
