"""Records on disk: whole or not at all, never outside their folder, never of another schema."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import store
from bench.errors import DiskFull, StoreError
from bench.records import DataCard, Epoch, Failure, Record, Status, Trial, TrialStatus
from bench.specs import SCHEMA, Cell, ClassSpec
from bench.store import Store

CELL = Cell(dataset="smear[train=4]", architecture="unet[encoder=resnet18]", loss="0.5*dice+ce", fold=2, seed=1)
CARD = DataCard(
    title="Ä smear",
    hash="abc",
    classes=(ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="κύτταρο", colour=(1, 2, 3))),
    train=4,
    val=1,
    test=2,
    sources=7,
    licence="MIT",
    citation="none",
)
RECORD = Record(
    study="s",
    cell=CELL,
    fingerprint="f" * 16,
    ingredients={"cell": {"seed": 1}, "versions": {"torch": "2"}},
    status=Status.OK,
    data=CARD,
    lr=1e-3,
    lr_smooth=0.1 + 0.2,
    edge=True,
    trials=(Trial(number=0, lr=1e-3, value=0.5, status=TrialStatus.STOPPED, epochs=2, seconds=1.5),),
    history=(Epoch(epoch=1, loss=None, value=0.25, seconds=0.5),),
    best_epoch=1,
    params=10,
    seconds={"train": 2.0},
    peak_memory_mb=100.0,
    environment={"torch": "2"},
    finished="2024-01-01T00:00:00+00:00",
)
FAILED = Record(
    study="s",
    cell=replace(CELL, loss=None),
    fingerprint="g",
    ingredients={},
    status=Status.OUT_OF_MEMORY,
    error=Failure(phase="train", kind="OutOfMemoryError", message='two\nlines "quoted"'),
)
HOSTILE = [
    "..",
    ".",
    "../x",
    "a/b",
    "a\\b",
    "/etc",
    "*",
    "?",
    "a b",
    "ü",
    "e\u0301",
    "\u00e9",
    "x" * 300,
    "x" * 301,
    "ü" * 300,
]
HOSTILE += ["%2E", "%2E%2E", "con:", "a\nb", "\x00", "...", "....", "-", "~", "a%2Fb"]
LIMITED = """
import resource, sys
from pathlib import Path
from bench.errors import DiskFull
from bench.store import write_bytes
target = Path(sys.argv[1])
write_bytes(target, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(target, b"x" * 5000)
except DiskFull as error:
    print(error.exit_code, error)
"""


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def files(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize("record", [RECORD, FAILED], ids=["ok", "failed"])
def test_a_record_reads_back_to_the_same(record: Record, kept: Store) -> None:
    kept.write(record)

    assert record == kept.read(record.cell)
    assert [record] == list(store.records(kept.root))
    assert ["record.json"] == files(kept.root)


def test_counts_read_back_as_uint32_with_their_ids(kept: Store) -> None:
    counts = np.array([[[2**32 - 1, 0], [3, 4]]], np.int64)
    digest = kept.write_counts(CELL, ["bild ü"], counts)
    ids, found = kept.counts(CELL)

    assert (["bild ü"], np.uint32, counts.tolist()) == (ids, found.dtype, found.tolist())
    assert digest == store.sha256(kept.cell(CELL) / "counts.npz")


def test_a_record_is_only_there_with_the_counts_it_names(kept: Store) -> None:
    digest = kept.write_counts(CELL, ["a"], np.ones((1, 2, 2)))
    kept.write(replace(RECORD, counts_hash=digest))
    whole = kept.read(CELL)
    kept.write_counts(CELL, ["a"], np.zeros((1, 2, 2)))
    other = kept.read(CELL)
    (kept.cell(CELL) / "counts.npz").unlink()

    assert digest == (whole and whole.counts_hash)
    assert other is None
    assert kept.read(CELL) is None


def test_what_was_never_written_is_none(kept: Store) -> None:
    assert kept.read(CELL) is None
    assert [] == list(store.records(kept.root))


def test_records_come_in_the_order_of_their_paths(kept: Store) -> None:
    cells = [replace(CELL, dataset=name, seed=seed) for name in ("a", "b") for seed in (0, 1)]
    for cell in reversed(cells):
        kept.write(replace(RECORD, cell=cell))

    assert cells == [record.cell for record in store.records(kept.root)]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_midway_leaves_the_old_file_and_no_part(
    step: str, kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write(RECORD)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
    with pytest.raises(StoreError, match=r"Cannot write .*record\.json: Input/output error") as caught:
        kept.write(replace(RECORD, lr=0.5))

    assert one_line(caught.value)
    assert RECORD == kept.read(CELL)
    assert ["record.json"] == files(kept.root)


def test_a_killed_write_leaves_the_old_file(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write(RECORD)

    def kill(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        kept.write(replace(RECORD, lr=0.5))

    assert RECORD == kept.read(CELL)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_said_to_be_full(number: int, kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFull, match=r"No room is left to write .*record\.json") as caught:
        kept.write(RECORD)

    assert 1 == caught.value.exit_code
    assert [] == files(kept.root)


@pytest.mark.skipif(sys.platform == "win32", reason="limits are of POSIX")
def test_a_real_limit_on_file_sizes_is_a_full_disk_and_the_old_file_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "record.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[1])

    assert done.stdout.startswith("1 No room is left to write")
    assert [("record.json", b"old")] == [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "3", '{"schema": 1}', '{"schema": 1, "status": "great"}', "\\ud800"]
)
def test_what_is_no_record_is_refused_in_one_line(content: str, kept: Store) -> None:
    store.write_bytes(kept.cell(CELL) / "record.json", content.encode())
    with pytest.raises(StoreError, match=r"record\.json") as caught:
        kept.read(CELL)

    assert one_line(caught.value)


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, None, "1"])
def test_another_schema_is_refused_and_both_are_named(schema: object, kept: Store) -> None:
    kept.write(RECORD)
    path = kept.cell(CELL) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": schema}))
    with pytest.raises(StoreError, match=f"has schema {schema}; this version of bench reads schema {SCHEMA}") as caught:
        kept.read(CELL)

    assert one_line(caught.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_inside_the_folder(name: str, kept: Store) -> None:
    cell = Cell(dataset=name, architecture=name, loss=name)
    kept.write(replace(RECORD, cell=cell))
    folder = kept.cell(cell)
    inside = [folder, kept.tuning(cell), kept.examples(name, 0)]

    assert all(path.resolve().is_relative_to(kept.root.resolve()) for path in inside)
    assert 5 == len(folder.relative_to(kept.root).parts)
    assert cell == next(store.records(kept.root)).cell


def test_hostile_names_do_not_collide() -> None:
    assert len(HOSTILE) == len({store.escape(name) for name in HOSTILE})


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_two_names_never_share_a_folder(one: str, other: str) -> None:
    found = store.escape(one)

    assert (one == other) == (found == store.escape(other))
    assert len(found.encode()) <= 120
    assert found.isascii()
    assert found not in (".", "..")
    assert not set(found) & set('/\\:*?"<>|\0\n ')


@pytest.mark.parametrize("name", ["unet[encoder=resnet18,depth=4]", "dice+ce", "tu-resnet10t", "a_b.c"])
def test_a_plain_name_is_its_own_folder(name: str) -> None:
    assert name == store.escape(name)


def damage(path: Path, how: str) -> None:
    """Spoil a file of arrays in one of the ways files are spoiled."""
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "an object array":
        np.savez(path, ids=np.array([{"a": 1}], dtype=object), counts=np.ones(1))
    elif how == "no zip":
        np.save(path.with_suffix(".npy"), np.ones(3))
        path.with_suffix(".npy").rename(path)
    elif how == "other arrays":
        np.savez(path, x=np.ones(3))
    else:
        half = len(data) // 2
        path.write_bytes(
            {"cut": data[:half], "empty": b"", "text": b"hello", "flipped": data[:60] + b"\xff" * 30 + data[90:]}[how]
        )


@pytest.mark.parametrize(
    "how", ["gone", "cut", "empty", "text", "flipped", "an object array", "no zip", "other arrays"]
)
def test_damaged_counts_are_refused_in_one_line(how: str, kept: Store) -> None:
    kept.write_counts(CELL, [str(at) for at in range(50)], np.random.default_rng(0).integers(0, 99, (50, 3, 3)))
    damage(kept.cell(CELL) / "counts.npz", how)
    with pytest.raises(StoreError, match=r"counts\.npz .*Run the study again") as caught:
        kept.counts(CELL)

    assert one_line(caught.value)


def test_object_arrays_are_not_written_either(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="x would have to be pickled"):
        store.write_arrays(tmp_path / "x.npz", x=np.array([{}], dtype=object))

    assert [] == files(tmp_path)


def test_room_is_checked_and_the_folder_made(tmp_path: Path) -> None:
    store.check_room(tmp_path / "new" / "folder", 1)

    assert (tmp_path / "new" / "folder").is_dir()


def test_too_little_room_is_said_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"MiB free; 1125899906842624 MiB are needed"):
        store.check_room(tmp_path, 2**70)


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError, match="cannot be made: File exists"):
        store.check_room(tmp_path / "x")
    with pytest.raises(StoreError, match="Cannot write"):
        store.write_bytes(tmp_path / "x" / "y", b"")


def test_a_folder_without_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(StoreError, match="cannot be written to"):
        store.check_room(tmp_path)


def test_arrays_are_stored_under_their_names_alone_and_objects_are_refused(tmp_path: Path):
    from bench.store import read_arrays, write_arrays

    write_arrays(tmp_path / "a.npz", numbers=np.arange(3), names=np.array(["a", "b"]))

    assert {"numbers", "names"} == set(read_arrays(tmp_path / "a.npz"))
    with pytest.raises(TypeError, match="things would have to be pickled"):
        write_arrays(tmp_path / "b.npz", things=np.array([{}, []], dtype=object))
