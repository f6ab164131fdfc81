"""How far every pixel of a picture is from the nearest one of a set: exact Euclidean distances, on any device.

A processor takes SciPy's transform, which is the faster there. A GPU computes with whole tensors and never waits for
the processor, so that a loss may ask at every step. Neither has a gradient: a set of pixels is no smooth function.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ELEMENTS = 2**24
"""So many numbers of a minimum are held at once: 64 MiB in float32."""


@torch.no_grad()
def nearest(sites: Tensor) -> Tensor:
    """The distance of every pixel to the nearest site of its picture.

    Args:
        sites: Which pixels are sites, bool (..., H, W).
    Returns:
        float32 (..., H, W), 0 on the sites [pixels]; 0 everywhere in a picture without a site, where there is none.
    """
    pictures = sites.reshape(-1, *sites.shape[-2:])
    return (on_processor if sites.device.type == "cpu" else anywhere)(pictures).view(sites.shape)


def on_processor(sites: Tensor) -> Tensor:
    """`nearest` of bool (N, H, W) in the memory of the processor, by SciPy's transform."""
    from scipy import ndimage

    found = np.zeros(sites.shape, np.float32)
    for distances, picture in zip(found, sites.numpy(), strict=True):
        if picture.any() and not picture.all():
            distances[:] = ndimage.distance_transform_edt(~picture)
    return torch.from_numpy(found)


def anywhere(sites: Tensor) -> Tensor:
    """`nearest` of bool (N, H, W) on any device: along the columns first, then the least over parabolas in each row.

    Source: the two passes of Felzenszwalb and Huttenlocher 2012, doi:10.4086/toc.2012.v008a019; their lower envelope,
    which saves a processor work, gives way to all pairs of columns, which a GPU has at once.
    """
    count, height, width = sites.shape
    columns = torch.arange(width, device=sites.device, dtype=torch.float32)
    parabolas = (columns[:, None] - columns) ** 2  # (W, W)
    heights = (_along_columns(sites) ** 2).view(count * height, 1, width)
    rows = max(1, ELEMENTS // width**2)
    squares = torch.cat([(part + parabolas).amin(dim=2) for part in heights.split(rows)])
    return torch.where(squares.isinf(), 0.0, squares).sqrt().view(sites.shape)


def _along_columns(sites: Tensor) -> Tensor:
    """The distance to the nearest site of the same column, float32 (N, H, W); infinite where there is none."""
    rows = torch.arange(sites.shape[1], device=sites.device, dtype=torch.float32)[:, None]
    above = torch.where(sites, rows, -torch.inf).cummax(dim=1).values
    below = torch.where(sites, rows, torch.inf).flip(1).cummin(dim=1).values.flip(1)
    return torch.minimum(rows - above, below - rows)
