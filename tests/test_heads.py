"""Supervision at several depths: networks that give several sets of logits while they train, the prediction first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import estimate, losses, networks, plan, runner, train
from bench.forward import Forward
from bench.records import Execution
from bench.specs import Budget, Recipe
from tests import small
from tests.small import plain
from tests.test_train import fit

FP32 = Execution(precision="fp32", micro_batch=4)
SGD = Recipe(optimiser="sgd", weight_decay=0.0, clip=0.0)
LOSS = losses.build("dice+ce")


class Deep(nn.Module):
    """A convolution, and beside it a head of half the size, brought up, while it trains."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fine, self.coarse = nn.Conv2d(channels, 2, 3, padding=1), nn.Conv2d(channels, 2, 1)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self.training:
            return self.fine(images)
        coarse = self.coarse(nn.functional.max_pool2d(images, 2))
        return self.fine(images), nn.functional.interpolate(coarse, scale_factor=2)


def batch(count: int = 4, size: tuple[int, int] = (13, 18)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, *size, generator=generator), torch.randint(2, (count, *size), generator=generator)


def stepped(network: nn.Module, way: Execution = FP32, loss: losses.Loss = LOSS) -> tuple[float, dict[str, Tensor]]:
    """The loss of one step, and the weights after it."""
    found = train.step(Forward(network, 4, way), loss, train.optimiser(network, SGD, 0.1), *batch(), SGD)
    return found.item(), train.weights(network)


def by_hand(network: Any, images: Tensor, masks: Tensor) -> Sequence[Tensor]:
    """The losses of both heads, on images that are padded to a multiple of four."""
    padded = nn.functional.pad(images, (0, 2, 0, 3), mode="replicate")
    return [LOSS(logits[..., :13, :18], masks) for logits in network(padded)]


def test_the_loss_is_the_mean_over_the_heads_and_moves_both():
    network, same = Deep(), Deep()
    first, second = by_hand(same, *batch())
    ((first + second) / 2).backward()
    loss, _ = stepped(network)

    assert first.item() != pytest.approx(second.item())
    assert (first.item() + second.item()) / 2 == pytest.approx(loss)
    for one, other in zip(same.parameters(), network.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(other.grad, one.grad)


def test_a_network_of_one_head_is_given_the_loss_itself():
    network, seen = nn.Conv2d(3, 2, 1), list[Tensor]()

    def noted(logits: Tensor, masks: Tensor) -> Tensor:
        seen.append(LOSS(logits, masks))
        return seen[-1]

    assert train.supervised(plain(network), noted, *batch()) is seen[0]


def test_heads_in_bf16_come_as_fp32_at_the_size_of_the_images():
    heads = Forward(Deep(), 4, replace(FP32, precision="bf16")).heads(batch()[0])

    assert [(torch.float32, (4, 2, 13, 18))] * 2 == [(logits.dtype, tuple(logits.shape)) for logits in heads]


def test_a_network_predicts_by_its_first_head():
    network, images = Deep(), batch()[0]
    forward = plain(network, divisor=4)
    trained = forward(images)

    assert torch.equal(trained, forward.heads(images)[0])
    network.eval()
    assert 1 == len(forward.heads(images))
    torch.testing.assert_close(trained, forward(images))


def test_parts_of_a_batch_move_the_weights_as_the_whole_does():
    """For a mean over pixels: Dice is of a batch."""
    cross_entropy = losses.build("ce")
    (whole, expected), (parts, found) = (
        stepped(Deep(), replace(FP32, micro_batch=count), cross_entropy) for count in (4, 2)
    )

    assert whole == pytest.approx(parts)
    for name, value in expected.items():
        torch.testing.assert_close(value, found[name])


def test_a_network_for_grey_images_has_its_heads_too():
    network = nn.Sequential(networks.Luminance(), Deep(channels=1))

    assert 2 == len(plain(network, divisor=4).heads(batch()[0]))


def test_a_captured_step_has_all_heads(monkeypatch: pytest.MonkeyPatch):
    """As far as it can be seen without a GPU."""
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda cast, images: cast)

    assert stepped(Deep())[0] == stepped(Deep(), replace(FP32, mode="graphs"))[0]


@pytest.mark.slow
def test_a_compiled_network_has_the_heads_of_the_eager_one():
    eager, compiled = (Forward(Deep(), 4, way).heads(batch()[0]) for way in (FP32, replace(FP32, mode="compiled")))

    assert 2 == len(eager)
    for one, other in zip(eager, compiled, strict=True):
        torch.testing.assert_close(one, other)


def test_only_the_prediction_is_counted():
    network = Deep()
    expected = 2 * 16 * 16 * 2 * 3 * 9  # multiply-adds of the fine head, twice

    assert expected == networks.flops(network, 4, (16, 16))


def test_it_trains_from_end_to_end():
    fitted = fit(Deep(), lr=0.1, budget=Budget(epochs=8))

    assert fitted.value > 0.95
    assert {"fine.weight", "fine.bias", "coarse.weight", "coarse.bias"} == set(fitted.state)


def test_the_price_of_a_network_has_its_loss_once_for_each_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = small.study(architectures=("u2net[variant=small,width=4]", "tiny"), losses=("ce",))
    monkeypatch.setattr(estimate, "_timed", lambda *how: 1.0)
    job = runner.job(wanted, small.place(tmp_path, tmp_path), "cpu", 1)
    found = {cost.cell.architecture: cost.step for cost in estimate.costs(plan.cells(wanted), {}, job)}

    assert 3 * (1 + 7 * 1) == found["u2net[variant=small,width=4]"]  # a batch of three
    assert 3 * (1 + 1) == found["tiny"]
