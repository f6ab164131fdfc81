"""A training under way, on disk: tensors as safetensors, the rest as JSON in its header; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from bench.errors import StoreError
from bench.records import Epoch, Execution, TrialStatus
from bench.store import writing_file
from bench.train import Fit, Training, weights

_PLAIN = ("value", "best_epoch", "collapsed", "level", "level_since", "seconds", "speeds")
_LOOK = ".epoch."


def save(path: Path, training: Training, key: str) -> None:
    """Write all that the next epoch depends on: weights, optimiser, random state, curve; `key` says what of."""
    tensors = (
        _named("network", weights(training.network)) | _named("best", training.best) | {"random": torch.get_rng_state()}
    )
    device = next(training.network.parameters()).device
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    for index, state in training.optimiser.state_dict()["state"].items():
        tensors |= _named(f"optimiser.{index}", {name: t.contiguous() for name, t in state.items() if t is not None})
    tensors |= _looks(training.looks)
    about = {name: getattr(training, name) for name in _PLAIN}
    _write(path, tensors, {"key": key, "history": [asdict(epoch) for epoch in training.history], **about})


def restore(path: Path, training: Training, key: str) -> bool:
    """Bring a training to where a checkpoint of the same key left it; False, and nothing changed, without one."""
    found = _read(path)
    if found is None or found[1].get("key") != key:
        return False
    tensors, about = found
    training.network.load_state_dict(_below("network", tensors))
    training.best = _below("best", tensors)
    training.history = tuple(Epoch(**epoch) for epoch in about["history"])
    for name in _PLAIN:
        setattr(training, name, about[name])
    training.speeds, training.looks = tuple(training.speeds), _split(tensors)[1]
    parameters = training.optimiser.param_groups[0]["params"]
    state = {
        index: {name: _like(parameter, tensor) for name, tensor in _below(f"optimiser.{index}", tensors).items()}
        for index, parameter in enumerate(parameters)
    }
    groups = training.optimiser.state_dict()["param_groups"]
    training.optimiser.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], parameters[0].device)
    return True


def save_fit(path: Path, fitted: Fit, key: str = "") -> None:
    """A finished training: the weights of its best epoch, what it made of images, and its curve in the header."""
    about = {name: getattr(fitted, name) for name in ("value", "best_epoch", "status", "images_s")}
    about["execution"] = asdict(fitted.execution)
    tensors = fitted.state | _looks(fitted.looks)
    _write(path, tensors, {"key": key, "history": [asdict(epoch) for epoch in fitted.history], **about})


def save_weights(path: Path, fitted: Fit) -> None:
    """The weights of a finished training alone: the same training gives the same file, whatever the time it took."""
    _write(path, fitted.state, {"value": fitted.value, "best_epoch": fitted.best_epoch})


def load_weights(path: Path) -> dict[str, Tensor]:
    """What `save_weights` wrote.

    Raises:
        StoreError: If the file is missing or is not one of ours.
    """
    found = _read(path)
    if found is None:
        raise StoreError(f"{path} holds no weights of ours: it is missing or damaged. Run the cell again.")
    return found[0]


def load_fit(path: Path, key: str = "") -> Fit | None:
    """What `save_fit` wrote under the same key; None without it."""
    found = _read(path)
    if found is None or found[1].pop("key", None) != key:
        return None
    (state, looks), about = _split(found[0]), found[1]
    history = tuple(Epoch(**epoch) for epoch in about.pop("history"))
    status, way = TrialStatus(about.pop("status")), Execution(**about.pop("execution"))
    return Fit(state=state, history=history, status=status, execution=way, looks=looks, **about)


def _write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
    with writing_file(path) as part:
        try:
            safetensors.torch.save_file(dict(tensors), part, {"about": json.dumps(about)})
        except safetensors.SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            raise OSError(int(code[1]), os.strerror(int(code[1]))) if code else error from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and header; None for a file that is missing or is not one of ours: it is made again."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - it is no mapping
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _looks(looks: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """Class maps by epoch, under names that no network can have, since a part of one must not be empty."""
    return {f"{_LOOK}{epoch}": maps for epoch, maps in looks.items()}


def _split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """The other tensors, and the class maps by epoch."""
    looks = {int(name.removeprefix(_LOOK)): maps for name, maps in tensors.items() if name.startswith(_LOOK)}
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(_LOOK)}, dict(sorted(looks.items()))


def _like(parameter: Tensor, saved: Tensor) -> Tensor:
    """A tensor of the optimiser, lying in memory as its parameter does: fused steps go through both side by side."""
    if saved.shape != parameter.shape:
        return saved
    return torch.empty_like(parameter, requires_grad=False).copy_(saved)
