"""A trained cell applied to pictures of any size: `bench.load(cell).predict(image)`; the engine of `bench predict`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bench import checkpoint, evaluate, networks
from bench.blending import blended
from bench.catalog import architecture
from bench.convert import Converted, convert
from bench.device import free_memory, resolve_device
from bench.errors import DataError, StoreError, StudyError
from bench.fit import Window, cut, resize, windows
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
        scale: Of `whole` and `tile`: how large the picture is shown, of its own size; what is found is brought back.
        flips: Whether probabilities are the mean over the picture and its three flips; of `tile`, over each window's.
        blur: Standard deviation of a Gaussian over the probabilities; 0 for none [pixels].
        threshold: Of two classes, the probability from which a pixel is of the second; None for the larger one.
        probabilities: Whether they are wanted; without them a picture in windows takes little memory.
    """

    how: How = How.AS_TRAINED
    size: tuple[int, int] | None = None
    overlap: int | None = None
    scale: float | None = None
    flips: bool = False
    blur: float = 0.0
    threshold: float | None = None
    probabilities: bool = True

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
        if self.scale is not None and not 0.01 <= self.scale <= 10:
            raise StudyError(f"scale is {self.scale:g}. It must be from 0.01 to 10.")
        if self.scale is not None and (self.how is How.AS_TRAINED or (self.how is How.WHOLE and self.size)):
            raise StudyError("scale goes with how=tile, and with how=whole without a size. Leave it out.")

    @property
    def soft(self) -> bool:
        """Whether probabilities must be computed at every pixel, wanted or not."""
        return self.probabilities or bool(self.blur) or self.threshold is not None


class Prediction(NamedTuple):
    """What a network makes of one picture, at its native size.

    Attributes:
        labels: The class of each pixel, uint8 (H, W).
        probabilities: Of each class, float32 (C, H, W); they sum to 1. Where they are not wanted, (C, 0, W).
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
        self._per_pixel: float | None = None
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

    def _flipped(self, images: tuple[np.ndarray, ...], options: Options) -> Iterator[Prediction]:
        if not options.flips or options.how is How.TILE:
            yield from self._plain(images, options)
            return
        found = [one.probabilities for one in self._plain(images, replace(options, probabilities=True))]
        for axes in FLIPS[1:]:
            turned = tuple(np.ascontiguousarray(np.flip(image, tuple(axis - 1 for axis in axes))) for image in images)
            for whole, one in zip(found, self._plain(turned, replace(options, probabilities=True)), strict=True):
                whole += np.flip(np.asarray(one.probabilities), axes)
        for whole in found:
            whole /= len(FLIPS)
            yield _largest(whole)

    def _plain(self, images: tuple[np.ndarray, ...], options: Options) -> Iterator[Prediction]:
        if options.how is How.TILE:
            yield from (self._tiled(image, self._tiling(options), options) for image in images)
            return
        if options.how is How.AS_TRAINED:
            recipe = replace(self.recipe, size=options.size or self.recipe.size)
            yield from self._fitted(images, recipe, soft=options.soft)
            return
        for native, group in itertools.groupby(images, lambda image: image.shape[:2]):
            size = options.size or _scaled(native, options.scale)
            self._check_room(size)
            yield from self._fitted(tuple(group), Recipe(size=size), soft=options.soft)

    def _fitted(self, images: tuple[np.ndarray, ...], recipe: Recipe, *, soft: bool) -> Iterator[Prediction]:
        """Pictures in the geometry of a recipe, scored as the test images of a study are."""
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        if recipe.fit == "tile" and recipe.overlap >= min(recipe.size):
            raise StudyError(f"Windows of {recipe.size[0]}x{recipe.size[1]} cannot overlap by {recipe.overlap} pixels.")
        parts = np.stack(
            [
                _cut(image, window, recipe)
                for image, size in zip(images, sizes, strict=True)
                for window in windows(size, recipe)
            ]
        )
        for one in evaluate.predictions(self._forward, parts, sizes, recipe=recipe, device=self.device, soft=soft):
            empty = np.empty((len(self.classes), 0, one.labels.shape[1]), np.float32)
            yield Prediction(one.labels, empty if one.probabilities is None else one.probabilities)

    def _tiling(self, options: Options) -> Recipe:
        size = options.size or self.recipe.size
        overlap = min(size) // 4 if options.overlap is None else options.overlap
        if not 0 <= overlap < min(size):
            raise StudyError(f"overlap is {overlap}. Windows of {size[0]}x{size[1]} allow 0 to {min(size) - 1} pixels.")
        return Recipe(size=size, fit="tile", overlap=overlap)

    def _tiled(self, image: np.ndarray, recipe: Recipe, options: Options) -> Prediction:
        """Windows, blended, at the scale that is wanted."""
        native = image.shape[0], image.shape[1]
        size = _scaled(native, options.scale)
        small = resize(image, np.zeros(native, np.uint8), size)[0]

        def parts(tiles: Sequence[Window]) -> Iterator[np.ndarray]:
            for some in _batched(tiles, self._forward.execution.micro_batch):
                shown = np.stack([_cut(small, window, recipe) for window in some])
                for window, found in zip(some, self._windows(shown, flips=options.flips), strict=True):
                    yield found[(slice(None), *window.inside)]

        keep = options.soft or size != native
        found = blended(size, windows(size, recipe), recipe.size, len(self.classes), parts, keep=keep)
        return Prediction(*found) if size == native else _enlarged(found[1], native, soft=options.soft)

    def _windows(self, shown: np.ndarray, *, flips: bool) -> np.ndarray:
        """Probabilities float32 (N, C, h, w) of windows uint8 (N, h, w, 3); the mean over their flips if wanted."""
        recipe = Recipe(size=(shown.shape[1], shown.shape[2]))
        total = np.zeros((len(shown), len(self.classes), *recipe.size), np.float32)
        chosen = FLIPS if flips else FLIPS[:1]
        for axes in chosen:
            turned = np.ascontiguousarray(np.flip(shown, tuple(axis - 1 for axis in axes)))
            sizes = [recipe.size] * len(shown)
            found = evaluate.predictions(self._forward, turned, sizes, recipe=recipe, device=self.device)
            for whole, one in zip(total, found, strict=True):
                whole += np.flip(np.asarray(one.probabilities), axes)
        return total / len(chosen)

    def _check_room(self, size: tuple[int, int]) -> None:
        """Refuse a picture whose largest layer alone is more than the free memory: a processor's would just be killed.

        Raises:
            StudyError: Saying how much it is, and what to do.
        """
        if self.device.type != "cpu":
            return
        if self._per_pixel is None:
            self._per_pixel = networks.bytes_per_pixel(self._forward.network, self._forward.divisor)
        needed, free = self._per_pixel * size[0] * size[1], free_memory()
        if needed > free:
            raise StudyError(
                f"A picture shown at {size[0]}x{size[1]} needs at least {needed / 2**30:.1f} GiB for one layer of "
                f"{self.record.cell.architecture}; {free / 2**30:.1f} GiB are free. Use --how tile (how='tile')."
            )


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
    for scratch in (True, False) if networks.from_scratch(name) != name else (True,):
        network = networks.build(name, classes, scratch=scratch)
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


def _scaled(native: tuple[int, ...], scale: float | None) -> tuple[int, int]:
    """A size (height, width) times a scale; at least a pixel."""
    height, width = (max(1, round(edge * (scale or 1))) for edge in native[:2])
    return height, width


def _enlarged(small: NDArray[np.float32], native: tuple[int, int], *, soft: bool) -> Prediction:
    """Probabilities (C, h, w) brought to a size bilinearly, class after class; kept only where they are wanted."""
    best, labels = np.full(native, -1, np.float32), np.zeros(native, np.uint8)
    kept = np.empty((len(small), native[0] if soft else 0, native[1]), np.float32)
    for label, one in enumerate(small):
        source = torch.from_numpy(one)[None, None]
        large = functional.interpolate(source, size=native, mode="bilinear", align_corners=False)[0, 0].numpy()
        labels[large > best] = label
        np.maximum(best, large, out=best)
        if soft:
            kept[label] = large
    return Prediction(labels, kept)


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
