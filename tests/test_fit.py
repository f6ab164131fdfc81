"""Native images to training images and back: nothing is lost, nothing is scored twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bench import evaluate, fit
from bench.specs import IGNORE, Recipe
from tests.small import plain

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
ROOMS = st.tuples(st.integers(4, 40), st.integers(4, 40))
RECIPES = st.builds(
    lambda size, kind, share: Recipe(size=size, fit=kind, overlap=int(share * min(size)) if kind == "tile" else 0),
    ROOMS,
    st.sampled_from(["resize", "letterbox", "tile"]),
    st.floats(0, 0.99),
)


def scored(native: tuple[int, int], recipe: Recipe) -> np.ndarray:
    """How often each native pixel is scored, int64 (H, W)."""
    times = np.zeros(native, np.int64)
    for window in fit.windows(native, recipe):
        times[window.rows.first : window.rows.last, window.columns.first : window.columns.last] += 1
    return times


class Reader(nn.Module):
    """A network that knows: the red channel of the image is the class; it gives its one-hot code as logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        labels = (images[:, 0] * 255 * 0.229 + 255 * 0.485).round().long().clamp(0, self.classes - 1)
        return nn.functional.one_hot(labels, self.classes).permute(0, 3, 1, 2).float()


def returned(labels: np.ndarray, recipe: Recipe, *, picture: bool) -> np.ndarray:
    """A label map uint8 (H, W) after it went to the training size and came back as a prediction.

    Args:
        labels: The label map.
        recipe: How it gets there.
        picture: Whether it travels as the image, resampled as one, or as the mask.
    """
    pairs = [
        fit.cut(np.repeat(labels[..., None], 3, axis=2), labels, window, recipe.size)
        for window in fit.windows(labels.shape, recipe)
    ]
    images = np.stack([image if picture else np.repeat(mask[..., None], 3, axis=2) for image, mask in pairs])
    [found] = evaluate.predict(plain(Reader(8)), images, [labels.shape], recipe=recipe, device=torch.device("cpu"))
    return found


def label_map(native: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, native, dtype=np.uint8)


@given(SIZES, RECIPES)
def test_every_native_pixel_is_scored_exactly_once(native: tuple[int, int], recipe: Recipe) -> None:
    assert (scored(native, recipe) == 1).all()


@given(SIZES, RECIPES)
def test_a_tile_scores_the_pixels_whose_nearest_centre_is_its_own(native: tuple[int, int], recipe: Recipe) -> None:
    if recipe.fit != "tile":
        return
    found = fit.windows(native, recipe)
    for axis in ("rows", "columns"):
        spans = list(dict.fromkeys(getattr(window, axis) for window in found))
        centres = [span.start + span.length / 2 for span in spans]
        for at in range(spans[-1].last):
            nearest = int(np.argmin([abs(at + 0.5 - centre) for centre in centres]))
            assert spans[nearest].first <= at < spans[nearest].last


@given(SIZES, RECIPES, st.integers(0, 99))
def test_tiles_give_a_label_map_back_exactly(native: tuple[int, int], recipe: Recipe, seed: int) -> None:
    if recipe.fit == "tile":
        labels = label_map(native, seed)

        np.testing.assert_array_equal(labels, returned(labels, recipe, picture=True))


@given(
    st.tuples(st.integers(4, 20), st.integers(4, 20)),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 17),
    st.integers(0, 99),
)
def test_whole_number_scales_give_a_label_map_back_exactly(
    native: tuple[int, int], down: int, across: int, room: int, seed: int
) -> None:
    labels = label_map(native, seed)
    stretched = Recipe(size=(native[0] * down, native[1] * across), fit="resize")
    framed = Recipe(size=(native[0] * down, native[1] * down + room), fit="letterbox")

    np.testing.assert_array_equal(labels, returned(labels, stretched, picture=False))
    np.testing.assert_array_equal(labels, returned(labels, framed, picture=False))
    np.testing.assert_array_equal(labels, returned(labels, Recipe(size=native, fit="letterbox"), picture=True))


@pytest.mark.parametrize(
    ("native", "size", "inner", "at"),
    [
        ((30, 40), (64, 64), (48, 64), (8, 0)),
        ((40, 30), (64, 64), (64, 48), (0, 8)),
        ((1200, 1600), (288, 384), (288, 384), (0, 0)),
        ((568, 712), (256, 256), (204, 256), (26, 0)),
        ((1, 1000), (32, 32), (1, 32), (15, 0)),
    ],
)
def test_a_letterbox_keeps_the_shape_and_is_centred(
    native: tuple[int, int], size: tuple[int, int], inner: tuple[int, int], at: tuple[int, int]
) -> None:
    [window] = fit.windows(native, Recipe(size=size, fit="letterbox"))

    assert inner == (window.rows.inner, window.columns.inner)
    assert at == (window.rows.at, window.columns.at)


@given(SIZES, RECIPES)
def test_padding_is_black_and_ignored_and_nothing_else_is(native: tuple[int, int], recipe: Recipe) -> None:
    image, labels = np.full((*native, 3), 200, np.uint8), np.ones(native, np.uint8)
    for window in fit.windows(native, recipe):
        picture, mask = fit.cut(image, labels, window, recipe.size)
        inside = np.zeros(recipe.size, bool)
        inside[window.inside] = True

        assert ((*recipe.size, 3), recipe.size) == (picture.shape, mask.shape)
        assert (mask == np.where(inside, 1, IGNORE)).all()
        assert (picture == np.where(inside, 200, 0)[..., None]).all()


def test_tiles_cover_with_the_overlap_that_is_asked_for_and_the_last_is_shifted_inwards() -> None:
    found = fit.windows((50, 100), Recipe(size=(64, 40), fit="tile", overlap=10))

    assert [0, 30, 60] == [window.columns.start for window in found]
    assert [(7, 50)] * 3 == [(window.rows.at, window.rows.inner) for window in found]
    assert [0, 30, 57] == [
        w.columns.start for w in fit.windows((50, 97), Recipe(size=(64, 40), fit="tile", overlap=10))
    ]
    assert [(0, 35), (35, 64), (64, 97)] == [
        (w.columns.first, w.columns.last) for w in fit.windows((50, 97), Recipe(size=(64, 40), fit="tile", overlap=10))
    ]


def test_equal_geometry_has_one_name_and_other_geometry_another() -> None:
    recipes = [
        Recipe(size=(64, 32)),
        Recipe(size=(32, 64)),
        Recipe(size=(64, 32), fit="letterbox"),
        Recipe(size=(64, 32), fit="tile"),
        Recipe(size=(64, 32), fit="tile", overlap=8),
    ]

    assert 5 == len({fit.tag(recipe) for recipe in recipes})
    assert fit.tag(recipes[0]) == fit.tag(Recipe(size=(64, 32), batch=2, augment="none"))
