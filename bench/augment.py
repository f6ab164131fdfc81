"""Augmentation of a batch on its device: whole batches at once, every sample by its own amounts.

Amounts are drawn on the CPU for a whole epoch (`draw`) and applied wherever the batch is (`apply`), so that they are
the same on every device and nothing waits in between. Amounts of a sample that an operator passes by change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from bench.presets import SYMMETRIES, Affine, Augment, Blur, Colour, Elastic, Lens, Operator, Range, Sharpen, Symmetry
from bench.specs import IGNORE

UNIT_FIELD = math.sqrt(1 / 3) * (151 / 315)
"""Standard deviation, within a picture, of cubic B-splines over noise that is uniform in [-1, 1], along two axes."""


def draw(
    augment: Augment, count: int, generator: torch.Generator, *, square: bool, device: torch.device
) -> tuple[Tensor, ...]:
    """What happens to each sample of an epoch.

    A sample's amounts depend on the state of the generator and on the place of the sample in the data set, not on how
    many samples follow.

    Args:
        augment: What may happen.
        count: Samples N.
        generator: Of the CPU.
        square: Whether height and width are equal.
        device: Where the amounts will be used; they are moved once.
    Returns:
        One float32 (N, k) per operator; `_symmetry` and the like say what their k columns are.
    """
    widths = [1 + _UNIFORMS[type(operator)] for operator in augment.operators]
    table = torch.rand(count, 1 + sum(widths), generator=generator)
    edges = [1, *(1 + sum(widths[: number + 1]) for number in range(len(widths)))]
    amounts, taken = [], 0.0
    for operator, (start, end) in zip(augment.operators, pairwise(edges), strict=True):
        lot = table[:, 0] - taken if augment.exclusive else table[:, start]
        chosen = (lot >= 0) & (lot < operator.probability)
        taken += operator.probability
        drawn = _amounts(operator, table[:, start + 1 : end], square=square)
        amounts.append(torch.where(chosen[:, None], drawn, _NOTHING[type(operator)].to(drawn)).to(device))
    return tuple(amounts)


def apply(augment: Augment, images: Tensor, masks: Tensor, amounts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Augment a batch by the amounts of its samples.

    Args:
        augment: What the amounts were drawn for.
        images: uint8 (N, H, W, 3).
        masks: uint8 (N, H, W).
        amounts: One tensor (N, k) per operator, on the device of the images.
    Returns:
        Images (N, H, W, 3), float32 in 0 to 255, or uint8 still where pixels only changed place; masks uint8 (N, H, W).
    """
    pairs = list(zip(augment.operators, amounts, strict=True))
    moves = [(operator, values) for operator, values in pairs if type(operator) in _MOVES]
    planes = images.permute(0, 3, 1, 2)
    for operator, values in pairs:
        if isinstance(operator, Symmetry):
            planes, masks = _symmetry(planes, masks, values, operator)
    if moves:
        planes, masks = _resample(planes.float(), masks, sampling_grid(moves, planes))
    for operator, values in pairs:
        if type(operator) in _RECOLOUR:
            [planes] = _where_it_acts(operator, values, planes.float())
    if planes.is_floating_point():
        planes = planes.clamp_(0, 255)
    return planes.permute(0, 2, 3, 1), masks


def sampling_grid(moves: Sequence[tuple[Operator, Tensor]], planes: Tensor) -> Tensor:
    """Where each pixel of the moved pictures comes from: float32 (N, H, W, 2), as `grid_sample` wants it.

    Coordinates run through the operators backwards, since each says where a pixel of its result came from.

    Args:
        moves: Operators with their amounts, the first to touch the picture first.
        planes: Anything (N, C, H, W) on the device.
    """
    height, width = planes.shape[-2:]
    x = torch.arange(width, device=planes.device)[None, None, :] + (0.5 - width / 2)  # from the middle [pixels]
    y = torch.arange(height, device=planes.device)[None, :, None] + (0.5 - height / 2)
    for operator, values in reversed(moves):
        if not isinstance(operator, Affine):
            x, y = (axis.expand(len(planes), height, width).contiguous() for axis in (x, y))
        x, y = _where_it_acts(operator, values, x, y)
    grid = torch.empty(len(planes), height, width, 2, device=planes.device)
    grid[..., 0], grid[..., 1] = x * (2 / width), y * (2 / height)
    return grid


def _where_it_acts(operator: Operator, values: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors (N, ..) as an operator changes them; on a CPU in place, and only those of samples that it acts on.

    On a GPU asking for these would wait for the device; and what is linear costs less for all of them than for some.
    """
    change = _CHANGES[type(operator)]
    if values.device.type != "cpu" or isinstance(operator, Affine | Colour):
        return change(operator, values, *tensors)
    for row in (values != _NOTHING[type(operator)]).any(dim=1).nonzero()[:, 0].tolist():
        at = slice(row, row + 1)
        for tensor, changed in zip(tensors, change(operator, values[at], *(one[at] for one in tensors)), strict=True):
            tensor[at] = changed
    return tensors


def _resample(planes: Tensor, masks: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) bilinear, their border repeated; masks uint8 (N, H, W) nearest, IGNORE from outside."""
    images = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    shifted = (masks[:, None] ^ IGNORE).float()  # IGNORE becomes 0, which is what grid_sample fills in
    moved = functional.grid_sample(shifted, grid, mode="nearest", align_corners=False)
    return images, moved[:, 0].byte() ^ IGNORE


def _symmetry(planes: Tensor, masks: Tensor, values: Tensor, operator: Symmetry) -> tuple[Tensor, Tensor]:
    """Columns: 1 to transpose, 1 to reverse the rows, 1 to reverse the columns."""
    planes, masks = planes.contiguous(), masks.clone()
    moves: list[tuple[int, Callable[[Tensor], Tensor]]] = [(1, lambda one: one.flip(-2)), (2, lambda one: one.flip(-1))]
    if masks.shape[1] == masks.shape[2] and any(SYMMETRIES[kind][2] for kind in operator.kinds):
        moves.insert(0, (0, lambda one: one.mT))
    for column, move in moves:
        chosen = values[:, column] > 0
        planes, masks = _moved(planes, chosen, move), _moved(masks, chosen, move)
    return planes, masks


def _moved(pictures: Tensor, chosen: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
    """Pictures (N, .., H, W), of which the chosen ones bool (N,) are moved; on a CPU in place, one by one."""
    if pictures.device.type != "cpu":
        return torch.where(chosen.view(-1, *[1] * (pictures.dim() - 1)), move(pictures), pictures)
    for row in chosen.nonzero()[:, 0].tolist():
        pictures[row] = move(pictures[row].clone())
    return pictures


def _affine(operator: Affine, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Columns: the four entries of the matrix by rows, then the shift in x and y as shares of width and height."""
    a, b, c, d, across, down = values.T[:, :, None, None]
    x, y = x - across * x.shape[2], y - down * y.shape[1]
    return a * x + b * y, c * x + d * y


def _elastic(operator: Elastic, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Columns: a number in [0, 1) that the field grows from, its standard deviation as share of the shorter side."""
    height, width = y.shape[1], x.shape[2]
    key, amount = values.T
    noise = _spread(hashed(key, 2 * operator.controls**2)).view(-1, 2, operator.controls, operator.controls)
    controls = noise * (amount * (min(height, width) / UNIT_FIELD))[:, None, None, None]
    down, across = (_splines(length, operator.controls, values.device) for length in (height, width))
    field = down @ controls @ across.T
    return x + field[:, 0], y + field[:, 1]


def _lens(operator: Lens, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Columns: the centre in x and y as shares of width and height, the exponent."""
    height, width = y.shape[1], x.shape[2]
    centre_x, centre_y, amount = values.T[:, :, None, None]
    centre_x, centre_y = (centre_x - 0.5) * width, (centre_y - 0.5) * height
    x, y = x - centre_x, y - centre_y
    distance = ((x * x + y * y).sqrt() / (operator.radius * min(height, width))).clamp(1e-6, 1)
    factor = (distance * (math.pi / 2)).sin() ** amount  # 1 from the rim on
    return x * factor + centre_x, y * factor + centre_y


def _blur(operator: Blur, values: Tensor, planes: Tensor) -> tuple[Tensor]:
    """Column: sigma [pixels]."""
    return (gaussian(planes, values[:, 0], operator.sigma[1]),)


def _sharpen(operator: Sharpen, values: Tensor, planes: Tensor) -> tuple[Tensor]:
    """Column: the share of the difference that is added."""
    soft = gaussian(planes, torch.full_like(values[:, 0], operator.sigma), operator.sigma)
    return (torch.lerp(planes, soft, -values[:, :, None, None]),)


def _colour(operator: Colour, values: Tensor, planes: Tensor) -> tuple[Tensor]:
    """Columns: gain, lift by the mean grey, saturation times cosine and times sine of the hue.

    All four changes are linear in the colour, so that they are one matrix per picture.
    """
    gain, lift, even, odd = values.T[:, :, None, None]
    same = torch.eye(3, device=planes.device)
    spin = same.roll(1, dims=0) - same.roll(-1, dims=0)  # turns about the axis of greys
    matrix = gain * (even * same + (1 - even) / 3 + odd * 3**-0.5 * spin)
    offset = lift * planes.mean(dim=(1, 2, 3))[:, None, None]
    mixed = torch.baddbmm(offset, matrix, planes.reshape(len(planes), 3, -1))
    return (mixed.view(planes.shape),)


def gaussian(planes: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blur images (N, C, H, W), each by its own sigma (N,) [pixels]; the border is repeated, sigma 0 changes nothing.

    Sums of shifted pictures: on a CPU ten times as fast as a convolution of each channel on its own.
    """
    reach = max(1, math.ceil(3 * largest))
    steps = torch.arange(reach + 1, device=planes.device)
    weights = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3)[:, None]) ** 2)
    weights = weights / (2 * weights.sum(dim=1, keepdim=True) - 1)
    for axis in (2, 3):
        length = planes.shape[axis]
        around = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = functional.pad(planes, around, mode="replicate")
        planes = planes * weights[:, :1, None, None]
        for step in range(1, reach + 1):
            both = padded.narrow(axis, reach - step, length) + padded.narrow(axis, reach + step, length)
            planes.addcmul_(both, weights[:, step, None, None, None])
    return planes


def hashed(key: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1), float32 (N, count), grown from a key (N,) in [0, 1): the same on every device."""
    places = torch.arange(count, device=key.device)
    state = (key[:, None] * 2**24).long() * 0x9E3779B1 + places * 0x85EBCA6B & 0xFFFFFFFF
    for _ in range(2):
        state = (state ^ state >> 16) * 0x45D9F3B & 0xFFFFFFFF
    return (state ^ state >> 16 & 0xFFFFFFFF).float() * 2**-32


def _splines(length: int, controls: int, device: torch.device) -> Tensor:
    """Weight of every control point at every pixel of a side: cubic B-splines, float32 (length, controls)."""
    places = (torch.arange(length, device=device) + 0.5) * ((controls - 3) / length)
    distance = (places[:, None] - (torch.arange(controls, device=device) - 1)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    return torch.where(distance < 1, near, (2 - distance).clamp_min(0) ** 3 / 6)


def _amounts(operator: Operator, drawn: Tensor, *, square: bool) -> Tensor:
    """Turn numbers in [0, 1), float32 (N, u), into the amounts of an operator, float32 (N, k)."""
    match operator:
        case Symmetry():
            kinds = [SYMMETRIES[kind] for kind in operator.kinds if square or not SYMMETRIES[kind][2]]
            table = torch.tensor([(last, *first) for *first, last in kinds or [SYMMETRIES["none"]]])
            return table[(drawn[:, 0] * len(table)).long()].float()
        case Affine():
            return _matrix(operator, drawn)
        case Elastic():
            return torch.cat((drawn, torch.full_like(drawn, operator.amount)), dim=1)
        case Lens():
            return _centred(operator, drawn)
        case Blur():
            return _between(drawn, operator.sigma)
        case Sharpen():
            return _between(drawn, operator.amount)
        case Colour():
            changes = _spread(drawn[:, :3]) * torch.tensor(
                [operator.brightness, operator.contrast, operator.saturation]
            )
            brightness, contrast, saturation = (1 + changes).T
            hue = _spread(drawn[:, 3]) * math.radians(operator.hue)
            columns = (
                brightness * contrast,
                brightness * (1 - contrast),
                saturation * hue.cos(),
                saturation * hue.sin(),
            )
            return torch.stack(columns, dim=1)


def _matrix(operator: Affine, drawn: Tensor) -> Tensor:
    """From a place in the result to its place in the picture: unshift, then unturn, unslant and unzoom."""
    turn = _spread(drawn[:, 0]) * math.radians(operator.turn)
    low, high = (math.log(factor) for factor in operator.zoom)
    zoom = _between(drawn[:, 1], (low, high)).exp()
    slant = _spread(drawn[:, 2]) * operator.shear
    cosine, sine = turn.cos() / zoom, turn.sin() / zoom
    shift = _spread(drawn[:, 3:5]) * operator.shift
    return torch.stack((cosine - slant * sine, sine + slant * cosine, -sine, cosine, *shift.T), dim=1)


def _centred(operator: Lens, drawn: Tensor) -> Tensor:
    centres = drawn[:, :2]
    if operator.centres:
        centres = torch.tensor(operator.centres)[(drawn[:, 0] * len(operator.centres)).long()]
    return torch.cat((centres, _between(drawn[:, 2:], operator.amount)), dim=1)


def _spread(drawn: Tensor) -> Tensor:
    return 2 * drawn - 1


def _between(drawn: Tensor, ends: Range) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * drawn


_MOVES: dict[type, Callable[..., tuple[Tensor, Tensor]]] = {Affine: _affine, Elastic: _elastic, Lens: _lens}
_RECOLOUR: dict[type, Callable[..., tuple[Tensor]]] = {Blur: _blur, Sharpen: _sharpen, Colour: _colour}
_CHANGES: dict[type, Callable[..., tuple[Tensor, ...]]] = {**_MOVES, **_RECOLOUR}
_UNIFORMS: dict[type, int] = {Symmetry: 1, Affine: 5, Elastic: 1, Lens: 3, Blur: 1, Sharpen: 1, Colour: 4}
"""How many numbers are drawn for an operator, beside whether it acts."""
_NOTHING: dict[type, Tensor] = {
    Symmetry: torch.zeros(3),
    Affine: torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
    Elastic: torch.zeros(2),
    Lens: torch.tensor([0.5, 0.5, 0.0]),
    Blur: torch.zeros(1),
    Sharpen: torch.zeros(1),
    Colour: torch.tensor([1.0, 0.0, 1.0, 0.0]),
}
"""Amounts that change nothing."""
