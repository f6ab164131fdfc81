"""What each loss computes: one function per name of `bench list losses`, called by that name.

All of them take logits float (N, C, H, W) with C of at least 2 and targets int64 (N, H, W), IGNORE where a pixel does
not count, and give a scalar of the same float type. Ignored pixels change neither value nor gradient; where no pixel
counts, both are 0. Both are finite for logits of any size, and for classes that do not occur. No function waits for
the device. A `weight` float (C,) weighs the classes by the truth, see `bench.losses.class_weights`; None weighs them
alike. p below is the softmax of the logits, y the truth as ones and zeros; class 0 is the background.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from bench.distances import nearest
from bench.specs import IGNORE

TINY = 1e-7
"""Sums of probabilities below this count as none."""


def ce(logits: Tensor, target: Tensor, smoothing: float = 0.0, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy, the mean over pixels by the weights of their classes; for two classes binary cross-entropy.

    `smoothing` is the share of the truth that is spread over all classes; both are defined as torch defines them.
    """
    scales = None if weight is None else weight.to(logits)
    entropy = functional.cross_entropy(
        logits, target, scales, ignore_index=IGNORE, reduction="none", label_smoothing=smoothing
    )
    return entropy.sum() / _or_one(_counted(logits, target, weight).sum())


def weighted_ce(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy times the weight of the class, the mean over the pixels whose weight is not 0.

    The weights are not divided out: with w = total / pixels, a network that knows nothing starts at about C times
    its cross-entropy. Source: abhanjac/blood_cell_image_segmentation, SUM_BY_NONZERO_WEIGHTS of TensorFlow 1.
    """
    counted = _counted(logits, target, weight)
    return (_entropy(logits, target) * counted).sum() / _or_one((counted > 0).sum())


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, the mean over pixels as in `ce`; gamma 0 is `ce`."""
    entropy, counted = _entropy(logits, target), _counted(logits, target, weight)
    missing = (-(-entropy).expm1()).clamp(min=1e-6)  # 1 - p; a power below 1 has no gradient at 0
    return (missing**gamma * entropy * counted).sum() / _or_one(counted.sum())


def topk(logits: Tensor, target: Tensor, percent: float = 10.0, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy, the mean over the hardest percent of the pixels that count, at least one; 100 is `ce`.

    Pixels are ranked over the batch by cross-entropy times weight; the weights are divided by their mean.
    """
    counted = _counted(logits, target, weight)
    number = (counted > 0).sum()
    entropy = _entropy(logits, target) * counted * number / _or_one(counted.sum())
    ranked = entropy.flatten().sort(descending=True).values  # those that do not count are 0, and add nothing
    kept = (number * percent / 100).floor().clamp(min=1)
    return (ranked * (torch.arange(len(ranked), device=ranked.device) < kept)).sum() / kept


def dice(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """1 - soft Dice per class over the batch, mean over the classes that occur in the batch."""
    return tversky(logits, target, alpha=0.5, beta=0.5, weight=weight)


def jaccard(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """1 - soft IoU per class over the batch, mean over the classes that occur in the batch."""
    return tversky(logits, target, alpha=1.0, beta=1.0, weight=weight)


def tversky(
    logits: Tensor, target: Tensor, alpha: float = 0.3, beta: float = 0.7, weight: Tensor | None = None
) -> Tensor:
    """1 - TP / (TP + alpha FP + beta FN), soft, per class over the batch, mean over the classes that occur in it."""
    lost, present = _tversky(logits, target, alpha, beta)
    return _class_mean(lost, present, weight)


def focal_tversky(
    logits: Tensor, target: Tensor, alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3
) -> Tensor:
    """`tversky` of each class to the power 1 / gamma, mean over the classes that occur in the batch.

    Below 1e-6 the power is replaced by a line to 0, since a root has no gradient there.
    """
    lost, present = _tversky(logits, target, alpha, beta)
    floor, power = 1e-6, 1 / gamma
    root = torch.where(lost > floor, lost.clamp(min=floor) ** power, lost * floor ** (power - 1))
    return _class_mean(root, present)


def lovasz(logits: Tensor, target: Tensor, per_image: bool = False) -> Tensor:
    """The Lovász extension of 1 - IoU at the errors |y - p|, mean over the classes that occur.

    Over the batch as a whole; with `per_image` over each image, then the mean over those with a pixel that counts.
    """
    if not per_image:
        return _lovasz(logits, target)
    counts = (target != IGNORE).flatten(1).any(dim=1)
    pairs = zip(logits.split(1), target.split(1), strict=True)
    return torch.stack([_lovasz(*pair) for pair in pairs]).sum() / counts.sum().clamp(min=1)


def mcc(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Matthews' correlation of each class with the rest, soft, over the batch; mean over the classes that occur.

    1e-5 pixels are added to each of the four counts, as segmentation-models-pytorch does.
    """
    hit, false_positive, false_negative, present = _counts(logits, target)
    total = (target != IGNORE).sum()
    rest = total - hit - false_positive - false_negative
    # differences of large sums can be a little below 0
    tp, tn, fp, fn = (count.clamp(min=0) + 1e-5 for count in (hit, rest, false_positive, false_negative))
    scale = ((tp + fp) * (tp + fn)).sqrt() * ((tn + fp) * (tn + fn)).sqrt()
    return _class_mean(1 - (tp * tn - fp * fn) / scale, present)


def boundary(logits: Tensor, target: Tensor) -> Tensor:
    """The mean over pixels and foreground classes of p times the signed distance to the outline in the truth.

    The distance is that of a pixel outside a class to its nearest pixel; inside, minus that to the nearest pixel of
    another class, plus 1, so that it is 0 on the outline; 0 for a class that is absent from a picture, or fills it. An
    ignored pixel belongs to no class and bounds none. The minimum is negative [pixels]. Meant to be added to another
    loss. Source: Kervadec et al. 2019; distances as in their code.
    """
    valid, probability, truth = _foreground(logits, target)
    inside = truth.bool()
    distance = nearest(inside) - (nearest(valid & ~inside) - 1).clamp(min=0) * truth
    return (probability * distance * valid).sum() / _pixels(valid, truth)


def hausdorff_dt(logits: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """The mean over pixels and foreground classes of (p - y)^2 times the distances to both outlines to a power.

    Distances are those of the truth and of p > 0.5, to the nearest pixel on the other side [pixels]; 0 for a class that
    is absent from a picture, or fills it. An ignored pixel is on no side. No gradient passes through distances.
    Source: Karimi and Salcudean 2019; power 2 as they chose.
    """
    valid, probability, truth = _foreground(logits, target)
    fields = [nearest(mask) + nearest(valid & ~mask) for mask in (truth.bool(), probability > 0.5)]
    distance = sum(field.to(logits) ** power for field in fields)
    return ((probability - truth) ** 2 * distance).sum() / _pixels(valid, truth)


def ssim(logits: Tensor, target: Tensor) -> Tensor:
    """1 - structural similarity of p and y, mean over windows, foreground classes and images.

    Windows are Gaussian, 11 pixels wide with a deviation of 1.5, and lie in the picture, as in tf.image.ssim; in a
    smaller picture they are the largest odd width that fits. Ignored pixels are 0 in p and in y.
    """
    _, probability, truth = _foreground(logits, target)
    width = min(11, *(side - 1 + side % 2 for side in logits.shape[-2:]))
    pairs = torch.stack([probability, truth, probability**2 + truth**2, probability * truth])
    mean_p, mean_y, squares, product = _blurred(pairs, width)
    light, contrast = 0.01**2, 0.03**2
    means = mean_p * mean_y
    energy = mean_p**2 + mean_y**2
    luminance = (2 * means + light) / (energy + light)
    structure = (2 * (product - means) + contrast) / (squares - energy + contrast)
    return 1 - (luminance * structure).mean()


def bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """(cross-entropy + 1 - D) / 2, with D = (2 sum(y p) + 1) / (sum(y) + sum(p) + 1) over foreground and batch.

    For two classes this is the seed's formula of one sigmoid channel. The seed clips probabilities at 1e-7, so that its
    entropy ends at 16.1 with no gradient beyond; from logits there is no need to. More classes have no seed.
    Source: sarah-antillia, Clustered-Cervical-Cell.
    """
    _, probability, truth = _foreground(logits, target)
    similarity = (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)
    return (ce(logits, target) + 1 - similarity) / 2


def bce_iou(logits: Tensor, target: Tensor) -> Tensor:
    """(cross-entropy + 1 - J) / 2, with J = sum(y p) / sum(y + p - y p) over foreground and batch.

    Probabilities are not clipped, see `bce_dice`. The seed has 0 / 0 where neither truth nor prediction has any
    foreground; here J is 1 there. Source: sarah-antillia, Image-Segmentation-Blood-Cell.
    """
    return (ce(logits, target) + 1 - _similarity(logits, target)) / 2


def basnet_hybrid(logits: Tensor, target: Tensor) -> Tensor:
    """(cross-entropy + `ssim` + 1 - J) / 3, with J as in `bce_iou`; probabilities are not clipped, see `bce_dice`.

    Source: sarah-antillia, after Qin et al. 2019.
    """
    return (ce(logits, target) + ssim(logits, target) + 1 - _similarity(logits, target)) / 3


def _entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every pixel, (N, H, W); 0 where ignored."""
    return functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")


def _counted(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """How much every pixel counts, (N, H, W): the weight of its class, 1 without weights, 0 where ignored."""
    valid = target != IGNORE
    if weight is None:
        return valid.to(logits.dtype)
    return weight.to(logits)[target.masked_fill(~valid, 0)] * valid


def _or_one(total: Tensor) -> Tensor:
    """A denominator that is never 0."""
    return torch.where(total > 0, total, 1)


def _one_hot(logits: Tensor, target: Tensor) -> Tensor:
    """y, bool (N, C, H, W); False in every class where ignored."""
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    return (target[:, None] == classes) & (target != IGNORE)[:, None]


def _foreground(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which pixels count, bool (N, 1, H, W), and p and y of the foreground (N, C - 1, H, W), 0 where they do not."""
    valid = (target != IGNORE)[:, None]
    return valid, logits.softmax(dim=1)[:, 1:] * valid, _one_hot(logits, target)[:, 1:].to(logits.dtype)


def _pixels(valid: Tensor, truth: Tensor) -> Tensor:
    """How many pixels of foreground channels count, at least 1."""
    return valid.sum().clamp(min=1) * truth.shape[1]


def _counts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Soft TP, FP and FN of each class over the batch, and whether it occurs there, each (C,)."""
    truth = _one_hot(logits, target).to(logits.dtype)
    probability = logits.softmax(dim=1) * (target != IGNORE)[:, None]
    axes = (0, 2, 3)
    hit, size = (probability * truth).sum(axes), truth.sum(axes)
    return hit, probability.sum(axes) - hit, size - hit, size > 0


def _tversky(logits: Tensor, target: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """1 - the Tversky index of each class, (C,), and whether it occurs in the batch."""
    hit, false_positive, false_negative, present = _counts(logits, target)
    return 1 - hit / (hit + alpha * false_positive + beta * false_negative).clamp(min=TINY), present


def _class_mean(values: Tensor, present: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of values (C,) by weights, over the classes that are present; 0 where none is."""
    scales = present.to(values.dtype) if weight is None else weight.to(values) * present
    return (values * scales).sum() / _or_one(scales.sum())


def _lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovász-softmax over a batch; Berman et al. 2018, algorithm 1.

    The steps of the IoU along the sorted errors are its gradient, and constant. Ignored pixels have no error, so that
    they change the steps of none that has; pixels are counted in integers, which a GPU sums alike every time.
    """
    truth = _one_hot(logits, target)
    ignored = (target == IGNORE)[:, None]
    errors = (truth.to(logits.dtype) - logits.softmax(dim=1)).abs().masked_fill(ignored, 0.0)
    errors, order = errors.transpose(0, 1).flatten(1).sort(dim=1, descending=True)
    missed = truth.transpose(0, 1).flatten(1).gather(1, order).long()  # (C, N * H * W)
    size = missed.sum(dim=1, keepdim=True)
    overlap, union = size - missed.cumsum(1), size + (1 - missed).cumsum(1)
    lost = 1 - overlap.to(logits.dtype) / union
    steps = torch.cat([lost[:, :1], lost[:, 1:] - lost[:, :-1]], dim=1)
    return _class_mean((errors * steps).sum(dim=1), size[:, 0] > 0)


def _similarity(logits: Tensor, target: Tensor) -> Tensor:
    """Soft IoU of the whole foreground of a batch; 1 where there is none at all."""
    _, probability, truth = _foreground(logits, target)
    overlap = (probability * truth).sum()
    union = probability.sum() + truth.sum() - overlap
    return torch.where(union > 0, overlap / union.clamp(min=TINY), 1.0)


def _blurred(pictures: Tensor, width: int) -> Tensor:
    """Gaussian means of pictures (..., H, W) over the windows that lie inside, deviation 1.5 [pixels].

    Shifted sums, since a GPU may round a convolution to ten bits, which differences of squares do not survive.
    """
    bell = [math.exp(-(((at - (width - 1) / 2) / 1.5) ** 2) / 2) for at in range(width)]
    for axis in (-2, -1):
        room = pictures.shape[axis] - width + 1
        shifted = (pictures.narrow(axis, at, room) * (share / sum(bell)) for at, share in enumerate(bell))
        pictures = sum(shifted, start=pictures.new_zeros(()))
    return pictures
