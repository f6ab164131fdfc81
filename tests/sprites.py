"""Crops of single cells as a user would have them, cut from the built-in smear's own drawing; and a release of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from bench.datasets import _smear_cells as cells
from bench.datasets._smear_classes import CLASSES, PARTIAL, PUBLISHED
from bench.specs import IGNORE, DatasetSpec, Sample

PAINTERS: dict[str, cells.Painter] = {
    "Eosinophil": cells.draw_eosinophil,
    "Basophil": cells.draw_basophil,
    "Neutrophil": cells.draw_neutrophil,
    "Lymphocytes": cells.draw_lymphocyte,
    "Monocytes": cells.draw_monocyte,
    "Thrombocytes": cells.draw_thrombocyte,
    "Clumps": cells.draw_platelet_clump,
    "Infected": cells.draw_infected_cell,
    "_": cells.draw_red_cell,
}
COLOURS = {index: spec.colour for index, spec in enumerate((*CLASSES, PARTIAL))}
NAMES = {index: name for name, index in PUBLISHED.items()}


def crop(painter: cells.Painter, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A cell on its whole patch: pixels uint8 (P, P, 3) on a pink ground, and mask uint8 (P, P), 0 or 255."""
    random = np.random.default_rng(seed)
    cell = painter(random, cells.draw_stain(random))
    paper = np.array([250, 240, 235], np.float32)[:, None, None]
    pixels = paper + (cell.colour - paper) * cell.opacity
    return pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0), np.uint8(255) * cell.inside


def write(
    root: Path,
    count: int = 10,
    *,
    names: Mapping[str, str] | None = None,
    split: Callable[[int], str] = lambda _: "",
    suffix: str = "bmp",
) -> Path:
    """Writes `count` crops of every class below `root` and returns it.

    Args:
        root: The folder, made when needed.
        count: Crops of each class.
        names: Folder to write instead of a published one; the published names where it says nothing.
        split: The folder of a split for the n-th crop of a class; "" for none.
        suffix: Format of the files.
    """
    for position, (published, painter) in enumerate(PAINTERS.items()):
        name = (names or {}).get(published, published)
        for number in range(count):
            folder = root / name / split(number)
            folder.mkdir(parents=True, exist_ok=True)
            pixels, mask = crop(painter, 1000 * position + number)
            Image.fromarray(pixels).save(folder / f"{name}_{number}.{suffix}")
            Image.fromarray(mask).save(folder / f"{name}_{number}_mask.{suffix}")
    return root


def release(root: Path, spec: DatasetSpec, samples: list[Sample]) -> dict[str, Sample]:
    """Writes composed pictures as the released folders; the stem of every picture to what it was written from."""
    written: dict[str, Sample] = {}
    assert spec.objects is not None
    for number, sample in enumerate(samples):
        image, mask = spec.load(sample)
        boxes = spec.objects(sample)
        for box in boxes:
            box["classIdx"] = box["classIdx"] if box["classIdx"] != IGNORE else 10
            box["className"] = NAMES[box["classIdx"]]
        affixed = [box["className"][:4] for box in boxes if box["samplePath"]] or ["back"]
        _, kind, split, _ = boxes[0]["bgPath"].split("_")
        tail = ["lisc", kind, {"val": "valid"}.get(split, split), str(number)]
        stem = "_".join([*affixed, *tail])
        save(root / "images" / f"{stem}.bmp", image)
        save(root / "segments" / f"{'_'.join([*affixed, 'seg', *tail])}.bmp", painted(mask))
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{stem}.json").write_text(json.dumps({str(at): box for at, box in enumerate(boxes)}))
        written[stem] = sample
    return written


def painted(mask: np.ndarray) -> np.ndarray:
    """A mask in the published colours, uint8 (H, W, 3); what is ignored gets that of a partial cell."""
    table = np.zeros((256, 3), np.uint8)
    for index, colour in COLOURS.items():
        table[index] = colour
    table[IGNORE] = PARTIAL.colour
    return table[mask]


def save(path: Path, pixels: np.ndarray) -> None:
    """An image file; the format is that of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
