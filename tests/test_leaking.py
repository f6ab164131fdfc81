from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import cli_screen, latex, leaking, markdown, metrics, report, standings, tables
from bench.rows import Row
from bench.standings import Board
from bench.store import Store, read_record, write_bytes
from tests import synthetic


def leaky(root: Path, test: int, val: int = 0, *, listed: bool = True) -> Path:
    """The synthetic study, of whose test images the first few have copies elsewhere."""
    folder = synthetic.write(root)
    store = Store(folder)
    for path in folder.glob("cells/*/*/*/*/record.json"):
        record = read_record(path)
        if record.data is not None:
            store.write(replace(record, data=replace(record.data, leaked={"val": val, "test": test})))
    groups: dict[str, object] = {"train": [], "val": [], "test": synthetic.IDS}
    if listed:
        groups["leaked"] = {"val": [], "test": synthetic.IDS[:test]}
    write_bytes(store.split("smear", 0), json.dumps(groups).encode())
    return folder


def board(folder: Path) -> Board:
    rows = standings.rows(synthetic.STUDY, Store(folder), metrics.DEFAULT)
    return standings.boards(rows, metrics.DEFAULT)[0]


def test_scores_without_the_leaked_images_are_those_of_the_other_images_counts(tmp_path: Path) -> None:
    folder = leaky(tmp_path, test=3)

    found = leaking.leak(board(folder), metrics.DEFAULT)

    assert found is not None
    assert (3, 12, 0, 8) == found[:4]
    primary = metrics.DEFAULT.metrics[metrics.DEFAULT.primary]
    for one in found.without:
        ids, counts = Store(folder).counts(one.standing.rows[0].cell)
        kept = counts[[name not in synthetic.IDS[:3] for name in ids]]
        assert float(primary.compute(kept)) == pytest.approx(one.clean)
        assert one.standing.values[metrics.DEFAULT.primary] == one.value
    assert {one.standing.architecture for one in found.without} >= {synthetic.FINE, "otsu"}


def test_the_value_over_seeds_without_the_leaked_images_is_the_mean_over_the_seeds(tmp_path: Path) -> None:
    folder = leaky(tmp_path, test=3)
    first = board(folder).standings[0]
    rng = np.random.default_rng(0)
    fresh = [
        replace(row, cell=replace(row.cell, seed=seed), counts=rng.integers(1, 50, row.counts.shape).astype(np.uint32))
        for seed in (1, 2)
        for row in first.rows
        if row.counts is not None
    ]
    several = replace(board(folder), standings=(replace(first, rows=tuple(fresh)),))

    found = leaking.leak(several, metrics.DEFAULT)

    assert found is not None
    compute = metrics.DEFAULT.metrics[metrics.DEFAULT.primary].compute
    values = [float(compute(row.counts[3:])) for row in fresh if row.counts is not None]
    assert np.mean(values) == pytest.approx(found.without[0].clean)


def test_what_an_audit_listed_after_the_cells_had_run_counts_as_well(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    groups = {"leaked": {"val": [synthetic.IDS[0]], "test": synthetic.IDS[:2]}}
    write_bytes(Store(folder).split("smear", 0), json.dumps(groups).encode())

    found = leaking.leak(board(folder), metrics.DEFAULT)

    assert found is not None
    assert (2, 12, 1, 8) == found[:4]
    assert leaking.audited(rows_of(board(folder)))


def test_nothing_is_said_of_data_without_a_leak_or_that_nobody_searched(tmp_path: Path) -> None:
    searched, unsearched = board(leaky(tmp_path / "a", test=0)), board(synthetic.write(tmp_path / "b"))

    assert leaking.leak(searched, metrics.DEFAULT) is None
    assert leaking.leak(unsearched, metrics.DEFAULT) is None
    assert leaking.audited(rows_of(searched))
    assert not leaking.audited(rows_of(unsearched))


@pytest.mark.parametrize("less", [None, {"val": 0, "test": 0}], ids=["nobody looked", "nothing was found"])
@pytest.mark.parametrize("at", [0, -1])
def test_one_record_that_counts_the_leak_is_enough_for_the_stamp(
    tmp_path: Path, at: int, less: dict[str, int] | None
) -> None:
    folder = leaky(tmp_path, test=3, val=1)
    shown = board(folder)
    standings = list(shown.standings)
    place = [where for where, one in enumerate(standings) if one.rows[0].record and one.rows[0].record.data][at]
    first = standings[place].rows[0]
    assert first.record is not None and first.record.data is not None
    record = replace(first.record, data=replace(first.record.data, leaked=less))
    standings[place] = replace(standings[place], rows=(replace(first, record=record), *standings[place].rows[1:]))

    found = leaking.leak(replace(shown, standings=tuple(standings)), metrics.DEFAULT)

    assert found is not None
    assert (3, 12, 1, 8) == found[:4]


def rows_of(shown: Board) -> list[Row]:
    return [row for one in shown.standings for row in one.rows]


def test_where_all_test_images_leak_or_the_list_is_lost_no_clean_scores_are_made_up(tmp_path: Path) -> None:
    everything = leaking.leak(board(leaky(tmp_path / "a", test=12)), metrics.DEFAULT)
    lost = leaking.leak(board(leaky(tmp_path / "b", test=3, listed=False)), metrics.DEFAULT)

    assert everything is not None
    assert () == everything.without
    assert lost is not None
    assert () == lost.without


@pytest.mark.parametrize(
    ("test", "val", "said"),
    [
        (3, 0, "LEAK: 3 of 12 test images have a copy in another split; scores on them measure memory as well."),
        (
            3,
            2,
            "LEAK: 3 of 12 test images and 2 of 8 validation images have a copy in another split; scores on them "
            "measure memory as well.",
        ),
        (0, 2, "LEAK: 2 of 8 validation images have a copy in another split; the tuning chose by memory as well."),
    ],
)
def test_every_form_of_the_leaderboard_bears_the_stamp(tmp_path: Path, test: int, val: int, said: str) -> None:
    shown = board(leaky(tmp_path, test=test, val=val))

    found = leaking.leak(shown, metrics.DEFAULT)
    assert found is not None
    assert said == leaking.sentence(found)
    table = next(cli_screen.boards([shown], metrics.DEFAULT))
    assert said in str(table.caption)
    assert f"**{said}**" in markdown.as_markdown([shown], metrics.DEFAULT)
    assert rf"\textbf{{{said}}}" in latex.as_latex([shown], metrics.DEFAULT)
    rows = rows_of(shown)
    scored = [row for row in rows if row.record is not None]
    entries = json.loads(tables.as_json(rows, [shown], metrics.DEFAULT))
    assert [test if row in scored else None for row in rows] == [entry["leaked"] for entry in entries]
    assert tables.as_csv(rows, [shown]).splitlines()[1].endswith(f",{test}")


def test_the_page_is_stamped_and_shows_the_scores_side_by_side(tmp_path: Path) -> None:
    content = report.collect(leaky(tmp_path, test=3))
    page = report.publish(content).read_text(encoding="utf-8")

    assert page.count('class="stamp"') == 1
    assert "3 of 12 test images have a copy in another split" in page
    assert "the other 9" in page
    clean = report.publish(report.collect(leaky(tmp_path / "clean", test=0))).read_text(encoding="utf-8")
    assert 'class="stamp"' not in clean
    assert "none was found" in clean
