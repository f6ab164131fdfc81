"""Several results folders on one page: what agrees is one row, what does not is shown twice and says why."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import cli_watch, gallery, merging, metrics, names, plan, provenance, report, standings, study, watch
from bench.errors import StoreError, StudyError
from bench.merging import Merged
from bench.rows import Row, score
from bench.specs import Cell, Study
from bench.standings import Board
from bench.store import Store, read_arrays, sha256
from tests import synthetic
from tests.synthetic import BARE, FINE, WEAK, cell

PROFILE = metrics.profile("default")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is copied, never changed."""
    return synthetic.write(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def folders(kept: Path, tmp_path: Path) -> list[Path]:
    """The same results on two machines."""
    return [shutil.copytree(kept, tmp_path / machine / "synthetic") for machine in ("laptop", "server")]


def merged(folders: list[Path]) -> Merged:
    found = merging.merge(folders, [PROFILE])
    return found._replace(rows=score(found.rows, PROFILE))


def boards(found: Merged) -> list[Board]:
    return standings.boards(found.rows, PROFILE)


def of(found: Merged, wanted: Cell) -> list[Row]:
    return [row for row in found.rows if row.cell == wanted]


def remade(folder: Path, wanted: Cell, **changes: object) -> None:
    """Store a cell as if it had been made from other ingredients."""
    store = Store(folder)
    record = store.read(wanted)
    assert record is not None
    ingredients = {**record.ingredients, **changes}
    store.write(replace(record, ingredients=ingredients, fingerprint=plan.digest(ingredients)))


def restudied(folder: Path, change: Callable[[Study], Study]) -> None:
    path = folder / "study.toml"
    path.write_text(study.dump(change(study.load(str(path)))))


def test_folders_that_agree_give_the_rows_of_one_and_say_who_confirms(folders: list[Path]):
    alone, both = merged(folders[:1]), merged(folders)

    assert [(row.cell, row.status, row.values) for row in alone.rows] == [
        (row.cell, row.status, row.values) for row in both.rows
    ]
    assert [one.rank for one in boards(alone)[0].standings] == [one.rank for one in boards(both)[0].standings]
    assert {("server",)} == {row.confirmed for row in both.rows if row.status in ("ok", "diverged")}
    assert {()} == {row.confirmed for row in both.rows if row.status not in ("ok", "diverged")}
    assert {()} == {row.confirmed for row in alone.rows}
    assert [("laptop", 6, 6, 0, 0), ("server", 6, 0, 5, 0)] == [
        (one.name, one.stored, one.shown, one.confirmed, one.disputed) for one in both.sources
    ]


def test_what_one_folder_lacks_or_failed_is_taken_from_the_other(folders: list[Path]):
    laptop, server = folders
    synthetic.scored(Store(server), cell(WEAK, "dice+ce"), skill=0.7)
    shutil.rmtree(Store(laptop).cell(cell(FINE, "ce")))

    found = merged(folders)

    for wanted in (cell(WEAK, "dice+ce"), cell(FINE, "ce")):
        [row] = of(found, wanted)
        assert ("ok", server, "", ()) == (row.status, row.store.root, row.variant, row.confirmed)
    assert [cell(BARE, "dice+ce")] == [row.cell for row in found.rows if row.status == "pending"]


def test_one_fingerprint_with_other_counts_is_two_rows_that_are_not_reproducible(folders: list[Path]):
    synthetic.scored(Store(folders[1]), cell(FINE, "ce"), skill=0.8)

    found = merged(folders)

    rows = of(found, cell(FINE, "ce"))
    assert [("laptop", "not_reproducible"), ("server", "not_reproducible")] == [
        (row.variant, row.status) for row in rows
    ]
    assert rows[0].values["mdice_d_fg"] > rows[1].values["mdice_d_fg"]
    ranked = {one.architecture: one.rank for one in boards(found)[0].standings if one.loss == "ce"}
    assert {f"{FINE} @ laptop", f"{FINE} @ server", WEAK, BARE} == set(ranked)
    assert None not in (ranked[f"{FINE} @ laptop"], ranked[f"{FINE} @ server"])
    assert [f"{FINE} · ce on smear: laptop differs from server in the counts, under the same fingerprint."] == (
        provenance.apart(found.rows)
    )


def test_a_network_that_diverged_on_one_machine_only_is_not_reproducible(folders: list[Path]):
    synthetic.scored(Store(folders[1]), cell(BARE, "ce"), skill=0.5)

    assert ["not_reproducible"] * 2 == [row.status for row in of(merged(folders), cell(BARE, "ce"))]


def test_other_ingredients_are_two_rows_that_say_in_what_they_differ(folders: list[Path]):
    remade(folders[1], cell(WEAK, "ce"), code="other", versions={"numpy": "2.0.0", "torch": "2.10.0"})

    found = merged(folders)

    assert ["ok", "ok"] == [row.status for row in of(found, cell(WEAK, "ce"))]
    assert ["from server in code, versions.torch (2.9.0 here, 2.10.0 there)"] == [
        row.differs for row in of(found, cell(WEAK, "ce")) if row.variant == "laptop"
    ]


def test_the_seeds_of_a_network_stay_with_the_folder_that_tuned_them(folders: list[Path]):
    laptop, server = folders
    for folder in folders:
        restudied(folder, lambda one: replace(one, seeds=2))
        for seed in (1, 2):
            synthetic.scored(Store(folder), cell(FINE, "ce", seed=seed), skill=0.8)
    synthetic.scored(Store(server), cell(FINE, "ce", seed=2), skill=0.7)

    found = merged(folders)

    standings = {one.architecture: one for one in boards(found)[0].standings if one.loss == "ce"}
    assert {f"{FINE} @ laptop", f"{FINE} @ server"} == {name for name in standings if name.startswith(FINE)}
    assert [(2, 2), (2, 2)] == [(one.done, one.of) for name, one in standings.items() if name.startswith(FINE)]
    assert [2, 2] == [row.cell.seed for row in found.rows if row.status == "not_reproducible"]


def test_three_folders_of_which_two_agree_are_two_rows(folders: list[Path], tmp_path: Path):
    third = shutil.copytree(folders[0], tmp_path / "desk" / "synthetic")
    synthetic.scored(Store(folders[1]), cell(FINE, "ce"), skill=0.8)

    rows = of(merged([*folders, third]), cell(FINE, "ce"))

    assert [("laptop", ("desk",)), ("server", ())] == [(row.variant, row.confirmed) for row in rows]


def test_counts_that_were_packed_in_another_way_are_the_same_counts(folders: list[Path]):
    store = Store(folders[1])
    path = store.cell(cell(FINE, "ce")) / "counts.npz"
    arrays = read_arrays(path)
    np.savez(path, **arrays)
    store.write(replace(Store(folders[0]).read(cell(FINE, "ce")), counts_hash=sha256(path)))

    [row] = of(merged(folders), cell(FINE, "ce"))

    assert ("server",) == row.confirmed


def test_other_data_under_one_name_has_a_board_of_its_own_and_is_never_paired(folders: list[Path]):
    store = Store(folders[1])
    for row in standings.rows(study.load(str(folders[1] / "study.toml")), store, PROFILE):
        if row.record is not None:
            card = replace(row.record.data, hash="other")
            store.write(replace(row.record, data=card))
            remade(folders[1], row.cell, data="other")

    found = merged(folders)
    shown = boards(found)

    assert ["smear @ laptop", "smear @ server"] == [board.dataset for board in shown]
    assert 2 == len({board.title for board in shown})
    for board in shown:
        assert 1 == len({row.store.root for one in board.standings for row in one.rows})
        assert {""} == {names.apart(one.architecture)[1] for one in board.standings}
    assert ["smear", "smear"] == [board.catalogued for board in shown]
    assert 1 == len(found.notes)
    content = report.collect(folders)
    assert content.across is None  # two versions of one data set are no two data sets
    assert "other data under one name" in report.index(content)


def test_axes_are_united_and_only_what_some_study_plans_is_a_row(folders: list[Path]):
    restudied(folders[0], lambda one: replace(one, losses=("ce",), baselines=()))
    restudied(folders[1], lambda one: replace(one, architectures=(BARE, FINE), losses=("dice+ce",), seeds=0, title="B"))

    found = merged(folders)

    assert (("ce", "dice+ce"), (FINE, WEAK, BARE), ("otsu",), "") == (
        found.study.losses,
        found.study.architectures,
        found.study.baselines,
        found.study.title,
    )
    assert {(FINE, "ce"), (WEAK, "ce"), (BARE, "ce"), (BARE, "dice+ce"), (FINE, "dice+ce"), ("otsu", None)} == {
        (row.cell.architecture, row.cell.loss) for row in found.rows
    }


def test_another_protocol_is_refused_with_the_first_few_values_that_differ(folders: list[Path]):
    restudied(
        folders[1],
        lambda one: replace(
            one,
            recipe=replace(one.recipe, batch=2, augment="none"),
            tuning=replace(one.tuning, trials=9),
            budget=replace(one.budget, epochs=3),
        ),
    )

    with pytest.raises(StudyError) as error:
        merged(folders)

    said = str(error.value)
    assert "budget.epochs is 3 and not 20; recipe.augment is none and not light; recipe.batch is 2 and not 8" in said
    assert ", and 1 more" in said
    assert f"bench compare {folders[0]} {folders[1]}" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        ("twice", StudyError, "is named twice"),
        ("no study", StudyError, "Cannot read the study"),
        ("schema", StoreError, "has schema 99"),
    ],
)
def test_what_cannot_be_merged_is_one_clear_line(folders: list[Path], case: str, kind: type[Exception], words: str):
    laptop, server = folders
    if case == "twice":
        server = laptop.parent / ".." / "laptop" / "synthetic"
    elif case == "no study":
        (server / "study.toml").unlink()
    else:
        path = Store(server).cell(cell(FINE, "ce")) / "record.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))

    with pytest.raises(kind, match=words) as error:
        merged([laptop, server])

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/m1/results/quick", "/m2/results/quick"], ["m1", "m2"]),
        (["/r/a", "/r/b"], ["a", "b"]),
        (["/m1/q", "/m2/q", "/m1/z"], ["m1/q", "m2/q", "m1/z"]),
        (["/r/a [1] @ x", "/r/b"], ["a_1_x", "b"]),
    ],
)
def test_folders_are_called_by_the_part_of_their_paths_that_differs(paths: list[str], expected: list[str]):
    assert expected == merging.called([Path(path) for path in paths])


def test_a_mark_behind_a_name_comes_off_again():
    for name in (FINE, "otsu", "a @ b[c=1]", "net[weights=x @ y]"):
        assert (name, "laptop") == names.apart(names.marked(name, "laptop"))
        assert name == names.marked(name, "")
    assert ("net[weights=x @ y]", "") == names.apart("net[weights=x @ y]")


def test_every_table_of_a_merged_page_calls_the_rows_alike(folders: list[Path], tmp_path: Path):
    synthetic.scored(Store(folders[1]), cell(FINE, "ce"), skill=0.8)
    content = report.collect(folders, target=tmp_path / "out")

    texts = report.texts(content) | {"index.html": report.index(content)}

    called = f"{FINE} @ server"
    assert called in texts["leaderboard.md"]
    entries = [one for one in json.loads(texts["leaderboard.json"]) if one["architecture"] == called]
    assert [("ce", "not_reproducible", True)] == [(one["loss"], one["status"], bool(one["rank"])) for one in entries]
    standings = json.loads(texts["statistics.json"])["datasets"][0]["standings"]
    assert called in [one["architecture"] for one in standings]
    assert "unet[encoder=resnet18] @ server" in texts["index.html"]
    assert "one cell not reproducible" in texts["index.html"]
    assert "confirmed by server" in texts["index.html"]


def test_pictures_come_from_the_folder_of_their_row(folders: list[Path], tmp_path: Path):
    synthetic.scored(Store(folders[1]), cell(FINE, "ce"), skill=0.2)
    content = report.collect(folders, target=tmp_path / "out")
    alone = [report.collect(folder) for folder in folders]

    def pictures(content: report.Content, name: str) -> tuple[bytes, ...]:
        found = gallery.gallery(content.boards[0], PROFILE.metrics["mdice_d_fg"])
        assert found is not None
        return next(
            tuple(made.predicted.tobytes() for made in strip.made if made is not None)
            for strip in found.strips
            if (strip.standing.architecture, strip.standing.loss) == (name, "ce")
        )

    assert pictures(alone[0], FINE) == pictures(content, f"{FINE} @ laptop") != pictures(content, f"{FINE} @ server")
    assert pictures(alone[1], FINE) == pictures(content, f"{FINE} @ server")


def test_examples_in_another_order_are_still_shown_below_their_image(folders: list[Path], tmp_path: Path):
    server = Store(folders[1])
    synthetic.scored(server, cell(FINE, "ce"), skill=0.2)
    before = report.index(report.collect(folders, target=tmp_path / "out"))
    examples = read_arrays(server.examples("smear", 0))
    swapped = {f"{kind}{at}": examples[f"{kind}{1 - at}"] for kind in ("image", "truth") for at in range(2)}
    np.savez(server.examples("smear", 0), ids=examples["ids"][::-1], **swapped)
    path = server.cell(cell(FINE, "ce")) / "predictions.npz"
    masks = read_arrays(path)
    np.savez(path, predicted0=masks["predicted1"], predicted1=masks["predicted0"])

    assert before == report.index(report.collect(folders, target=tmp_path / "out"))


def test_the_page_of_several_is_never_written_into_a_study(folders: list[Path], tmp_path: Path):
    for target in (folders[0], folders[1] / "below"):
        with pytest.raises(StudyError, match="cannot be written to"):
            report.collect(folders, target=target)

    content = report.collect(folders)
    report.publish(content)

    assert folders[0].parent / "merged" == content.store.root
    assert not (content.store.root / "study.toml").exists()
    assert not (folders[0] / "index.html").exists()


def test_what_has_not_changed_is_not_written_again(folders: list[Path]):
    page = report.publish(report.collect(folders[0]))
    stamps = {path: path.stat().st_mtime_ns for path in folders[0].iterdir() if path.is_file()}

    report.publish(report.collect(folders[0]))

    assert stamps == {path: path.stat().st_mtime_ns for path in folders[0].iterdir() if path.is_file()}
    assert page in stamps


def test_the_command_of_a_row_runs_its_network_and_nothing_else_but_baselines(folders: list[Path]):
    odd = "net's[encoder=a b]"
    for name in (FINE, odd):
        row = Row(cell=cell(name, "0.5*ce+dice"), status="ok", record=None, values={}, store=Store(folders[0]))
        words = shlex.split(provenance.command(row, Store(folders[0])))
        options = dict(zip(words[4::2], words[5::2], strict=True))
        changed = study.override(
            study.load(str(folders[0] / words[3])),
            {"datasets": [options["--dataset"]], "architectures": [options["--architecture"]],
             "losses": [options["--loss"]]},
        )  # fmt: skip

        assert ["bench", "run", "matrix", "study.toml"] == words[:4]
        assert [row.cell] == [one for one in plan.cells(changed) if one.loss is not None]
    assert str(folders[0] / "study.toml") in provenance.command(row, Store(folders[1]))


def test_every_row_stands_below_one_command(folders: list[Path]):
    found = merged(folders)

    groups = provenance.anew(found.rows, Store(folders[0]))

    assert found.rows == [row for group in groups for row in group.rows]
    assert [None] == [row.cell.loss for group in groups if not group.command for row in group.rows]


def test_a_network_has_one_command_for_all_its_folds_and_seeds(tmp_path: Path):
    store = Store(tmp_path)
    folded = replace(synthetic.STUDY, folds=3, seeds=2)
    rows = [Row(cell=one, status="ok", record=None, values={}, store=store) for one in plan.cells(folded)]

    groups = provenance.anew(rows, store)
    commands = [group.command for group in groups if group.command]

    assert len(set(commands)) == len(commands)
    assert {9} == {len(group.rows) for group in groups if group.command}
    assert len(rows) == sum(len(group.rows) for group in groups)


def test_networks_of_the_catalogue_are_cited_and_others_named():
    known, unknown = provenance.works([FINE, WEAK, "mine[a=1]"])

    assert ("unet", "U-Net") == (known.name, known.title)
    assert "Ronneberger" in known.citation
    assert ("mine", "", "") == (unknown.name, unknown.title, unknown.citation)


def test_time_and_energy_are_summed_over_what_was_measured(folders: list[Path]):
    found = merged(folders[:1])
    told = dict(provenance.facts(found.study, found.rows))
    records = [row.record for row in found.rows if row.record]

    assert f"in {len(records)} cells" in told["time"]
    assert "not measured" == told["energy"]
    store = Store(folders[0])
    one = store.read(cell(FINE, "ce"))
    store.write(replace(one, efficiency=replace(one.efficiency, energy_j=1500.0)))
    found = merged(folders[:1])
    assert "1.5 kJ, measured in 1 of 5 trained cells" == dict(provenance.facts(found.study, found.rows))["energy"]


def test_changes_are_counted_only_when_the_state_is_another_one():
    states = iter([1, 1, 2, 2, 1])
    pauses: list[None] = []

    counts = watch.changes(lambda: next(states), lambda: pauses.append(None))

    assert [0, 1, 2] == [next(counts) for _ in range(3)]
    assert 4 == len(pauses)


def test_a_watched_page_is_written_on_each_change_and_refreshes_itself_only_while_cells_are_pending(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder, store = folders[0], Store(folders[0])
    seen: list[tuple[bool, int]] = []

    def pause(seconds: float) -> None:
        """What happens between two looks."""
        assert 0.5 == seconds
        text = (folder / "index.html").read_text()
        seen.append(("data-refresh=" in text, (folder / "index.html").stat().st_mtime_ns))
        if len(seen) == 2:
            (folder / "study.toml").touch()
        elif len(seen) == 3:
            shutil.rmtree(store.cell(cell(FINE, "ce")))
        elif len(seen) == 4:
            for name, loss in ((FINE, "ce"), (BARE, "dice+ce")):
                synthetic.scored(store, cell(name, loss), skill=0.9)
        elif len(seen) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli_watch.time, "sleep", pause)
    monkeypatch.setattr(cli_watch.signal, "signal", lambda *_: None)
    cli_watch.watch([folder], lambda: report.collect(folder), 0.5)

    assert [True, True, True, True, False] == [refreshes for refreshes, _ in seen]
    assert seen[0] == seen[1] == seen[2]  # a file that was only touched changes nothing
    assert seen[2][1] != seen[3][1]
    lines = capsys.readouterr().out.splitlines()
    told = [line[10:].split(":")[0] for line in lines if "index.html" in line]
    assert [
        "4 of 7 cells ok, 1 diverged, 1 failed, 1 pending",
        "3 of 7 cells ok, 1 diverged, 1 failed, 2 pending",
        "5 of 7 cells ok, 1 diverged, 1 failed",
    ] == told
    assert lines[-1].startswith("Ended")


def test_a_page_that_is_left_unfinished_does_not_go_on_refreshing(folders: list[Path], monkeypatch: pytest.MonkeyPatch):
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_watch.time, "sleep", stop)
    monkeypatch.setattr(cli_watch.signal, "signal", lambda *_: None)
    cli_watch.watch(folders[:1], lambda: report.collect(folders[0]), 1.0)

    assert "data-refresh=" not in (folders[0] / "index.html").read_text()
