"""A training broken off at any epoch goes on to the same end, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench import checkpoint, losses, train
from bench.records import Epoch, TrialStatus
from bench.specs import Budget, Recipe
from tests.small import plain
from tests.test_train import pairs


def network() -> nn.Module:
    """With all that has a state: weights, running statistics, and a layer that draws."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.2), nn.Conv2d(6, 2, 1)
    )


def fit(
    recipe: Recipe, path: Path | None = None, *, stop_after: int = 0, key: str = "a"
) -> tuple[train.Fit, list[Epoch]]:
    seen: list[Epoch] = []
    torch.manual_seed(99)  # whatever was drawn before must not matter

    def watch(epoch: Epoch, speed: float | None) -> bool:
        seen.append(epoch)
        return False

    def keep(training: train.Training) -> None:
        if path is not None:
            checkpoint.save(path, training, key)
        if len(training.history) == stop_after:
            raise KeyboardInterrupt

    def resume(training: train.Training) -> None:
        if path is not None:
            checkpoint.restore(path, training, key)

    fitted = train.fit(
        plain(network(), 2), losses.build("dice+ce"), pairs(), pairs(3), classes=2, recipe=recipe, lr=0.05, seed=1,
        budget=Budget(epochs=6), watch=watch, resume=resume, keep=keep,
    )  # fmt: skip
    return fitted, seen


RECIPES = [
    Recipe(size=(32, 32), batch=2, augment="standard"),
    Recipe(size=(32, 32), batch=4, optimiser="sgd", schedule="plateau", decay_epochs=1),
    Recipe(size=(32, 32), batch=2, optimiser="adam", schedule="step", decay_epochs=2),
]


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.optimiser)
def test_a_training_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path: Path, recipe: Recipe, stop_after: int):
    calm, _ = fit(recipe)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, path, stop_after=stop_after)
    resumed, seen = fit(recipe, path)

    assert all(torch.equal(calm.state[name], resumed.state[name]) for name in calm.state)
    assert [(e.epoch, e.loss, e.value) for e in calm.history] == [(e.epoch, e.loss, e.value) for e in resumed.history]
    assert (calm.best_epoch, calm.value) == (resumed.best_epoch, resumed.value)
    assert list(range(1, 7)) == [epoch.epoch for epoch in seen]  # the watch hears of the earlier ones too


@pytest.mark.parametrize("damage", ["other key", "cut short", "not ours", "missing"])
def test_a_checkpoint_that_is_not_this_trainings_is_not_used(tmp_path: Path, damage: str):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(RECIPES[0], path, stop_after=3, key="b" if damage == "other key" else "a")
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "not ours":
        path.write_bytes(b"\x00" * 64)
    elif damage == "missing":
        path.unlink()
    calm, resumed = fit(RECIPES[0])[0], fit(RECIPES[0], path)[0]

    assert all(torch.equal(calm.state[name], resumed.state[name]) for name in calm.state)


def test_a_finished_training_survives_the_disk(tmp_path: Path):
    fitted, _ = fit(RECIPES[0])
    checkpoint.save_fit(tmp_path / "fit.safetensors", fitted, "key")
    again = checkpoint.load_fit(tmp_path / "fit.safetensors", "key")

    assert again is not None
    assert all(torch.equal(fitted.state[name], again.state[name]) for name in fitted.state)
    assert (fitted.history, fitted.value, fitted.images_s) == (again.history, again.value, again.images_s)
    assert TrialStatus.COMPLETE is again.status
    assert checkpoint.load_fit(tmp_path / "fit.safetensors", "other") is None


def test_a_full_disk_is_told_as_such(tmp_path: Path):
    import subprocess
    import sys

    code = (
        "import resource, signal, torch\n"
        "from pathlib import Path\n"
        "from bench import checkpoint, train\n"
        "from bench.errors import DiskFull\n"
        "from bench.records import Execution, TrialStatus\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "fitted = train.Fit(state={'w': torch.zeros(10_000)}, value=0.0, best_epoch=1, history=(), images_s=None,\n"
        "                   status=TrialStatus.COMPLETE, execution=Execution(precision='fp32', micro_batch=1))\n"
        "try: checkpoint.save_fit(Path('fit.safetensors'), fitted)\n"
        "except DiskFull as error: print('full:', error)\n"
        "print([path.name for path in Path().iterdir()])\n"
    )
    pytest.importorskip("resource")
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "full: No room is left to write fit.safetensors" in result.stdout
    assert "[]" == result.stdout.splitlines()[-1]


def test_weights_that_share_memory_are_kept_and_come_back(tmp_path: Path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.other.weight = self.one.weight

    network = Tied()
    training = train.Training(
        network, torch.optim.SGD(network.parameters(), 0.1), train.weights(network), plain(network).execution
    )
    checkpoint.save(tmp_path / "checkpoint.safetensors", training, "a")

    assert checkpoint.restore(tmp_path / "checkpoint.safetensors", training, "a")
