"""The `lite` backend: detector, classifier, SAM and knowledge, joined. Loaded by the first question."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lisa_tool.engine.cache import ByteBoundedCache
from lisa_tool.engine.call import Call
from lisa_tool.images import LoadedImage
from lisa_tool.lite.choose import Choice, choose
from lisa_tool.lite.explain import answer, reasoning
from lisa_tool.lite.eyes import Eyes
from lisa_tool.lite.knowledge import load_knowledge
from lisa_tool.lite.lexicon import default_lexicon, singular
from lisa_tool.lite.matching import Matcher
from lisa_tool.lite.phrases import GENDERED
from lisa_tool.lite.question import parse_question
from lisa_tool.lite.sam import upscale
from lisa_tool.lite.scene import Scene, SceneObject, without_repeats
from lisa_tool.lite.sessions import damage_reported
from lisa_tool.masks.geometry import without_specks
from lisa_tool.pipeline import PredictedMask, Prediction, Question
from lisa_tool.results import Alternative, Evidence, ModelInfo
from lisa_tool.settings import Limits

_NOT_A_LLM = "lite has no language model: there is no [SEG] token"


class LiteBackend:
    """Answers with masks of the objects that its detector and classifier know."""

    packages = ("lisa-tool-lite", "onnxruntime")

    def __init__(self, limits: Limits) -> None:
        import lisa_tool_lite

        manifest = lisa_tool_lite.manifest()
        fingerprint = hashlib.sha256("".join(manifest[name]["sha256"] for name in sorted(manifest)).encode())
        self.model = ModelInfo(
            name="lite",
            backend="lite",
            revision=lisa_tool_lite.__version__,
            weights_sha256=fingerprint.hexdigest(),
            precision="fp32 (weights stored as fp16 and int8)",
        )
        self._limits = limits
        self._scenes: ByteBoundedCache[Scene] = ByteBoundedCache(limits.cache_bytes)

    @cached_property
    def _eyes(self) -> Eyes:
        return Eyes()

    @cached_property
    def _matcher(self) -> Matcher:
        with damage_reported("knowledge.npz"):
            return Matcher()

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        """See `Backend.predict`."""
        with call.stage("loading the models", 0.08):
            eyes, matcher = self._eyes, self._matcher
        scene = self._scene(image, eyes, call)
        with call.stage("matching the question", 0.7):
            parsed = parse_question(question.text, default_lexicon())
            choice = choose(parsed, scene, eyes, matcher)
        with call.stage("cutting the masks", 0.75):
            dropped = len(choice.objects) - self._limits.max_masks
            choice.objects = without_repeats(eyes.cut(scene, choice.objects[: self._limits.max_masks]))
        prediction = self._prediction(choice, scene, parsed.named.word if parsed.named else "", dropped)
        if not question.history:
            return prediction
        return dataclasses.replace(prediction, warnings=(*prediction.warnings, FORGETFUL_WARNING))

    def _scene(self, image: LoadedImage, eyes: Eyes, call: Call) -> Scene:
        scene = self._scenes.get(image.info.sha256)
        call.looked_up("scene", hit=scene is not None)
        if scene is None:
            scene = eyes.look(image.rgb, call)
            self._scenes.put(image.info.sha256, scene, scene.nbytes)
        return scene

    def _prediction(self, choice: Choice, scene: Scene, word: str, dropped: int) -> Prediction:
        warnings = [VOCABULARY_WARNING]
        if dropped > 0:
            most = self._limits.max_masks
            warnings.append(f"{dropped} more objects were found but not cut: at most {most} masks an answer")
        if singular(word) in GENDERED and len([o for o in scene.seen() if o.kind == "person"]) > 1:
            warnings.append(f"lite sees people, not who is a {word}: check the picture")
        masks = tuple(
            PredictedMask(o.kind, round(o.iou, 4) if o.iou is not None else None, _Logits(o, scene))
            for o in choice.objects
        )
        return Prediction(
            choice.outcome,
            answer(choice, scene),
            reasoning(choice, scene),
            masks,
            _evidence(choice, scene),
            tuple(warnings),
        )

    def close(self) -> None:
        """Forget the images; the models go with this object."""
        self._scenes.clear()


class _Logits:
    """Makes the full-size logits of one object when they are needed, one at a time, without specks."""

    def __init__(self, o: SceneObject, scene: Scene) -> None:
        assert o.logits is not None
        self._low, self._scene = o.logits, scene

    def __call__(self) -> NDArray[np.float32]:
        logits = upscale(self._low, self._scene.embedding)
        mask = logits > 0
        specks = mask & ~without_specks(mask)
        if not specks.any():
            return logits
        return np.where(specks, np.minimum(logits, -1.0), logits).astype(np.float32)


_WELL = sum(kind.coco is not None for kind in load_knowledge())
_AS_A_GUESS = sum(kind.coco is None and bool(kind.imagenet) for kind in load_knowledge())
VOCABULARY_WARNING = (
    f"lite finds {_WELL} kinds of everyday objects well and {_AS_A_GUESS} more as a guess; "
    "it does not read text, faces or actions"
)

FORGETFUL_WARNING = "lite answers each question by itself: it does not know what was asked before"


def _evidence(choice: Choice, scene: Scene) -> Evidence:
    present = {o.kind for o in scene.seen()}
    others = [*([choice.absent] if choice.absent else []), *choice.others]
    missing = {"seg_probability": _NOT_A_LLM}
    if choice.match is None:
        missing |= {"match": "the question names what it wants", "margin": "the question names what it wants"}
    elif choice.margin is None:
        missing["margin"] = "there is no other kind in the picture"
    if not choice.objects:
        missing["detection"] = "nothing was chosen"
    return Evidence(
        detection=round(min(o.score for o in choice.objects), 3) if choice.objects else None,
        match=round(choice.match.score, 3) if choice.match else None,
        margin=choice.margin,
        alternatives=tuple(
            Alternative(label=m.kind, score=round(m.score, 3), in_image=m.kind in present) for m in others[:4]
        ),
        missing=missing,
    )
