"""What is counted without running is what running computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")
pytest.importorskip("segment_anything", reason="needs the extra: pip install 'lisa-tool[lisa]'")

from lisa_tool.eval.flops import QuestionFlops, flops_of, question_flops  # noqa: E402
from lisa_tool.eval.random_model import SIZES, Questions, random_model, random_questions, stopping_after  # noqa: E402
from lisa_tool.eval.uncached import answer_uncached  # noqa: E402
from lisa_tool.lisa.generate import generate, predict_seg  # noqa: E402
from lisa_tool.lisa.precision import policy_for  # noqa: E402
from lisa_tool.lisa.prefix import KeyValues, common_prefix  # noqa: E402

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from torch import Tensor

    from lisa_tool.lisa.model import LisaModel

SMALL = SIZES["small"]
CPU = torch.device("cpu")


def any_token(logits: Tensor, step: int) -> int:
    return 7


@pytest.fixture(scope="module")
def model() -> LisaModel:
    return random_model(SMALL, policy_for("fp32", CPU), CPU)


@pytest.fixture(scope="module")
def questions(model: LisaModel) -> Questions:
    return random_questions(model)


@pytest.fixture(scope="module")
def counted() -> QuestionFlops:
    return question_flops(SMALL)


@pytest.fixture
def masked(model: LisaModel, questions: Questions) -> Callable[[], object]:
    """SAM on one image, and one mask."""
    state = torch.zeros(1, SMALL.config.llama.hidden_size)
    return lambda: model.decode_masks(state, model.sam.embed_image(questions.sam_pixels))


@pytest.mark.parametrize("n_tokens", [1, 5])
def test_the_reference_is_counted_as_the_explicit_loop_computes(
    n_tokens: int,
    model: LisaModel,
    questions: Questions,
    counted: QuestionFlops,
    masked: Callable[[], object],
) -> None:
    stopping = stopping_after(model, n_tokens)
    loop = flops_of(
        lambda: answer_uncached(model, questions.first, questions.clip_pixels, stopping, choose=any_token)
    )
    assert counted.reference(n_tokens) == loop + flops_of(masked)


@pytest.mark.parametrize("n_tokens", [1, 5])
def test_ours_is_counted_as_it_computes(
    n_tokens: int,
    model: LisaModel,
    questions: Questions,
    counted: QuestionFlops,
    masked: Callable[[], object],
) -> None:
    def answer() -> None:
        embedded = model.embed_prompt(questions.first, model.embed_clip(questions.clip_pixels))
        generate(model, embedded, stopping_after(model, n_tokens), choose=any_token)

    assert counted.ours(n_tokens) == flops_of(answer) + flops_of(masked)


@pytest.mark.parametrize("n_tokens", [1, 5])
def test_a_second_question_is_counted_as_it_computes(
    n_tokens: int, model: LisaModel, questions: Questions, counted: QuestionFlops
) -> None:
    rest, values = after_the_first(model, questions)

    def answer() -> None:
        stopping = stopping_after(model, n_tokens)
        generate(model, model.embed_prompt(rest, None), stopping, prefix=values, choose=any_token)

    assert counted.prefix_kept(n_tokens) == flops_of(answer) + counted.mask


def test_a_mask_without_words_is_counted_as_it_computes(
    model: LisaModel, questions: Questions, counted: QuestionFlops, masked: Callable[[], object]
) -> None:
    def cold() -> None:
        embedded = model.embed_prompt(questions.first, model.embed_clip(questions.clip_pixels))
        predict_seg(model, embedded, 5)

    rest, values = after_the_first(model, questions)
    warm = flops_of(lambda: predict_seg(model, model.embed_prompt(rest, None), 5, prefix=values))
    assert counted.mask_only() == flops_of(cold) + flops_of(masked)
    assert counted.mask_only_kept() == warm + counted.mask


def test_of_lisa_7b_the_reference_computes_17_times_as_much_for_40_tokens() -> None:
    counted = question_flops(SIZES["7b"])
    assert counted.clip == 157_433_294_848
    assert counted.step(316) == 4_145_450_876_928
    assert counted.step(1, 316) == 13_380_386_816
    assert counted.prefix_kept(40) == pytest.approx(0.841e12, rel=1e-3)
    assert counted.sam == pytest.approx(5.96e12, rel=0.05)  # some ways to compute its attention take more
    assert 17 < counted.reference(40) / counted.ours(40) < 18


@torch.inference_mode()
def after_the_first(model: LisaModel, questions: Questions) -> tuple[list[int], KeyValues]:
    """The ids of the second question that are not kept, and what is kept of the others."""
    n_shared = common_prefix(questions.second, questions.first)
    embedded = model.embed_prompt(questions.first, model.embed_clip(questions.clip_pixels))
    _, values = generate(model, embedded, stopping_after(model, 1), choose=any_token)
    return questions.second[n_shared:], values.first(n_shared + model.n_image_tokens - 1)
