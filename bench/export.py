"""A prepared data set as a plain folder that any program can read, and this one reads back to the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench import catalog
from bench.errors import DataError
from bench.prepare import open_prepared
from bench.specs import IGNORE, DatasetSpec
from bench.store import check_room, escape, write_bytes, writing


def export(name: str, data_home: Path, target: Path) -> int:
    """Write a data set as a plain folder: images, palette masks, objects as JSON where known, and a dataset.toml.

    Returns:
        How many images were written.
    Raises:
        DataError: If the target exists and is not empty.
    """
    from PIL import Image

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is not an empty folder. Give a folder that does not exist yet.")
    prepared, spec = open_prepared(name, data_home), catalog.dataset(name)
    assigned = {position: split for split, group in prepared.split(0, 1).items() for position in group}
    check_room(target)
    palette = [channel for entry in spec.classes for channel in entry.colour]
    palette += [IGNORE] * (768 - len(palette))  # all 256 entries: with fewer, the file would have no room for IGNORE
    for position, entry in enumerate(prepared.index.entries):
        image, mask = prepared.native(entry)
        folder, stem = target / assigned[position], escape(entry.sample.id)
        picture = Image.fromarray(np.asarray(mask)).convert("P")
        picture.putpalette(palette)
        for kind, content in (("images", Image.fromarray(np.asarray(image))), ("masks", picture)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            with writing(folder / kind):
                content.save(folder / kind / f"{stem}.png")
        if spec.objects is not None:
            boxes = {str(number): box for number, box in enumerate(spec.objects(entry.sample))}
            write_bytes(folder / "labels" / f"{stem}.json", json.dumps(boxes, indent=1).encode())
    write_bytes(target / "dataset.toml", _description(spec).encode())
    return len(prepared.index.entries)


def _description(spec: DatasetSpec) -> str:
    texts = {key: getattr(spec, key) for key in ("title", "licence", "citation", "homepage")}
    lines = [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in texts.items()]
    lines.append(f"ignore = {IGNORE}")
    if spec.pixel_size_um is not None:
        lines.append(f"pixel_size_um = {spec.pixel_size_um}")
    for value, entry in enumerate(spec.classes):
        lines += ["", "[[classes]]", f"name = {json.dumps(entry.name, ensure_ascii=False)}"]
        lines += [f"colour = {list(entry.colour)}", f"value = {value}"]
    return "\n".join(lines) + "\n"
