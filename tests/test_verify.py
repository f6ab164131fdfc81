"""A results folder against its own matrices: whatever is changed by hand is found, and named."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import plan, recompute, report, study, verify
from bench.errors import StudyError
from bench.prepare import prepare
from bench.specs import Cell
from bench.split import SPLIT_VERSION
from bench.store import Store, seal, write_arrays, write_bytes
from tests import exported, synthetic
from tests.commands import call

pytestmark = pytest.mark.usefixtures("undrawn")

FIRST, SECOND = synthetic.cell(synthetic.FINE, "ce"), synthetic.cell(synthetic.WEAK, "ce")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with all the files that a run leaves, and its leaderboard."""
    return exported.complete(tmp_path_factory.mktemp("results"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "synthetic"))


def findings(folder: Path, data_home: Path | None = None) -> dict[str, str]:
    """What is found, by path."""
    found = verify.verify(folder, data_home or folder / "nowhere").findings
    return {one.path: one.what for one in found}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit(folder: Path, cell: Cell, *, sealed: bool = False, **values: object) -> None:
    """Change fields of a record; whoever does it well seals it again."""
    path = Store(folder).cell(cell) / "record.json"
    fields = json.loads(path.read_text()) | values
    path.write_text(json.dumps(fields | ({"seal": seal(fields)} if sealed else {})))


def place(folder: Path, cell: Cell, name: str) -> str:
    """The path of a file of a cell as findings tell it."""
    return (Store(folder).cell(cell) / name).relative_to(folder).as_posix()


def test_a_folder_that_nobody_touched_has_no_finding(original: Path):
    found = verify.verify(original, original / "nowhere")
    numbers = sum(len(row["metrics"]) for row in json.loads((original / "leaderboard.json").read_text()))

    assert [] == found.findings
    assert {"records": 6, "matrices": 48, "numbers": numbers} == {
        name: found.checked[name] for name in ("records", "matrices", "numbers")
    }


def test_the_command_says_that_all_is_well_and_ends_with_0(original: Path):
    code, out, _ = call("verify", original, "--data-home", original / "nowhere")

    assert 0 == code
    assert "All is well: " in out


def test_one_digit_of_the_csv_is_found_with_its_cell_and_column(folder: Path):
    path = folder / "leaderboard.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    value = next(row["miou_d_fg"] for row in rows if (row["architecture"], row["loss"]) == (synthetic.WEAK, "ce"))
    wrong = value[:5] + str((int(value[5]) + 1) % 10) + value[6:]
    change(path, value, wrong)

    what = findings(folder)["leaderboard.csv"]
    assert f"{SECOND.key}: miou_d_fg is '{wrong}', the records give '{value}'." == what


def test_one_digit_of_the_json_the_markdown_and_the_page_is_found(folder: Path):
    value = json.loads((folder / "leaderboard.json").read_text())[0]["metrics"]["pixel_acc"]
    change(folder / "leaderboard.json", str(value), str(value + 0.001))
    change(folder / "leaderboard.md", f"| {value:.4f} |", f"| {value + 0.001:.4f} |")
    change(folder / "index.html", f">{value:.3f}<", f">{value + 0.001:.3f}<")

    found = findings(folder)
    assert {"leaderboard.json", "leaderboard.md", "index.html"} == set(found)
    assert "pixel_acc is" in found["leaderboard.json"]
    assert f"says 'leaderboard: {value + 0.001:.3f}'" in found["index.html"]


@pytest.mark.parametrize(
    ("true", "forged"), [('data-status="failed"', 'data-status="ok"'), ("mdice_d_fg: ", "mdice_d_fg, the better one: ")]
)
def test_what_the_page_filters_by_or_tells_on_hover_is_compared(folder: Path, true: str, forged: str):
    change(folder / "index.html", true, forged)

    assert ["index.html"] == list(findings(folder))


def test_a_page_that_was_left_refreshing_itself_is_no_forgery(folder: Path):
    report.publish(report.collect(folder), refresh=15)

    assert "data-refresh" in (folder / "index.html").read_text(encoding="utf-8")
    assert {} == findings(folder)


def test_a_row_that_is_left_out_or_made_up_is_found(folder: Path):
    path = folder / "leaderboard.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([*rows[1:], {**rows[0], "architecture": "marvel"}]))

    found = [one.what for one in verify.verify(folder, folder).findings]
    assert ["smear/otsu/-/f0-s0: has no row.", "smear/marvel/-/f0-s0: is no cell of the study."] == found


def test_one_count_is_found_by_the_hash(folder: Path):
    ids, counts = Store(folder).counts(FIRST)
    counts[3, 1, 1] += 1
    Store(folder).write_counts(FIRST, ids, counts)

    found = findings(folder)
    assert "its record names" in found[place(folder, FIRST, "counts.npz")]
    assert {place(folder, FIRST, "counts.npz")} == set(found)


def test_a_count_whose_hash_was_forged_is_found_by_the_other_cells(folder: Path):
    ids, counts = Store(folder).counts(FIRST)
    counts[3, 1, 1] += 1
    edit(folder, FIRST, sealed=True, counts_hash=Store(folder).write_counts(FIRST, ids, counts))

    assert "other true pixels" in findings(folder)[place(folder, FIRST, "counts.npz")]


def test_a_forged_count_that_keeps_the_true_pixels_is_found_by_the_published_numbers(folder: Path):
    ids, counts = Store(folder).counts(FIRST)
    counts[3, 1, 1], counts[3, 1, 0] = counts[3, 1, 1] + counts[3, 1, 0], 0
    edit(folder, FIRST, sealed=True, counts_hash=Store(folder).write_counts(FIRST, ids, counts))

    written = {
        "leaderboard.csv",
        "leaderboard.json",
        "leaderboard.md",
        "leaderboard.tex",
        "statistics.json",
        "index.html",
    }

    assert written == set(findings(folder)) - {"leaderboard.parquet"}


def test_two_cells_whose_counts_were_swapped_are_both_named(folder: Path):
    paths = [Store(folder).cell(cell) / "counts.npz" for cell in (FIRST, SECOND)]
    one, other = (path.read_bytes() for path in paths)
    paths[0].write_bytes(other)
    paths[1].write_bytes(one)

    assert {path.relative_to(folder).as_posix() for path in paths} == set(findings(folder))


@pytest.mark.parametrize(
    "values",
    [{"params": 5}, {"lr": 0.1}, {"seconds": {"train": 1.0}}, {"finished": ""}],
    ids=lambda values: str(values),
)
def test_a_changed_field_of_a_record_is_found_by_its_seal(folder: Path, values: dict[str, object]):
    edit(folder, FIRST, **values)

    assert "was changed after it was written" in findings(folder)[place(folder, FIRST, "record.json")]


def test_a_record_without_a_seal_is_found(folder: Path):
    path = Store(folder).cell(FIRST) / "record.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "seal"}))

    assert "has no seal" in findings(folder)[place(folder, FIRST, "record.json")]


def test_an_ingredient_that_does_not_fit_the_fingerprint_is_found(folder: Path):
    ingredients = json.loads((Store(folder).cell(FIRST) / "record.json").read_text())["ingredients"]
    edit(folder, FIRST, sealed=True, ingredients=ingredients | {"code": "other"})

    assert "its ingredients give" in findings(folder)[place(folder, FIRST, "record.json")]


def test_a_record_in_the_folder_of_another_cell_is_found(folder: Path):
    shutil.copy(Store(folder).cell(FIRST) / "record.json", Store(folder).cell(SECOND) / "record.json")

    assert "lies elsewhere" in findings(folder)[place(folder, SECOND, "record.json")]


def test_a_record_of_another_study_is_found(folder: Path):
    edit(folder, FIRST, sealed=True, study="better")

    assert "is of the study 'better', not 'synthetic'." == findings(folder)[place(folder, FIRST, "record.json")]


def test_a_record_of_another_schema_is_found_and_the_rest_is_checked_all_the_same(folder: Path):
    edit(folder, FIRST, sealed=True, schema=99)
    (Store(folder).cell(SECOND) / "weights.safetensors").write_bytes(b"others")

    found = findings(folder)
    assert "schema 99" in found[place(folder, FIRST, "record.json")]
    assert "its record names" in found[place(folder, SECOND, "weights.safetensors")]


def test_every_file_that_is_deleted_is_named(original: Path, tmp_path: Path):
    names = [path.relative_to(original).as_posix() for path in sorted(original.rglob("*")) if path.is_file()]
    names = [name for name in names if name != "leaderboard.parquet"]  # written only where pyarrow is
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    unnamed = []
    for name in names:
        cell = json.loads((copy / name).read_text())["cell"] if name.endswith("record.json") else {}
        (copy / name).unlink()
        found = verify.verify(copy, copy / "nowhere").findings
        named = any(one.path == name for one in found)
        missed = bool(cell) and any(f"{cell['architecture']}/{cell['loss']}/" in one.what for one in found)
        unnamed += [] if named or missed else [name]
        shutil.copy(original / name, copy / name)

    assert len(names) > 30
    assert [] == unnamed


def test_the_record_of_a_scored_cell_that_is_deleted_is_named_itself(folder: Path):
    (Store(folder).cell(FIRST) / "record.json").unlink()

    assert "is missing, though its counts are there." == findings(folder)[place(folder, FIRST, "record.json")]


def test_the_record_of_a_failed_cell_that_is_deleted_is_missed_by_the_leaderboard(folder: Path):
    cell = synthetic.cell(synthetic.WEAK, "dice+ce")
    (Store(folder).cell(cell) / "record.json").unlink()

    assert f"{cell.key}: status is 'failed', the records give 'pending'." == findings(folder)["leaderboard.csv"]


def test_a_test_image_that_is_not_in_the_split_is_found(folder: Path):
    change(Store(folder).split("smear", 0), '"image-03"', '"image-99"')

    assert "image-03 is in one of them only" in findings(folder)["splits/smear/f0.json"]


def test_training_images_that_were_exchanged_in_the_split_are_found(folder: Path):
    path = Store(folder).split("smear", 0)
    told = json.loads(path.read_text())
    told["train"][0], told["val"][0] = told["val"][0], told["train"][0]
    path.write_text(json.dumps(told))

    assert "is not the split or not the data" in findings(folder)["splits/smear/f0.json"]


def test_a_picture_in_two_splits_is_found(folder: Path):
    change(Store(folder).split("smear", 0), '"train-0"', '"image-03"')

    assert "image-03 2 times" in " ".join(one.what for one in verify.verify(folder, folder).findings)


def test_trials_and_curves_that_are_not_those_of_the_record_are_found(folder: Path):
    trials = Store(folder).tuning(FIRST) / "trials.json"
    change(trials, "0.003", "0.004")
    change(Store(folder).cell(FIRST) / "history.csv", "0.5", "0.4")

    assert {trials.relative_to(folder).as_posix(), place(folder, FIRST, "history.csv")} == set(findings(folder))


def test_pictures_that_are_damaged_are_found_and_the_numbers_are_compared_all_the_same(folder: Path):
    examples = Store(folder).examples("smear", 0)
    write_arrays(examples, ids=np.array(synthetic.IDS[:2]))
    (Store(folder).cell(FIRST) / "predictions.npz").write_bytes(b"PK")
    change(folder / "leaderboard.csv", "ok", "okay")

    found = findings(folder)
    assert "does not hold image0." == found[examples.relative_to(folder).as_posix()]
    assert "cannot be read" in found[place(folder, FIRST, "predictions.npz")]
    assert {"leaderboard.csv", "index.html"} <= set(found)


def test_a_leaderboard_under_another_profile_is_recomputed_under_that_one(folder: Path):
    report.write(folder, "image_binary")

    assert "image_binary" == recompute.profile_of(folder)
    assert {} == findings(folder)


def test_a_page_that_is_another_altogether_gives_a_few_lines_not_thousands(folder: Path):
    (folder / "leaderboard.md").write_text("\n".join(f"line {number}\n|" for number in range(3000)))
    rows = json.loads((folder / "leaderboard.json").read_text())
    (folder / "leaderboard.json").write_text(json.dumps([row | {"metrics": {}} for row in rows]))

    assert 2 * (recompute.MOST + 1) >= len(verify.verify(folder, folder).findings) > recompute.MOST


def test_the_matrices_are_held_against_the_prepared_masks(tmp_path: Path):
    name, home = "smear[size=64,test=3,train=4,val=2]", tmp_path / "home"
    prepared = prepare(name, home)
    positions = prepared.split(0, 1)
    entries = [prepared.index.entries[at] for at in positions["test"]]
    ids, classes = [entry.sample.id for entry in entries], len(prepared.classes)
    counts = np.zeros((len(ids), classes, classes), np.uint32)
    counts[:, :, 0] = [entry.pixels for entry in entries]
    wanted = replace(synthetic.STUDY, datasets=(name,))
    store = Store(tmp_path / wanted.name)
    cell = Cell(dataset=name, architecture="otsu", loss=None)
    versions = {"numpy": "2.0.0"}

    def keep(counts: np.ndarray) -> dict[str, str]:
        write_bytes(store.root / "study.toml", study.dump(wanted).encode())
        split = {"version": SPLIT_VERSION, "data": prepared.index.hash, **prepared.ids(0, 1)}
        write_bytes(store.split(name, 0), json.dumps(split).encode())
        write_arrays(store.cell(cell) / "predictions.npz", predicted0=np.zeros((8, 8), np.uint8))
        pictures = {"image0": np.zeros((8, 8, 3), np.uint8), "truth0": np.zeros((8, 8), np.uint8)}
        write_arrays(store.examples(name, 0), ids=np.array(ids[:1]), **pictures)
        ingredients = plan.ingredients(cell, wanted, data=prepared.hash(0, 1), code="", versions=versions)
        found = synthetic.record(cell, data=prepared.card(positions), counts_hash=store.write_counts(cell, ids, counts))
        store.write(replace(found, ingredients=ingredients, fingerprint=plan.digest(ingredients)))
        return {path: what for path, what in findings(store.root, home).items() if path.startswith(("cells", "splits"))}

    assert {} == keep(counts)
    counts[1, 0, 0] -= 1
    assert f"pixels in {ids[1]}, of which the mask has" in keep(counts)[place(store.root, cell, "counts.npz")]


def test_findings_are_lines_with_a_path_and_what_to_do_and_the_exit_code_is_1(folder: Path):
    (Store(folder).cell(FIRST) / "weights.safetensors").unlink()
    code, out, _ = call("verify", folder, "--data-home", folder / "nowhere")

    assert 1 == code
    path = place(folder, FIRST, "weights.safetensors")
    assert f"{path}: is missing. Run the study again to write it anew." in out.splitlines()
    assert "1 finding:" in out


def test_the_json_form_has_a_schema_and_the_findings(folder: Path):
    (folder / "leaderboard.md").unlink()
    code, out, _ = call("verify", folder, "--format", "json", "--data-home", folder / "nowhere")
    told = json.loads(out)

    assert (1, 1) == (code, told["schema"])
    assert [{"path": "leaderboard.md", "what": "is missing.", "fix": told["findings"][0]["fix"]}] == told["findings"]


def test_a_folder_without_its_study_is_looked_at_and_no_folder_is_an_error(folder: Path):
    (folder / "study.toml").unlink()

    assert "is missing." == findings(verify.find(str(folder), Path("results")))["study.toml"]
    with pytest.raises(StudyError, match="Neither nowhere nor"):
        verify.find("nowhere", Path("results"))
    assert 2 == call("verify", "nowhere")[0]
