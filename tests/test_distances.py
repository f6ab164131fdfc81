"""Distances to the nearest site: the way of a GPU, tried on the CPU, against SciPy and against all pairs."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from bench import distances


def sites(share: float, size: tuple[int, ...], seed: int = 0) -> Tensor:
    """Pixels drawn at random."""
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share


def by_all_pairs(picture: Tensor) -> Tensor:
    """The definition, for one picture with a site."""
    pixels = torch.cartesian_prod(*(torch.arange(side) for side in picture.shape)).double()
    return torch.cdist(pixels, picture.nonzero().double()).min(dim=1).values.view(picture.shape).float()


@pytest.mark.parametrize("compute", [distances.on_processor, distances.anywhere])
@pytest.mark.parametrize(
    ("share", "size"), [(0.5, (3, 7, 9)), (0.02, (2, 31, 17)), (0.1, (2, 1, 20)), (0.1, (2, 20, 1))]
)
def test_distances_are_those_to_the_nearest_of_all_sites(compute, share: float, size: tuple[int, ...]) -> None:
    pictures = sites(share, size)
    pictures[:, 0, -1] = True

    torch.testing.assert_close(torch.stack([by_all_pairs(picture) for picture in pictures]), compute(pictures))


def test_the_way_of_a_gpu_gives_the_distances_of_scipy_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = sites(0.003, (5, 60, 83))
    expected = torch.stack([torch.from_numpy(ndimage.distance_transform_edt(~picture.numpy())) for picture in pictures])
    for elements in (1, 83 * 83 * 7, distances.ELEMENTS):
        monkeypatch.setattr(distances, "ELEMENTS", elements)

        torch.testing.assert_close(expected.float(), distances.anywhere(pictures))


@pytest.mark.parametrize("compute", [distances.on_processor, distances.anywhere])
def test_a_picture_without_a_site_or_of_sites_alone_has_no_distances(compute) -> None:
    pictures = torch.stack(
        [torch.zeros(4, 5, dtype=torch.bool), torch.ones(4, 5, dtype=torch.bool), sites(0.1, (4, 5))]
    )

    assert [0.0, 0.0] == compute(pictures)[:2].amax(dim=(1, 2)).tolist()
    torch.testing.assert_close(compute(pictures[2:]), compute(pictures)[2:])


def test_distances_keep_the_shape_of_a_batch_with_channels() -> None:
    pictures = sites(0.2, (2, 3, 6, 5)).transpose(0, 1)

    assert (3, 2, 6, 5) == distances.nearest(pictures).shape
    torch.testing.assert_close(distances.anywhere(pictures[1]), distances.nearest(pictures)[1])
