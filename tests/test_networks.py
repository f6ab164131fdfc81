"""The engine's side of architectures: what a network with one channel is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bench import networks
from bench.data import normalise
from bench.specs import MEAN, STD

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def grey() -> torch.Tensor:
    """The luminance of the images, in 0 to 255."""
    found = networks.Luminance()(normalise(torch.from_numpy(IMAGES)))[:, 0]
    return (found * torch.tensor(STD).mean() + torch.tensor(MEAN).mean()) * 255


def test_grey_is_that_of_pillow_but_for_its_rounding(grey: torch.Tensor):
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in IMAGES])

    assert np.abs(expected - grey.numpy()).max() < 1.01  # Pillow rounds its factors, and its result


def test_grey_is_that_of_torchvision(grey: torch.Tensor):
    from torchvision.transforms.functional import rgb_to_grayscale

    expected = rgb_to_grayscale(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).double())[:, 0]

    # torchvision's shares are of the same standard with a digit more, and add up to 0.9999
    assert (expected - grey).abs().max() < 255 * 2e-4


def test_a_network_for_grey_images_sees_colours_by_their_luminance_alone():
    colour = normalise(torch.from_numpy(IMAGES))
    levels = networks.Luminance()(colour) * torch.tensor(STD).mean() + torch.tensor(MEAN).mean()
    same = (levels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    network = networks.build("tiny[channels=1]", 2, seed=0).eval()

    assert 1 == network[1][0].in_channels
    torch.testing.assert_close(network(colour), network(same), rtol=1e-4, atol=1e-4)
