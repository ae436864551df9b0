"""`lisa-tool eval parity`: a line a case, JSON last, exit code 1 where a value is not the reference's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")

from tests.cli.runner import CommandLine
from tests.cli.test_eval import without
from tests.eval.golden_copy import CASE, golden_copy, rewrite_json, rewrite_tensors

pytestmark = pytest.mark.slow

FORWARD = "forward_t3_three_questions_tiny"
TOKENIZER = ("token_ids.json", "tokenizer")
METRICS = ("metrics.json", "metrics.safetensors")


def more(*names: str, by: float = 1e-3) -> Callable[[dict[str, Any]], object]:
    """Adds to the first number of tensors."""
    return lambda tensors: [tensors[name].view(-1)[:1].add_(by) for name in names]


def flip_a_bit(tensors: dict[str, Any]) -> None:
    tensors["pred_masks_gt0_packbits"][0] ^= 1


def test_a_line_a_case_and_the_worst_of_each_kind_as_json_last(cli: CommandLine, tmp_path: Path) -> None:
    folder = golden_copy(tmp_path, beside=METRICS)
    ran = cli("eval", "parity", folder)
    assert ran.code == 0
    *lines, last = ran.out.splitlines()
    starts = (
        "ok   checkpoint  ",
        f"ok   {CASE}  ",
        "ok   preprocess tiny  ",
        "skip preprocess/tiny.safetensors  ",
    )
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=False)), lines
    assert "skip prompts  prompts.json is not beside the folder" in lines
    found = json.loads(last)
    assert found["passed"] is True
    assert (found["folder"], found["failed"], found["not_compared"]) == (str(folder), [], [])
    assert found["parameters"] == {"checkpoint": 499_180}
    assert {"tokens", "text", "hidden", "embeddings", "logits", "masks", "mask pixels", "scores"} <= found[
        "worst"
    ].keys()
    for worst in found["worst"].values():
        assert worst["value"] <= worst["tolerance"] and not worst["exceeds"]
    assert found["worst"]["mask pixels"] == {
        "value": 0.0,
        "tolerance": 1e-05,
        "exceeds": False,
        "case": CASE,
        "name": "pred_masks_gt0_packbits",
    }


def test_json_is_one_document(cli: CommandLine, tmp_path: Path) -> None:
    ran = cli("eval", "parity", golden_copy(tmp_path), "--json")
    assert (ran.code, ran.document["passed"], ran.document["cases"]) == (0, True, 3)


@pytest.mark.parametrize(
    ("cases", "beside", "file", "change", "failed", "named"),
    [
        (
            (CASE,),
            (),
            "nano/meta.json",
            lambda meta: meta["cases"][CASE]["new_token_ids"].__setitem__(0, 674),
            CASE,
            "tokens 1 ABOVE 0 (new_token_ids, new_token_ids, uncached)",
        ),
        (
            (CASE,),
            (),
            "nano/meta.json",
            lambda meta: meta["cases"][CASE].update(prompt=meta["cases"][CASE]["prompt"] + " "),
            CASE,
            "text 1 ABOVE 0 (prompt)",
        ),
        ((CASE,), (), f"nano/{CASE}.safetensors", more("output_ids", by=1), CASE, "(output_ids)"),
        ((CASE,), (), f"nano/{CASE}.safetensors", flip_a_bit, CASE, "(pred_masks_gt0_packbits)"),
        (
            (CASE,),
            (),
            f"nano/{CASE}.safetensors",
            more("pred_embeddings"),
            CASE,
            "embeddings 1.0e-03 ABOVE 2e-05 (pred_embeddings)",
        ),
        (
            (CASE,),
            (),
            f"nano/{CASE}.safetensors",
            lambda tensors: tensors.update(low_res_masks=tensors["low_res_masks"].repeat(2, 1, 1, 1)),
            CASE,
            "masks inf ABOVE 0.0001 (low_res_masks: (1, 1, 256, 256) against (2, 1, 256, 256))",
        ),
        (
            (FORWARD,),
            (),
            f"nano/{FORWARD}.safetensors",
            more("attention_mask", by=1),
            FORWARD,
            "(attention_mask)",
        ),
        (
            ("train_losses",),
            (),
            "nano/train_losses.safetensors",
            more("ce_loss"),
            "train_losses",
            "(ce_loss)",
        ),
        (
            ("train_losses",),
            (),
            "nano/train_losses.safetensors",
            more("labels", by=1),
            "train_losses",
            "(labels)",
        ),
        (
            ("train_losses",),
            (),
            "nano/train_losses.safetensors",
            lambda tensors: tensors.update(gt_masks_tiny=tensors["gt_masks_tiny"][:1]),
            "train_losses",
            "losses inf ABOVE 1e-05 (gt_masks: masks are (2, 23, 37), their truth is (1, 23, 37))",
        ),
        (
            (CASE,),
            (),
            "nano/meta.json",
            lambda meta: meta["images"]["tiny"].update(sha256_resized_uint8_hwc="0" * 64),
            "preprocess tiny",
            "resized 1 ABOVE 0 (sha256_resized_uint8_hwc)",
        ),
        (
            (CASE,),
            ("preprocess/tiny.safetensors",),
            "preprocess/tiny.safetensors",
            more("clip_pixel_values", by=1e-5),
            "preprocess tiny",
            "(clip_pixel_values)",
        ),
        (
            (),
            ("prompts.json",),
            "prompts.json",
            lambda prompts: prompts["templates"]["llava_v1"].update(two_turns_open="USER:"),
            "prompts",
            "text 1 ABOVE 0 (llava_v1.two_turns_open)",
        ),
        (
            (),
            ("prompts.json",),
            "prompts.json",
            lambda prompts: prompts["templates"]["llava_llama_2"].update(sep="</s>"),
            "prompts",
            "(llava_llama_2.system)",
        ),
        (
            (),
            TOKENIZER,
            "token_ids.json",
            lambda recorded: recorded["legacy_false"]["digits"]["plain_no_special"].pop(),
            "token_ids legacy_false",
            "tokens 1 ABOVE 0 (digits.plain_no_special)",
        ),
        (
            (),
            TOKENIZER,
            "token_ids.json",
            lambda recorded: recorded["legacy_true"]["unicode"]["tokens"].__setitem__(3, "<0xBA>"),
            "token_ids legacy_true",
            "(unicode.tokens)",
        ),
        ((), METRICS, "metrics.json", lambda metrics: metrics.update(giou=0.5344), "metrics", "(giou)"),
        (
            (),
            METRICS,
            "metrics.json",
            lambda metrics: metrics["per_sample"][1]["union"].__setitem__(1, 523),
            "metrics",
            "(1 object pixels)",
        ),
        (
            (),
            ("reasonseg",),
            "reasonseg/masks.safetensors",
            lambda masks: masks["b"].view(-1)[:1].fill_(1),
            "reasonseg",
            "mask pixels 4.2e-05 ABOVE 1e-05 (b)",
        ),
        (
            (),
            ("full_size_keys_7b.json",),
            "full_size_keys_7b.json",
            lambda keys: keys.update({"model.norm.weight": [4097]}),
            "full_size_keys_7b",
            "model.norm.weight is (4096,), recorded (4097,)",
        ),
        (
            (),
            ("full_size_keys_7b.json",),
            "full_size_keys_7b.json",
            lambda keys: keys.update({"model.visual_model.extra": [1]}),
            "full_size_keys_7b",
            "model.visual_model.extra is None, recorded (1,)",
        ),
        (
            (),
            ("full_size_keys_7b.json",),
            "full_size_keys_7b.json",
            lambda keys: keys.pop("model.embed_tokens.weight"),
            "full_size_keys_7b",
            "no tensor 'model.embed_tokens.weight'",
        ),
    ],
    ids=[
        "a token id",
        "a prompt",
        "an id of the output",
        "a bit of a mask",
        "an embedding",
        "the number of masks",
        "a padded position",
        "a loss",
        "a label",
        "the number of true masks",
        "the hash of a resized image",
        "a pixel",
        "a recorded prompt",
        "a part of a template",
        "ids of a string",
        "a piece",
        "gIoU",
        "a union",
        "a pixel of an annotation",
        "the shape of a key",
        "a key too many",
        "a key too few",
    ],
)
def test_one_changed_value_ends_in_exit_code_1_and_its_line_names_it(
    cases: tuple[str, ...],
    beside: tuple[str, ...],
    file: str,
    change: Callable[[Any], object],
    failed: str,
    named: str,
    cli: CommandLine,
    tmp_path: Path,
) -> None:
    folder = golden_copy(tmp_path, cases, beside)
    rewrite = rewrite_json if file.endswith(".json") else rewrite_tensors
    rewrite(tmp_path / file, change)
    ran = cli("eval", "parity", folder)
    assert ran.code == 1
    *lines, last = ran.out.splitlines()
    (line,) = [line for line in lines if line.startswith("FAIL")]
    assert line.startswith(f"FAIL {failed}  ")
    assert named in line
    found = json.loads(last)
    assert (found["passed"], found["failed"]) == (False, [failed])
    assert any(worst["exceeds"] for worst in found["worst"].values())


def test_where_nothing_is_compared_the_exit_code_is_1_too(cli: CommandLine, tmp_path: Path) -> None:
    ran = cli("eval", "parity", golden_copy(tmp_path, cases=()), "--json")
    assert (ran.code, ran.document["passed"], ran.document["failed"]) == (1, False, [])


def test_a_folder_that_is_no_recording_is_one_clear_error(cli: CommandLine, tmp_path: Path) -> None:
    ran = cli("eval", "parity", tmp_path, "--json")
    assert (ran.code, ran.error["code"]) == (2, "recording_invalid")
    assert ran.error["message"].endswith("/meta.json cannot be read: No such file or directory")
    assert "meta.json, checkpoint/" in ran.error["hint"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["parity"], "eval parity needs a FOLDER"),
        (["parity", "/no/such/folder"], "'/no/such/folder' is not a folder"),
        (["lite", "/"], "eval lite takes no FOLDER"),
    ],
)
def test_the_folder_belongs_to_parity_alone(cli: CommandLine, words: list[str], complaint: str) -> None:
    ran = cli("eval", *words, "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert complaint in ran.error["message"]
    assert "usage: lisa-tool eval lite|speed|parity FOLDER" in ran.error["hint"]


def test_a_part_that_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    code, error = without("torch", "eval", "parity", str(tmp_path), tmp=tmp_path)
    assert (code, error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lisa]'" in error["message"]


def test_a_reader_that_leaves_early_ends_the_comparison_without_a_word(tmp_path: Path) -> None:
    script = "import sys; from lisa_tool.cli import main; sys.exit(main())"
    folder = golden_copy(tmp_path, beside=METRICS)
    command = [sys.executable, "-W", "ignore", "-c", script, "eval", "parity", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith("ok")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
