"""What a leak is worth: differences and intervals against numbers worked out by hand, in every form they are shown."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench import metrics, report, standings, statistics, store, study, worth
from bench.specs import Cell, Study
from bench.store import Store, write_bytes
from tests import synthetic

PROFILE = metrics.profile("default")
CLEAN, HONEST, LEAK = "smear", "smear[protocol=split-first]", "smear[protocol=as-published]"
LEAKED = "as-published"
PREFIXES = ("", "rotated_90_", "rotated_180_", "rotated_270_", "mirrored_", "flipped_")
STUDY = Study(
    name="leaky",
    title="A leak",
    datasets=(CLEAN, HONEST, LEAK),
    architectures=("unet", "fpn"),
    losses=("ce",),
    baselines=("otsu",),
)
SKILLS = {CLEAN: 0.7, HONEST: 0.7, LEAK: 0.9}


def ids(dataset: str) -> list[str]:
    """Ten photographs once, or six copies of each; leaked, three copies of twenty."""
    if dataset == LEAK:
        return sorted(f"{prefix}p{at:02d}" for at in range(20) for prefix in PREFIXES[at % 2 :: 2])
    return sorted(f"{prefix}q{at:02d}" for at in range(10) for prefix in (PREFIXES if dataset == HONEST else ("",)))


def matrices(dataset: str, skill: float, seed: int = 0) -> np.ndarray:
    """Counts (images, 4, 4) in which all copies of a photograph are about as hard."""
    found = []
    for name in ids(dataset):
        at = int(name[-2:])
        wrong = int(1000 * (1 - skill) * (1 + 0.4 * np.sin(at)) + 3 * seed)
        matrix = np.zeros((4, 4), np.uint32)
        matrix[0, 0], matrix[1, 1], matrix[2, 2] = 5000, 1000 - wrong, 1000 - wrong // 2
        matrix[1, 0], matrix[2, 1] = wrong, wrong // 2
        found.append(matrix)
    return np.array(found)


def written(root: Path, wanted: Study = STUDY, *, without: tuple[str, ...] = ()) -> Path:
    """A study of made-up counts under its protocols; networks named in `without` have no leaked score."""
    folder = root / wanted.name
    kept = Store(folder)
    write_bytes(folder / "study.toml", study.dump(wanted).encode())
    for dataset in wanted.datasets:
        for architecture, loss in (("otsu", None), *((name, "ce") for name in wanted.architectures)):
            if dataset == LEAK and architecture in without:
                continue
            skill = 0.5 if loss is None else SKILLS[dataset] - 0.1 * (architecture == "fpn")
            for seed, fold in itertools.product(
                range(wanted.seeds + 1 if loss else 1), range(1, wanted.folds + 1) if wanted.folds > 1 else [0]
            ):
                cell = Cell(dataset=dataset, architecture=architecture, loss=loss, seed=seed, fold=fold)
                tested = slice(max(fold - 1, 0), None, wanted.folds)  # leaked, copies stand in every fold
                counts = matrices(dataset, skill, seed)[tested]
                record = synthetic.record(cell)
                titles = {CLEAN: "Smear", HONEST: "Smear, copies split by photograph"}
                data = replace(
                    record.data, title=titles.get(dataset, "Smear, copies split by file (leak)"), hash=dataset
                )
                hashed = kept.write_counts(cell, ids(dataset)[tested], counts)
                kept.write(replace(record, data=data, counts_hash=hashed, params=None if loss is None else 100))
    return folder


def tables(folder: Path) -> list[worth.Table]:
    wanted = study.load(str(folder / "study.toml"))
    return worth.tables(standings.boards(standings.rows(wanted, Store(folder), PROFILE), PROFILE), PROFILE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("results"))


def dice(counts: np.ndarray) -> float:
    """Mean Dice of the foreground over the data set, by hand."""
    total = counts.sum(axis=0).astype(float)
    found = [2 * total[at, at] / (total[at].sum() + total[:, at].sum()) for at in (1, 2)]
    return sum(found) / 2


def spread(dataset: str, counts: np.ndarray) -> tuple[float, int]:
    """Variance of Dice over photographs drawn with all their copies, by plain resampling, and how many there are."""
    names = np.array([name[-3:] for name in ids(dataset)])
    own = [counts[names == name] for name in np.unique(names)]
    random = np.random.default_rng(5)
    drawn = [dice(np.concatenate([own[at] for at in random.integers(len(own), size=len(own))])) for _ in range(2000)]
    return float(np.var(drawn, ddof=1)) * len(own) / (len(own) - 1), len(own)


def test_the_difference_and_its_interval_are_those_of_a_calculation_by_hand(folder: Path):
    line = tables(folder)[0].lines[0]
    counts = {dataset: matrices(dataset, SKILLS[dataset]) for dataset in (HONEST, LEAK)}
    (one, few), (other, many) = (spread(dataset, counts[dataset]) for dataset in (HONEST, LEAK))
    gain = dice(counts[LEAK]) - dice(counts[HONEST])
    freedom = (one + other) ** 2 / (one**2 / (few - 1) + other**2 / (many - 1))
    half = stats.t.ppf(0.975, freedom) * (one + other) ** 0.5

    assert ("unet", "ce", (10, 20)) == (line.architecture, line.loss, (few, many))
    assert gain == pytest.approx(line.difference)
    assert dice(counts[LEAK]) == pytest.approx(line.scores["as-published"].value)
    assert (gain - half, gain + half) == pytest.approx(line.interval, rel=0.05)
    assert line.told
    assert "do not test the same photographs" in tables(folder)[0].note


def test_photographs_are_drawn_and_not_files():
    counts = matrices(HONEST, 0.7)
    metric = PROFILE.metrics["mdice_d_fg"]
    groups = np.array([int(name[-2:]) for name in ids(HONEST)])
    together, apart = (statistics.sample(metric, [counts], groups=kind) for kind in (groups, None))

    assert (10, 60) == (together.images, apart.images)
    assert 6 == pytest.approx(together.drawn.var() / apart.drawn.var(), rel=0.25)  # six copies are worth one
    assert together.runs == apart.runs


@pytest.mark.parametrize("name", ["mdice_d_fg", "mdice_i_fg"])
def test_groups_of_one_image_each_are_images(name: str):
    counts = matrices(CLEAN, 0.7)
    metric = PROFILE.metrics[name]

    expected, found = (statistics.draw([metric], counts, 50, groups)[0] for groups in (None, np.arange(10)))
    assert np.array_equal(expected, found)


@pytest.mark.parametrize("summed", [True, False])
def test_every_kind_of_metric_draws_the_same_groups(summed: bool):
    counts, groups = matrices(HONEST, 0.7), np.array([int(name[-2:]) for name in ids(HONEST)])
    metric = PROFILE.metrics["mdice_d_fg" if summed else "mdice_i_fg"]
    plain = replace(metric, summed=False, parts=None)

    expected, found = (statistics.draw([one], counts, 20, groups)[0] for one in (plain, metric))
    assert expected == pytest.approx(found)


def test_copies_that_are_tested_in_several_folds_are_drawn_together_all_the_same(tmp_path: Path, folder: Path):
    """The same files once in one fold and once in two: what is known of the photographs is the same."""
    folded = tables(written(tmp_path, replace(STUDY, folds=2)))[0]
    whole = tables(folder)[0]

    assert [line.scores[LEAKED] for line in whole.lines] == [line.scores[LEAKED] for line in folded.lines]
    assert [line.interval for line in whole.lines] == [line.interval for line in folded.lines]
    assert whole.images == folded.images


def test_the_same_photographs_on_both_sides_are_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in leak-demo, whose folds test every file once: by hand, and for a baseline that no split changes, exactly 0."""
    monkeypatch.setattr(
        "tests.test_worth.ids", lambda dataset: sorted(f"{p}q{at:02d}" for at in range(10) for p in PREFIXES)
    )
    found = tables(written(tmp_path, replace(STUDY, datasets=(HONEST, LEAK), folds=3)))[0]
    one, other = (matrices(dataset, SKILLS[dataset]) for dataset in (HONEST, LEAK))
    groups = [np.flatnonzero([name.endswith(f"q{at:02d}") for name in ids(HONEST)]) for at in range(10)]
    random = np.random.default_rng(3)
    drawn = [np.concatenate([groups[at] for at in random.integers(10, size=10)]) for _ in range(2000)]
    error = np.std([dice(other[rows]) - dice(one[rows]) for rows in drawn], ddof=1) * (10 / 9) ** 0.5
    gain, half = dice(other) - dice(one), stats.t.ppf(0.975, 9) * error

    assert (gain - half, gain + half) == pytest.approx(found.lines[0].interval, rel=0.02)
    assert (0.0, 0.0) == next(line.interval for line in found.lines if line.loss is None)
    assert "Both protocols test the same photographs" in found.note


def test_a_folder_that_is_not_here_any_more_has_its_table_all_the_same(tmp_path: Path):
    name = "my [odd], set"
    datasets = (f"{name}[copies=seed2,protocol=split-first]", f"{name}[copies=seed2,protocol=as-published]")
    found = [
        replace(board, dataset=dataset)
        for board, dataset in zip(
            standings.boards(
                standings.rows(replace(STUDY, datasets=(HONEST, LEAK)), Store(written(tmp_path)), PROFILE), PROFILE
            ),
            datasets,
            strict=True,
        )
    ]

    assert [(name, "seed2", "split-first", "as-published")] == [
        (table.dataset, table.copies, table.honest, table.other) for table in worth.tables(found, PROFILE)
    ]


def test_seeds_widen_the_interval(tmp_path: Path, folder: Path):
    line = tables(written(tmp_path, replace(STUDY, seeds=3)))[0].lines[0]
    single = tables(folder)[0]

    assert single.single
    assert not tables(tmp_path / "leaky")[0].single
    assert np.diff(line.interval)[0] != pytest.approx(np.diff(single.lines[0].interval)[0], rel=1e-6)


def test_every_standing_has_a_line_networks_first_and_what_they_were_tested_on(folder: Path):
    (table,) = tables(folder)

    assert ("clean", "split-first", "as-published") == table.protocols
    assert ("split-first", "as-published") == (table.honest, table.other)
    assert {"clean": (10, 10), "split-first": (60, 10), "as-published": (60, 20)} == table.images
    assert [("unet", "ce"), ("fpn", "ce"), ("otsu", None)] == [(line.architecture, line.loss) for line in table.lines]
    assert ("smear", "Smear", "seed0") == (table.dataset, table.title, table.copies)


def test_the_sentence_says_how_much_and_how_surely(folder: Path):
    (table,) = tables(folder)
    gains = [line.difference for line in table.lines[:2]]

    assert (
        f"Splitting copies by file instead of by photograph raises mDice by {np.mean(gains):.3f} on average over two "
        f"networks; most, by {max(gains):+.3f}, for "
    ) in table.sentence
    assert table.sentence.endswith("Two of two differences can be told from none.")


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ((HONEST, LEAK), ("split-first", "as-published")),
        ((CLEAN, LEAK), ("clean", "as-published")),
        ((CLEAN, HONEST), ("clean", "split-first")),
    ],
)
def test_any_two_protocols_make_a_table(datasets: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path):
    (table,) = tables(written(tmp_path, replace(STUDY, datasets=datasets)))

    assert expected == table.protocols == (table.honest, table.other)
    assert all(line.difference is not None for line in table.lines)


@pytest.mark.parametrize("dataset", [CLEAN, LEAK])
def test_one_protocol_makes_none(dataset: str, tmp_path: Path):
    folder = written(tmp_path, replace(STUDY, datasets=(dataset,)))

    assert [] == tables(folder)
    assert 'id="worth"' not in report.write(folder).read_text()


def test_a_network_without_a_score_has_no_difference(tmp_path: Path):
    lines = {line.architecture: line for line in tables(written(tmp_path, without=("fpn",)))[0].lines}

    assert lines["fpn"].scores["as-published"] is None
    assert (None, None) == (lines["fpn"].difference, lines["fpn"].interval)
    assert lines["unet"].difference is not None


def test_nothing_scored_yet_is_said(tmp_path: Path):
    (table,) = tables(written(tmp_path, without=("fpn", "unet", "otsu")))

    assert "No network has a score under both split-first and as-published yet." == table.sentence


def test_the_page_the_terminal_and_the_file_show_it(folder: Path):
    from rich.console import Console

    from bench import cli_screen

    content = report.collect(folder)
    page = report.publish(content).read_text()
    (table,) = content.worth
    console = Console(record=True, width=180, file=io.StringIO())
    for one in cli_screen.worths(content):
        console.print(one)
    said = console.export_text()
    told = json.loads((folder / "statistics.json").read_text())["protocols"][0]

    assert '<h2 id="worth">' in page
    assert table.sentence in page
    assert f"{table.lines[0].difference:+.3f}" in page
    assert "copies, split by file (leak)" in page
    assert "What the leak is worth: Smear" in said
    assert f"{table.lines[0].difference:+.4f}" in said
    assert table.sentence[:60] in said
    assert (table.lines[0].difference, "split-first") == (told["rows"][0]["difference"], told["honest"])
    assert list(table.lines[0].interval) == told["rows"][0]["interval"]
    assert store.read_record(next(folder.glob("cells/*/*/*/*/record.json"))).data.title.startswith("Smear")
