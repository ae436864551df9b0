"""Each model of `lite` does what its docstring says: shapes, units, order.

And one fact each that only a trained model knows.
"""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lisa_tool.lite import detector as detector_module
from lisa_tool.lite.classifier import Classifier, imagenet_labels
from lisa_tool.lite.detector import KINDS, Detection, Detector, anchors, iou
from lisa_tool.lite.embedder import SentenceEmbedder
from lisa_tool.lite.sam import SamDecoder, SamEncoder, upscale, with_padding_point

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder():
    return SamEncoder()


@pytest.fixture(scope="module")
def decoder():
    return SamDecoder()


@pytest.fixture(scope="module")
def detector():
    return Detector()


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


@pytest.fixture(scope="module")
def embedder():
    return SentenceEmbedder()


def disc(height=240, width=400, center=(280, 120), radius=60):
    """A yellow disc on blue: (rgb, true mask)."""
    picture = Image.new("RGB", (width, height), (40, 60, 140))
    x, y = center
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(230, 200, 40))
    rgb = np.asarray(picture)
    return rgb, rgb[..., 0] > 128


@pytest.fixture(scope="module")
def embedded_disc(encoder):
    rgb, mask = disc()
    return encoder.embed(rgb), mask


# SAM


def test_embedding_has_sams_shape_and_remembers_the_size(embedded_disc):
    embedding, _ = embedded_disc

    assert embedding.features.shape == (1, 256, 64, 64)
    assert embedding.features.dtype == np.float32
    assert embedding.size_hw == (240, 400)
    assert embedding.resized_hw == (614, 1024)  # 240 * 2.56 = 614.4
    assert embedding.scale == pytest.approx(2.56)


def test_encoder_gives_the_same_embedding_twice(encoder, embedded_disc):
    rgb, _ = disc()

    assert np.array_equal(encoder.embed(rgb).features, embedded_disc[0].features)


def test_box_around_a_disc_gives_the_disc(decoder, embedded_disc):
    embedding, mask = embedded_disc

    logits, predicted = decoder.masks_from_boxes(embedding, np.array([[218, 58, 342, 182]]))

    assert logits.shape == (1, 256, 256)
    assert predicted.shape == (1,)
    assert overlap(upscale(logits[0], embedding) > 0, mask) > 0.95


def test_of_the_masks_of_a_box_the_one_that_fills_it_is_taken(decoder, embedded_disc, monkeypatch):
    embedding, _ = embedded_disc  # one pixel of the original is 2.56 of the encoded image, 0.64 of a mask
    box = np.array([[300, 25, 350, 200]])  # columns 192 to 224, rows 16 to 128
    proposed = np.full((1, 4, 256, 256), -1, np.float32)
    proposed[0, 0, 40:60, 200:210] = 1  # a part of what the box holds
    proposed[0, 2, 16:128, 192:224] = 1  # what fills it
    proposed[0, 3, :, 100:] = 1  # much more than that
    trusted = np.array([[0.9, 1.0, 0.8, 0.95]], np.float32)
    monkeypatch.setattr(decoder, "decode", lambda *_: (proposed, trusted))

    logits, predicted = decoder.masks_from_boxes(embedding, box)

    assert np.array_equal(logits[0], proposed[0, 2])
    assert predicted == [trusted[0, 2]]


def test_point_on_a_disc_gives_the_disc_and_one_outside_does_not(decoder, embedded_disc):
    embedding, mask = embedded_disc

    prompts = with_padding_point(np.array([[[280, 120]], [[60, 60]]]))
    logits, _ = decoder.decode(embedding, *prompts)

    assert max(overlap(upscale(low, embedding) > 0, mask) for low in logits[0]) > 0.95
    assert max(overlap(upscale(low, embedding) > 0, mask) for low in logits[1]) < 0.3


def test_prompts_of_a_batch_do_not_see_each_other(decoder, embedded_disc):
    embedding, _ = embedded_disc
    # more than one call
    boxes = np.random.default_rng(0).uniform(0, 200, (18, 2, 2)).cumsum(axis=1).reshape(18, 4)

    together, predicted = decoder.masks_from_boxes(embedding, boxes)
    alone, alone_predicted = decoder.masks_from_boxes(embedding, boxes[17:])

    np.testing.assert_allclose(together[17:], alone, atol=1e-3)
    np.testing.assert_allclose(predicted[17:], alone_predicted, atol=1e-5)


def test_no_prompt_gives_no_mask(decoder, embedded_disc):
    logits, predicted = decoder.masks_from_boxes(embedded_disc[0], np.zeros((0, 4)))

    assert logits.shape == (0, 256, 256)
    assert predicted.shape == (0,)


@pytest.mark.parametrize("size", [(1024, 1024), (240, 400), (33, 2000), (2000, 33)])
def test_upscaling_cuts_the_padding_away(size):
    from lisa_tool.lite.sam import ImageEmbedding

    scale = 1024 / max(size)
    resized = tuple(max(1, int(side * scale + 0.5)) for side in size)
    embedding = ImageEmbedding(np.zeros((1, 256, 64, 64), np.float32), size, resized)
    logits = np.full((256, 256), -1, np.float32)
    logits[: -(-resized[0] // 4), : -(-resized[1] // 4)] = 1

    large = upscale(logits, embedding)

    assert large.shape == size
    assert large.min() > 0


# detector


@pytest.mark.parametrize("size", [(300, 300), (288, 288), (384, 640), (75, 601)])
def test_there_is_an_anchor_for_every_prediction(detector, size):
    boxes, logits = detector.predict(np.zeros((*size, 3), np.uint8))

    assert boxes.shape == (len(anchors(*size)), 4)
    assert logits.shape == (len(anchors(*size)), len(KINDS))


def test_anchors_at_the_trained_size_are_those_of_the_model():
    made = anchors(300, 300)

    assert len(made) == 1917  # 19 * 19 * 3 + (100 + 25 + 9 + 4 + 1) * 6
    np.testing.assert_allclose(made[0], [150 / 19, 150 / 19, 30, 30], rtol=1e-6)
    np.testing.assert_allclose(made[1], [150 / 19, 150 / 19, 42.4264, 84.8528], rtol=1e-5)
    np.testing.assert_allclose(made[-1], [150, 150, 292.4038, 292.4038], rtol=1e-5)  # sqrt(0.95 * 1.0)


def test_a_flat_image_has_no_objects(detector):
    assert detector.detect(np.full((200, 300, 3), 127, np.uint8)) == []


def test_mirroring_an_image_mirrors_what_is_found(detector):
    rgb = noise_scene()

    found = detector.detect(rgb, min_score=0.1)
    mirrored = detector.detect(np.ascontiguousarray(rgb[:, ::-1]), min_score=0.1)

    assert found, "the scene should hold something"
    width = rgb.shape[1]
    back = sorted((one.kind, round(width - one.box[2]), round(width - one.box[0])) for one in mirrored)
    assert back == sorted((one.kind, round(one.box[0]), round(one.box[2])) for one in found)


def test_boxes_lie_inside_the_image_and_come_most_certain_first(detector):
    rgb = noise_scene()

    found = detector.detect(rgb, min_score=0.1)

    for one in found:
        x1, y1, x2, y2 = one.box
        assert 0 <= x1 < x2 <= rgb.shape[1]
        assert 0 <= y1 < y2 <= rgb.shape[0]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_score_is_the_mean_over_looks_that_saw_it_and_those_that_did_not():
    cat = Detection("cat", 0.8, (0, 0, 10, 10))
    wider = Detection("cat", 0.4, (0, 0, 12, 10))

    (fused,) = detector_module._fuse([[cat], [wider], []], 0.3)

    assert fused.score == pytest.approx(0.4)  # (0.8 + 0.4 + 0) / 3
    assert fused.box[2] == pytest.approx((10 * 0.8 + 12 * 0.4) / 1.2)


def test_a_kind_unsure_over_the_looks_is_left_out():
    cat = Detection("cat", 0.8, (0, 0, 10, 10))

    assert detector_module._fuse([[cat], [], []], 0.3) == []


def test_two_kinds_in_one_place_become_one_with_an_alternative():
    cat, dog = Detection("cat", 0.8, (0, 0, 100, 100)), Detection("dog", 0.4, (0, 0, 98, 100))
    bowl = Detection("bowl", 0.5, (0, 60, 40, 100))

    kept = detector_module._one_a_place([cat, bowl, dog])

    assert [one.kind for one in kept] == ["cat", "bowl"]
    assert kept[0].alternatives == (("dog", 0.4),)


def test_a_part_gives_way_to_its_whole_but_small_ones_inside_stay():
    whole = Detection("person", 0.9, (0, 0, 100, 200))
    torso = Detection("person", 0.6, (10, 20, 90, 100))
    behind = Detection("person", 0.5, (40, 5, 60, 45))

    assert detector_module._suppress([behind, torso, whole]) == [whole, behind]


def test_iou_of_halves():
    a = np.array([[0, 0, 10, 10]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 9]])

    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0, 0]])


# classifier


def test_labels_are_the_thousand_of_imagenet():
    labels = imagenet_labels()

    assert len(labels) == 1000
    assert labels[0] == "tench"
    assert labels[967] == "espresso"
    assert labels[999] == "toilet tissue"


def test_probabilities_sum_to_one_for_crops_of_any_size(classifier):
    crops = [np.full((height, width, 3), 90, np.uint8) for height, width in ((40, 50), (260, 260), (700, 31))]

    probabilities = classifier.classify(crops)

    assert probabilities.shape == (3, 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert classifier.classify([]).shape == (0, 1000)


def test_a_checkerboard_is_seen_as_something_like_one(classifier):
    squares = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)
    rgb = np.asarray(Image.fromarray(squares).resize((260, 260), Image.Resampling.NEAREST).convert("RGB"))

    (probabilities,) = classifier.classify([rgb])

    guesses = {imagenet_labels()[i] for i in probabilities.argsort()[-5:]}
    assert guesses & {"crossword puzzle", "window screen", "doormat", "quilt"}


def test_mean_of_the_dense_logits_is_the_pooled_logits(classifier):
    rgb = noise_scene()

    dense, pooled = classifier._session.run(["dense_logits", "logits"], {"image": rgb[None]})

    np.testing.assert_allclose(dense.mean(axis=(2, 3)), pooled, atol=1e-4)


def test_dense_probabilities_cover_the_image_32_pixels_apart(classifier):
    dense = classifier.dense(noise_scene(height=300, width=600), long_side=512)

    assert dense.shape == (8, 16, 1000)
    np.testing.assert_allclose(dense.sum(axis=2), 1, atol=1e-5)


# sentences


def test_near_meanings_are_nearer_than_far_ones(embedder):
    umbrella, rain, truck = embedder.embed(["an umbrella", "it keeps you dry when it rains", "a heavy truck"])

    assert umbrella @ rain > umbrella @ truck + 0.1
    assert rain @ umbrella > rain @ truck + 0.2


def test_sentence_vectors_have_length_one_whatever_the_text(embedder):
    texts = ["a", "", "naïve café ☕ 猫", "word " * 1000]

    vectors = embedder.embed(texts)

    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_sentence_does_not_depend_on_its_neighbours(embedder):
    texts = [f"{'very ' * (i % 7)}large object number {i}" for i in range(70)]  # more than one call

    together = embedder.embed(texts)

    np.testing.assert_allclose(together[33], embedder.embed(texts[33:34])[0], atol=1e-5)


def test_no_text_gives_no_row(embedder):
    assert embedder.embed([]).shape == (0, 384)


def noise_scene(height=288, width=384):
    """Something with structure, the same every time."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (9, 12, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()
