"""A study folder with all the files a run leaves, and the spoiled archives that tests make of its export."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from bench import packing, plan, report, sealing
from bench.records import Record, Status
from bench.specs import Cell
from bench.split import SPLIT_VERSION
from bench.store import Store, records, sha256, write_bytes
from tests import synthetic

GROUPS = {
    "train": [f"train-{number}" for number in range(30)],
    "val": [f"val-{number}" for number in range(8)],
    "test": synthetic.IDS,
}
DATA = plan.digest(["89ab", SPLIT_VERSION, GROUPS])


def complete(root: Path, change: Callable[[Record], Record] = lambda record: record) -> Path:
    """The synthetic study with splits, weights, curves and trials; every record may be changed before it is stored."""
    folder = synthetic.write(root)
    store = Store(folder)
    split = {"version": SPLIT_VERSION, "dataset": "smear", "data": "89ab", "fold": 0, **GROUPS}
    write_bytes(store.split("smear", 0), json.dumps(split).encode())
    for record in list(records(folder)):
        ingredients = {**record.ingredients, "data": DATA}
        values = {"ingredients": ingredients, "fingerprint": plan.digest(ingredients)}
        if record.status is Status.OK and record.cell.loss is not None:
            values["weights_hash"] = trained(store, record.cell, record.history)
        if record.trials:
            text = json.dumps([asdict(trial) for trial in record.trials], indent=1)
            write_bytes(store.tuning(record.cell) / "trials.json", text.encode())
        store.write(change(replace(record, **values)))
    report.write(folder)
    return folder


def trained(store: Store, cell: Cell, history: tuple[object, ...]) -> str:
    """Write weights and a curve as a training does; return the hash of the weights."""
    text = io.StringIO()
    table = csv.DictWriter(text, ["epoch", "loss", "value", "seconds"])
    table.writeheader()
    table.writerows(asdict(epoch) for epoch in history)
    write_bytes(store.cell(cell) / "history.csv", text.getvalue().encode())
    write_bytes(store.cell(cell) / "weights.safetensors", cell.key.encode())
    return sha256(store.cell(cell) / "weights.safetensors")


def exported(folder: Path, archive: Path, choice: packing.Choice | None = None) -> Path:
    """The export of a study's folder as an archive."""
    staged = archive.with_name(f"{archive.name}.staged")
    found = packing.stage(folder, staged, choice or packing.Choice())
    sealing.pack(staged, archive, found.study)
    return archive


def members(archive: Path) -> dict[str, bytes]:
    """The files of a zip or tar.gz, in their order."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    with tarfile.open(archive) as opened:
        return {info.name: opened.extractfile(info).read() for info in opened}


def rezipped(path: Path, files: dict[str, bytes], kind: int = 0o100644) -> Path:
    """A zip of some files; the mode of the last one says what it is."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for at, (name, content) in enumerate(files.items(), start=1):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = (
                (kind if at == len(files) else 0o100644) << 16,
                zipfile.ZIP_DEFLATED,
            )
            archive.writestr(info, content)
    return path


def retarred(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    """A tar.gz of some files; the last one is of a kind."""
    with tarfile.open(path, "w:gz") as archive:
        for at, (name, content) in enumerate(files.items(), start=1):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if at == len(files) and kind != tarfile.REGTYPE:
                info.type, info.linkname, info.size = kind, "/etc/passwd", 0
            archive.addfile(info, io.BytesIO(content))
    return path
