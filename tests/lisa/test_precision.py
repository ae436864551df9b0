"""Each precision on the CPU, bitsandbytes for real: which weights change, their bytes, what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lisa_tool.engine.call import Call
from lisa_tool.lisa.backend import LisaBackend
from lisa_tool.lisa.loading import Loaded, load_lisa
from lisa_tool.lisa.precision import Policy, policy_for, quantized_linear, weight_bytes
from lisa_tool.masks.geometry import iou
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Precision, Settings, load_settings
from lisa_tool.store import read_mask
from tests.lisa.conftest import CLIP, GOLDEN

pytest.importorskip("bitsandbytes", reason="needs the extra: pip install 'lisa-tool[quant]'")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded_in(nano_folder: Path) -> dict[tuple[Precision, bool], Loaded]:
    def load(precision: Precision, everything: bool) -> Loaded:
        settings = load_settings(
            model=str(nano_folder),
            clip_path=CLIP,
            weights_dir=nano_folder.parent,
            precision=precision,
            quantize_all=everything,
        )
        return load_lisa(settings, Call.start(deadline_s=600))

    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8", "nf4")
    return {(p, all_): load(p, all_) for p in precisions for all_ in (False, True)}


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8", "nf4"])
def test_a_smaller_precision_marks_nearly_the_same_pixels(
    precision: Precision, loaded_in: dict[tuple[Precision, bool], Loaded], nano_settings: Settings
) -> None:
    def mask(loaded: Loaded) -> Path:
        backend = LisaBackend(nano_settings)
        backend._loaded = loaded
        result = LocalSegmenter(backend, nano_settings).segment(
            GOLDEN / "images" / "portrait.png", "the cat", mode="mask_only"
        )
        assert result.model.precision == loaded.policy.kept
        return Path(result.masks[0].path)

    exact, smaller = (read_mask(mask(loaded_in[p, False])) for p in ("fp32", precision))
    # The reference's own bf16 run agrees with its fp32 run to 0.986 on these weights (golden/README.md).
    assert iou(exact, smaller) > (0.9 if precision == "nf4" else 0.97)


@pytest.mark.parametrize(
    ("precision", "kept"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_language_model_and_encoders_take_the_precision_and_the_mask_decoder_is_exact(
    precision: Precision, kept: torch.dtype, loaded_in: dict[tuple[Precision, bool], Loaded]
) -> None:
    model = loaded_in[precision, False].model
    assert model.llm.model.layers[0].self_attn.q_proj.weight.dtype == kept
    assert model.llm.model.embed_tokens.weight.dtype == kept
    assert next(model.clip.parameters()).dtype == kept
    assert model.sam.image_encoder.pos_embed.dtype == kept
    for exact in (model.sam.mask_decoder, model.sam.prompt_encoder, model.sam.image_encoder.neck):
        assert {tensor.dtype for tensor in exact.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_only_the_layers_of_the_language_model_are_quantised_unless_all_is_wanted(
    precision: Precision, loaded_in: dict[tuple[Precision, bool], Loaded]
) -> None:
    def quantised(model: nn.Module) -> set[str]:
        small = (torch.uint8, torch.int8)
        return {name for name, parameter in model.named_parameters() if parameter.dtype in small}

    some, everything = (quantised(loaded_in[precision, all_].model) for all_ in (False, True))
    assert len(some) == 3 * 7 and all(name.startswith("llm.model.layers.") for name in some)
    too = {"mm_projector.weight", "text_hidden_fcs.0.weight", "text_hidden_fcs.2.weight"}
    # On a CPU nf4 wants a number of rows that 32 divides, which 1003 words are not.
    assert everything - some == (too if precision == "nf4" else too | {"llm.lm_head.weight"})


def test_nothing_is_left_unloaded(loaded_in: dict[tuple[Precision, bool], Loaded]) -> None:
    for loaded in loaded_in.values():
        tensors = [*loaded.model.named_parameters(), *loaded.model.named_buffers()]
        assert not [name for name, tensor in tensors if tensor.is_meta]


@pytest.mark.parametrize(("kept", "bits"), [("int8", 8.1), ("nf4", 4.2)])
def test_a_quantised_layer_takes_the_bytes_of_its_bits_and_scales(kept: str, bits: float) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(1024, 2048, bias=False)
    layer = quantized_linear(linear, linear.weight.detach(), Policy(kept, torch.bfloat16), CPU)  # type: ignore[arg-type]
    assert weight_bytes(layer) * 8 / linear.weight.numel() == pytest.approx(bits, abs=0.1)
    x = torch.randn(4, 1024)
    close = layer(x.bfloat16()).float()
    assert (close - linear(x)).norm() / linear(x).norm() < (0.03 if kept == "int8" else 0.15)
    assert weight_bytes(layer) * 8 / linear.weight.numel() == pytest.approx(bits, abs=0.1)  # after it ran too


def test_auto_is_exact_on_a_cpu() -> None:
    assert policy_for("auto", CPU) == Policy("fp32", torch.float32)
    assert replace(policy_for("nf4", CPU, quantize_all=True), quantize_all=False) == policy_for("nf4", CPU)


def test_int8_does_not_report_every_cast(caplog: pytest.LogCaptureFixture) -> None:
    linear = nn.Linear(64, 64, bias=False)
    layer = quantized_linear(linear, linear.weight.detach(), Policy("int8", torch.bfloat16), CPU)
    layer(torch.randn(1, 64, dtype=torch.bfloat16))
    assert not caplog.records
