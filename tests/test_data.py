"""Batches: every pair once, image and mask moved together, and nothing that depends on anything but seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import normalize

from bench.data import Resident, Streamed, normalise, ordered, place, resident, shuffled
from bench.presets import PRESETS, Affine, Augment, Colour
from bench.specs import IGNORE, MEAN, STD
from tests.encoded import encoded, inside

CPU = torch.device("cpu")
SIZES = [(24, 24), (24, 40)]


def pixels(inputs: Tensor) -> Tensor:
    """Back from normalised inputs to values of 0 to 255, (N, 3, H, W)."""
    mean, std = (torch.tensor(values)[:, None, None] * 255 for values in (MEAN, STD))
    return inputs * std + mean


def epoch(
    pairs: Resident, augment: Augment, *, batch: int = 3, seed: int = 1, number: int = 1
) -> list[tuple[Tensor, Tensor]]:
    return list(shuffled(pairs, batch, augment, seed=seed, epoch=number))


def whole(pairs: Resident, augment: Augment, number: int = 1, batch: int = 3) -> tuple[Tensor, Tensor]:
    """All pairs of an epoch as one batch."""
    inputs, targets = zip(*epoch(pairs, augment, number=number, batch=batch), strict=True)
    return torch.cat(inputs), torch.cat(targets)


@pytest.mark.parametrize("size", SIZES)
def test_without_augmentation_the_pairs_come_as_they_are(size: tuple[int, int]) -> None:
    pairs = encoded(size=size)
    inputs, targets = whole(pairs, PRESETS["none"])
    order = (pixels(inputs)[:, 1, 0, 0] / 30).round().long()

    torch.testing.assert_close(pairs.masks[order].long(), targets)
    torch.testing.assert_close(normalise(pairs.images[order]), inputs)


@pytest.mark.parametrize("size", SIZES)
def test_a_mirrored_mask_fits_its_mirrored_image_exactly(size: tuple[int, int]) -> None:
    pairs = encoded(count=12, size=size)
    inputs, targets = whole(pairs, PRESETS["light"])

    torch.testing.assert_close(targets.float() * 20, pixels(inputs)[:, 0], atol=1e-3, rtol=0)
    assert (12, *size) == targets.shape


@pytest.mark.parametrize(("size", "expected"), [((24, 24), 8), ((24, 40), 4)])
def test_mirroring_reaches_every_symmetry_and_no_other(size: tuple[int, int], expected: int) -> None:
    pairs = encoded(count=1, size=size)
    mask = pairs.masks[0].long()
    turned = [mask, mask.T] if size[0] == size[1] else [mask]
    allowed = {turn.flip(dims).numpy().tobytes() for turn in turned for dims in ([], [0], [1], [0, 1])}
    found = {whole(pairs, PRESETS["light"], number)[1][0].contiguous().numpy().tobytes() for number in range(80)}

    assert expected == len(allowed)
    assert allowed == found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "augment",
    [Augment((Affine(turn=20),)), Augment((Affine(zoom=(0.8, 1.25)),)), Augment((Affine(turn=45, zoom=(0.7, 1.5)),))],
    ids=["turn", "zoom", "both"],
)
def test_turned_and_zoomed_masks_fit_their_images_away_from_edges(augment: Augment, size: tuple[int, int]) -> None:
    inputs, targets = whole(encoded(count=12, size=size), augment)
    sure = inside(targets)
    difference = (targets.float() * 20 - pixels(inputs)[:, 0]).abs()[sure]

    assert sure.float().mean() > 0.1
    assert float(difference.max()) < 0.01


def test_colours_change_the_image_and_leave_the_mask() -> None:
    pairs = encoded()
    plain, targets = whole(pairs, PRESETS["none"])
    changed, same = whole(pairs, Augment((Colour(brightness=0.3, contrast=0.3, saturation=0.3),)))

    assert targets.equal(same)
    assert not torch.allclose(plain, changed, atol=1e-2)
    assert (-1e-3, 255.001) <= (float(pixels(changed).min()), 255.001)
    assert float(pixels(changed).max()) <= 255.001


@pytest.mark.parametrize("size", [(40, 40), (30, 60), (60, 30)])
def test_a_turn_keeps_shapes_whatever_the_format_of_the_picture(size: tuple[int, int]) -> None:
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    disc = ((rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2 < 12**2).astype(np.uint8)
    pairs = resident(np.stack([disc] * 3, -1)[None] * 200, disc[None], [0], CPU)
    for number in range(5):
        _, targets = whole(pairs, Augment((Affine(turn=90),)), number)
        wrong = (targets[0] != torch.from_numpy(disc).long()) & (targets[0] != IGNORE)

        assert int(wrong.sum()) < 0.08 * disc.sum()


def test_what_comes_from_outside_is_ignored_and_nothing_else_is() -> None:
    pairs = encoded(count=30)
    _, smaller = whole(pairs, Augment((Affine(zoom=(0.5, 2)),)))
    _, mirrored = whole(pairs, PRESETS["light"])
    ring = smaller[(smaller == IGNORE).any(dim=2).any(dim=1)]

    assert 0 < len(ring) < 30
    assert set(range(5)) | {IGNORE} == set(smaller.unique().tolist())
    assert bool((ring[:, [0, 0, -1, -1], [0, -1, 0, -1]] == IGNORE).all())
    assert IGNORE not in mirrored.unique()


def test_a_pixel_ignored_from_the_start_stays_so() -> None:
    pairs = encoded()
    ignored = Resident(pairs.images, torch.full_like(pairs.masks, IGNORE))

    assert {IGNORE} == set(whole(ignored, PRESETS["standard"])[1].unique().tolist())


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_seed_and_epoch_give_the_same_batches(name: str) -> None:
    first, again = (epoch(encoded(), PRESETS[name]) for _ in range(2))

    assert all(x.equal(y) for one, other in zip(first, again, strict=True) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("change", [{"number": 2}, {"seed": 2}], ids=["epoch", "seed"])
@pytest.mark.parametrize("name", PRESETS)
def test_another_seed_or_epoch_gives_other_batches(name: str, change: dict[str, int]) -> None:
    first, other = epoch(encoded(), PRESETS[name]), epoch(encoded(), PRESETS[name], **change)

    assert not all(one[0].equal(two[0]) for one, two in zip(first, other, strict=True))


def test_torch_s_own_generator_is_neither_used_nor_moved() -> None:
    before = torch.get_rng_state()
    first = epoch(encoded(), PRESETS["standard"])
    torch.manual_seed(99)
    second = epoch(encoded(), PRESETS["standard"])
    torch.set_rng_state(before)

    assert first[0][0].equal(second[0][0])


def test_the_amounts_of_a_pair_do_not_depend_on_its_place_in_a_batch() -> None:
    inputs, targets = whole(encoded(), PRESETS["standard"], batch=2)
    others, same = whole(encoded(), PRESETS["standard"], batch=7)

    assert targets.equal(same)
    torch.testing.assert_close(inputs, others, atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 17])
@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_every_pair_comes_once_in_batches_that_differ_by_one_at_most(count: int, batch: int) -> None:
    images = np.zeros((count, 8, 8, 3), np.uint8)
    images[..., 1] = np.arange(count)[:, None, None]
    batches = epoch(resident(images, images[..., 0], range(count), CPU), PRESETS["light"], batch=batch)
    seen = sorted(number for inputs, _ in batches for number in pixels(inputs)[:, 1, 0, 0].round().int().tolist())
    sizes = [len(targets) for _, targets in batches]

    assert list(range(count)) == seen
    assert -(-count // batch) == len(sizes)
    assert max(sizes) <= min(sizes) + 1
    assert max(sizes) <= batch


def test_pairs_in_order_are_whole_and_not_augmented() -> None:
    pairs = encoded()
    batches = list(ordered(pairs, 3))

    assert [3, 2, 2] == [len(masks) for _, masks in batches]
    assert pairs.masks.equal(torch.cat([masks for _, masks in batches]))
    torch.testing.assert_close(normalise(pairs.images), torch.cat([inputs for inputs, _ in batches]))


def test_normalising_is_that_of_torchvision() -> None:
    images = torch.randint(256, (2, 5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = normalise(images)

    torch.testing.assert_close(normalize(images.permute(0, 3, 1, 2) / 255, list(MEAN), list(STD)), found)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_batches_have_the_types_and_layout_a_network_wants(name: str, size: tuple[int, int]) -> None:
    for inputs, targets in epoch(encoded(size=size), PRESETS[name]):
        assert (torch.float32, torch.int64) == (inputs.dtype, targets.dtype)
        assert (inputs.shape[0], 3, *size) == inputs.shape
        assert (inputs.shape[0], *size) == targets.shape
        assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_residents_are_copies_of_the_chosen_pairs() -> None:
    images = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    found = resident(images, images[..., 0], [3, 1], CPU)
    images[:] = 0

    assert 2 == len(found)
    assert [36, 12] == found.images[:, 0, 0, 0].tolist()
    assert [36, 12] == found.masks[:, 0, 0].tolist()


def test_the_order_of_an_epoch_is_the_same_whatever_the_augmentation() -> None:
    pairs = encoded(count=20)
    orders = [(pixels(whole(pairs, PRESETS[name])[0])[:, 1].amax((1, 2)) / 30).round() for name in ("none", "light")]

    assert orders[0].equal(orders[1])


@pytest.mark.parametrize("batch", [2, 3, 7])
@pytest.mark.parametrize("preset", ["none", "standard"])
def test_streamed_pairs_give_the_batches_of_resident_ones(batch: int, preset: str, tmp_path) -> None:
    source = encoded(count=9)
    arrays = {"images": source.images.numpy(), "masks": source.masks.numpy()}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    images, masks = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays)
    rows = [7, 2, 3, 8, 0, 5]
    held, streamed = place(images, masks, rows, CPU, 1e9), place(images, masks, rows, CPU, 1.0)

    assert isinstance(held, Resident) and isinstance(streamed, Streamed)
    assert (6, (24, 40), CPU) == (len(streamed), streamed.size, streamed.device)
    for one, other in zip(
        [*shuffled(held, batch, PRESETS[preset], seed=1, epoch=2), *ordered(held, batch)],
        [*shuffled(streamed, batch, PRESETS[preset], seed=1, epoch=2), *ordered(streamed, batch)],
        strict=True,
    ):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_epoch_of_streamed_pairs_that_is_left_early_leaves_no_reader_behind() -> None:
    import threading

    source = encoded(count=9)
    pairs = Streamed(source.images.numpy(), source.masks.numpy(), np.arange(9), CPU)
    before = threading.active_count()
    for _ in ordered(pairs, 2):
        break

    assert before == threading.active_count()
