"""The fast path equals the slow one: cache, kept prefix and batches change no token and no mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lisa_tool.errors import Cancelled, NotFinite
from lisa_tool.eval.uncached import answer_uncached
from lisa_tool.lisa.generate import Generation, Stopping, generate, generate_batch, greedy, predict_seg
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.prefix import common_prefix
from lisa_tool.lisa.processing import clip_pixels, sam_pixels
from lisa_tool.lisa.prompt import LLAVA_V1, build_prompt
from tests.lisa.conftest import picture

QUESTIONS = [
    "Can you segment the food that tastes spicy and hot?",
    "What is the cup in this image? Please output segmentation mask.",
    "Why? Please output segmentation mask and explain why.",
    "Please segment the eye and the ear in this image.",
]


def prompt_ids(nano: Loaded, question: str, *earlier: tuple[str, str]) -> list[int]:
    return nano.tokenizer.encode(build_prompt(LLAVA_V1, [*earlier, (question, None)]))


def pixels(name: str) -> Tensor:
    return torch.from_numpy(clip_pixels(picture(name)))


def stopping(nano: Loaded, *, n: int = 24, at_first_seg: bool = False) -> Stopping:
    return Stopping(nano.tokenizer.eos_token_id, nano.tokenizer.seg_token_id, n, at_first_seg)


@torch.inference_mode()
def embedded(nano: Loaded, ids: list[int], name: str = "landscape") -> Tensor:
    return nano.model.embed_prompt(ids, nano.model.embed_clip(pixels(name)))


@torch.inference_mode()
def masks_of(nano: Loaded, states: list[Tensor] | Tensor, name: str = "landscape") -> Tensor:
    """bool (n, 1, 256, 256)"""
    sam, _ = sam_pixels(picture(name))
    embedding = nano.model.sam.embed_image(torch.from_numpy(sam))
    logits, _ = nano.model.decode_masks(torch.stack(list(states)), embedding)
    return logits > 0


def scripted(*ids: int) -> Callable[[Tensor, int], int]:
    """Chooses these ids, whatever the model would."""
    return lambda logits, step: ids[step]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_cached_answer_is_that_of_the_uncached_loop(question: str, nano: Loaded) -> None:
    ids = prompt_ids(nano, question)
    fast, _ = generate(nano.model, embedded(nano, ids), stopping(nano))
    slow = answer_uncached(nano.model, ids, pixels("landscape"), stopping(nano))
    assert fast.token_ids == slow.token_ids
    assert [seg.index + len(ids) + 255 - 1 for seg in fast.segs] == slow.seg_positions
    if fast.segs:
        states = torch.stack([seg.state for seg in fast.segs])
        torch.testing.assert_close(states, slow.seg_states, atol=1e-5, rtol=0)
        assert (masks_of(nano, states) == masks_of(nano, slow.seg_states)).all()


def test_at_least_one_of_the_questions_gets_a_mask(nano: Loaded) -> None:
    answers = [
        generate(nano.model, embedded(nano, prompt_ids(nano, q)), stopping(nano))[0] for q in QUESTIONS
    ]
    assert any(answer.segs for answer in answers) and any(len(answer.token_ids) > 4 for answer in answers)


def test_stopping_at_the_first_seg_gives_the_mask_of_the_whole_answer(nano: Loaded) -> None:
    seg = nano.tokenizer.seg_token_id
    prompt, choose = embedded(nano, prompt_ids(nano, QUESTIONS[0])), scripted(355, seg, 259, seg, 2)
    whole, _ = generate(nano.model, prompt, stopping(nano), choose=choose)
    short, _ = generate(nano.model, prompt, stopping(nano, at_first_seg=True), choose=choose)
    assert (whole.token_ids, whole.finish) == ([355, seg, 259, seg, 2], "stop")
    assert (short.token_ids, short.finish) == ([355, seg], "seg")
    assert torch.equal(short.segs[0].state, whole.segs[0].state)


def test_a_mask_without_words_is_that_of_an_answer_that_begins_with_seg(nano: Loaded) -> None:
    prompt = embedded(nano, prompt_ids(nano, QUESTIONS[0]))
    alone, _ = predict_seg(nano.model, prompt, nano.tokenizer.seg_token_id)
    answer, _ = generate(nano.model, prompt, stopping(nano), choose=scripted(nano.tokenizer.seg_token_id, 2))
    assert torch.equal(alone.state, answer.segs[0].state)
    assert alone.probability == answer.segs[0].probability


def test_four_at_once_are_four_one_by_one(nano: Loaded) -> None:
    names = ["portrait", "landscape", "tiny", "portrait"]
    prompts = [embedded(nano, prompt_ids(nano, q), name) for q, name in zip(QUESTIONS, names, strict=True)]
    assert len({prompt.shape[1] for prompt in prompts}) > 1  # padding is needed
    together = generate_batch(nano.model, prompts, stopping(nano))
    singles = [generate(nano.model, prompt, stopping(nano))[0] for prompt in prompts]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in singles]
    assert [answer.finish for answer in together] == [answer.finish for answer in singles]
    for one, other, name in zip(together, singles, names, strict=True):
        if one.segs:
            states = [[seg.state for seg in answer.segs] for answer in (one, other)]
            assert (masks_of(nano, states[0], name) == masks_of(nano, states[1], name)).all()


def test_a_second_turn_after_a_kept_prefix_is_that_of_a_full_prefill(nano: Loaded) -> None:
    first = prompt_ids(nano, QUESTIONS[0])
    second = prompt_ids(nano, QUESTIONS[3], (QUESTIONS[0], "Sure, it is [SEG]."))
    _, values = generate(nano.model, embedded(nano, first), stopping(nano))
    n = common_prefix(second, first)
    assert n == len(first)  # the first question with its image, all of it
    rest = nano.model.embed_prompt(second[n:], None)
    resumed, _ = generate(nano.model, rest, stopping(nano), prefix=values.first(n + 255))
    whole, _ = generate(nano.model, embedded(nano, second), stopping(nano))
    assert resumed.token_ids == whole.token_ids
    for one, other in zip(resumed.segs, whole.segs, strict=True):
        torch.testing.assert_close(one.state, other.state, atol=1e-5, rtol=0)


def test_a_kept_prefix_is_not_changed_by_who_uses_it(nano: Loaded) -> None:
    ids = prompt_ids(nano, QUESTIONS[0])
    _, values = generate(nano.model, embedded(nano, ids), stopping(nano))
    before = [keys.clone() for keys, _ in values.layers]
    rest = nano.model.embed_prompt(ids[-1:], None)
    for _ in range(2):
        generate(nano.model, rest, stopping(nano), prefix=values.first(len(ids) + 255 - 1))
    assert all(torch.equal(keys, was) for (keys, _), was in zip(values.layers, before, strict=True))


@pytest.mark.parametrize(
    ("ids", "other", "shared"),
    [
        ([1, 5, -200, 6, 7], [1, 5, -200, 6, 8], 4),
        ([1, 5, -200, 6, 7], [1, 5, -200, 6, 7], 4),  # the last one must be computed
        ([1, 5, -200], [1, 5, -200, 6], 0),  # the image is the last one
        ([1, 4, -200, 6], [1, 5, -200, 6], 0),
        ([1, 5, -200, 6], [], 0),
    ],
)
def test_a_prefix_is_shared_up_to_the_first_difference_behind_the_image(
    ids: list[int], other: list[int], shared: int
) -> None:
    assert common_prefix(ids, other) == shared


def test_one_prefill_and_then_one_position_a_token(nano: Loaded) -> None:
    lengths: list[int] = []
    hook = nano.model.llm.model.layers[0].register_forward_pre_hook(
        lambda module, inputs: lengths.append(inputs[0].shape[1])
    )
    prompt = embedded(nano, prompt_ids(nano, QUESTIONS[0]))
    with hook:
        answer, _ = generate(nano.model, prompt, stopping(nano))
    assert lengths == [prompt.shape[1], *[1] * (len(answer.token_ids) - 1)]


def test_after_a_cancel_no_further_step_runs(nano: Loaded) -> None:
    tokens: list[int] = []

    def check() -> None:
        if len(tokens) == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        generate(
            nano.model,
            embedded(nano, prompt_ids(nano, QUESTIONS[0])),
            stopping(nano),
            choose=lambda logits, step: 5,
            on_token=tokens.append,
            check=check,
        )
    assert len(tokens) == 3


def test_an_answer_is_cut_at_the_most_tokens(nano: Loaded) -> None:
    answer, _ = generate(
        nano.model,
        embedded(nano, prompt_ids(nano, QUESTIONS[0])),
        stopping(nano, n=3),
        choose=lambda logits, step: 5,
    )
    assert answer == Generation([5, 5, 5], [], "length")


def test_the_probability_of_seg_is_that_at_the_step_that_chose_it(nano: Loaded) -> None:
    seen: list[Tensor] = []

    def choose(logits: Tensor, step: int) -> int:
        seen.append(logits)
        return greedy(logits, step)

    answer, _ = generate(
        nano.model, embedded(nano, prompt_ids(nano, QUESTIONS[0])), stopping(nano), choose=choose
    )
    seg = answer.segs[0]
    assert seg.probability == pytest.approx(seen[seg.index].softmax(-1)[nano.tokenizer.seg_token_id].item())
    assert 0 < seg.probability < 1


def test_numbers_that_overflowed_are_an_error_and_no_token(nano: Loaded) -> None:
    broken = torch.full_like(embedded(nano, prompt_ids(nano, QUESTIONS[0])), float("nan"))
    with pytest.raises(NotFinite):
        generate(nano.model, broken, stopping(nano))
    with pytest.raises(NotFinite):
        predict_seg(nano.model, broken, nano.tokenizer.seg_token_id)
