"""In which type each weight is kept, and the quantised layers of bitsandbytes.

The language model's linear layers take the precision that was asked for. With int8 and nf4, CLIP, SAM's image
encoder, embeddings, norms, and by default text_hidden_fcs, lm_head and mm_projector are kept in 16 bit: they
are few bytes, and every mask goes through them. SAM's prompt encoder with its positions, its mask decoder and
its neck are always float32: in 16 bit the reference's positions are off by up to 0.17 (docs/LOG.md).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lisa_tool.errors import BadSettings, MissingExtra
from lisa_tool.settings import Precision

Kept = Literal["fp32", "bf16", "fp16", "int8", "nf4"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FLOAT32 = ("sam.prompt_encoder.", "sam.mask_decoder.", "sam.image_encoder.neck.")
_QUANTIZED = "llm.model.layers."
_QUANTIZED_TOO = ("llm.lm_head.", "mm_projector.", "text_hidden_fcs.")  # as the reference's scripts do
_CPU_ROWS = 32
_OUTLIER = 6.0  # activations above it stay in 16 bit (Dettmers et al., LLM.int8(), 2022)


@dataclass(frozen=True)
class Policy:
    """How the weights of one model are kept."""

    kept: Kept
    dtype: torch.dtype
    quantize_all: bool = False

    @property
    def quantized(self) -> bool:
        """Whether bitsandbytes is needed."""
        return self.kept in ("int8", "nf4")

    def dtype_of(self, key: str) -> torch.dtype:
        """The type of the weight under a module key, before any quantisation."""
        return torch.float32 if key.startswith(_FLOAT32) else self.dtype

    def quantizes(self, key: str, module: nn.Module, device: torch.device) -> bool:
        """Whether this weight becomes an int8 or nf4 one on this device."""
        prefixes = (_QUANTIZED, *(_QUANTIZED_TOO if self.quantize_all else ()))
        if not (self.quantized and key.startswith(prefixes) and key.endswith(".weight")):
            return False
        if not isinstance(module, nn.Linear):
            return False
        # On a CPU with AVX512-BF16, bitsandbytes packs the rows of nf4 by 32, which divides few vocabularies.
        return self.kept != "nf4" or device.type != "cpu" or module.out_features % _CPU_ROWS == 0


def policy_for(precision: Precision, device: torch.device, *, quantize_all: bool = False) -> Policy:
    """The policy for a setting on a device.

    `auto` is bf16 on a GPU that computes in it, fp16 on an older one, fp32 on a CPU. Quantised layers compute
    in bf16 where that exists, else in fp16. Raises BadSettings, or MissingExtra without bitsandbytes.
    """
    half = torch.bfloat16
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        half = torch.float16
    if precision == "auto":
        if device.type == "cpu":
            return Policy("fp32", torch.float32)
        return Policy("bf16" if half == torch.bfloat16 else "fp16", half)
    if precision in ("int8", "nf4"):
        _bitsandbytes()
        return Policy(precision, half, quantize_all)
    if precision == "bf16" and half == torch.float16:
        raise BadSettings("this GPU does not compute in bf16", "Set LISA_PRECISION=fp16.")
    return Policy(precision, _DTYPES[precision])


def quantized_linear(linear: nn.Linear, weight: Tensor, policy: Policy, device: torch.device) -> nn.Module:
    """A quantised layer in the place of `linear`, with its bias.

    weight: (out, in), in any float type on the CPU. The quantised copy is made on `device`.
    """
    bnb = _bitsandbytes()
    n_in, n_out, has_bias = linear.in_features, linear.out_features, linear.bias is not None
    with torch.device("meta"):
        layer: nn.Module
        if policy.kept == "nf4":
            layer = bnb.nn.Linear4bit(
                n_in,
                n_out,
                bias=has_bias,
                compute_dtype=policy.dtype,
                compress_statistics=True,
                quant_type="nf4",
            )
        else:
            layer = bnb.nn.Linear8bitLt(
                n_in, n_out, bias=has_bias, has_fp16_weights=False, threshold=_OUTLIER
            )
    if policy.kept == "nf4":
        parameter = bnb.nn.Params4bit(
            weight.to(policy.dtype),
            requires_grad=False,
            quant_type="nf4",
            compress_statistics=True,
            module=layer,
        )
    else:  # its rows are scaled in float16
        parameter = bnb.nn.Int8Params(weight.to(torch.float16), requires_grad=False, has_fp16_weights=False)
    layer.weight = parameter.to(device)
    layer.bias = linear.bias
    return layer


def weight_bytes(model: nn.Module) -> int:
    """Bytes that the weights take in memory, with the scales of quantised ones."""
    total = sum(buffer.nbytes for buffer in model.buffers())
    for parameter in model.parameters():
        total += parameter.nbytes
        total += _nbytes(getattr(parameter, "SCB", None))
        total += _state_bytes(getattr(parameter, "quant_state", None))
    for module in model.modules():  # an int8 layer moves its scales here when it first runs
        if (state := getattr(module, "state", None)) is not None and getattr(
            module.weight, "SCB", None
        ) is None:
            total += _nbytes(getattr(state, "SCB", None))
    return total


def _state_bytes(state: Any) -> int:
    if state is None:
        return 0
    nested = getattr(state, "state2", None)
    return _nbytes(state.absmax) + _nbytes(state.code) + _nbytes(state.offset) + _state_bytes(nested)


def _nbytes(tensor: Any) -> int:
    return tensor.nbytes if isinstance(tensor, Tensor) else 0


def _not_about_casting(record: logging.LogRecord) -> bool:
    return "inputs will be cast" not in str(record.msg)


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError as e:
        raise MissingExtra("int8 and nf4 need bitsandbytes: pip install 'lisa-tool[quant]'") from e
    # For every layer and token it says that it casts the input, which is what it is there for.
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_not_about_casting)
    return bitsandbytes
