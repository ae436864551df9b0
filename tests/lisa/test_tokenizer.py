"""Token ids and texts, against those recorded from the reference (tests/golden)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from lisa_tool.errors import CheckpointInvalid, MissingExtra
from lisa_tool.lisa.tokenizer import IMAGE_TOKEN_INDEX, LisaTokenizer, TextStream
from tests.test_import import loaded_by

GOLDEN = Path(__file__).parents[1] / "golden"
LEGACY = ("legacy_true", "legacy_false")
TOKEN_IDS = json.loads((GOLDEN / "token_ids.json").read_text(encoding="utf-8"))
ANSWERS = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))["answers"]
GENERATED = {
    name: case
    for name, case in json.loads((GOLDEN / "nano/meta.json").read_text(encoding="utf-8"))["cases"].items()
    if "new_token_ids" in case
}


@pytest.fixture
def tokenizer() -> LisaTokenizer:
    return LisaTokenizer.from_folder(GOLDEN / "nano/checkpoint")


@pytest.fixture(params=LEGACY)
def either(request: pytest.FixtureRequest) -> LisaTokenizer:
    return LisaTokenizer.from_folder(GOLDEN / "tokenizer" / request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tokenizer's files that may be damaged."""
    return Path(shutil.copytree(GOLDEN / "tokenizer/legacy_false", tmp_path / "tokenizer"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("legacy", LEGACY)
def test_every_recorded_string_has_the_ids_and_the_text_of_the_reference(legacy: str) -> None:
    tokenizer = LisaTokenizer.from_folder(GOLDEN / "tokenizer" / legacy)
    cases = TOKEN_IDS[legacy]
    assert len(cases) == 27

    for name, case in cases.items():
        assert tokenizer.encode(case["text"]) == case["tokenizer_image_token"], name
        assert tokenizer.encode_plain(case["text"]) == case["plain_no_special"], name
        assert tokenizer.decode(case["tokenizer_image_token"]) == case["decoded_without_image"], name


@pytest.mark.parametrize("name", GENERATED)
def test_prompts_and_answers_of_the_checkpoint_are_those_of_the_reference(
    name: str, tokenizer: LisaTokenizer
) -> None:
    tensors = load_file(GOLDEN / f"nano/{name}.safetensors")

    assert tokenizer.encode(GENERATED[name]["prompt"]) == tensors["input_ids"].ravel().tolist()
    assert tokenizer.decode(tensors["output_ids"].ravel().tolist()) == GENERATED[name]["decoded_raw"]


def test_the_ids_come_from_the_files(tokenizer: LisaTokenizer) -> None:
    assert (tokenizer.seg_token_id, tokenizer.im_start, tokenizer.im_end) == (1000, 1001, 1002)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.vocab_size == 1003


def test_another_order_of_the_added_tokens_is_followed(folder: Path) -> None:
    added = {"<im_patch>": 1000, "<im_start>": 1001, "<im_end>": 1002, "[SEG]": 1003}
    (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")

    tokenizer = LisaTokenizer.from_folder(folder)

    assert (tokenizer.seg_token_id, tokenizer.vocab_size) == (1003, 1004)
    assert tokenizer.encode_plain("<im_patch> [SEG]") == [1000, 1003]


def test_control_tokens_named_among_the_added_ones_stay_control_tokens(folder: Path) -> None:
    rewrite(folder / "added_tokens.json", lambda added: added.update({"<unk>": 0, "<s>": 1, "</s>": 2}))

    tokenizer = LisaTokenizer.from_folder(folder)

    for case in TOKEN_IDS["legacy_false"].values():
        assert tokenizer.encode(case["text"]) == case["tokenizer_image_token"]


def test_newer_files_that_keep_the_added_tokens_in_the_config_give_the_same_ids(folder: Path) -> None:
    (folder / "added_tokens.json").unlink()
    strings = {0: "<unk>", 1: "<s>", 2: "</s>", 1000: "[SEG]", 1001: "<im_start>", 1002: "<im_end>"}
    entries = {str(i): {"content": string, "lstrip": False} for i, string in strings.items()}
    rewrite(folder / "tokenizer_config.json", lambda config: config.update(added_tokens_decoder=entries))

    tokenizer = LisaTokenizer.from_folder(folder)

    for case in TOKEN_IDS["legacy_false"].values():
        assert tokenizer.encode(case["text"]) == case["tokenizer_image_token"]


@pytest.mark.parametrize(
    "change",
    [lambda config: config.pop("legacy"), lambda config: config.update(legacy=None)],
    ids=["absent", "null"],
)
def test_a_config_that_does_not_say_legacy_means_legacy(
    change: Callable[[dict[str, Any]], object], folder: Path
) -> None:
    rewrite(folder / "tokenizer_config.json", change)

    tokenizer = LisaTokenizer.from_folder(folder)

    for case in TOKEN_IDS["legacy_true"].values():
        assert tokenizer.encode(case["text"]) == case["tokenizer_image_token"]


def test_a_folder_without_a_config_means_legacy(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()

    case = TOKEN_IDS["legacy_true"]["seg_sentence"]
    assert LisaTokenizer.from_folder(folder).encode(case["text"]) == case["tokenizer_image_token"]


def test_each_special_string_is_one_id_and_is_listed(either: LisaTokenizer) -> None:
    ids = {
        string: either.encode(string)[1:] for string in either.special_strings
    }  # without the leading bos_token_id

    assert ids == {
        "<image>": [IMAGE_TOKEN_INDEX], "[SEG]": [1000], "<im_start>": [1001], "<im_end>": [1002],
        "<unk>": [0], "<s>": [1], "</s>": [2],
    }  # fmt: skip


@pytest.mark.parametrize("answer", [*ANSWERS, "[SEG]", "The cup (see [SEG]) and [SEG], as it’s “hot”. ☕!"])
def test_an_answer_reads_as_it_was_written_and_has_the_same_ids_again(
    answer: str, either: LisaTokenizer
) -> None:
    ids = either.encode_plain(answer)

    assert either.answer_text([*ids, either.eos_token_id]) == answer
    assert either.encode_plain(either.answer_text(ids)) == ids


def test_what_the_reference_generated_reads_well(tokenizer: LisaTokenizer) -> None:
    read = {
        name.split("_")[1]: tokenizer.answer_text(case["new_token_ids"]) for name, case in GENERATED.items()
    }

    assert read["s1"] == "Sure, [SEG] and [SEG]."
    assert read["s2"] == "No."
    assert read["s4"] == "Sure, [SEG]"
    assert read["n5"] == "[SEG] License [SEG] License"


def test_a_stream_never_gives_half_a_character(tokenizer: LisaTokenizer) -> None:
    stream = TextStream(tokenizer)

    parts = [stream.feed(i) for i in tokenizer.encode_plain("a ☕猫é!")]

    assert "".join(parts) == "a ☕猫é!"
    assert parts == ["a", "", "", "", " ☕", "", "", "猫", "", "é", "!"]


@pytest.mark.parametrize("follower", ["a", "</s>", "[SEG]"])
def test_a_character_that_is_never_completed_becomes_one_replacement(
    follower: str, tokenizer: LisaTokenizer
) -> None:
    cup = tokenizer.encode_plain("x☕")[:-1]  # its last byte is missing
    (next_id,) = tokenizer.encode_plain(follower)[-1:]

    assert tokenizer.answer_text(cup) == "x\ufffd"
    assert tokenizer.answer_text([*cup, next_id]).startswith("x\ufffd")


def test_a_stream_shows_seg_at_once_and_no_other_special_string(tokenizer: LisaTokenizer) -> None:
    stream = TextStream(tokenizer)
    ids = [tokenizer.bos_token_id, IMAGE_TOKEN_INDEX, tokenizer.im_start, tokenizer.im_end, 0]

    assert [stream.feed(i) for i in ids] == [""] * 5
    assert stream.feed(tokenizer.seg_token_id) == "[SEG]"
    assert stream.feed(tokenizer.seg_token_id) == " [SEG]"
    assert stream.feed(tokenizer.eos_token_id) == ""
    assert stream.close() == ""


def test_white_space_waits_until_something_follows_it(tokenizer: LisaTokenizer) -> None:
    stream = TextStream(tokenizer)

    parts = [stream.feed(i) for i in tokenizer.encode_plain("a\n\nb\n")]

    assert parts == ["a", "", "", "\n\nb", ""]
    assert stream.close() == ""


def test_a_missing_model_file_is_named(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()

    with pytest.raises(CheckpointInvalid) as error:
        LisaTokenizer.from_folder(folder)
    assert "no tokenizer.model" in error.value.message
    assert "tokenizer.model" in error.value.hint


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"no model", lambda data: data[:5000]])
def test_a_model_file_that_cannot_be_read_is_refused(damage: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / "tokenizer.model"
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(CheckpointInvalid, match=r"tokenizer\.model"):
        LisaTokenizer.from_folder(folder)


@pytest.mark.parametrize("string", ["[SEG]", "<im_start>", "<im_end>"])
def test_a_checkpoint_without_a_string_of_lisa_is_refused_and_says_what_it_has(
    string: str, folder: Path
) -> None:
    added = {"[SEG]", "<im_start>", "<im_end>"} - {string}
    ids = {other: 1000 + n for n, other in enumerate(sorted(added))}
    (folder / "added_tokens.json").write_text(json.dumps(ids), encoding="utf-8")

    with pytest.raises(CheckpointInvalid) as error:
        LisaTokenizer.from_folder(folder)
    assert f"no {string};" in error.value.message
    assert all(other in error.value.message for other in added)


def test_a_folder_that_names_no_added_token_is_refused(folder: Path) -> None:
    (folder / "added_tokens.json").unlink()

    with pytest.raises(CheckpointInvalid, match="it has nothing"):
        LisaTokenizer.from_folder(folder)


@pytest.mark.parametrize(
    "ids",
    [
        [1000, 1001, 1003],
        [1000, 1001, 1001],
        [1000, 1001, "1002"],
        [1000.0, 1001, 1002],
        [1000, 1001, []],
        [1000, 1001, -1],
    ],
)
def test_added_ids_with_a_gap_are_refused(ids: list[object], folder: Path) -> None:
    added = dict(zip(["[SEG]", "<im_start>", "<im_end>"], ids, strict=True))
    (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")

    with pytest.raises(CheckpointInvalid, match="numbered from 1000"):
        LisaTokenizer.from_folder(folder)


@pytest.mark.parametrize("field", [{"x": {"content": "[SEG]"}}, {"1000": "[SEG]"}, {"1000": {}}, ["[SEG]"]])
def test_a_malformed_list_in_the_config_is_refused(field: object, folder: Path) -> None:
    (folder / "added_tokens.json").unlink()
    rewrite(folder / "tokenizer_config.json", lambda config: config.update(added_tokens_decoder=field))

    with pytest.raises(CheckpointInvalid, match="added_tokens_decoder"):
        LisaTokenizer.from_folder(folder)


def test_without_sentencepiece_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)

    with pytest.raises(MissingExtra, match=r"pip install 'lisa-tool\[lisa\]'"):
        LisaTokenizer.from_folder(folder)


def test_tokens_prompt_and_pictures_need_no_model_library() -> None:
    loaded = loaded_by("from lisa_tool.lisa import tokenizer, prompt, processing")

    assert {"numpy", "PIL"} <= loaded
    assert not {"torch", "transformers", "sentencepiece", "cv2", "pydantic"} & loaded
