"""Outlines and objects from evaluation to the table: taken where a study says so, stored, summed up, explained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import boundary, explain, metrics, objects, prepare, report, sections, shapes, standings
from bench.records import Status
from bench.store import Store
from tests import small


def test_a_measure_is_the_mean_over_images_per_class_then_over_the_foreground():
    values = np.array([[np.nan, 1.0, np.nan], [np.nan, 0.0, 0.2], [np.nan, np.nan, 0.4]])

    assert (0.5 + 0.3) / 2 == pytest.approx(float(shapes.summed_up(values)))
    assert np.isnan(shapes.summed_up(np.where(np.isnan(values), np.inf, values)))  # a class that was missed
    assert np.isnan(shapes.summed_up(np.full((2, 3), np.nan)))
    assert summed_of(values) == pytest.approx(float(shapes.summed_up(values)))


def summed_of(values: np.ndarray) -> float:
    """The same in plain loops."""
    means = []
    for label in range(1, values.shape[1]):
        found = [row[label] for row in values if np.isfinite(row[label])]
        means += [sum(found) / len(found)] if found else []
    return sum(means) / len(means)


def test_resampling_uses_the_parts_that_the_metric_is_the_mean_of():
    from bench import statistics

    values = np.random.default_rng(0).random((12, 3))
    values[values < 0.2] = np.nan
    metric = metrics.profile("boundary").metrics["nsd_2px"]
    [quick] = statistics.draw([metric], values)
    [slow] = statistics.draw([replace(metric, parts=None)], values)

    np.testing.assert_allclose(slow, quick, atol=1e-12)


def test_a_study_that_asks_for_outlines_and_objects_has_them_in_its_tables(tmp_path: Path, data_home: Path):
    wanted = small.study(measures=("boundary", "objects"), baselines=("otsu",))
    where = small.place(tmp_path, data_home)
    small.execute(wanted, where)
    store, stored = Store(where.results / "small"), small.stored(wanted, where)
    record = stored[f"{small.SMEAR}/otsu/-/f0-s0"]
    ids, taken = store.measures(record)
    data = prepare.open_prepared(small.SMEAR, data_home)
    [board] = standings.boards(standings.rows(wanted, store, metrics.profile("boundary")), metrics.profile("boundary"))
    otsu = next(one for one in board.standings if one.architecture == "otsu")

    assert {Status.OK, Status.DIVERGED} >= {one.status for one in stored.values()}
    assert {*boundary.MEASURES, *objects.MEASURES, "pixels_predicted", "count_error_pixels"} <= set(taken)
    assert {(len(ids), len(data.classes))} == {taken[name].shape for name in (*boundary.MEASURES, *objects.MEASURES)}
    assert otsu.values["nsd_2px"] == pytest.approx(summed_of(taken["nsd_2px"]))
    assert None is otsu.values["nsd_500nm"]  # the smear does not say how large a pixel is
    split = data.split(0, 1)
    table = objects.pixels_per_object(
        (data.native(data.index.entries[at])[1] for at in split["train"]), len(data.classes)
    )
    found = np.load(store.cell(record.cell) / "counts.npz")["counts"].sum(axis=1) / table
    np.testing.assert_allclose(found[:, 1:], taken["pixels_predicted"][:, 1:])  # predicted pixels over a mean area
    page = report.write(where.results / "small", "objects").read_text()
    assert "PQ (components)" in page and "objects (predicted, pixels)" in page


def test_a_study_that_does_not_ask_has_no_value_there_and_says_so(tmp_path: Path, data_home: Path):
    wanted, where = small.study(), small.place(tmp_path, data_home)
    small.execute(wanted, where)
    profile = metrics.profile("boundary")
    [board] = standings.boards(standings.rows(wanted, Store(where.results / "small"), profile), profile)

    assert {None} == {value for one in board.standings for value in one.values.values()}
    assert "nsd_2px" in report.write(where.results / "small", "boundary").read_text()


@pytest.mark.parametrize(
    "name", ["boundary", "objects", "rates", "nsd_2px", "pq_components", "sensitivity_d_fg", "pixels_predicted"]
)
def test_they_are_explained_like_any_other(name: str):
    from typer.testing import CliRunner

    from bench.cli import app

    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["explain", name])

    assert 0 == result.exit_code, result.output
    assert name in result.output
    assert explain


def test_the_lowest_is_the_best_where_lower_is_better(tmp_path: Path):
    from tests import synthetic

    store = Store(synthetic.write(tmp_path))
    study = synthetic.STUDY
    for record in [
        record
        for record in map(store.read, [one.cell for one in standings.rows(study, store, metrics.DEFAULT)])
        if record
    ]:
        if record.counts_hash is None:
            continue
        ids, counts = store.counts(record.cell)
        worth = 10.0 if record.cell.architecture == synthetic.WEAK else 3.0
        taken = {name: np.full((len(ids), counts.shape[-1]), worth) for name in boundary.MEASURES}
        store.write(replace(record, measures_hash=store.write_measures(record.cell, ids, taken)))
    profile = metrics.profile("boundary")
    [board] = standings.boards(standings.rows(study, store, profile), profile)
    best = {line.standing.architecture for line in sections.lines(board, profile) if "hd95_px" in line.best}

    assert synthetic.WEAK not in best
    assert best
