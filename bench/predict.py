"""A trained cell applied to pictures of any size: `bench.load(cell).predict(image)`; the engine of `bench predict`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench import checkpoint, evaluate, networks
from bench.catalog import architecture
from bench.convert import Converted, convert
from bench.device import resolve_device
from bench.errors import DataError, StoreError, StudyError
from bench.fit import Window, cut, windows
from bench.forward import Forward
from bench.records import Execution, Record
from bench.runner import check_device
from bench.specs import ClassSpec, Recipe
from bench.trained import Trained, find, itself, opened

Item = TypeVar("Item")
FLIPS = ((), (-1,), (-2,), (-2, -1))
"""The axes of a picture (.., H, W) that each version of it is flipped along."""


class How(StrEnum):
    """How a picture comes to the network."""

    AS_TRAINED = "as-trained"
    """As the test images of the study did: resize, letterbox, or tile without blending."""
    WHOLE = "whole"
    """As it is, all of it."""
    TILE = "tile"
    """In overlapping windows of its own scale, whose probabilities are blended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be asked of a prediction.

    Attributes:
        how: How a picture comes to the network.
        size: (height, width) the network sees: that of the study for `as-trained` and `tile`, that of the picture for
            `whole`, unless given [pixels].
        overlap: Of neighbouring windows of `tile`; None for a quarter of the window [pixels].
        flips: Whether probabilities are the mean over the picture and its three flips.
        blur: Standard deviation of a Gaussian over the probabilities; 0 for none [pixels].
        threshold: Of two classes, the probability from which a pixel is of the second; None for the larger one.
    """

    how: How = How.AS_TRAINED
    size: tuple[int, int] | None = None
    overlap: int | None = None
    flips: bool = False
    blur: float = 0.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            StudyError: Naming the option and what is allowed.
        """
        object.__setattr__(self, "how", How(self.how))
        if self.size is not None and not all(1 <= edge <= 16384 for edge in self.size):
            raise StudyError(f"size is {self.size[0]}x{self.size[1]}. Each edge must be from 1 to 16384 pixels.")
        if not 0 <= self.blur <= 1000:
            raise StudyError(f"blur is {self.blur:g}. It must be from 0 (none) to 1000 pixels.")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise StudyError(f"threshold is {self.threshold:g}. It must be a probability above 0 and below 1.")
        if self.overlap is not None and self.how is not How.TILE:
            raise StudyError(f"overlap goes with how=tile only, not with {self.how.value}. Leave it out.")


class Prediction(NamedTuple):
    """What a network makes of one picture, at its native size.

    Attributes:
        labels: The class of each pixel, uint8 (H, W).
        probabilities: Of each class, float32 (C, H, W); they sum to 1.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


class Model:
    """A trained network, ready for pictures.

    Attributes:
        record: All that is kept of its cell.
        device: Where it computes.
    """

    def __init__(self, trained: Trained, device: str = "auto", batch: int | None = None) -> None:
        check_device(device)
        if batch is not None and batch < 1:
            raise StudyError(f"batch is {batch}. It must be 1 or more.")
        self.record: Record = trained.record
        self.device = resolve_device(device)
        self.recipe = trained.recipe
        self._trained = trained
        network = _network(trained).to(self.device).eval()
        way = trained.record.execution or Execution(precision="fp32", micro_batch=trained.recipe.batch)
        # eager: graphs are of training only, and compiling for each size of picture takes longer than predicting it
        way = replace(way, mode="eager", micro_batch=batch or way.micro_batch)
        self._forward = Forward(network, architecture(self.record.cell.architecture)[0].divisor, way)

    @property
    def classes(self) -> tuple[ClassSpec, ...]:
        """Names and colours of the classes; the values of a prediction are places in it, 0 is the background."""
        return self.record.data.classes if self.record.data else ()

    def predict(self, image: NDArray[np.uint8], options: Options | None = None) -> Prediction:
        """What the network makes of one picture.

        Args:
            image: RGB, uint8 (H, W, 3), or grey, uint8 (H, W).
            options: How; by default as the test images of the study were scored.
        Raises:
            DataError: If that is no such array.
            StudyError: If the options do not go with the network.
        """
        return next(self.predict_many([image], options))

    def predict_many(self, images: Iterable[NDArray[np.uint8]], options: Options | None = None) -> Iterator[Prediction]:
        """One prediction for each picture, in order; several are on the device at once, and in memory.

        Arguments and errors as those of `predict`.
        """
        options = options or Options()
        if options.threshold is not None and len(self.classes) != 2:
            raise StudyError(f"threshold goes with two classes; {self.record.cell.key} has {len(self.classes)}.")
        for some in _batched(map(_checked, images), self._forward.execution.micro_batch):
            for found in self._flipped(some, options):
                yield _finished(found, options)

    def export(
        self,
        path: str | Path,
        *,
        pictures: Iterable[NDArray[np.uint8]] = (),
        size: tuple[int, int] | None = None,
    ) -> Converted:
        """Write the network as `.onnx` (images to probabilities) or `.safetensors`, which `load` takes; and a note.

        Args:
            path: The file; `path` + `.md` says how it is used.
            pictures: What ONNX is compared on, as for `predict`; generated pictures without any.
            size: (height, width) that the network sees; None for that of the study [pixels].
        Raises:
            StudyError: If the network cannot be exported, or what was exported differs from it.
        """
        some = [_checked(image) for image in pictures]
        return convert(self._forward.network, self._trained, Path(path), pictures=some, size=size)

    def _flipped(self, images: tuple[np.ndarray, ...], options: Options) -> list[Prediction]:
        found = list(self._plain(images, options))
        if not options.flips:
            return found
        total = [one.probabilities.copy() for one in found]
        for axes in FLIPS[1:]:
            turned = tuple(np.ascontiguousarray(np.flip(image, tuple(axis - 1 for axis in axes))) for image in images)
            for whole, one in zip(total, self._plain(turned, options), strict=True):
                whole += np.flip(one.probabilities, axes)
        return [_largest((whole / len(FLIPS)).astype(np.float32)) for whole in total]

    def _plain(self, images: tuple[np.ndarray, ...], options: Options) -> Iterator[Prediction]:
        if options.how is How.TILE:
            yield from (self._tiled(image, self._tiling(options)) for image in images)
            return
        if options.how is How.AS_TRAINED:
            yield from self._fitted(images, replace(self.recipe, size=options.size or self.recipe.size))
            return
        for size, group in itertools.groupby(images, lambda image: image.shape[:2]):
            yield from self._fitted(tuple(group), Recipe(size=options.size or size))

    def _fitted(self, images: tuple[np.ndarray, ...], recipe: Recipe) -> Iterator[Prediction]:
        """Pictures in the geometry of a recipe, scored as the test images of a study are."""
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        if recipe.fit == "tile" and recipe.overlap >= min(recipe.size):
            raise StudyError(f"Windows of {recipe.size[0]}x{recipe.size[1]} cannot overlap by {recipe.overlap} pixels.")
        parts = [
            _cut(image, window, recipe)
            for image, size in zip(images, sizes, strict=True)
            for window in windows(size, recipe)
        ]
        for one in evaluate.predictions(self._forward, np.stack(parts), sizes, recipe=recipe, device=self.device):
            yield _whole(one)

    def _tiling(self, options: Options) -> Recipe:
        size = options.size or self.recipe.size
        overlap = min(size) // 4 if options.overlap is None else options.overlap
        if not 0 <= overlap < min(size):
            raise StudyError(f"overlap is {overlap}. Windows of {size[0]}x{size[1]} allow 0 to {min(size) - 1} pixels.")
        return Recipe(size=size, fit="tile", overlap=overlap)

    def _tiled(self, image: np.ndarray, recipe: Recipe) -> Prediction:
        """The mean of the windows at each pixel, weighted by how far it is from their frames."""
        native = image.shape[0], image.shape[1]
        total = np.zeros((len(self.classes), *native), np.float32)
        weights = np.zeros(native, np.float32)
        tiles, ramp = windows(native, recipe), _ramp(recipe.size)
        single = Recipe(size=recipe.size)
        for some in _batched(tiles, self._forward.execution.micro_batch):
            parts = np.stack([_cut(image, window, recipe) for window in some])
            found = evaluate.predictions(
                self._forward, parts, [recipe.size] * len(some), recipe=single, device=self.device
            )
            for window, one in zip(some, found, strict=True):
                at = _part(window)
                weight = ramp[window.inside]
                total[(slice(None), *at)] += _whole(one).probabilities[(slice(None), *window.inside)] * weight
                weights[at] += weight
        total /= weights
        return _largest(total)


def load(
    cell: str | Path,
    *,
    results: str | Path = "results",
    study: str | None = None,
    device: str = "auto",
    batch: int | None = None,
    force: bool = False,
) -> Model:
    """A trained cell, ready for pictures.

    Args:
        cell: Its folder, its key in a study, as `smear/unet/dice+ce/f0-s0`, or the .safetensors made of it.
        results: The folder of all studies, where a key is given.
        study: The name of the study, likewise; None for the newest.
        device: auto, cpu, cuda or cuda:i.
        batch: Pictures, or windows of them, at once; None for as many as were scored at once.
        force: Whether the code of the network may have changed since it was trained.
    Raises:
        NameUnknown: If there is no such cell or architecture.
        StoreError: If the cell has no weights, or they are not the ones its record names.
        StudyError: If there is no such device, or no study.
    """
    from bench.report import newest

    folder = Path(cell)
    if not itself(cell):
        folder = find(str(cell), Path(results) / study if study else newest(Path(results)))
    return Model(opened(folder, force=force), device, batch)


def _network(trained: Trained) -> torch.nn.Module:
    """The network with its trained weights; what it once started from is not fetched unless its shape hangs on it."""
    name, classes = trained.record.cell.architecture, len(trained.record.data.classes if trained.record.data else ())
    state = checkpoint.load_weights(trained.weights)
    # with pretrained weights a network may normalise images anew, in a layer of its own: then it is built as it was
    for spelled in dict.fromkeys((networks.from_scratch(name), name)):
        network = networks.build(spelled, classes)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
        else:
            return network
    raise StoreError(
        f"{trained.weights} does not fit {name} as its code is now: {reason[:150].rstrip(' .,')} .. Use "
        "the version of bench that trained it, or train it anew."
    )


def _checked(image: np.ndarray) -> np.ndarray:
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or kind != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
        raise DataError(f"A picture must be uint8 (H, W, 3) or (H, W), not {kind} {shape}. Convert it.")
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _cut(image: np.ndarray, window: Window, recipe: Recipe) -> np.ndarray:
    return cut(image, np.zeros(image.shape[:2], np.uint8), window, recipe.size)[0]


def _part(window: Window) -> tuple[slice, slice]:
    rows, columns = window.rows, window.columns
    return slice(rows.start, rows.start + rows.length), slice(columns.start, columns.start + columns.length)


def _ramp(size: tuple[int, int]) -> NDArray[np.float32]:
    """Weights float32 (H, W) that fall linearly from the centre of a window to its frame, and are nowhere 0."""
    rows, columns = (np.minimum(np.arange(1, edge + 1), np.arange(edge, 0, -1)) / edge for edge in size)
    return np.outer(rows, columns).astype(np.float32)


def _whole(found: evaluate.Prediction) -> Prediction:
    probabilities = found.probabilities
    if probabilities is None:
        raise TypeError("a prediction without its probabilities")
    return Prediction(found.labels, probabilities)


def _largest(probabilities: NDArray[np.float32]) -> Prediction:
    return Prediction(probabilities.argmax(axis=0).astype(np.uint8), probabilities)


def _finished(found: Prediction, options: Options) -> Prediction:
    """Blurred and cut at the threshold, where asked for."""
    if options.blur:
        from scipy import ndimage

        found = _largest(ndimage.gaussian_filter(found.probabilities, (0, options.blur, options.blur), mode="nearest"))
    if options.threshold is not None:
        found = found._replace(labels=(found.probabilities[1] >= options.threshold).astype(np.uint8))
    return found


def _batched(items: Iterable[Item], count: int) -> Iterator[tuple[Item, ...]]:
    """Items in groups; itertools has it from Python 3.12 on."""
    iterator = iter(items)
    while some := tuple(itertools.islice(iterator, count)):
        yield some
