"""`bench run cell`: the record of a matrix, everything on screen, files that grow, and a way to stop and to go on."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from bench import cli_training, courses, diary, film, filmstrip, glyphs, onecell, report, runner, unfinished
from bench import study as studies
from bench.errors import NameUnknown, StudyError
from bench.job import Event
from bench.logbook import Logbook
from bench.progress import Account
from bench.records import Epoch, Record, Status
from bench.specs import Cell, ClassSpec, Place, Study
from bench.store import Store, read_arrays, read_record
from tests import small
from tests.commands import call

NAMES = (small.SMEAR, "tiny", "ce")
CELL = Cell(dataset=small.SMEAR, architecture="tiny", loss="ce")
CLASSES = (ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(200, 30, 30)))
QUICK = ("--workers", 0, "--threads", 1, "--checkpoint-every", 1000)
STUDY = small.study(
    name="mine", tuning=replace(small.study().tuning, trials=2), budget=replace(small.study().budget, epochs=3)
)


@pytest.fixture
def bench(tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run `bench run cell` on the small study's only network, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(data_home))
    (tmp_path / "mine.toml").write_text(studies.dump(STUDY))
    return lambda *words: call("run", "cell", *NAMES, "--study", "mine.toml", *QUICK, *words)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> tuple[Path, tuple[int, str, str]]:
    """A results folder in which the cell was trained without a break, and what was said meanwhile; not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    (root / "mine.toml").write_text(studies.dump(STUDY))
    places = ("--study", root / "mine.toml", "--results", root / "results", "--data-home", data_home)
    return root / "results", call("run", "cell", *NAMES, *places, *QUICK, "--film", 2)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither curves nor page, which take longer than the training: other tests look at them."""
    monkeypatch.setattr(courses, "painted", lambda info, title: {"svg": title.encode()})
    monkeypatch.setattr(report, "publish", lambda content: Path("index.html"))


def folder(results: str | Path = "results", cell: Cell = CELL, name: str = "mine") -> Path:
    return Store(Path(results) / name).cell(cell)


def record(results: str | Path = "results", cell: Cell = CELL, name: str = "mine") -> Record:
    return read_record(folder(results, cell, name) / "record.json")


def painted(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def essence(one: Record) -> tuple[object, ...]:
    """All of a record that must repeat."""
    curve = [(epoch.epoch, epoch.loss, epoch.value) for epoch in one.history]
    return one.fingerprint, one.status, one.lr, one.best_epoch, curve, one.counts_hash, one.weights_hash


def touch_after(monkeypatch: pytest.MonkeyPatch, stop: Path, trial: int, epoch: int) -> None:
    """Somebody makes the stop file while an epoch is told."""
    before = Logbook.tell

    def tell(self: Logbook, event: Event) -> None:
        if event.epoch is not None and (event.trial, event.epoch.epoch) == (trial, epoch):
            stop.touch()  # first: drawing takes longer than many epochs
        before(self, event)

    monkeypatch.setattr(Logbook, "tell", tell)


def test_the_record_is_that_of_the_matrix_and_each_finds_what_the_other_did(
    bench, tmp_path: Path, data_home: Path, whole
):
    where = small.place(tmp_path / "matrix", data_home)
    small.execute(STUDY, where)
    results, (code, _, err) = whole

    theirs, ours = small.stored(STUDY, where)[CELL.key], record(results)
    assert (0, "") == (code, err)
    assert essence(theirs) == essence(ours)
    assert (results / "mine/study.toml").read_bytes() == (where.results / "mine/study.toml").read_bytes()
    one, other = (read_arrays(folder(path) / "epochs.npz") for path in (where.results, results))
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)

    stands = {plan.cell: plan.standing for plan in runner.survey(STUDY, Place(results=results, data_home=data_home))}
    assert runner.Standing.DONE == stands[CELL]
    before = record(str(where.results)).finished
    code, out, err = bench("--results", where.results)

    assert "Nothing to run" in out
    assert (0, before) == (code, record(str(where.results)).finished)
    shown = folder(str(where.results)) / "training"
    assert {"about.json", "epochs.csv", "curves.svg", "curves.png", "strip.png"} == {p.name for p in shown.iterdir()}


def test_a_run_leaves_a_line_per_epoch_the_curves_and_the_strip(whole):
    results, (code, out, err) = whole
    above, found = folder(results), record(results)
    course = above / "training"
    told = diary.read((course / "epochs.csv").read_text())
    assert (0, "") == (code, err)
    assert [(0, [1, 2, 3]), (1, [1, 2, 3])] == [(one.trial, [line.epoch for line in one.lines]) for one in told.courses]
    assert all(line.rate and line.images_s and line.seconds for one in told.courses for line in one.lines)
    assert 6 == len(re.findall(r"^trial \d/2  lr \S+  epoch \d/3  loss \S+  val \S+", out, re.MULTILINE))
    assert "\x1b" not in out
    scored = told.scored(found)
    assert scored is not None
    assert scored.lr == found.lr
    kept = film.frames(film.folder(above), found.fingerprint, scored.trial, [1, 2, 3])
    matrix = read_arrays(above / "epochs.npz")
    assert [1, 2, 3] == list(kept)
    assert all(np.array_equal(kept[int(e)][0], matrix["predicted0"][at]) for at, e in enumerate(matrix["epochs"]))
    assert (course / "curves.svg").read_text().startswith("<?xml")
    assert painted(course / "strip.png").shape[1] >= 5 * filmstrip.EDGE


@pytest.mark.usefixtures("undrawn")
def test_a_stop_file_ends_training_after_the_epoch_and_the_same_command_goes_on_to_the_same_result(
    bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole
):
    stop = tmp_path / "stop"
    with monkeypatch.context() as patched:
        touch_after(patched, stop, trial=1, epoch=2)
        code, _, err = bench("--stop-file", stop, "--film", 2)

    assert 130 == code
    assert f"Kept: 1 trial has ended, trial 2 is kept up to epoch 2. Remove {stop}" in err
    assert (Status.INTERRUPTED, None) == (record().status, record().counts_hash)
    code, _, err = bench("--stop-file", stop)

    assert 2 == code
    assert f"The stop file {stop} is there already" in err
    stop.unlink()
    code, out, err = bench("--stop-file", stop, "--resume", "--film", 2)

    assert (0, "") == (code, err)
    assert "Going on: 1 trial has ended, trial 2 is kept up to epoch 2." in out
    assert ["trial 2/2"] == re.findall(r"^trial \d/\d", out, re.MULTILINE)
    assert essence(record(whole[0])) == essence(record())
    told = diary.read((folder() / "training/epochs.csv").read_text())
    assert [3, 3] == [len(one.lines) for one in told.courses]
    assert all(line.rate for one in told.courses for line in one.lines)
    for trial in (0, 1):
        one, other = (
            film.frames(film.folder(folder(name)), record().fingerprint, trial, [1, 2, 3])
            for name in (whole[0], "results")
        )
        assert [1, 2, 3] == list(one)
        assert all(np.array_equal(one[epoch], other[epoch]) for epoch in one)


@pytest.mark.usefixtures("undrawn")
def test_a_stop_file_works_between_two_trainings_and_when_it_comes_after_the_last_epoch_the_cell_is_done(
    bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stop = tmp_path / "stop"
    with monkeypatch.context() as patched:
        touch_after(patched, stop, trial=0, epoch=3)
        code, _, err = bench("--stop-file", stop)

    assert 130 == code
    assert "Kept: 1 trial has ended. Remove" in err
    stop.unlink()
    with monkeypatch.context() as patched:
        touch_after(patched, stop, trial=1, epoch=3)
        code, _, err = bench("--stop-file", stop)

    assert (0, Status.OK) == (code, record().status)


@pytest.mark.usefixtures("undrawn")
def test_resume_refuses_to_begin_anew_and_again_puts_aside_what_there_is(bench, tmp_path: Path, whole):
    code, _, err = bench("--resume")

    assert 2 == code
    assert f"There is nothing to go on from for {CELL.key} in results/mine (It has not run yet.)." in err
    assert 2 == bench("--resume", "--again")[0]
    shutil.copytree(whole[0], "results")
    before = record()
    code, out, _ = bench("--again")

    assert 0 == code
    (aside,) = (tmp_path / "results/mine/earlier").iterdir()
    assert f"What there was is in results/mine/{'earlier'}/{aside.name} now." in out
    assert before == read_record(Store(aside).cell(CELL) / "record.json")
    assert (aside / "tuning").is_dir()
    assert essence(before) == essence(record())
    assert before.finished <= record().finished

    other = Store(Path("results/mine")).cell(replace(CELL, seed=1))
    other.mkdir(parents=True)
    (other / "record.json").write_text("{}")
    code, _, err = bench("--again")

    assert 2 == code
    assert "shares its tuning with f0-s1" in err
    assert record().status is Status.OK


def test_a_stop_file_in_a_folder_that_is_not_there_is_refused(bench):
    code, _, err = bench("--stop-file", "nowhere/stop")

    assert 2 == code
    assert "The folder of the stop file nowhere/stop does not exist." in err
    Path("a folder").mkdir()
    assert (
        "a folder is a folder. Give the path of a file in it, as a folder/stop." in bench("--stop-file", "a folder")[2]
    )
    assert not Path("results").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_fixed_rate_is_a_study_with_one_rate_and_is_called_untuned(bench):
    code, out, _ = bench("--lr", 0.01)

    (name,) = (path.name for path in Path("results").iterdir())
    found = record(name=name)
    assert 0 == code
    assert "the rate 0.01, not tuned" in out
    assert "lr 0.01 (not tuned)" in out
    assert (0.01, 1, False) == (found.lr, len(found.trials), found.edge)
    assert [0.01, 0.01] == list(found.ingredients["tuning"]["lr_range"])
    assert "Error: --lr is nan, it must lie between 1e-08 and 100.\n" == bench("--lr", "nan")[2]
    code, _, err = bench("--lr", 0.01, "--trials", 3)

    assert 2 == code
    assert "Leave out --trials and --lr-range." in err


@pytest.mark.usefixtures("undrawn")
def test_a_fresh_seed_has_the_course_of_its_tuning_and_its_own(bench):
    code, out, _ = bench("--seed", 1, "--film", 1)

    (name,) = (path.name for path in Path("results").iterdir())
    cell = replace(CELL, seed=1)
    told = diary.read((folder(cell=cell, name=name) / "training/epochs.csv").read_text())
    assert 0 == code
    assert [0, 1, None] == [one.trial for one in told.courses]
    assert "final training  lr " in out
    assert told.courses[2] is told.scored(record(cell=cell, name=name))
    assert 1 == studies.load(f"results/{name}/study.toml").seeds


def test_a_cell_of_a_study_of_several_seeds_tells_its_own_score(bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(courses, "painted", lambda info, title: {"svg": title.encode()})
    tuning, budget = replace(STUDY.tuning, lr_range=(0.05, 0.05), trials=1), replace(STUDY.budget, epochs=8)
    Path("mine.toml").write_text(studies.dump(replace(STUDY, seeds=1, tuning=tuning, budget=budget)))
    told = [bench("--seed", seed)[1] for seed in (0, 1, 0)]

    rows = report.collect(Path("results/mine"), "default").rows
    values = {row.cell.seed: f"{row.values['pixel_acc']:.4f}" for row in rows if row.cell.loss}
    assert [[values[seed]] for seed in (0, 1, 0)] == [
        re.findall(r"^Test .* pixel_acc (\S+)$", out, re.M) for out in told
    ]
    assert values[0] != values[1]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.usefixtures("bench")
def test_a_setting_that_was_changed_is_why_a_cell_begins_anew_however_it_ended():
    words = ("run", "cell", small.SMEAR, "stubborn", "ce", "--study", "mine.toml", *QUICK, "--name", "one", "--lr")
    call(*words, 0.01)
    before = record(cell=replace(CELL, architecture="stubborn"), name="one").status
    _, out, _ = call(*words, 0.02)

    assert Status.DIVERGED == before
    assert "Beginning anew: tuning.lr_range: was [0.01, 0.01], is (0.02, 0.02)\n" in out


def test_a_cell_that_fails_says_why_in_a_line_and_names_its_log(bench, tmp_path: Path):
    code, _, err = call("run", "cell", small.SMEAR, "faulty", "ce", "--study", "mine.toml", *QUICK, "--name", "bad")

    cell = replace(CELL, architecture="faulty")
    log = folder(cell=cell, name="bad") / "log.txt"
    assert 1 == code
    (line,) = err.strip().splitlines()
    assert "failed in " in line
    assert f"planted: this network does not work. See {log}." in line
    assert log.is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_worker_trains_the_same_and_is_stopped_by_the_file(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stop = tmp_path / "stop"
    with monkeypatch.context() as patched:
        touch_after(patched, stop, trial=0, epoch=1)
        code, _, err = bench("--workers", 1, "--stop-file", stop, "--epochs", 4000, "--trials", 1)

    assert 130 == code, err
    (name,) = (path.name for path in Path("results").iterdir())
    told = diary.read((folder(name=name) / "training/epochs.csv").read_text())
    last = told.courses[0].lines[-1].epoch
    assert 1 <= last < 4000
    assert f"trial 1 is kept up to epoch {last}" in err
    assert film.frames(film.folder(folder(name=name)), record(name=name).fingerprint, 0, [last])
    assert (folder(name=name) / "training/strip.png").is_file()


# --- where it is trained


def chosen(*names: str, study: str | None = None, results: Path = Path("results"), **options) -> onecell.Chosen:
    given = {"changes": {}, "name": None, "seed": 0, "fold": None} | options
    return onecell.choose(names, study=study, results=results, **given)


def test_a_cell_of_a_study_is_trained_in_its_folder_and_anything_else_in_one_of_its_own(tmp_path: Path):
    path = tmp_path / "two.toml"
    path.write_text(studies.dump(replace(STUDY, name="two", losses=("ce", "dice"), seeds=1)))

    within = chosen(*NAMES, study=str(path))
    assert (True, Path("results/two")) == (within.within, within.folder)
    assert ("ce", "dice") == within.study.losses
    assert within.cell == chosen(CELL.key, study=str(path)).cell
    assert chosen(f"{small.SMEAR}/tiny/dice/f0-s1", study=str(path)).cell == replace(CELL, loss="dice", seed=1)
    for other in (
        chosen(small.SMEAR, "tiny", "jaccard", study=str(path)),
        chosen(*NAMES, study=str(path), changes={"epochs": 7}),
        chosen(*NAMES, study=str(path), name="elsewhere"),
    ):
        assert (False, ()) == (other.within, other.study.baselines)
        assert other.folder != within.folder
        assert other.study.tuning == within.study.tuning
    assert studies.load("quick").recipe == chosen(*NAMES).study.recipe


def test_names_that_are_no_cell_are_refused(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(studies.dump(STUDY))
    path = str(tmp_path / "mine.toml")
    with pytest.raises(StudyError, match="A cell has three names, 2 were given"):
        chosen("smear", "tiny")
    with pytest.raises(StudyError, match=r"stands for \d+ losses"):
        chosen("smear", "tiny", "all")
    with pytest.raises(StudyError, match="alone names no cell"):
        chosen(CELL.key)
    with pytest.raises(NameUnknown, match="Did you mean"):
        chosen(CELL.key.replace("tiny", "tinny"), study=path)
    with pytest.raises(StudyError, match="is a baseline"):
        chosen(f"{small.SMEAR}/all_background/-/f0-s0", study=path)
    with pytest.raises(StudyError, match="otsu is a baseline"):
        chosen("smear", "otsu", "-")
    with pytest.raises(StudyError, match="--fold is 4; with --folds 3 it is one of 1, 2, 3"):
        chosen(*NAMES, changes={"folds": 3}, fold=4)
    with pytest.raises(NameUnknown, match="no architecture named"):
        chosen("smear", "unett", "ce")


def test_no_folder_of_another_study_is_written_to(tmp_path: Path):
    stored = replace(STUDY, losses=("ce", "dice"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/study.toml").write_text(studies.dump(runner.resolve(stored)))
    (tmp_path / "mine.toml").write_text(studies.dump(STUDY))

    with pytest.raises(StudyError, match="is another study than the one named by --study"):
        chosen(*NAMES, study=str(tmp_path / "mine.toml"), results=tmp_path)
    with pytest.raises(StudyError, match="holds another study"):
        chosen(*NAMES, name="mine", results=tmp_path)
    within = chosen(*NAMES, study=str(tmp_path / "mine"))
    assert (True, tmp_path / "mine") == (within.within, within.folder)
    assert within == chosen(*NAMES, study="mine", results=tmp_path)


def test_the_name_of_a_folder_tells_cells_apart():
    names = {
        onecell.derived(Cell(dataset=dataset, architecture=architecture, loss=loss))
        for dataset in ("smear", "smear[size=64]", "a/smear", "b/smear")
        for architecture in ("unet", "unet[depth=3]", "unet[depth=4]")
        for loss in ("dice+ce", "0.5*dice+ce", "dice+focal[gamma=3]")
    }
    assert 4 * 3 * 3 == len(names)
    assert chosen(*NAMES, changes={"folds": 3}, fold=2).folder != chosen(*NAMES).folder
    assert "cell-smear-unet-dice-ce" in names
    assert all(name == studies.folder_name(name) for name in names)


# --- the diary and its files


def epoch(number: int, value: float | None = 0.5, *, trial: int | None = 0, told: bool = True, **other) -> Event:
    one = Epoch(epoch=number, loss=1 / number, value=value, seconds=2.0 * number)
    fresh = {"images_s": 10.0, "rate": 0.1, "memory_mb": 64.0} if told else {}
    return Event(kind="epoch", cell=CELL, trial=trial, lr=0.01, epoch=one, **fresh | other)


def test_epochs_that_are_trained_again_replace_what_followed_and_those_told_again_change_nothing():
    known = diary.Diary()
    for number in (1, 2, 3, 4):
        known.take(epoch(number, 0.1 * number))
    before = known.text()
    for number in (1, 2, 3):
        known.take(epoch(number, 0.1 * number, told=False))

    assert before == known.text()
    known.take(epoch(3, 0.9))
    assert [(1, 0.1), (2, 0.2), (3, 0.9)] == [(line.epoch, line.value) for line in known.courses[0].lines]
    known.take(epoch(1, 0.3))
    assert [(1, 0.3)] == [(line.epoch, line.value) for line in known.courses[0].lines]


def test_a_diary_is_read_as_it_was_written_and_the_first_of_equal_epochs_is_best():
    known = diary.Diary()
    for event in (epoch(1, 0.2), epoch(2, 0.7), epoch(3, 0.7), epoch(4, None), epoch(1, 0.6, trial=None)):
        known.take(event)

    assert known.courses == diary.read(known.text()).courses
    assert ["1", "2", "2", "2", "1"] == [line.rpartition(",")[2] for line in known.text().splitlines()[1:]]
    assert [2, 1] == [one.best.epoch for one in known.courses if one.best]
    assert known.leading() is known.courses[1]
    assert [] == diary.read("something,else\n1,2\n").courses


def test_the_strip_grows_with_every_epoch(tmp_path: Path):
    key, clock = "f", [0.0]
    rng = np.random.default_rng(1)
    masks = [rng.integers(0, 2, (16, 16)).astype(np.uint8) for _ in range(2)]
    images = [rng.integers(0, 255, (16, 16, 3)).astype(np.uint8) for _ in range(2)]
    film.begin(film.folder(tmp_path), key, ["a", "b"], images, masks)
    book, widths = Logbook(CELL, tmp_path, key, CLASSES, lambda: clock[0]), []
    for number in range(1, 6):
        clock[0] += 1000
        film.write(film.folder(tmp_path), key, 0, number, np.stack(masks))
        book.tell(epoch(number, 0.1 * number))
        widths.append(painted(book.folder / "strip.png").shape[1])

    assert {filmstrip.EDGE + filmstrip.GAP} == set(np.diff(widths[2:]).tolist())
    pixels = painted(book.folder / "strip.png")
    left = filmstrip.MARGIN + filmstrip.EDGE + filmstrip.GAP
    top = filmstrip.MARGIN + filmstrip.HEADER
    truth = pixels[top : top + filmstrip.EDGE, left : left + filmstrip.EDGE]
    assert np.array_equal(truth, np.kron(filmstrip.coloured(masks[0], CLASSES), np.ones((8, 8, 1), np.uint8)))
    assert [1, 30, 60] == [n for n in filmstrip.shown(range(1, 61), 30, 61) if n in (1, 30, 60)]
    assert {1, 77, 100} <= set(filmstrip.shown(range(1, 101), 77, 10))
    assert len(filmstrip.shown(range(1, 101), 77, 10)) <= 10


def test_a_strip_is_as_wide_as_its_title_and_no_folder_of_this_machine_is_named_in_it(tmp_path: Path, monkeypatch):
    titles, drawn = [], filmstrip.painted
    monkeypatch.setattr(filmstrip, "painted", lambda strip: titles.append(strip.title) or drawn(strip))
    cell = replace(CELL, dataset="/home/somebody/private/cells", architecture=f"unet[encoder={'long' * 20}]")
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    film.begin(film.folder(tmp_path), "f", ["a"], [image], [mask])
    film.write(film.folder(tmp_path), "f", 0, 1, mask[None])
    book = Logbook(cell, tmp_path, "f", CLASSES)
    book.tell(epoch(1))

    paper = (painted(book.folder / "strip.png") == filmstrip.PAPER).all(2)
    assert [f"./cells/{cell.architecture}/ce/f0-s0: trial 1"] == titles
    assert paper[:, -filmstrip.MARGIN :].all()
    assert not paper[: filmstrip.MARGIN + 20, -2 * filmstrip.MARGIN :].all()
    texts = [path.read_text() for path in book.folder.iterdir() if path.suffix in (".json", ".svg")]
    assert 2 == len(texts)
    assert not any("somebody" in text for text in texts)


def test_files_of_another_fingerprint_are_not_gone_on_with(tmp_path: Path):
    book = Logbook(CELL, tmp_path, "one", CLASSES)
    book.tell(epoch(1))
    book.draw()
    assert ["epochs.csv", "curves.svg", "curves.png"] == [path.name for path in book.files]
    assert 1 == len(Logbook(CELL, tmp_path, "one", CLASSES).diary.courses)

    assert [] == Logbook(CELL, tmp_path, "two", CLASSES).diary.courses
    assert [] == Logbook(CELL, tmp_path, "two", CLASSES).files
    film.begin(film.folder(tmp_path), "one", ["a"], [np.zeros((8, 8, 3), np.uint8)], [np.zeros((8, 8), np.uint8)])
    assert None is film.read(film.folder(tmp_path), "two")
    assert "two" == json.loads((tmp_path / "training/about.json").read_text())["fingerprint"]


def test_a_damaged_checkpoint_or_journal_is_nothing_to_go_on_from(tmp_path: Path):
    store = Store(tmp_path)
    tuning = store.tuning(CELL)
    tuning.mkdir(parents=True)
    (tuning / "checkpoint.safetensors").write_bytes(b"\xff" * 40)
    (tuning / "journal").write_text("no journal\n")

    assert None is unfinished.found(store, CELL, {"cell": {"seed": 0}})


# --- on screen


def screen(width: int, height: int, *, pictures: bool, tmp_path: Path) -> str:
    """What a terminal of some size shows after a few epochs of the second trial."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, width=width, height=height, highlight=False, legacy_windows=False,
        color_system="truecolor", _environ={},
    )  # fmt: skip
    account = Account(Study(name="mine"), [CELL], began=0.0)
    maps = np.zeros((2, 96, 96), np.uint8)
    images, masks = [np.full((96, 96, 3), 90, np.uint8)] * 2, [np.eye(96, dtype=np.uint8)] * 2
    film.begin(film.folder(tmp_path), "f", ["a", "b"], images, masks)
    book = Logbook(CELL, tmp_path, "f", CLASSES)
    shown = cli_training.Screen(console, account, book, lambda: 9.0, pictures=pictures)
    for event in [
        Event(kind="phase", cell=CELL, phase="tune"),
        *(epoch(number, 0.09 * number) for number in range(1, 11)),
        *(epoch(number, 0.08 * number, trial=1) for number in range(1, 8)),
    ]:
        if event.epoch is not None:
            film.write(film.folder(tmp_path), "f", event.trial, event.epoch.epoch, maps)
        account.take(event, 8.0)
        book.tell(event)
    shown.phase = "tune"
    console.print(shown.picture())
    return out.getvalue()


@pytest.mark.parametrize("size", [(80, 24), (40, 15), (200, 60), (60, 20), (20, 5), (120, 14), (35, 40)])
@pytest.mark.parametrize("pictures", [True, False])
def test_the_screen_fits_into_the_terminal_whatever_its_size(size: tuple[int, int], *, pictures: bool, tmp_path: Path):
    shown = screen(*size, pictures=pictures, tmp_path=tmp_path)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).splitlines()

    assert max(map(len, lines)) <= size[0]
    assert len(lines) < size[1]
    assert (pictures and size[1] >= 24) == ("38;2;" in shown)  # all else in the colours of the terminal's theme
    if size == (40, 15):
        assert re.search(r"^trial 2/5  epoch 7/20 .* \d+%", "\n".join(lines), re.MULTILINE)
    if size == (80, 24):
        text = "\n".join(lines)
        assert "trial 2/5  lr 1.00e-02  epoch 7/20" in text
        assert "val mDice 0.5600  best 0.5600" in text
        assert "best so far  0.9000  trial 1 at lr 1.00e-02, epoch 10" in text
        assert "10 images/s  ·  64 MiB  ·  9 s so far" in text


@pytest.mark.parametrize(
    ("encoding", "environment", "drawn", "coloured"),
    [
        ("utf-8", {"COLORTERM": "truecolor"}, True, True),
        ("utf-8", {"COLORTERM": "truecolor", "NO_COLOR": "1"}, True, False),
        ("utf-8", {"TERM": "linux"}, True, False),
        ("ascii", {"COLORTERM": "truecolor"}, False, None),
        ("utf-8", {"TERM": "dumb"}, False, None),
    ],
    ids=str,
)
def test_a_terminal_is_shown_what_it_can_show(encoding, environment, drawn, coloured, tmp_path: Path):
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=out, force_terminal=True, _environ={"TERM": "xterm-256color"} | environment)
    account = Account(Study(name="mine"), [CELL], began=0.0)
    book = Logbook(CELL, tmp_path, "f", CLASSES)
    shown = cli_training.view(console, account, book)
    with shown:
        book.tell(epoch(1))
        shown.tell(epoch(1))

    assert drawn == isinstance(shown, cli_training.Screen)
    assert coloured == getattr(shown, "pictures", None)
    shown.tell(Event(kind="busy", cell=CELL))
    if isinstance(shown, cli_training.Screen):
        console.print(shown.picture())
    out.flush()
    assert b"Another run is at this cell; waiting for it." in out.buffer.getvalue()


def test_a_curve_that_is_flat_has_an_axis_that_can_be_read():
    for height, labels in ((0.0, ("0.05", "0.00")), (1.0, ("1.00", "0.95")), (0.5, ("0.53", "0.47"))):
        layer = glyphs.Layer([(1, height), (2, height)], "cyan")
        lines = [line.plain for line in glyphs.plotted([layer], glyphs.Plot(26, 6, 5, unit=(0.0, 1.0)))]

        assert labels == (lines[0][1:5], lines[4][1:5])


def test_a_rising_curve_rises_from_the_lower_left_to_the_upper_right():
    plot = glyphs.Plot(26, 6, 5)
    lines = [line.plain for line in glyphs.plotted([glyphs.Layer([(n, float(n)) for n in range(1, 6)], "cyan")], plot)]
    inner = [line[glyphs.LABEL :] for line in lines[:-1]]

    assert 6 == len(lines)
    assert {26} == {len(line) for line in lines}
    assert ("5┤", "1┤") == (lines[0][4:6], lines[4][4:6])
    assert ord(inner[-1][0]) & glyphs.DOTS[3][0]
    assert ord(inner[0][-1]) & glyphs.DOTS[0][1]
    firsts = [next(at for at, sign in enumerate(line) if sign != " ") for line in inner]
    assert sorted(firsts, reverse=True) == firsts
    assert "└1" in lines[-1]
    assert lines[-1].endswith("5")
    nothing = [line.plain for line in glyphs.plotted([], plot)]
    assert {" "} == {sign for line in nothing[:-1] for sign in line[glyphs.LABEL :]}


def test_quarter_blocks_show_a_picture_of_two_colours_as_it_is():
    rng = np.random.default_rng(3)
    picture = np.where(rng.integers(0, 2, (8, 12, 1)), (200, 30, 30), (0, 0, 0)).astype(np.uint8)
    again = np.zeros_like(picture)
    for row, line in enumerate(glyphs.blocks(picture)):
        for column, (sign, span) in enumerate(zip(line.plain, line.spans, strict=True)):
            shape = glyphs.QUARTERS.index(sign)
            ink, paper = (colour.triplet for colour in (span.style.color, span.style.bgcolor))
            for quarter in range(4):
                at = 2 * row + quarter // 2, 2 * column + quarter % 2
                again[at] = ink if shape >> quarter & 1 else paper

    assert np.array_equal(picture, again)
