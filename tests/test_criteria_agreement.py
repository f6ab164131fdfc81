"""Every loss against an independent one: torch, segmentation_models_pytorch, MONAI, scikit-image, and the seeds' formulas."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage
from segmentation_models_pytorch import losses as smp
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional

from bench import criteria, losses
from bench.specs import IGNORE
from tests.criterion import CLASSES, PIXELS, batch, saturated

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # its older versions use what torch has since deprecated
    from monai import losses as monai

WEIGHT = torch.tensor([0.5, 3.0, 1.5, 0.0], dtype=torch.float64)


def cells(seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Logits float64 and a target of round cells, 24 x 30; the last class is absent from the first image."""
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(30), indexing="ij")
    target = torch.zeros(3, 24, 30, dtype=torch.int64)
    for image, row, column, radius, label in ((0, 9, 8, 5, 1), (1, 12, 20, 6, 1), (1, 5, 5, 3, 2), (2, 15, 15, 8, 2)):
        target[image][(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = min(label, classes - 1)
    noise = torch.randn(3, classes, 24, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 1.5 * functional.one_hot(target, classes).movedim(-1, 1) + noise, target


def ones(target: Tensor, classes: int) -> Tensor:
    """The truth as ones and zeros."""
    return functional.one_hot(target, classes).movedim(-1, 1).double()


@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cross_entropy_is_that_of_torch(ignored: float, smoothing: float, weight: Tensor | None) -> None:
    logits, target = batch(ignored=ignored)
    expected = functional.cross_entropy(logits, target, weight, ignore_index=IGNORE, label_smoothing=smoothing)

    torch.testing.assert_close(expected, criteria.ce(logits, target, smoothing, weight))


@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_overlap_losses_are_those_of_smp_when_every_class_occurs(ignored: float) -> None:
    logits, target = batch(ignored=ignored)
    ours = [criteria.dice(logits, target), criteria.jaccard(logits, target), criteria.tversky(logits, target, 0.2, 0.9)]
    theirs = [
        smp.DiceLoss("multiclass", ignore_index=IGNORE),
        smp.JaccardLoss("multiclass"),
        smp.TverskyLoss("multiclass", alpha=0.2, beta=0.9, ignore_index=IGNORE),
    ]
    for mine, other in zip(ours, theirs, strict=True):
        if ignored and isinstance(other, smp.JaccardLoss):
            continue  # it cannot leave pixels out
        torch.testing.assert_close(other(logits, target), mine)


def test_overlap_losses_are_those_of_monai() -> None:
    logits, target = batch()
    given = {"softmax": True, "to_onehot_y": True, "batch": True, "smooth_nr": 0.0, "smooth_dr": 0.0}
    pairs = [
        (monai.DiceLoss(**given), criteria.dice(logits, target)),
        (monai.DiceLoss(**given, jaccard=True), criteria.jaccard(logits, target)),
        (monai.TverskyLoss(**given, alpha=0.2, beta=0.9), criteria.tversky(logits, target, 0.2, 0.9)),
    ]
    for other, mine in pairs:
        torch.testing.assert_close(other(logits, target[:, None]), mine)


def test_weights_weigh_the_mean_over_classes() -> None:
    logits, target = batch()
    alone = monai.DiceLoss(softmax=True, to_onehot_y=True, batch=True, reduction="none", smooth_nr=0, smooth_dr=0)
    lost = alone(logits, target[:, None]).flatten()

    torch.testing.assert_close((lost * WEIGHT).sum() / WEIGHT.sum(), criteria.dice(logits, target, WEIGHT))


def test_a_class_that_does_not_occur_is_left_out_where_smp_counts_it_as_solved() -> None:
    logits, target = batch()
    target = target.clamp(max=CLASSES - 2)

    torch.testing.assert_close(
        smp.DiceLoss("multiclass")(logits, target) * CLASSES / (CLASSES - 1), criteria.dice(logits, target)
    )


def test_tversky_weighs_false_positives_by_alpha() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    too_much = saturated(torch.tensor([[[0, 1, 1, 1]]]))[:, :2]
    found = 1 - (1 / (1 + 0.9) + 2 / (2 + 0.2)) / 2  # background misses one pixel, the cell has one too many

    assert found == pytest.approx(float(criteria.tversky(too_much, target, alpha=0.2, beta=0.9)))


@pytest.mark.parametrize("gamma", [4 / 3, 1.0, 0.5])
def test_focal_tversky_is_a_root_of_tversky_class_by_class(gamma: float) -> None:
    logits, target = batch()
    alone = monai.TverskyLoss(softmax=True, to_onehot_y=True, batch=True, reduction="none", smooth_nr=0, smooth_dr=0)
    alone.alpha, alone.beta = 0.3, 0.7
    expected = (alone(logits, target[:, None]) ** (1 / gamma)).mean()

    torch.testing.assert_close(expected, criteria.focal_tversky(logits, target, gamma=gamma))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_the_softmax_form_of_smp_and_monai(gamma: float) -> None:
    # smp.FocalLoss itself takes each class against the rest with a sigmoid: another function of the same logits.
    logits, target = batch()
    expected = softmax_focal_loss_with_logits(logits, target, gamma)
    summed = monai.FocalLoss(gamma=gamma, use_softmax=True, to_onehot_y=True)(logits, target[:, None])

    torch.testing.assert_close(expected, criteria.focal(logits, target, gamma))
    torch.testing.assert_close(expected, summed.double() * CLASSES)  # a mean over classes, where all but one are 0
    assert smp.FocalLoss("multiclass", gamma=gamma)(logits, target) != pytest.approx(expected)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_focal_without_gamma_and_topk_of_all_pixels_are_cross_entropy(weight: Tensor | None) -> None:
    logits, target = batch(ignored=0.3)
    expected = criteria.ce(logits, target, weight=weight)

    torch.testing.assert_close(expected, criteria.focal(logits, target, gamma=0, weight=weight))
    torch.testing.assert_close(expected, criteria.topk(logits, target, percent=100, weight=weight))


@pytest.mark.parametrize("percent", [1.0, 10.0, 37.0])
def test_topk_is_the_mean_of_the_hardest_pixels(percent: float) -> None:
    logits, target = batch(ignored=0.3)
    entropy = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[target != IGNORE]
    kept = max(1, int(len(entropy) * percent / 100))

    torch.testing.assert_close(entropy.topk(kept).values.mean(), criteria.topk(logits, target, percent))


def test_topk_of_sure_pixels_does_not_count_ignored_ones() -> None:
    target = torch.tensor([[[0, 0, 0, 0, IGNORE, IGNORE, IGNORE, IGNORE]]])
    logits = saturated(torch.tensor([[[0, 0, 0, 1, 0, 0, 0, 0]]])) / 1e3

    assert 20 / 2 == pytest.approx(float(criteria.topk(logits, target, percent=50)))


@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_lovasz_is_that_of_smp(ignored: float, per_image: bool, classes: int) -> None:
    logits, target = batch(ignored=ignored, classes=classes)
    expected = smp.LovaszLoss("multiclass", per_image=per_image, ignore_index=IGNORE)(logits.float(), target)

    torch.testing.assert_close(expected.double(), criteria.lovasz(logits, target, per_image), rtol=1e-5, atol=1e-6)


def test_lovasz_leaves_out_a_class_and_an_image_that_has_none() -> None:
    logits, target = batch()
    target = target.clamp(max=CLASSES - 2)
    target[1] = IGNORE
    expected = smp.LovaszLoss("multiclass", per_image=True)(logits[[0, 2]].float(), target[[0, 2]])

    torch.testing.assert_close(expected.double(), criteria.lovasz(logits, target, per_image=True), rtol=1e-5, atol=1e-6)


def test_lovasz_of_sure_predictions_is_one_minus_iou() -> None:
    _, target = batch()
    _, found = batch(seed=1)
    matrix = torch.bincount(CLASSES * target.flatten() + found.flatten(), minlength=CLASSES**2).view(CLASSES, CLASSES)
    iou = matrix.diag() / (matrix.sum(0) + matrix.sum(1) - matrix.diag())

    assert 1 - float(iou.mean()) == pytest.approx(float(criteria.lovasz(saturated(found), target)))


def test_mcc_of_two_classes_is_that_of_smp() -> None:
    logits, target = batch(classes=2)

    torch.testing.assert_close(
        smp.MCCLoss()(logits.softmax(dim=1)[:, 1], target.double()), criteria.mcc(logits, target)
    )


def test_mcc_of_more_classes_is_the_mean_of_each_against_the_rest() -> None:
    logits, target = batch(ignored=0.3)
    target = target.where(target != 2, 1)  # a class that is absent
    valid, chances = target != IGNORE, logits.softmax(dim=1)
    lost = [smp.MCCLoss()(chances[:, c][valid][None], (target == c)[valid][None].double()) for c in (0, 1, 3)]

    torch.testing.assert_close(torch.stack(lost).mean(), criteria.mcc(logits, target))


def by_kervadec(logits: Tensor, target: Tensor) -> float:
    """The boundary loss as its authors' code has it, image by image and class by class."""
    chances, total = logits.softmax(dim=1).numpy(), 0.0
    count, classes, height, width = logits.shape
    for image in range(count):
        for label in range(1, classes):
            inside = target[image].numpy() == label
            if inside.any():
                outside = ~inside
                distance = ndimage.distance_transform_edt(outside) * outside
                distance -= (ndimage.distance_transform_edt(inside) - 1) * inside
                total += (chances[image, label] * distance).sum()
    return total / (count * (classes - 1) * height * width)


@pytest.mark.parametrize("classes", [2, 3])
def test_boundary_is_that_of_its_authors(classes: int) -> None:
    logits, target = cells(classes=classes)

    assert by_kervadec(logits, target) == pytest.approx(float(criteria.boundary(logits, target)), rel=1e-6)


def test_boundary_is_the_signed_distance_in_pixels() -> None:
    target = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, IGNORE]]])
    surely = torch.stack([saturated(torch.full_like(target, 0))[0, :2], saturated(torch.full_like(target, 1))[0, :2]])
    none, everywhere = (float(criteria.boundary(one[None], target)) for one in surely)

    assert 0.0 == none
    assert (3 + 2 + 1 + 0 - 1 - 2 - 3) / 7 == pytest.approx(everywhere)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("power", [2.0, 1.0])
def test_hausdorff_dt_is_that_of_monai(classes: int, power: float) -> None:
    logits, target = cells(classes=classes)
    other = monai.HausdorffDTLoss(alpha=power, softmax=True, to_onehot_y=True)
    expected = other(logits, target[:, None])

    torch.testing.assert_close(expected, criteria.hausdorff_dt(logits, target, power), rtol=1e-6, atol=1e-9)


def test_distances_have_no_gradient() -> None:
    logits, target = cells()
    chances = logits.softmax(dim=1)[:, 1:].requires_grad_()
    leaf = logits.clone().requires_grad_()
    criteria.boundary(leaf, target).backward()
    again = logits.clone().requires_grad_()
    fixed = torch.from_numpy(np.zeros(chances.shape))
    for image, label in np.ndindex(*chances.shape[:2]):
        inside = (target[image] == label + 1).numpy()
        if inside.any():
            near = ndimage.distance_transform_edt(~inside) - (ndimage.distance_transform_edt(inside) - 1) * inside
            fixed[image, label] = torch.from_numpy(near)
    (again.softmax(dim=1)[:, 1:] * fixed).mean().backward()

    torch.testing.assert_close(again.grad, leaf.grad, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_ssim_is_that_of_scikit_image_and_monai(classes: int) -> None:
    logits, target = cells(classes=classes)
    chances, truth = logits.softmax(dim=1)[:, 1:], ones(target, classes)[:, 1:]
    alike = []
    for one, other in zip(chances.flatten(0, 1).numpy(), truth.flatten(0, 1).numpy(), strict=True):
        given = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        alike.append(structural_similarity(one, other, **given))  # it leaves out windows that do not lie in the picture

    assert 1 - np.mean(alike) == pytest.approx(float(criteria.ssim(logits, target)), rel=1e-9)
    torch.testing.assert_close(
        monai.SSIMLoss(spatial_dims=2)(chances, truth).double(), criteria.ssim(logits, target), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("size", [(7, 20), (8, 20), (1, 1), (2, 30)])
def test_ssim_of_a_small_picture_has_the_largest_odd_window_that_fits(size: tuple[int, int]) -> None:
    logits, target = batch(classes=2, size=(1, *size))
    width = size[0] - 1 + size[0] % 2
    bell = np.exp(-(((np.arange(width) - width // 2) / 1.5) ** 2) / 2)
    window = np.outer(bell, bell) / bell.sum() ** 2
    one, other = logits.softmax(dim=1)[0, 1].numpy(), target[0].numpy().astype(float)
    alike = []
    for row, column in np.ndindex(size[0] - width + 1, size[1] - width + 1):
        part, truth = (x[row : row + width, column : column + width] for x in (one, other))
        m, n = (window * part).sum(), (window * truth).sum()
        v, w, both = (
            (window * (part - m) ** 2).sum(),
            (window * (truth - n) ** 2).sum(),
            (window * (part - m) * (truth - n)).sum(),
        )
        alike.append((2 * m * n + 1e-4) / (m**2 + n**2 + 1e-4) * (2 * both + 9e-4) / (v + w + 9e-4))

    assert 1 - np.mean(alike) == pytest.approx(float(criteria.ssim(logits, target)))


class Seeds:
    """The formulas of the seeds in numpy, for one sigmoid channel (Keras clips at 1e-7, which changes nothing here)."""

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        self.p = 1 / (1 + np.exp(-(logits[:, 1] - logits[:, 0]).numpy()))
        self.y = target.numpy().astype(float)

    def bce(self) -> float:
        return float(-(self.y * np.log(self.p) + (1 - self.y) * np.log(1 - self.p)).mean())

    def dice(self) -> float:
        return float((2 * (self.y * self.p).sum() + 1) / (self.y.sum() + self.p.sum() + 1))

    def iou(self) -> float:
        return float((self.y * self.p).sum() / (self.y + self.p - self.y * self.p).sum())

    def ssim(self) -> float:
        given = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        return float(np.mean([structural_similarity(y, p, **given) for y, p in zip(self.y, self.p, strict=True)]))


def test_the_presets_are_the_formulas_of_the_seeds() -> None:
    logits, target = cells(classes=2)
    seed = Seeds(logits, target)

    assert (seed.bce() + 1 - seed.dice()) / 2 == pytest.approx(float(criteria.bce_dice(logits, target)))
    assert (seed.bce() + 1 - seed.iou()) / 2 == pytest.approx(float(criteria.bce_iou(logits, target)))
    whole = (seed.bce() + 1 - seed.ssim() + 1 - seed.iou()) / 3
    assert whole == pytest.approx(float(criteria.basnet_hybrid(logits, target)))


def test_the_presets_of_more_classes_sum_over_all_foreground_channels_and_the_whole_batch() -> None:
    logits, target = cells(classes=3)
    chances, truth = logits.softmax(dim=1)[:, 1:], ones(target, 3)[:, 1:]
    entropy = functional.cross_entropy(logits, target)
    both = (chances * truth).sum()
    dice = (2 * both + 1) / (chances.sum() + truth.sum() + 1)
    iou = both / (chances + truth - chances * truth).sum()

    torch.testing.assert_close((entropy + 1 - dice) / 2, criteria.bce_dice(logits, target))
    torch.testing.assert_close((entropy + 1 - iou) / 2, criteria.bce_iou(logits, target))


def test_the_iou_of_a_batch_without_foreground_is_one_where_none_is_found() -> None:
    target = torch.zeros(2, 12, 12, dtype=torch.int64)
    logits = saturated(target)[:, :2]

    assert 0.0 == float(criteria.bce_iou(logits, target))
    assert 0.5 == pytest.approx(float(criteria.bce_iou(logits / 500, target)), abs=1e-6)


def test_weighted_cross_entropy_divides_by_the_pixels_of_weight_and_not_by_the_weights() -> None:
    logits, target = batch(ignored=0.2)
    valid = (target != IGNORE) & (target != 3)
    entropy = -logits.log_softmax(dim=1).gather(1, target.where(target != IGNORE, 0)[:, None])[:, 0]
    expected = sum(float(WEIGHT[label] * one) for label, one in zip(target[valid], entropy[valid], strict=True))

    assert expected / int(valid.sum()) == pytest.approx(float(criteria.weighted_ce(logits, target, WEIGHT)))


def test_weighted_cross_entropy_of_a_network_that_knows_nothing_is_that_of_the_seed() -> None:
    # the shares of the classes times their weights sum to the number of classes
    target = torch.from_numpy(np.repeat(np.arange(CLASSES), PIXELS.sum(0))).view(1, 1, -1)
    logits = torch.zeros(1, CLASSES, 1, target.shape[2])

    assert CLASSES * math.log(CLASSES) == pytest.approx(float(losses.build("weighted_ce", PIXELS)(logits, target)))
