"""Compare everything that a recording holds, case by case."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lisa_tool.engine.call import Call
from lisa_tool.eval.parity.compare import CaseReport
from lisa_tool.eval.parity.data_cases import metrics_case, preprocess_cases, reasonseg_case
from lisa_tool.eval.parity.full_size import full_size_cases, n_checkpoint_parameters
from lisa_tool.eval.parity.model_cases import evaluate_case, forward_case
from lisa_tool.eval.parity.pictures import Pictures
from lisa_tool.eval.parity.recording import Evaluation, Forward, Recording
from lisa_tool.eval.parity.summary import CHECKPOINT
from lisa_tool.eval.parity.text_cases import prompts_case, token_ids_cases
from lisa_tool.eval.parity.training_case import training_case
from lisa_tool.lisa.config import read_config_json
from lisa_tool.lisa.loading import Loaded, load_lisa
from lisa_tool.settings import Limits, Settings, load_settings


def compare_recording(folder: Path) -> Iterator[CaseReport]:
    """Load the checkpoint in float32 on the CPU and compare case by case, each as soon as it is known.

    Raises RecordingInvalid for what is wrong with the folder, a BackendError for what is wrong with its
    checkpoint, and an ImageError for an image that is missing or damaged.
    """
    recording = Recording.open(folder)
    with TemporaryDirectory(prefix="lisa-tool-parity-", ignore_cleanup_errors=True) as weights_dir:
        settings = _settings(recording, Path(weights_dir))
        loaded = load_lisa(settings, Call.start(deadline_s=math.inf))
        pictures = Pictures(recording, loaded, settings)
        yield _checkpoint_case(recording, loaded)
        for name, case in recording.cases.items():
            theirs = recording.tensors(name)
            if isinstance(case, Evaluation):
                yield evaluate_case(name, case, theirs, loaded, pictures[case.image])
            elif isinstance(case, Forward):
                yield forward_case(name, case, theirs, loaded, pictures[case.image])
            else:
                yield training_case(name, case, theirs, loaded, pictures)
        for name in recording.unknown:
            yield CaseReport(name, skipped="not compared: no case of a kind that is known")
        yield from preprocess_cases(recording, loaded, pictures)
        yield prompts_case(recording, loaded.tokenizer)
    yield from token_ids_cases(recording)
    yield metrics_case(recording)
    yield reasonseg_case(recording)
    yield from full_size_cases(recording)


def _settings(recording: Recording, weights_dir: Path) -> Settings:
    """Those of this comparison, whatever the user's own are."""
    config = read_config_json(recording.folder / "checkpoint" / "config.json")
    return load_settings(
        model=str(recording.folder / "checkpoint"),
        clip_path=recording.beside(str(config.get("mm_vision_tower") or config.get("vision_tower"))),
        precision="fp32",
        device="cpu",
        offline=True,
        weights_dir=weights_dir,
        roots=(recording.beside("images"),),
        limits=Limits(),
    )


def _checkpoint_case(recording: Recording, loaded: Loaded) -> CaseReport:
    """What the tokenizer and the sizes say of the checkpoint that was loaded."""
    report = CaseReport(CHECKPOINT, n_parameters=n_checkpoint_parameters(loaded.model))
    report.equal("seg_token_idx", "tokens", loaded.tokenizer.seg_token_id, recording.seg_token_id)
    report.equal("len_tokenizer", "tokens", loaded.tokenizer.vocab_size, recording.vocab_size)
    return report
