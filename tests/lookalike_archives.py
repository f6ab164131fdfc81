"""Archives like the real ones in layout, names, modes, sizes and quirks, with the pixels that made them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.lookalike import Truth, picture, save

LISC_FOLDERS = {"baso": "Baso", "eosi": "eosi", "lymp": "lymp", "mixt": "mixt", "mono": "mono", "neut": "neut"}
LISC_LEVELS = {  # grey of cytoplasm and nucleus; a lymphocyte's mask has one level
    "baso": (225, 255),
    "eosi": (175, 200),
    "lymp": (50, 50),
    "mixt": (25, 50),
    "mono": (75, 100),
    "neut": (125, 150),
}
LISC_COLOURS = {
    "baso": (0, 0, 255),
    "eosi": (0, 255, 0),
    "lymp": (255, 255, 0),
    "mono": (0, 255, 255),
    "neut": (255, 0, 0),
}
COPIES = ("", "rotated_90_", "barrdistorted_103_0.3_0.3_", "distorted_0.02_rsigma0.5_sigma40_", "deformed_1300_8.0_")
CLUSTER_COPIES = (
    "",
    "hflipped_",
    "shrinked_0_8_",
    "pincdistorted_101_0.3_-0.3_",
    "deformed_alpha_1300_sigmoid_8.0_",
)


def disc(size: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    """The pixels whose centres lie within a circle, bool (H, W)."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def stain(mask: np.ndarray, seed: int) -> np.ndarray:
    """A photograph uint8 (H, W, 3) of classes (H, W): green is above 150 on the background, and below elsewhere."""
    noise = np.random.default_rng(seed).integers(-12, 13, (*mask.shape, 3))
    colours = np.array([(225, 200, 215), (190, 120, 200), (110, 50, 150)])
    return (colours[mask] + noise).clip(0, 255).astype(np.uint8)


def litter(folder: Path) -> None:
    """What Windows and macOS leave behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Thumbs.db", ".DS_Store", "._1.bmp"):
        (folder / name).write_bytes(b"\0\1litter")


def lisc(root: Path, count: int = 2, mixt: int = 2, size: tuple[int, int] = (576, 720)) -> Truth:
    """The LISC archive: sample ids to images and to masks of background 0, cytoplasm 1, nucleus 2, cell 3.

    Numbers are written in falling order, one image has an upper-case suffix, and a second expert disagrees.
    """
    truth: Truth = {}
    for label, name in LISC_FOLDERS.items():
        images = root / "LISC Database/Main Dataset" / name
        expert = root / "LISC Database/Ground Truth Segmentation" / name
        for number in range(mixt if label == "mixt" else count, 0, -1):
            seed = 100 * sorted(LISC_FOLDERS).index(label) + number
            parts = _cell(size, seed)
            image = stain(parts, seed)
            if LISC_LEVELS[label] == (50, 50):
                parts[parts > 0] = 3
            levels = np.array([0, *LISC_LEVELS[label], 50], np.uint8)
            save(images / f"{number}{'.BMP' if number == 2 else '.bmp'}", image)
            save(expert / f"areaforexpert1/{number}_expert.bmp", levels[parts][4:-4, 4:-4])
            save(expert / f"areaforexpert2/{number}_expert.bmp", np.zeros_like(parts)[4:-4, 4:-4])
            truth[f"{label}_{number}"] = image, parts
        litter(images)
        litter(expert / "areaforexpert1")
    save(root / "LISC Database/More Dataset without Ground Truth/alll/1.bmp", stain(_cell(size, 1), 1))
    return truth


def _cell(size: tuple[int, int], seed: int) -> np.ndarray:
    """A cell with an eccentric nucleus, uint8 (H, W): background 0, cytoplasm 1, nucleus 2; never at the border."""
    random = np.random.default_rng(seed)
    radius = size[0] / 8
    row, column = (random.uniform(2 * radius, edge - 2 * radius) for edge in size)
    parts = disc(size, row, column, radius).astype(np.uint8)
    parts[disc(size, row + radius / 4, column - radius / 5, radius * 0.6)] = 2
    return parts


def lisc_release(
    root: Path, splits: dict[str, tuple[int, ...]], copies: Iterable[str] = COPIES, size: int = 512
) -> Truth:
    """The released colour masks; sample ids to images and masks of classes 0 to 5.

    Args:
        root: The folder, made when needed.
        splits: Names of the splits to the numbers of the photographs whose copies are dealt to them in turn.
        copies: Prefixes of the copies; each is another picture here.
        size: Edge of the pictures [pixels].
    """
    truth: Truth = {}
    dealt: dict[tuple[str, int], int] = {}
    for split, numbers in splits.items():
        for at, (label, colour) in enumerate(LISC_COLOURS.items()):
            for number in numbers:
                holders = [name for name, held in splits.items() if number in held]
                for copy, prefix in enumerate(copies):
                    if holders[copy % len(holders)] != split:
                        continue
                    dealt[label, number] = copy
                    parts = _cell((size, size), 1000 * at + 10 * number + copy)
                    mask = np.where(parts > 0, at + 1, 0).astype(np.uint8)
                    kind = root / split / label
                    stem = f"{prefix}{label}_{number}"
                    save(kind / f"images/{stem}.png", stain(parts, copy))
                    save(kind / f"masks/{stem}.png", blended(mask > 0, colour))
                    truth[f"{'val' if split == 'valid' else split}-{stem}"] = stain(parts, copy), mask
    return truth


def blended(mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A colour mask uint8 (H, W, 3) with soft edges, as warping leaves them: 40% outside the edge, 60% inside."""
    near = np.zeros(mask.shape, np.uint8)
    for axis in (0, 1):
        for step in (-1, 1):
            near |= np.roll(mask, step, axis) ^ mask
    share = np.where(near > 0, np.where(mask, 0.6, 0.4), mask)
    return (share[..., None] * np.array(colour)).round().astype(np.uint8)


Polygon = list[list[float]]


def labelme(path: Path, polygons: Iterable[Polygon], size: tuple[int, int] | None, **changes: object) -> None:
    """A LabelMe file of polygons, as version 4 writes it; changes replace entries."""
    content: dict[str, object] = {
        "version": "4.5.6",
        "flags": {},
        "shapes": [
            {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
            for label, points in zip(["nucleus", "nuc", "nn", "b", "m"] * 20, polygons, strict=False)
        ],
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
    }
    content |= {} if size is None else {"imageHeight": size[0], "imageWidth": size[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | changes, indent=2), encoding="utf-8")


def inside(polygon: Polygon, size: tuple[int, int]) -> np.ndarray:
    """The pixels in or on a polygon by counting crossings, for coordinates that are exact in binary, bool (H, W)."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    odd, edge = np.zeros(size, bool), np.zeros(size, bool)
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        cross = (x1 - x0) * (rows - y0) - (y1 - y0) * (columns - x0)
        between = (columns >= min(x0, x1)) & (columns <= max(x0, x1)) & (rows >= min(y0, y1)) & (rows <= max(y0, y1))
        edge |= (cross == 0) & between
        crossed = (y0 > rows) != (y1 > rows)
        odd ^= crossed & ((cross > 0) == (y1 > y0))
    return odd | edge


def nuclei(seed: int, size: tuple[int, int], count: int = 6) -> list[Polygon]:
    """Polygons on a grid of quarter pixels; some overlap and some leave the picture."""
    random = np.random.default_rng(seed)
    polygons: list[Polygon] = []
    for _ in range(count):
        x, y = random.uniform(0, size[1]), random.uniform(0, size[0])
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        radii = random.uniform(8, 26, 9)
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=-1)
        polygons.append((np.round(points * 4) / 4).tolist())
    return polygons


def cnseg(root: Path, parts: Iterable[str] = ("difficult", "normal", "sample", "patch"), count: int = 2) -> Truth:
    """The CNSeg archive: JPEG images beside LabelMe files; sample ids to the decoded images and true masks."""
    truth: Truth = {}
    for at, part in enumerate(parts):
        for split in ("train", "test"):
            images, labels = _folders(root, part, split)
            for number in range(count, 0, -1):
                seed = 100 * at + 10 * (split == "test") + number
                size = (256, 256) if part == "patch" else (180 + 10 * number, 240)
                polygons = nuclei(seed, size)
                mask = np.any([inside(polygon, size) for polygon in polygons], axis=0).astype(np.uint8)
                stem = f"{number:04d}_{number % 2}" if part == "patch" else f"{number}"
                path = images / f"{stem}.jpg"
                save(path, stain(mask * 2, seed))
                labelme(labels / f"{stem}.json", polygons, size if number % 2 else None)
                name = {"sample": "easy"}.get(part, part)
                truth[f"{name}-{split}-{stem}"] = decoded(path), mask
            litter(images)
            litter(labels)
    (root / "TargetA/train_images").mkdir(parents=True, exist_ok=True)
    return truth


def _folders(root: Path, part: str, split: str) -> tuple[Path, Path]:
    if part == "patch":
        return root / f"PatchSeg/{split}-images", root / f"PatchSeg/{split}-labels"
    name = f"test-{part}" if split == "test" else part
    return root / "clusteredCell" / name, root / f"clusteredCell/{name}_json"


def cnseg_release(root: Path, splits: dict[str, tuple[int, ...]], copies: Iterable[str] = CLUSTER_COPIES) -> Truth:
    """The released JPEG images and masks of 512x512; ids to the decoded images and the masks that were drawn."""
    truth: Truth = {}
    for split, numbers in splits.items():
        for number in numbers:
            holders = [name for name, held in splits.items() if number in held]
            for copy, prefix in enumerate(copies):
                if holders[copy % len(holders)] != split:
                    continue
                mask = (_cell((512, 512), 10 * number + copy) > 0).astype(np.uint8)
                path = root / split / f"images/{prefix}{number}.jpg"
                save(path, stain(mask * 2, copy))
                save(root / split / f"masks/{prefix}{number}.jpg", mask * 255)
                name = {"": "", "valid": "val-"}.get(split, f"{split}-")
                truth[f"{name}{prefix}{number}"] = decoded(path), mask
    return truth


def blood_cell_original(root: Path, count: int = 4, size: tuple[int, int] = (120, 160)) -> Truth:
    """The authors' release of Blood-Cell: `Original/` and `Mask/`, png and jpg mixed, masks RGB; ids to the truth."""
    truth: Truth = {}
    for number in range(count, 0, -1):
        stem = str(uuid.UUID(int=number))
        image, _ = picture(number, size)
        mask = disc(size, 60, 50 + 10 * number, 30).astype(np.uint8)
        path = root / f"New folder/Original/{stem}{'.JPG' if number == 3 else '.png'}"
        save(path, image)
        black_and_white = np.stack([mask * 255] * 3, axis=-1)
        save(root / f"New folder/Mask/{stem}{'.jpg' if number % 2 else '.png'}", black_and_white)
        truth[stem] = decoded(path), mask
    litter(root / "New folder/Original")
    return truth


def decoded(path: Path) -> np.ndarray:
    """What Pillow makes of an image file, uint8 (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
