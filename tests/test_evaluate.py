from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_confusion_matrix

from bench import evaluate
from bench.data import normalise
from bench.prepare import Entry
from bench.specs import Recipe, Sample
from tests.small import plain


def test_confusion_equals_torchmetrics_with_ignored_pixels():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 5, (40, 60)).astype(np.uint8)
    truth[generator.random(truth.shape) < 0.1] = 255
    predicted = generator.integers(0, 5, (40, 60)).astype(np.uint8)
    reference = multiclass_confusion_matrix(
        torch.from_numpy(predicted).long(), torch.from_numpy(truth).long(), num_classes=5, ignore_index=255
    )

    assert reference.numpy().tolist() == evaluate.confusion(truth, predicted, 5).tolist()


def test_confusion_of_an_image_that_is_ignored_wholly_is_zero():
    truth = np.full((3, 3), 255, np.uint8)

    assert 0 == evaluate.confusion(truth, np.zeros((3, 3), np.uint8), 2).sum()


def test_predictions_come_at_native_size_and_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 3, padding=1)
    images = np.random.default_rng(1).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    sizes = [(50, 70), (16, 24), (8, 9), (100, 31), (17, 25)]
    one, other = (
        list(
            evaluate.predict(
                plain(network, batch), images, sizes, recipe=Recipe(batch=batch), device=torch.device("cpu")
            )
        )
        for batch in (1, 4)
    )

    assert sizes == [mask.shape for mask in one]
    assert all((a == b).mean() > 0.999 for a, b in zip(one, other, strict=True))


def test_at_training_size_a_prediction_is_the_argmax_of_the_logits():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 1)
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    predicted = evaluate.predict(
        plain(network, 2), images, [(8, 8)] * 2, recipe=Recipe(batch=2), device=torch.device("cpu")
    )
    with torch.inference_mode():
        expected = network(normalise(torch.from_numpy(images))).argmax(dim=1).numpy()

    assert (expected == np.stack(list(predicted))).all()


def test_the_pictures_that_are_shown_cover_the_classes_first():
    def entry(*pixels: int) -> Entry:
        sample = Sample(id="x", image="", mask="", source="x")
        return Entry(sample=sample, height=1, width=1, offset=0, hash="", pixels=pixels)

    entries = [entry(9, 0, 0, 0), entry(9, 5, 0, 0), entry(9, 0, 1, 1), entry(9, 5, 0, 0)]

    assert [2, 1, 0] == evaluate.chosen(entries, [0, 1, 2], count=3)
    assert [2, 1] == evaluate.chosen(entries, [0, 1, 2, 3], count=2)
