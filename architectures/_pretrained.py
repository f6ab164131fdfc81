"""Where the weights are that an encoder starts from: on the Hugging Face Hub, in its cache here, or in a file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError, NameUnknown, NotFetched
from bench.specs import MEAN, STD, Pretrained

if TYPE_CHECKING:
    from torch import Tensor

    Moments = tuple[tuple[float, ...], tuple[float, ...]]

PATIENCE = 10.0
"""How long the Hub may take to say that it has a file [s]."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
NESTED = ("state_dict", "model")
"""Where checkpoints of training programs keep the weights."""


def pretrained(encoder: str, weights: str, **others: object) -> Pretrained | None:
    """The file that an encoder starts from, downloaded if it is not here; None for random weights.

    Args:
        encoder: As segmentation-models-pytorch calls it; one of timm after `tu-`, its tag after a dot if need be.
        weights: none; a name that the encoder's library has (imagenet, for timm the tag of the encoder); or a path.
        others: The other options of the architecture, of which nothing depends.
    Raises:
        NameUnknown: If there is no such encoder, or no such weights for it.
        DataError: If the file is not here and cannot be had, or holds no plain weights.
    """
    if weights == "none":
        return None
    if is_path(weights):
        path = Path(weights)
        with contextlib.suppress(RuntimeError):  # there is no user of that name
            path = path.expanduser()
        found = Pretrained(source=weights, path=path)
        if not found.path.is_file():
            raise DataError(
                f"There is no file {weights} to start {encoder} from. Give weights=none, imagenet or a file."
            )
    else:
        repository, revision, files = _timms(encoder, weights) if _of_timm(encoder) else _smps(encoder, weights)
        path = [_fetched(repository, revision, name) for name in files][-1]
        found = Pretrained(source=f"{repository}@{revision or _commit(path)}/{files[-1]}", path=path)
    read(found, values=False)
    return found


def is_path(weights: str) -> bool:
    """Whether `weights` names a file rather than what a library calls a set of weights."""
    return "/" in weights or os.sep in weights or weights.endswith(SUFFIXES)


def read(found: Pretrained, *, values: bool = True) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file by their names; nothing in it is executed.

    Args:
        values: False only looks whether the file is whole, and gives nothing.
    Raises:
        DataError: If it is damaged, or holds anything but tensors and plain values.
    """
    try:
        with found.path.open("rb") as file:
            pickled = file.read(2) in (b"PK", b"\x80\x02")  # torch's archive, and its format before that
        return _read_torch(found.path) if pickled else _read_safetensors(found.path, values)
    except Exception as error:  # three libraries, each with errors of its own
        reason = (str(error).splitlines() or [""])[0].partition(". ")[0][:120]  # torch goes on with how to unpickle
        raise DataError(
            f"{found.source} cannot be read as weights ({type(error).__name__}: {reason}). Wanted is a whole file of "
            "safetensors, or one of torch with tensors alone: nothing else in it is unpickled. Get or save it anew."
        ) from error


def moments(encoder: str, weights: str, found: Pretrained) -> Moments:
    """Mean and standard deviation per channel by which the images were normalised that an encoder was trained on.

    Images are in [0, 1]. What weights in a file of one's own were trained on nobody says: it is taken to be what
    every network is given here.
    """
    if is_path(weights):
        return MEAN, STD
    if _of_timm(encoder):
        import timm

        cfg = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
        return tuple(cfg.mean), tuple(cfg.std)
    path = found.path.with_name("config.json")
    try:
        cfg: dict[str, Any] = json.loads(path.read_bytes())
        top = cfg.get("input_range", (0, 1))[1]
        return tuple(value / top for value in cfg["mean"]), tuple(value / top for value in cfg["std"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not say what {found.source} was trained on. Delete it, to fetch it anew."
        ) from error


def _of_timm(encoder: str) -> bool:
    return encoder.startswith("tu-")


def _smps(encoder: str, weights: str) -> tuple[str, str, list[str]]:
    """Repository, revision and files of an encoder of segmentation-models-pytorch; the last one holds the weights."""
    from segmentation_models_pytorch.encoders import encoders

    if encoder not in encoders:
        raise NameUnknown(
            f"There is no encoder named {encoder!r}. Give one of segmentation-models-pytorch (resnet34), or one of "
            "timm after tu- (tu-convnextv2_tiny)."
        )
    known = encoders[encoder]["pretrained_settings"]
    if weights not in known:
        raise _no_weights(encoder, weights, known)
    return known[weights]["repo_id"], known[weights]["revision"], ["config.json", "model.safetensors"]


def _timms(encoder: str, weights: str) -> tuple[str, str | None, list[str]]:
    """Likewise for timm; None for a revision that it does not pin."""
    import timm

    name = encoder.removeprefix("tu-")
    stem = name.partition(".")[0]
    if not timm.is_model(stem):
        raise NameUnknown(f"There is no encoder named {encoder!r}: timm has no model {stem!r}.")
    tags = [f"tu-{known}" for known in timm.list_pretrained(f"{stem}.*")]
    try:
        cfg = timm.models.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        cfg = None
    if weights != "imagenet" or cfg is None or not cfg.hf_hub_id:
        raise _no_weights(encoder, weights, ["imagenet"] if cfg is not None and cfg.hf_hub_id else [], tags)
    repository, _, revision = cfg.hf_hub_id.partition("@")
    return repository, revision or None, [cfg.hf_hub_filename or "model.safetensors"]


def _no_weights(encoder: str, weights: str, known: Any, tags: list[str] = []) -> NameUnknown:  # noqa: B006 - only read
    tagged = f" Encoders of timm carry the tag in their name: {', '.join(tags)}." if tags else ""
    return NameUnknown(
        f"The encoder {encoder} has no weights named {weights!r}. There are: {', '.join([*known, 'none'])}, or the "
        f"path of a file (with a slash in it).{tagged}"
    )


def _fetched(repository: str, revision: str | None, name: str) -> Path:
    """A file of the Hub, from the cache where it has it: what is here stays what it is, and no network is needed."""
    from huggingface_hub import (
        constants,
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    cached = try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):  # it may have been set since the library looked
            raise ConnectionError("HF_HUB_OFFLINE is set")
        # asked once beforehand, since a download asks a server that is silent for six minutes
        get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=PATIENCE)
        return Path(hf_hub_download(repository, name, revision=revision, etag_timeout=PATIENCE))
    except Exception as error:  # of the Hub, of the network library of its version, of the disk
        reason = (str(error).splitlines() or [""])[0][:160]
        raise NotFetched(
            f"{name} of {repository} is not in {constants.HF_HUB_CACHE} and cannot be downloaded from "
            f"{constants.ENDPOINT} ({type(error).__name__}: {reason}). Without a network, with HF_HUB_OFFLINE set or "
            "behind a proxy, copy that folder from a machine that has it, or download the file there and give "
            "weights=PATH."
        ) from error


def _commit(path: Path) -> str:
    """The commit that a file of the cache is of: `snapshots/<commit>/<file>`."""
    parts = path.parts
    return parts[len(parts) - parts[::-1].index("snapshots")]


def _read_safetensors(path: Path, values: bool) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    if values:
        return safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="numpy") as file:  # compares its header with its length
        if not file.keys():
            raise ValueError("it holds no tensor")
    return {}


def _read_torch(path: Path) -> dict[str, Tensor]:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError(f"it holds no tensors by their names, but a {type(content).__name__}")
    for key in NESTED:
        if isinstance(content.get(key), dict):
            content = content[key]
    tensors = {
        name.removeprefix("module."): value for name, value in content.items() if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise ValueError("it holds no tensor")
    return tensors
