"""An export: what is in it and what is not, the same elsewhere, and whatever was done to it on the way is found."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from bench import formats, packing, plan, privacy, report, runner, sealing, study, unpacking, verify
from bench import manifest as manifests
from bench.errors import NameUnknown, StoreError, StudyError
from bench.packing import Choice
from bench.records import Failure, Record, Status
from bench.store import Store, read_record, records, sha256, write_bytes
from tests import exported, small, synthetic
from tests.commands import call

pytestmark = pytest.mark.usefixtures("undrawn")

DOCS = Path(__file__).resolve().parents[1] / "docs"
FINE = synthetic.cell(synthetic.FINE, "ce")
ENDINGS = pytest.mark.parametrize("ending", [".zip", ".tar.gz"])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = exported.complete(tmp_path_factory.mktemp("results"))
    for name in (".lock", ".run-1-ab.lock", "executions/fpn/abc.json", "cells/smear/fpn/ce/f0-s0/log.txt"):
        write_bytes(folder / name, str(folder).encode())
    cell = Store(folder).cell(FINE)
    write_bytes(cell / "training" / "strip.png", b"pictures of a data set")
    write_bytes(cell / "training" / "film" / "1-0001.npz", b"pictures of a data set")
    shutil.copytree(cell, folder / "earlier" / "20260101T000000Z" / cell.relative_to(folder))
    write_bytes(Store(folder).tuning(FINE) / "journal", b'{"op_code": 0}\n')
    write_bytes(Store(folder).tuning(FINE) / "checkpoint.safetensors", b"unfinished")
    return folder


@pytest.fixture(scope="module")
def packed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Its export in both forms."""
    where = tmp_path_factory.mktemp("packed")
    return {ending: exported.exported(original, where / f"away{ending}") for ending in (".zip", ".tar.gz")}


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "results" / "synthetic"))


def changed(packed: dict[str, Path], name: str, content: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """The files of an export, one of them changed."""
    files = exported.members(packed[".zip"])
    return {key: content(value) if key == f"synthetic/{name}" else value for key, value in files.items()}


def test_an_export_holds_results_and_nothing_unfinished_or_of_this_machine(packed: dict[str, Path]):
    names = {name.removeprefix("synthetic/") for name in exported.members(packed[".zip"])}
    cell = "cells/smear/unet[encoder=resnet18]/ce/f0-s0"

    assert {f"{cell}/{name}" for name in ("record.json", "counts.npz", "history.csv", "predictions.npz")} <= names
    tuning = "tuning/smear/unet[encoder=resnet18]/ce/f0"
    assert {"study.toml", "index.html", "splits/smear/f0.json", f"{tuning}/trials.json", f"{tuning}/journal"} <= names
    for word in (".lock", "log.txt", "executions", "checkpoint", "weights.safetensors", "training/", "earlier/"):
        assert [] == [name for name in names if word in name]


def test_the_manifest_says_size_and_hash_of_every_file_and_what_was_left_out(packed: dict[str, Path]):
    files = exported.members(packed[".zip"])
    first, content = next(iter(files.items()))
    found = manifests.parse(content, "here")

    assert "synthetic/manifest.json" == first
    own = {f"synthetic/{one.path}": (one.size, one.sha256) for one in found.files}
    told = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    assert {name for name in files if name.endswith(("/manifest.json", "/SHA256SUMS"))} == told.keys() - own.keys()
    assert own.items() <= told.items()
    assert 3 == sum(name.endswith("weights.safetensors") for name in found.left_out)
    assert [("smear", "89ab", "CC0", True)] == [(one.name, one.hash, one.licence, one.pictures) for one in found.data]
    assert sorted(one.cell.key for one in records_of(files)) == [one.cell for one in found.cells]


def records_of(files: dict[str, bytes]) -> list[Record]:
    import pydantic

    adapter = pydantic.TypeAdapter(Record)
    return [
        adapter.validate_python({key: value for key, value in json.loads(data).items() if key != "seal"})
        for name, data in files.items()
        if name.endswith("record.json")
    ]


@ENDINGS
def test_the_same_folder_gives_the_same_bytes(ending: str, packed: dict[str, Path], folder: Path, tmp_path: Path):
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))  # another copy, of other times

    again = exported.exported(folder, tmp_path / f"again{ending}")

    assert sha256(packed[ending]) == sha256(again)


def test_no_file_tells_where_anything_lies_on_this_machine(packed: dict[str, Path], original: Path):
    for name, content in exported.members(packed[".zip"]).items():
        for place in (original.parent, Path.home(), Path(sys.prefix)):
            assert f"{place}/".encode() not in content, name


def test_sha256sum_finds_every_file_right(packed: dict[str, Path], tmp_path: Path):
    with zipfile.ZipFile(packed[".zip"]) as archive:
        archive.extractall(tmp_path)
    command = ["sha256sum", "-c", "--strict", "SHA256SUMS"]

    found = subprocess.run(command, cwd=tmp_path / "synthetic", capture_output=True, text=True, check=False)

    assert (0, "") == (found.returncode, found.stderr)
    listed = {line.rpartition(": ")[0] for line in found.stdout.splitlines()}
    below = (path for path in (tmp_path / "synthetic").rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    assert {path.relative_to(tmp_path / "synthetic").as_posix() for path in below} == listed


@ENDINGS
def test_another_machine_sees_the_same_leaderboard_and_finds_all_well(
    ending: str, packed: dict[str, Path], original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copy(packed[ending], tmp_path)

    checked, reported = call("verify", f"away{ending}"), call("report", f"away{ending}")

    assert (0, 0) == (checked[0], reported[0]), checked[1] + reported[2]
    assert "All is well" in checked[1]
    assert "checksums" in checked[1]
    for name in ("leaderboard.csv", "leaderboard.json", "statistics.json", "index.html"):
        assert (original / name).read_bytes() == (tmp_path / "away" / name).read_bytes(), name
    assert [f"away{ending}", "away"] == sorted((one.name for one in tmp_path.iterdir()), key=len, reverse=True)


def test_a_folder_unzipped_by_hand_is_a_results_folder(packed: dict[str, Path], tmp_path: Path):
    with zipfile.ZipFile(packed[".zip"]) as archive:
        archive.extractall(tmp_path / "results")

    found = verify.verify(tmp_path / "results" / "synthetic", tmp_path / "data")

    assert [] == found.findings
    assert any("left out" in note for note in found.notes)
    assert 0 == call("report", "synthetic", "--results", tmp_path / "results")[0]


def test_a_file_that_was_not_left_out_is_missed(packed: dict[str, Path], tmp_path: Path):
    folder = unpacking.beside(packed[".zip"], tmp_path / "away")
    (Store(folder).cell(FINE) / "history.csv").unlink()

    assert ["is missing."] == [one.what for one in verify.verify(folder, tmp_path).findings]


def test_an_export_stands_on_one_page_with_local_results(packed: dict[str, Path], folder: Path, tmp_path: Path):
    archive = shutil.copy(packed[".zip"], tmp_path / "away.zip")

    code, out, err = call("report", archive, folder, "--to", tmp_path / "both")

    assert (0, "") == (code, err)
    assert "confirm" in out
    assert (tmp_path / "both" / "index.html").is_file()


def test_compare_status_and_their_cells_read_exports(packed: dict[str, Path], tmp_path: Path):
    both = packed[".zip"], packed[".tar.gz"]

    code, out, _ = call("compare", *both, "--format", "json")
    one = call("compare", f"{both[0]}:{FINE.key}", f"{both[1]}:{FINE.key}", "--format", "json")

    found = json.loads(out)
    assert (0, [str(path) for path in both]) == (code, [found["a"], found["b"]])
    assert {"identical"} == {pair["verdict"] for pair in found["pairs"] if pair["reason"] is None}
    assert (0, 1) == (one[0], len(json.loads(one[1])["pairs"]))


def test_weights_go_along_when_they_are_asked_for(original: Path, tmp_path: Path):
    archive = exported.exported(original, tmp_path / "heavy.zip", Choice(weights=True))
    folder = unpacking.beside(archive)

    name = Store(original).cell(FINE).relative_to(original) / "weights.safetensors"
    assert (original / name).read_bytes() == (folder / name).read_bytes()
    assert {True: 3, False: 3} == weighted(folder)


def weighted(folder: Path) -> dict[bool, int]:
    found = [one.weights for one in manifests.parse((folder / "manifest.json").read_bytes(), "here").cells]
    return {answer: found.count(answer) for answer in (True, False)}


def test_an_export_without_weights_says_so_to_whoever_wants_to_use_them(packed: dict[str, Path], tmp_path: Path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    words = (FINE.key, "--study", packed[".zip"], "--force")

    predicted = call("predict", *words, tmp_path / "a.png", "--to", tmp_path / "out")
    converted = call("convert", *words, "--to", tmp_path / "a.safetensors")
    shared = call("share", "me/x", packed[".zip"], "--cell", FINE.key, "--dry-run", "--to", tmp_path / "share")

    assert [2, 2, 2] == [predicted[0], converted[0], shared[0]]
    line = f"Error: {FINE.key} was exported without its weights. Get the export with them: bench export --weights.\n"
    assert (line, line) == (predicted[2], converted[2])
    assert f"Error: {FINE.key} was exported without its weights.safetensors. Share it" in shared[2]
    assert ["a.png"] == [path.name for path in tmp_path.iterdir()]


def test_the_export_of_an_export_still_says_what_was_left_out(packed: dict[str, Path], tmp_path: Path):
    first = unpacking.beside(packed[".zip"], tmp_path / "first")
    second = unpacking.beside(exported.exported(first, tmp_path / "second.zip"))

    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()
    assert [] == verify.verify(second, tmp_path).findings


def test_one_cell_alone_makes_a_study_of_one_cell(original: Path, tmp_path: Path):
    archive = exported.exported(original, tmp_path / "one.zip", Choice(cells=(FINE.key.rpartition("/")[0],)))
    folder = unpacking.beside(archive)

    own = study.load(str(folder / "study.toml"))
    assert [FINE] == [record.cell for record in records(folder)]
    assert (("smear",), (FINE.architecture,), ("ce",), ()) == (
        own.datasets,
        own.architectures,
        own.losses,
        own.baselines,
    )
    assert [] == verify.verify(folder, tmp_path).findings


def test_an_unknown_cell_is_told_with_the_nearest(original: Path, tmp_path: Path):
    with pytest.raises(NameUnknown, match=r"Did you mean smear/unet"):
        packing.stage(original, tmp_path / "x", Choice(cells=("smear/unet[encoder=resnet18]/c/f0-s0",)))


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("MIT, like the code that draws it", True),
        ("MIT as stated by the archive; listed elsewhere as CC BY-NC-SA 3.0", True),
        ("CC0", True),
        ("CC BY-NC-SA 4.0", True),
        ("CC BY-NC-ND 4.0", False),
        ("Free for research and education, no redistribution, to be obtained from the author's site", False),
        ("Not stated by the archive", False),
        ("none stated; ask the author before passing pictures on", False),
        ("that of the crops", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_a_licence_lets_pictures_go_or_not(licence: str, free: bool):
    assert free == privacy.may_pass_on(licence)


def test_pictures_of_data_that_may_not_be_passed_on_stay_here_unless_asked_for(tmp_path: Path):
    def forbidden(record: Record) -> Record:
        return replace(record, data=replace(record.data, licence="no redistribution"))

    folder, lines = exported.complete(tmp_path / "results", forbidden), []
    packing.stage(folder, tmp_path / "without", Choice(), lines.append)
    packing.stage(folder, tmp_path / "with", Choice(pictures=True), lines.append)

    assert ["examples/smear/f0.npz"] == [path.relative_to(folder).as_posix() for path in folder.glob("examples/*/*")]
    without, others = ({path.name for path in (tmp_path / name).rglob("*")} for name in ("without", "with"))
    assert ({"examples", "predictions.npz", "pictures"}, set()) == (
        (others - without) & {"examples", "predictions.npz", "pictures"},
        without - others,
    )
    assert "data:image" not in (tmp_path / "without" / "index.html").read_text()
    assert "data:image" in (tmp_path / "with" / "index.html").read_text()
    assert 1 == len(lines)
    assert "no redistribution" in lines[0]
    assert [] == verify.verify(tmp_path / "without", tmp_path).findings


@pytest.mark.parametrize(("pictures", "same"), [(True, True), (False, True), (True, False)])
def test_what_a_single_cell_left_for_people_goes_with_its_pictures(*, pictures: bool, same: bool, tmp_path: Path):
    folder = exported.complete(tmp_path / "results")
    record = next(one for one in records(folder) if one.cell == FINE)
    training = Store(folder).cell(FINE) / "training"
    told = {"fingerprint": record.fingerprint if same else "of another"}
    write_bytes(training / "about.json", json.dumps(told).encode())
    for name in ("epochs.csv", "curves.svg", "curves.png", "strip.png", "film/watched.npz"):
        write_bytes(training / name, name.encode())
    write_bytes(folder / "earlier" / "20260101T000000Z" / "cells" / "a", b"")
    staged = tmp_path / "staged"
    packing.stage(folder, staged, Choice(pictures=pictures))

    found = {path.name for path in (Store(staged).cell(FINE) / "training").glob("*")}
    assert (
        {"about.json", "epochs.csv", "curves.svg", "curves.png", "strip.png"} if pictures and same else set()
    ) == found
    assert not (staged / "earlier").exists()
    assert [] == verify.verify(staged, tmp_path).findings
    again = tmp_path / "again"
    packing.stage(staged, again, Choice(pictures=pictures))
    assert (staged / "manifest.json").read_bytes() == (again / "manifest.json").read_bytes()


def test_paths_of_this_machine_are_shortened_where_no_fingerprint_hangs_on_them(tmp_path: Path):
    private = "/home/somebody/private/cells"

    def told(record: Record) -> Record:
        error = record.error and Failure(phase="train", kind="OSError", message=f"cannot read '{private}/a.png'")
        return replace(record, cell=replace(record.cell, dataset=private), error=error)

    folder = exported.complete(tmp_path / "results", told)
    own = replace(study.load(str(folder / "study.toml")), datasets=(private,))
    write_bytes(folder / "study.toml", study.dump(own).encode())
    for kind in ("splits", "examples", "tuning"):
        shutil.move(folder / kind / "smear", folder / kind / "%2Fhome%2Fsomebody%2Fprivate%2Fcells")
    for path in sorted((folder / "cells" / "smear").glob("*/*/*/*")):  # the files beside the records
        there = folder / "cells" / "%2Fhome%2Fsomebody%2Fprivate%2Fcells" / path.relative_to(folder / "cells" / "smear")
        if path.name != "record.json":
            shutil.copy(path, there)
    shutil.rmtree(folder / "cells" / "smear")

    archive = exported.exported(folder, tmp_path / "away.zip")

    for name, content in exported.members(archive).items():
        assert "somebody" not in name
        assert b"somebody" not in content, name
    assert "cannot read './a.png'" in {one.error.message for one in records_of(exported.members(archive)) if one.error}
    away = unpacking.beside(archive)
    assert [] == verify.verify(away, tmp_path).findings
    before = {one.cell.architecture + str(one.cell.loss): one.fingerprint for one in records(folder)}
    assert before == {one.cell.architecture + str(one.cell.loss): one.fingerprint for one in records(away)}
    values = [[row.values for row in report.collect(one).rows] for one in (folder, away)]
    assert values[0] == values[1]


def test_a_path_that_a_fingerprint_hangs_on_is_refused_unless_allowed(tmp_path: Path):
    def started(record: Record) -> Record:
        made = {**record.ingredients, "weights": {"source": "/home/somebody/w.safetensors", "sha256": "ab"}}
        return replace(record, ingredients=made, fingerprint=plan.digest(made))

    folder = exported.complete(tmp_path / "results", started)

    with pytest.raises(StudyError, match=r"/home/somebody/w\.safetensors.*--allow-paths"):
        packing.stage(folder, tmp_path / "no", Choice())
    packing.stage(folder, tmp_path / "yes", Choice(paths=True))
    assert (tmp_path / "yes" / "manifest.json").is_file()


def test_a_file_that_names_a_folder_of_this_machine_is_refused(folder: Path, tmp_path: Path):
    own = replace(study.load(str(folder / "study.toml")), title=f"from {folder.parent}/raw")
    write_bytes(folder / "study.toml", study.dump(own).encode())

    with pytest.raises(StudyError, match=r"would be published"):
        packing.stage(folder, tmp_path / "no", Choice())


def test_results_that_are_not_what_their_records_name_are_not_shared(folder: Path, tmp_path: Path):
    path = Store(folder).cell(FINE) / "counts.npz"
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(StoreError, match=r"counts\.npz is missing or not the file its record names"):
        packing.stage(folder, tmp_path / "no", Choice())


def test_a_folder_that_is_written_to_meanwhile_is_packed_as_of_one_moment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    late, held = synthetic.cell(synthetic.BARE, "dice+ce"), packing._code
    card = read_record(Store(folder).cell(FINE) / "record.json")
    arrived = replace(card, cell=late, status=Status.FAILED, counts_hash=None, weights_hash=None, trials=(), history=())
    times = iter([lambda: Store(folder).write(arrived)])

    def interrupted(*given: object) -> None:
        next(times, lambda: None)()
        held(*given)

    monkeypatch.setattr(packing, "_code", interrupted)
    found = packing.stage(folder, tmp_path / "away", Choice())

    assert 7 == len(found.cells)
    assert late.key in {one.cell for one in found.cells}


def test_a_folder_that_never_comes_to_rest_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    states = iter(range(100))
    monkeypatch.setattr(report, "state", lambda folders: next(states))

    with pytest.raises(StoreError, match=r"was written to each of 5 times"):
        packing.stage(folder, tmp_path / "away", Choice())


@ENDINGS
def test_one_flipped_byte_anywhere_is_found_and_named_where_it_can_be(
    ending: str, packed: dict[str, Path], tmp_path: Path
):
    content, rng = packed[ending].read_bytes(), np.random.default_rng(0)
    path, before, told = tmp_path / f"bad{ending}", exported.members(packed[ending]), []
    for at in rng.integers(0, len(content), 25):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            with unpacking.unpacked(path) as folder:  # in the head of a member, as its time
                names = (name.removeprefix("synthetic/") for name in before)
                assert before == {f"synthetic/{name}": (folder / name).read_bytes() for name in names}
        except StoreError as error:
            told.append(str(error))
    assert [] == [line for line in told if str(path) not in line or "\n" in line]
    assert told


def test_a_changed_file_is_one_line_that_names_it(packed: dict[str, Path], tmp_path: Path):
    name = "cells/smear/otsu/-/f0-s0/counts.npz"
    files = changed(packed, name, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    path = exported.rezipped(tmp_path / "bad.zip", files)

    reported, checked = call("report", path), call("verify", path)

    assert (2, 1, 1) == (reported[0], reported[2].count("\n"), checked[0])
    assert name in reported[2]
    assert f"{name}: has sha256" in checked[1]
    assert "1 finding" in checked[1]
    assert [path] == list(tmp_path.iterdir())


def test_a_manifest_that_was_changed_no_longer_fits_the_sums(packed: dict[str, Path], tmp_path: Path):
    files = exported.members(packed[".zip"])
    other = files["synthetic/manifest.json"].replace(b'"study": "synthetic"', b'"study": "synthetiC"')

    with pytest.raises(StoreError, match=r"SHA256SUMS has sha256"):
        unpacking.beside(exported.rezipped(tmp_path / "a.zip", files | {"synthetic/manifest.json": other}))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "outside"),
        ("/etc/evil", "outside"),
        ("synthetic/../../evil", "outside"),
        ("synthetic\\..\\evil", "outside"),
        ("C:/evil", "outside"),
        ("synthetic/cells/extra.npz", "is not a file of its manifest"),
        ("other/study.toml", "is not a file of its manifest"),
    ],
)
@ENDINGS
def test_a_name_that_does_not_belong_there_is_refused(
    ending: str, name: str, reason: str, packed: dict[str, Path], tmp_path: Path
):
    pack = exported.rezipped if ending == ".zip" else exported.retarred
    path = pack(tmp_path / f"bad{ending}", exported.members(packed[ending]) | {name: b"x"})

    with pytest.raises(StoreError, match=reason):
        unpacking.beside(path)
    assert [path] == [one for one in tmp_path.rglob("*") if one.is_file()]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_a_manifest_that_names_something_outside_is_refused(name: str, packed: dict[str, Path], tmp_path: Path):
    files = exported.members(packed[".zip"])
    told = json.loads(files["synthetic/manifest.json"])
    told["files"][0]["path"] = name

    with pytest.raises(StoreError, match="outside"):
        unpacking.beside(
            exported.rezipped(tmp_path / "a.zip", files | {"synthetic/manifest.json": json.dumps(told).encode()})
        )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("study.toml", "names a file twice, or itself"),
        ("manifest.json", "names a file twice, or itself"),
        ("SHA256SUMS", "names a file twice, or itself"),
        (".//study.toml", "which bench does not write"),
        ("./manifest.json", "which bench does not write"),
        ("a/./b", "which bench does not write"),
        ("red\x1b[31m", "which bench does not write"),
        ("two\nlines", "which bench does not write"),
        ("turned\u202e", "which bench does not write"),
    ],
)
@ENDINGS
def test_a_manifest_that_names_a_file_in_two_ways_is_refused(
    ending: str, name: str, reason: str, packed: dict[str, Path], tmp_path: Path
):
    files = exported.members(packed[".zip"])
    told = json.loads(files["synthetic/manifest.json"])
    told["files"].append({"path": name, "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()})
    text = json.dumps(told).encode()
    sums = manifests.sums(manifests.parse(text, "here").files, hashlib.sha256(text).hexdigest())
    own = {"synthetic/manifest.json": text, "synthetic/SHA256SUMS": sums}
    pack = exported.rezipped if ending == ".zip" else exported.retarred
    path = pack(tmp_path / f"a{ending}", files | {f"synthetic/{name}": b"abc"} | own)

    with pytest.raises(StoreError, match=reason) as raised:
        unpacking.beside(path)
    assert str(raised.value).isprintable()
    assert [path] == list(tmp_path.iterdir())


def test_names_that_are_one_to_the_file_system_are_not_written_over_each_other(
    packed: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files, held = exported.members(packed[".zip"]), Path.open

    def one_case(path: Path, mode: str = "r", *rest: object) -> object:
        return held(path.with_name(path.name.casefold()) if "x" in mode else path, mode, *rest)

    monkeypatch.setattr(Path, "open", one_case)
    told = json.loads(files["synthetic/manifest.json"])
    told["files"].append({"path": "STUDY.toml", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()})
    own = {"synthetic/manifest.json": json.dumps(told).encode(), "synthetic/STUDY.toml": b"abc"}

    broken = unpacking.extract(exported.rezipped(tmp_path / "a.zip", files | own), tmp_path / "out")

    assert "stands there twice" in {one.path: one.what for one in broken}["STUDY.toml"]


def test_a_manifest_of_many_cells_is_read(tmp_path: Path):
    (tmp_path / "long").mkdir()
    names = [f"cells/{number:0100}/weights.safetensors" for number in range(150_000)]
    found = manifests.Manifest(
        schema=1, format=manifests.FORMAT, bench="1", study="long", finished="", cells=[], data=[], code=[],
        shortened=[], left_out=names, files=[],
    )  # fmt: skip
    sealing.write_manifest(tmp_path / "long", found)
    sealing.pack(tmp_path / "long", tmp_path / "long.tar.gz", "long")

    assert 2**24 < (tmp_path / "long" / "manifest.json").stat().st_size < unpacking.LISTED
    assert [] == unpacking.extract(tmp_path / "long.tar.gz", tmp_path / "out")


def test_links_are_refused(packed: dict[str, Path], tmp_path: Path):
    files = exported.members(packed[".zip"]) | {"synthetic/link": b"/etc/passwd"}

    with pytest.raises(StoreError, match="link"):
        unpacking.beside(exported.rezipped(tmp_path / "a.zip", files, kind=0o120777))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        with pytest.raises(StoreError, match="link"):
            unpacking.beside(exported.retarred(tmp_path / "a.tar.gz", files, kind=kind))


@ENDINGS
def test_a_bomb_is_refused_before_it_is_unpacked(ending: str, packed: dict[str, Path], tmp_path: Path):
    files = exported.members(packed[".zip"])
    told = json.loads(files["synthetic/manifest.json"])
    bomb = bytes(2**26)
    told["files"].append({"path": "zz", "size": len(bomb), "sha256": hashlib.sha256(bomb).hexdigest()})
    pack = exported.rezipped if ending == ".zip" else exported.retarred
    told = {"synthetic/manifest.json": json.dumps(told).encode()}

    with pytest.raises(StoreError, match="a bomb"):
        unpacking.beside(pack(tmp_path / f"a{ending}", told | {"synthetic/zz": bomb}))


def test_a_tar_whose_head_asks_for_all_memory_is_damaged(tmp_path: Path):
    info = tarfile.TarInfo("synthetic/manifest.json")
    info.type, info.size = tarfile.XHDTYPE, 2**32
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(2048)))

    with pytest.raises(StoreError, match="is not an export of bench"):
        unpacking.beside(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x1f\x8b", b"hello"])
@ENDINGS
def test_what_is_no_archive_is_told_in_one_line(ending: str, content: bytes, tmp_path: Path):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)

    code, _, err = call("verify", path)

    assert (2, 1) == (code, err.count("\n"))
    assert "is not an export of bench" in err


def test_a_zip_of_something_else_is_no_export(tmp_path: Path):
    path = exported.rezipped(tmp_path / "a.zip", {"results/study.toml": b""})

    with pytest.raises(StoreError, match=r"does not begin with its manifest\.json"):
        unpacking.beside(path)


def test_a_manifest_of_a_later_version_is_told(packed: dict[str, Path], tmp_path: Path):
    files = changed(packed, "manifest.json", lambda data: data.replace(b'"schema": 1', b'"schema": 2'))

    with pytest.raises(StoreError, match=r"version 2; this version of bench reads 1"):
        unpacking.beside(exported.rezipped(tmp_path / "a.zip", files))


def test_an_export_is_not_unpacked_over_something_else(packed: dict[str, Path], tmp_path: Path):
    archive = Path(shutil.copy(packed[".zip"], tmp_path / "away.zip"))
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "notes.txt").write_text("mine")

    code, _, err = call("report", archive)

    assert (2, True) == (code, "which holds something else" in err)
    assert ["notes.txt"] == [one.name for one in (tmp_path / "away").iterdir()]
    assert 0 == call("report", archive, "--to", tmp_path / "there")[0]
    assert (tmp_path / "there" / "index.html").is_file()


def test_a_file_that_changed_since_it_was_unpacked_is_found(packed: dict[str, Path], tmp_path: Path):
    archive = Path(shutil.copy(packed[".zip"], tmp_path / "away.zip"))
    folder = unpacking.beside(archive)
    write_bytes(Store(folder).cell(FINE) / "counts.npz", b"other")

    with pytest.raises(StoreError, match=r"counts\.npz has sha256"):
        unpacking.beside(archive)


def test_the_command_says_what_it_packed_and_replaces_nothing_unasked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    code, out, err = call("export")
    again, _, complaint = call("export")

    assert (0, "") == (code, err)
    assert "6 cells, 0 with weights" in out
    assert f"sha256 {sha256(tmp_path / 'synthetic.zip')}" in out
    assert (2, True) == (again, "synthetic.zip exists" in complaint)
    assert 0 == call("export", "--overwrite")[0]
    assert {"results", "synthetic.zip"} == {one.name for one in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["x.rar", "x", "x.zip.txt"])
def test_another_ending_is_refused(name: str, folder: Path, tmp_path: Path):
    code, _, err = call("export", folder, "--to", tmp_path / name)

    assert (2, True) == (code, "must end in .zip, .tar.gz, .tgz" in err)


def test_the_published_schema_is_the_one_the_program_writes():
    expected = json.dumps(formats.schema("manifest"), indent=1, sort_keys=True) + "\n"

    assert expected == (DOCS / "manifest.schema.json").read_text(), "write docs/manifest.schema.json anew"


def test_a_study_that_was_unzipped_elsewhere_has_nothing_left_to_run(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    wanted, here = small.study(), small.place(tmp_path / "here", data_home)
    small.execute(wanted, here)
    archive = exported.exported(here.results / "small", tmp_path / "small.zip", Choice(weights=True))
    there = small.place(tmp_path / "there", data_home)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(there.results)
        code = {name for name in opened.namelist() if "/catalog/" in name}

    again = study.load(str(there.results / "small" / "study.toml"))

    assert [] == runner.pending(runner.survey(again, there), retry_failed=False)
    assert [] == [one for one in small.execute(again, there) if one.kind == "started"]
    assert {"small/catalog/architectures/tiny.py"} == code
    assert [] == verify.verify(there.results / "small", data_home).findings
    found = manifests.parse((there.results / "small" / "manifest.json").read_bytes(), "here")
    tiny = Path(os.environ["BENCH_PATH"].split(os.pathsep)[0]) / "architectures" / "tiny.py"
    assert [("architectures", sha256(tiny))] == [(one.kind, one.sha256) for one in found.code]
    key, picture = "smear[size=64,test=4,train=6,val=3]/tiny/ce/f0-s0", tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(picture)
    predicted = call("predict", key, picture, "--study", archive, "--to", tmp_path / "out", "--device", "cpu")
    assert (0, True) == (predicted[0], (tmp_path / "out" / "picture-classes.png").is_file()), predicted[2]
    assert read_record(next((there.results / "small").glob("cells/*/tiny/*/*/record.json"))).weights_hash
    monkeypatch.setenv("BENCH_PATH", "")  # and where nobody has read its code
    checked = call("verify", archive)
    assert (0, True) == (checked[0], "index.html was not compared: what it says of tiny" in checked[1]), checked[1]


def test_the_data_frame_of_an_export_is_that_of_its_folder(packed: dict[str, Path], original: Path):
    import bench

    pandas.testing.assert_frame_equal(bench.leaderboard(original), bench.leaderboard(packed[".zip"]))
