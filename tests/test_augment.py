"""Augmentation against independent references, and image against mask: they always share one field."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation
from scipy.stats import kstest
from torch import Tensor

from bench import augment as augmentation
from bench.augment import apply, draw, gaussian, hashed, sampling_grid
from bench.data import Resident
from bench.errors import NameUnknown
from bench.presets import (
    PRESETS,
    SYMMETRIES,
    Affine,
    Augment,
    Blur,
    Colour,
    Elastic,
    Lens,
    Operator,
    Sharpen,
    Symmetry,
    preset,
)
from bench.specs import IGNORE
from tests.encoded import STEP, encoded, inside

SIZES = [(32, 32), (24, 40)]
MOVES = {
    "symmetry": Symmetry(),
    "turn": Affine(turn=90),
    "zoom": Affine(zoom=(0.7, 1.6)),
    "affine": Affine(turn=45, zoom=(0.8, 1.25), shear=0.3, shift=0.1),
    "elastic": Elastic(amount=0.03),
    "fine": Elastic(amount=0.01, controls=20),
    "barrel": Lens(radius=0.5, amount=(0.5, 0.5)),
    "pincushion": Lens(radius=0.5, amount=(-0.5, -0.5)),
}
RECOLOURS = {
    "blur": Blur(sigma=(0.5, 2.0)),
    "sharpen": Sharpen(amount=(0.5, 2.0)),
    "colour": Colour(brightness=0.3, contrast=0.3, saturation=0.5, hue=90),
}
NOTHING = {
    "symmetry": Symmetry(kinds=("none",)),
    "affine": Affine(),
    "elastic": Elastic(),
    "lens": Lens(),
    "blur": Blur(),
    "sharpen": Sharpen(),
    "colour": Colour(),
}


def drawn(augment: Augment, count: int, size: tuple[int, int], seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return draw(augment, count, generator, square=size[0] == size[1], device=torch.device("cpu"))


def augmented(pairs: Resident, *operators: Operator, exclusive: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
    augment = Augment(operators, exclusive)
    return apply(augment, pairs.images, pairs.masks, drawn(augment, len(pairs), tuple(pairs.masks.shape[1:]), seed))


def noisy(count: int = 4, size: tuple[int, int] = (24, 40), seed: int = 0) -> Resident:
    """Smooth coloured noise, from which every displacement could be read, with masks of one class per level."""
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.normal(size=(count, *size, 3)), (0, 2, 2, 0))
    images = np.clip(128 + 200 * smooth, 0, 255).astype(np.uint8)
    return Resident(torch.from_numpy(images), torch.from_numpy(images[..., 0] // 64))


def coordinates(grid: Tensor) -> np.ndarray:
    """The rows and columns that a grid (H, W, 2) asks for, in pixels: (2, H, W)."""
    height, width = grid.shape[:2]
    x, y = grid.double().numpy().transpose(2, 0, 1)
    return np.stack([(y + 1) * height / 2 - 0.5, (x + 1) * width / 2 - 0.5])


def sources(operator: Operator, values: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Where each pixel comes from [pixels], (N, 2, H, W): rows, then columns."""
    grids = sampling_grid([(operator, values)], torch.zeros(len(values), 1, *size))
    return np.stack([coordinates(grid) for grid in grids])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [name for name in MOVES if name != "symmetry"])
def test_a_moved_pair_is_what_scipy_samples_on_the_same_grid(name: str, size: tuple[int, int]) -> None:
    pairs, augment = noisy(size=size), Augment((MOVES[name],))
    amounts = drawn(augment, 4, size)
    images, masks = apply(augment, pairs.images, pairs.masks, amounts)

    for number, where in enumerate(sources(MOVES[name], amounts[0], size)):
        for channel in range(3):
            expected = map_coordinates(
                pairs.images[number, ..., channel].double().numpy(), where, order=1, mode="nearest"
            )
            np.testing.assert_allclose(expected, images[number, ..., channel].numpy(), atol=0.05)
        rows, columns = (np.rint(axis).astype(int) for axis in where)
        outside = (rows < 0) | (rows >= size[0]) | (columns < 0) | (columns >= size[1])
        nearest = pairs.masks[number].numpy()[rows.clip(0, size[0] - 1), columns.clip(0, size[1] - 1)]
        wrong = np.where(outside, IGNORE, nearest) != masks[number].numpy()
        assert wrong.mean() < 0.005  # only where a coordinate lies between two pixels may rounding differ


@pytest.mark.parametrize("size", SIZES)
def test_an_affine_is_the_inverse_matrix_about_the_middle(size: tuple[int, int]) -> None:
    pairs, augment = noisy(size=size), Augment((MOVES["affine"],))
    amounts = drawn(augment, 4, size)
    images, _ = apply(augment, pairs.images, pairs.masks, amounts)

    for number, values in enumerate(amounts[0].double().numpy()):
        matrix = values[:4].reshape(2, 2)[::-1, ::-1]  # of rows and columns, not x and y
        middle = (np.array(size) - 1) / 2
        shift = values[[5, 4]] * size
        expected = affine_transform(
            pairs.images[number, ..., 0].double().numpy(),
            matrix,
            middle - matrix @ (middle + shift),
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(expected, images[number, ..., 0].numpy(), atol=0.05)


def test_turn_zoom_shear_and_shift_stay_in_their_ranges_and_reach_them() -> None:
    def matrices(**changes: object) -> np.ndarray:
        return drawn(Augment((Affine(**changes),)), 500, (8, 8))[0].double().numpy()

    turned, zoomed = matrices(turn=30), matrices(zoom=(0.5, 2.0))
    angles = np.degrees(np.arctan2(turned[:, 1], turned[:, 0]))
    factors = 1 / np.sqrt(zoomed[:, 0] * zoomed[:, 3])
    slants, shifts = matrices(shear=0.2)[:, 1], matrices(shift=0.1)[:, 4:]

    for found, low, high in [(angles, -30, 30), (factors, 0.5, 2), (slants, -0.2, 0.2), (shifts, -0.1, 0.1)]:
        assert low - 1e-4 <= found.min() < low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) < found.max() <= high + 1e-4
    np.testing.assert_allclose(1, turned[:, 0] * turned[:, 3] - turned[:, 1] * turned[:, 2], atol=1e-5)
    assert abs(np.log(factors).mean()) < 0.06


def test_a_picture_zoomed_by_two_shows_its_middle_twice_as_large() -> None:
    mask = torch.zeros(1, 40, 40, dtype=torch.uint8)
    mask[:, 15:25, 15:25] = 1
    _, moved = augmented(Resident(mask[..., None].repeat(1, 1, 1, 3), mask), Affine(zoom=(2.0, 2.0)))

    assert int(moved[0, 10:30, 10:30].sum()) == 400 == int(moved.sum())


@pytest.mark.parametrize("amount", [0.3, -0.3, 0.8])
def test_a_lens_follows_its_formula_inside_the_disc_and_leaves_the_rest(amount: float) -> None:
    size, centre = (50, 80), (0.7, 0.3)
    operator = Lens(radius=0.4, amount=(amount, amount), centres=(centre,))
    (found,) = sources(operator, drawn(Augment((operator,)), 1, size)[0], size)
    middle = np.array([centre[1] * 50 - 0.5, centre[0] * 80 - 0.5])[:, None, None]
    offset = np.indices(size) - middle
    distance = np.hypot(*offset)
    inner = distance < 20
    expected = middle + offset * np.sin(np.pi * np.minimum(distance, 20) / (2 * 20)) ** amount

    np.testing.assert_allclose(expected[:, inner], found[:, inner], atol=1e-3)
    np.testing.assert_allclose(np.indices(size)[:, ~inner], found[:, ~inner], atol=1e-3)


def test_a_lens_has_its_centre_at_one_of_those_given_or_anywhere() -> None:
    centres = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5))
    fixed = drawn(Augment((Lens(centres=centres),)), 200, (8, 8))[0][:, :2]
    free = drawn(Augment((Lens(),)), 200, (8, 8))[0][:, :2]

    assert set(centres) == {tuple(round(value, 4) for value in row) for row in fixed.tolist()}
    assert 200 == len(free.unique(dim=0))
    assert 0 <= float(free.min()) < 0.1 < 0.9 < float(free.max()) < 1


def test_an_elastic_field_has_the_deviation_that_is_asked_for_and_no_drift() -> None:
    size, operator = (64, 96), Elastic(amount=0.05)
    values = drawn(Augment((operator,)), 300, size)[0]
    moved = sources(operator, values, size) - np.indices(size)

    assert moved.std() == pytest.approx(0.05 * 64, rel=0.03)
    assert abs(moved.mean()) < 0.1
    assert np.abs(np.diff(moved, n=2, axis=3)).max() < 0.6  # smooth: it bends by less than a pixel per pixel


def test_the_control_points_are_joined_by_cubic_b_splines() -> None:
    knots = np.arange(-3, 10)
    places = (np.arange(30) + 0.5) / 30 * 6
    expected = BSpline.design_matrix(places, knots, 3).toarray()

    np.testing.assert_allclose(expected, augmentation._splines(30, 9, torch.device("cpu")), atol=1e-5)


def test_hashed_numbers_are_uniform_and_unlike_those_of_the_next_key() -> None:
    keys = torch.arange(64) / 2**24
    found = hashed(keys, 500).double().numpy()
    related = np.corrcoef(found)[np.triu_indices(64, 1)]

    assert kstest(found.ravel(), "uniform").pvalue > 0.01
    assert kstest(found[:, 0], "uniform").pvalue > 0.01
    assert np.abs(related).max() < 0.25
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MOVES)
def test_image_and_mask_move_together(name: str, size: tuple[int, int]) -> None:
    pairs = encoded(count=16, size=(size[0] * 2, size[1] * 2), block=16)
    images, masks = augmented(pairs, MOVES[name])
    sure = inside(masks)

    assert sure.float().mean() > 0.05
    assert float((masks.float() * STEP - images[..., 0].float()).abs()[sure].max()) < 0.05
    assert not masks.equal(pairs.masks)


@pytest.mark.parametrize("name", PRESETS)
def test_image_and_mask_move_together_under_every_preset(name: str) -> None:
    pairs = encoded(count=16, size=(64, 64), block=16)
    operators = tuple(one for one in PRESETS[name].operators if not isinstance(one, Blur | Sharpen | Colour))
    images, masks = augmented(pairs, *operators, exclusive=PRESETS[name].exclusive)
    sure = inside(masks)

    assert sure.float().mean() > 0.1
    assert float((masks.float() * STEP - images[..., 0].float()).abs()[sure].max()) < 0.05


@pytest.mark.parametrize("name", RECOLOURS)
def test_what_touches_the_image_only_leaves_the_mask(name: str) -> None:
    pairs = noisy()
    images, masks = augmented(pairs, RECOLOURS[name])

    assert pairs.masks.equal(masks)
    assert all((images[number] - pairs.images[number]).abs().max() > 1 for number in range(4))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NOTHING)
def test_an_operator_of_no_strength_changes_nothing(name: str, size: tuple[int, int]) -> None:
    pairs = noisy(size=size)
    images, masks = augmented(pairs, NOTHING[name])

    torch.testing.assert_close(pairs.images.float(), images.float(), atol=0.02, rtol=0)
    assert pairs.masks.equal(masks)


@pytest.mark.parametrize("name", [*MOVES, *RECOLOURS])
def test_an_operator_of_probability_0_changes_nothing(name: str) -> None:
    operator = (MOVES | RECOLOURS)[name]
    pairs = noisy(size=(32, 32))
    never = type(operator)(
        **{key: getattr(operator, key) for key in operator.__dataclass_fields__} | {"probability": 0}
    )
    images, masks = augmented(pairs, never)

    torch.testing.assert_close(pairs.images.float(), images.float(), atol=0.02, rtol=0)
    assert pairs.masks.equal(masks)


def test_operators_act_as_often_as_their_probability_says_and_independently() -> None:
    augment = Augment((Sharpen(probability=0.3, amount=(1, 1)), Blur(probability=0.6, sigma=(1, 1))))
    sharpened, blurred = (values[:, 0] > 0 for values in drawn(augment, 4000, (8, 8)))

    assert float(sharpened.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(blurred.float().mean()) == pytest.approx(0.6, abs=0.03)
    assert float((sharpened & blurred).float().mean()) == pytest.approx(0.18, abs=0.03)


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].exclusive])
def test_of_exclusive_operators_a_sample_meets_one_at_most_and_each_has_its_share(name: str) -> None:
    operators = PRESETS[name].operators
    neutral = [augmentation._NOTHING[type(operator)] for operator in operators]
    table = drawn(PRESETS[name], 5000, (8, 8))
    acts = torch.stack([(values != none).any(dim=1) for values, none in zip(table, neutral, strict=True)])

    assert 1 == int(acts.sum(dim=0).max())
    assert sum(operator.probability for operator in operators) < 1 + 1e-9
    for operator, share in zip(operators, acts.float().mean(dim=1).tolist(), strict=True):
        assert share == pytest.approx(operator.probability, abs=0.03)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
def test_a_blur_is_scipy_s_gaussian_filter(sigma: float) -> None:
    planes = noisy().images.permute(0, 3, 1, 2).double()
    found = gaussian(planes.float(), torch.full((4,), sigma), 2.5)
    expected = gaussian_filter(planes.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, 8, 8))

    np.testing.assert_allclose(expected, found, atol=2e-3)


def test_every_picture_of_a_batch_is_blurred_by_its_own_sigma() -> None:
    planes = noisy().images.permute(0, 3, 1, 2).float()
    sigmas = torch.tensor([0.0, 0.5, 1.0, 2.0])
    found = gaussian(planes, sigmas, 2.0)

    torch.testing.assert_close(planes[0], found[0])
    for number, sigma in enumerate(sigmas.tolist()):
        alone = gaussian(planes[number : number + 1], torch.tensor([sigma]), 2.0)
        torch.testing.assert_close(alone[0], found[number])


def test_sharpening_adds_the_difference_to_a_gaussian_and_stays_in_range() -> None:
    pairs = noisy()
    images, _ = augmented(pairs, Sharpen(amount=(1.5, 1.5), sigma=1.0))
    plain = pairs.images.double().numpy()
    soft = gaussian_filter(plain, (0, 1, 1, 0), mode="nearest", radius=(0, 3, 3, 0))

    np.testing.assert_allclose(np.clip(plain + 1.5 * (plain - soft), 0, 255), images, atol=0.01)


def test_colours_are_brightness_then_contrast_then_saturation_then_hue() -> None:
    pairs, augment = noisy(), Augment((Colour(brightness=0.2, contrast=0.3, saturation=0.4, hue=60),))
    amounts = drawn(augment, 4, (24, 40))
    images, _ = apply(augment, pairs.images, pairs.masks, amounts)

    for number, (gain, lift, even, odd) in enumerate(amounts[0].double().tolist()):
        brightness, contrast = gain + lift, gain / (gain + lift)
        saturation, hue = math.hypot(even, odd), math.atan2(odd, even)
        pixels = pairs.images[number].double().numpy() * brightness
        pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
        grey = pixels.mean(axis=-1, keepdims=True)
        pixels = (pixels - grey) * saturation + grey
        turned = pixels @ Rotation.from_rotvec(np.full(3, hue / 3**0.5)).as_matrix().T

        assert all(abs(one - 1) <= most + 1e-6 for one, most in [(brightness, 0.2), (contrast, 0.3), (saturation, 0.4)])
        assert abs(hue) <= math.radians(60) + 1e-6
        np.testing.assert_allclose(np.clip(turned, 0, 255), images[number], atol=0.01)


def test_greys_stay_grey_whatever_the_hue() -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    images, _ = augmented(Resident(grey, grey[..., 0]), Colour(saturation=0.9, hue=180))

    torch.testing.assert_close(grey.float(), images, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", SYMMETRIES)
def test_a_symmetry_is_what_its_name_says(name: str) -> None:
    expected = {
        "none": lambda mask: mask,
        "mirror": np.fliplr,
        "flip": np.flipud,
        "half_turn": lambda mask: np.rot90(mask, 2),
        "transpose": np.transpose,
        "left_turn": np.rot90,
        "right_turn": lambda mask: np.rot90(mask, -1),
        "antitranspose": lambda mask: np.rot90(mask, 2).T,
    }[name]
    pairs = encoded(count=2, size=(24, 24))
    images, masks = augmented(pairs, Symmetry(kinds=(name,)))

    assert torch.uint8 == images.dtype == masks.dtype  # whole pixels
    for number in range(2):
        np.testing.assert_array_equal(expected(pairs.masks[number].numpy()), masks[number])
    assert (masks * STEP).equal(images[..., 0])


def test_quarter_turns_of_a_picture_that_is_not_square_are_left_out() -> None:
    pairs = encoded(count=40)
    _, masks = augmented(pairs, Symmetry(kinds=("left_turn", "half_turn", "right_turn")))
    _, same = augmented(pairs, Symmetry(kinds=("left_turn", "right_turn")))

    assert pairs.masks.flip(1, 2).equal(masks)
    assert pairs.masks.equal(same)


def test_what_comes_from_outside_is_ignored_and_ignored_pixels_stay_so() -> None:
    pairs = encoded(count=8, size=(32, 32))
    _, shrunk = augmented(pairs, Affine(zoom=(0.5, 0.5)))
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[8:24, 8:24] = False

    assert bool((shrunk[:, frame] == IGNORE).all())
    assert not bool((shrunk[:, ~frame] == IGNORE).any())
    for name in MOVES:
        _, masks = augmented(Resident(pairs.images, torch.full_like(pairs.masks, IGNORE)), MOVES[name])
        assert {IGNORE} == set(masks.unique().tolist())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_keeps_types_shapes_and_range(name: str, size: tuple[int, int]) -> None:
    pairs = noisy(count=16, size=size)
    amounts = drawn(PRESETS[name], 16, size)
    images, masks = apply(PRESETS[name], pairs.images, pairs.masks, amounts)

    assert pairs.images.shape == images.shape and pairs.masks.shape == masks.shape
    assert images.dtype in (torch.uint8, torch.float32) and torch.uint8 == masks.dtype
    assert 0 <= float(images.min()) <= float(images.max()) <= 255
    assert bool(images.isfinite().all())
    assert set(masks.unique().tolist()) <= {*pairs.masks.unique().tolist(), IGNORE}


@pytest.mark.parametrize("name", PRESETS)
def test_amounts_depend_on_the_sample_not_on_how_many_there_are(name: str) -> None:
    few, many = (drawn(PRESETS[name], count, (32, 32)) for count in (5, 50))

    assert all(one.equal(other[:5]) for one, other in zip(few, many, strict=True))


def test_all_of_a_symmetry_s_kinds_name_a_symmetry() -> None:
    kinds = {kind for one in PRESETS.values() for op in one.operators if isinstance(op, Symmetry) for kind in op.kinds}

    assert kinds <= set(SYMMETRIES)


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(NameUnknown, match="Did you mean standard"):
        preset("standart")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PRESETS)
def test_nothing_is_made_on_another_device_than_the_batch(name: str, size: tuple[int, int]) -> None:
    pairs, amounts = noisy(size=size), drawn(PRESETS[name], 4, size)
    far = torch.device("meta")  # refuses tensors of the CPU as a GPU does, and any wait for a value
    images, masks = apply(PRESETS[name], pairs.images.to(far), pairs.masks.to(far), [one.to(far) for one in amounts])

    assert "meta" == images.device.type == masks.device.type
    assert (pairs.images.shape, pairs.masks.shape) == (images.shape, masks.shape)
