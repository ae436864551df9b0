"""The recorded training step: how conversations become a batch, and the loss of that batch."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from lisa_tool.eval.parity.compare import CaseReport
from lisa_tool.eval.parity.pictures import Pictures
from lisa_tool.eval.parity.recording import RecordingInvalid, Tensors, Training, tensor
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.prompt import TEMPLATES, Template
from lisa_tool.lisa.sam import full_size_logits
from lisa_tool.train.labels import collate, spread_over_image
from lisa_tool.train.losses import LossWeights, TrainingLoss, training_loss

_TRUTH = "gt_masks_"


@torch.inference_mode()
def training_case(
    name: str, case: Training, theirs: Tensors, loaded: Loaded, pictures: Pictures
) -> CaseReport:
    """One step over several images, each with its conversations and true masks; nothing is learned."""
    report = CaseReport(name)
    model, tokenizer, config = loaded.model, loaded.tokenizer, loaded.model.config
    offset = tensor(theirs, "offset", name).tolist()
    if len(offset) != len(case.images) + 1:
        raise RecordingInvalid(f"{name} has {len(case.images)} images and {len(offset)} offsets")
    about = [case.conversations[a:b] for a, b in pairwise(offset)]
    batch = collate(about, _template(name, case), tokenizer, n_image_tokens=model.n_image_tokens)
    compared = {
        "input_ids": batch.input_ids,
        "labels": batch.labels,
        "attention_masks": batch.attention_mask,
        "offset": batch.offset,
    }
    seen = [pictures[image] for image in case.images]
    image_of = batch.image_index.tolist()
    embedded = torch.cat(
        [
            model.embed_prompt(ids, seen[i].tokens)
            for ids, i in zip(batch.input_ids.tolist(), image_of, strict=True)
        ]
    )
    shift = model.n_image_tokens - 1
    mask = torch.nn.functional.pad(batch.attention_mask, (shift, 0), value=True)
    hidden = model.step(embedded, mask=mask.long()).hidden
    rows, columns = (batch.input_ids == tokenizer.seg_token_id).nonzero(as_tuple=True)
    states = hidden[rows, columns - 1 + shift]
    predicted, truth = [], []
    for i, (image, picture) in enumerate(zip(case.images, seen, strict=True)):
        low_res, _ = model.decode_masks(states[batch.image_index[rows] == i], picture.embedding)
        square = config.sam.image_size
        predicted.append(full_size_logits(low_res, square, picture.resized_hw, picture.size_hw))
        truth.append(tensor(theirs, f"{_TRUTH}{image}", name))
    labels = spread_over_image(batch.labels, batch.input_ids, model.n_image_tokens)
    weights = LossWeights(**case.weights.model_dump())
    losses: dict[str, float] = {}
    try:
        loss = training_loss(model.llm.lm_head(hidden), labels, predicted, truth, weights)
        losses = {part: value.item() for part, value in loss._asdict().items()}
    except ValueError as e:
        report.add(_TRUTH.rstrip("_"), "losses", math.inf, str(e))
    for recorded_name, recorded in theirs.items():
        if recorded_name in compared:
            ours = compared[recorded_name].to(recorded.dtype)
            report.equal(recorded_name, "tokens", ours.tolist(), recorded.tolist())
        elif recorded_name in losses:
            report.near(recorded_name, "losses", losses[recorded_name], recorded.item())
        elif not recorded_name.startswith(_TRUTH) and recorded_name not in TrainingLoss._fields:
            report.unknown.append(recorded_name)
    return report


def _template(name: str, case: Training) -> Template:
    """The template that all conversations begin with."""
    for template in TEMPLATES.values():
        if all(text.startswith(template.opening) for text in case.conversations):
            return template
    raise RecordingInvalid(f"the conversations of {name} begin as no known template does")
