"""What leaderboards tell apart: across data sets against Demsar's example and scikit-posthocs, and on small studies."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import diagrams, metrics, ranking, report, standings, statistics, study
from bench.comparisons import precision
from bench.ranking import Missing, across, rank
from bench.standings import Board
from bench.store import Store, write_bytes
from tests import synthetic

PROFILE = metrics.profile("default")
# Demsar 2006, JMLR 7, table 6: AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf; "voting" has hidden digits: 0.975 is rank 2
# for the third and rank 3 for the last.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip
SEEDED = replace(
    synthetic.STUDY, name="seeded", architectures=(synthetic.FINE, synthetic.WEAK), losses=("ce", "dice+ce"), seeds=3
)


def test_mean_ranks_and_the_critical_difference_are_demsars() -> None:
    found = rank(DEMSAR)

    assert [3.143, 2.000, 2.893, 1.964] == pytest.approx(found.mean_ranks, abs=5e-4)
    assert 1.25 == pytest.approx(found.critical, abs=0.005)  # q = 2.569, 4 methods, 14 data sets


def test_friedmans_statistic_is_demsars_corrected_for_ties() -> None:
    found = rank(DEMSAR)
    ties = (4**3 - 4) + 3 * (2**3 - 2)  # mushroom; iris, lung cancer and primary tumor

    assert found.statistic is not None
    assert 9.28 == pytest.approx(found.statistic * (1 - ties / (14 * 4 * (4**2 - 1))), abs=0.005)


def test_methods_within_the_critical_difference_are_one_group() -> None:
    assert ((3, 1, 2, 0),) == rank(DEMSAR).cliques  # 3.143 - 1.964 < 1.25
    far = np.tile(np.arange(6.0), (12, 1)) + np.random.default_rng(1).normal(0, 0.01, (12, 6))
    found = rank(far)

    assert ((5, 4, 3), (4, 3, 2), (3, 2, 1), (2, 1, 0)) == found.cliques
    assert 2.0 < found.critical < 3.0


def test_nemenyi_and_wilcoxon_equal_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    values = np.random.default_rng(1).normal(size=(9, 5)) + np.arange(5) / 3
    found = rank(values)

    np.testing.assert_allclose(posthocs.posthoc_nemenyi_friedman(values).to_numpy(), found.nemenyi, atol=1e-6)
    np.testing.assert_allclose(
        posthocs.posthoc_wilcoxon(list(values.T), p_adjust="holm").to_numpy(), found.wilcoxon, atol=1e-9
    )
    np.testing.assert_allclose(posthocs.posthoc_nemenyi_friedman(DEMSAR).to_numpy(), rank(DEMSAR).nemenyi, atol=1e-6)


def test_methods_that_always_tie_are_alike() -> None:
    found = rank(np.ones((4, 3)))

    assert ((2.0, 2.0, 2.0), None, None) == (found.mean_ranks, found.statistic, found.p)
    assert (found.nemenyi == 1).all() and (found.wilcoxon == 1).all()
    assert ((0, 1, 2),) == found.cliques


def seeded(root: Path, skills: dict[tuple[str, str], float], *, datasets: tuple[str, ...] = ("smear",)) -> Path:
    """A study of two architectures by two losses under three seeds, on data sets that are called alike."""
    folder = root / SEEDED.name
    store = Store(folder)
    write_bytes(folder / "study.toml", study.dump(replace(SEEDED, datasets=datasets)).encode())
    for dataset in datasets:
        synthetic.scored(store, replace(synthetic.cell("otsu", None), dataset=dataset), skill=0.3)
        for (architecture, loss), skill in skills.items():
            for seed in range(4):
                cell = replace(synthetic.cell(architecture, loss, seed=seed), dataset=dataset)
                synthetic.scored(store, cell, skill=skill + 0.01 * seed)
    return folder


SKILLS = {
    (synthetic.FINE, "ce"): 0.90, (synthetic.FINE, "dice+ce"): 0.89,
    (synthetic.WEAK, "ce"): 0.60, (synthetic.WEAK, "dice+ce"): 0.50,
}  # fmt: skip


def boards(folder: Path) -> list[Board]:
    return standings.boards(standings.rows(study.load(str(folder / "study.toml")), Store(folder), PROFILE), PROFILE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets; on the second, one cell of the best network failed. The page imputes it."""
    folder = seeded(tmp_path_factory.mktemp("results"), SKILLS, datasets=("one", "two"))
    synthetic.failed(Store(folder), replace(synthetic.cell(synthetic.FINE, "ce", seed=2), dataset="two"))
    report.write(folder, missing=Missing.BASELINE)
    return folder


def test_groups_of_seeds_share_a_rank_where_their_spread_hides_the_difference(folder: Path) -> None:
    first = boards(folder)[0]

    assert [1, 1, 3, 4, 5] == [one.rank for one in first.standings]
    assert [1, 1, 2, 3, 4] == [one.group for one in first.standings]
    assert [(1, 2), (1, 2), (3, 3), (4, 4), (5, 5)] == [one.rank_range for one in first.standings]
    assert 1.0 == pytest.approx(sum(one.leads or 0 for one in first.standings))
    assert 10 == len(first.pairs)


def test_every_number_has_an_interval_around_it(folder: Path) -> None:
    for one in boards(folder)[0].standings:
        assert set(one.values) == set(one.intervals)
        for name, value in one.values.items():
            between = one.intervals[name]
            assert (between is None) == (value is None), name
            assert value is None or between is None or between[0] <= value <= between[1]
        for row in one.rows:
            assert set(row.values) == set(row.intervals)


def test_the_noise_of_a_cross_validation_is_that_of_all_its_images(tmp_path: Path) -> None:
    wanted = replace(SEEDED, seeds=0, folds=2, architectures=(synthetic.FINE,), losses=("ce",), baselines=())
    store = Store(tmp_path / SEEDED.name)
    write_bytes(store.root / "study.toml", study.dump(wanted).encode())
    for fold in (1, 2):
        synthetic.scored(store, replace(synthetic.cell(synthetic.FINE, "ce"), fold=fold), skill=0.5 + 0.1 * fold)
    rows = standings.rows(wanted, store, PROFILE)
    [standing] = standings.boards(rows, PROFILE)[0].standings

    together = np.concatenate([row.counts for row in rows if row.counts is not None])
    for name, metric in PROFILE.metrics.items():
        expected = statistics.sample(metric, [together])
        assert expected is not None
        assert expected.value == standing.values[name]
        np.testing.assert_allclose(expected.drawn, standing.samples[name].drawn)
        assert statistics.sure(expected) == standing.intervals[name]
    assert 24 == standing.samples["pixel_acc"].images


def test_the_precision_of_a_board_is_told_from_its_own_noise(folder: Path) -> None:
    first = boards(folder)[0]
    found = precision(first, PROFILE)

    assert found is not None
    assert (12, 3, False, 10) == (found.images, found.seeds, found.excludes_seeds, found.pairs)
    assert found.detectable is not None and found.corrected is not None and found.detectable < found.corrected
    assert list(first.standings[1:]) == [one for one, _ in found.against]
    assert found.seeds_needed is not None and found.seeds_needed > 3
    assert found.variance is not None and (2, 2, 3, 12) == found.variance.levels
    shares = {one.name: one.share for one in found.variance.components}
    assert "architecture" == max(shares, key=lambda name: shares[name])


def test_single_runs_are_stamped(tmp_path: Path) -> None:
    found = precision(boards(synthetic.write(tmp_path))[0], PROFILE)

    assert found is not None
    assert (True, 1, None) == (found.excludes_seeds, found.seeds, found.seeds_needed)


def test_a_network_without_a_score_is_left_out_or_gets_the_baselines_and_both_are_told(folder: Path) -> None:
    common, imputed = (across(boards(folder), PROFILE, missing) for missing in Missing)

    assert common is not None and imputed is not None
    assert (3, 4) == (len(common.methods), len(imputed.methods))
    assert ((f"{synthetic.FINE} · ce: no score on two",), ()) == (common.dropped, common.imputed)
    assert ((), (("two", synthetic.FINE, "ce"),)) == (imputed.dropped, imputed.imputed)
    baseline = next(one for one in boards(folder)[1].standings if one.loss is None)
    column = imputed.methods.index((synthetic.FINE, "ce"))
    assert baseline.values["mdice_d_fg"] == imputed.values[1, column]
    assert 1.0 == pytest.approx(sum(common.leads)) == pytest.approx(sum(imputed.leads))
    assert (synthetic.FINE, "dice+ce") == common.methods[0]
    assert f"Left out: {synthetic.FINE} · ce: no score on two." in ranking.sentence(common)
    assert f"stands in for: {synthetic.FINE} · ce on two." in ranking.sentence(imputed)


def test_a_data_set_under_several_protocols_counts_once_as_the_most_honest_of_them(tmp_path: Path) -> None:
    names = ("smear[protocol=as-published]", "smear[protocol=split-first]", "two")
    both = boards(seeded(tmp_path, SKILLS, datasets=names))

    found = across(both, PROFILE)

    assert found is not None
    assert (both[1].title, both[2].title) == found.datasets
    assert (f"data set {names[0]}: other data of that name is ranked already",) == found.dropped
    assert across(both[:2], PROFILE) is None


def test_a_data_set_without_scores_does_not_empty_the_ranking(folder: Path) -> None:
    both = boards(folder)
    silent = replace(both[0], dataset="none", standings=tuple(one for one in both[0].standings if one.loss is None))

    found = across([*both, silent], PROFILE)

    assert found is not None
    assert (2, "data set none: no network has a score") == (len(found.datasets), found.dropped[0])


def test_one_data_set_is_not_ranked_across(tmp_path: Path) -> None:
    assert across(boards(synthetic.write(tmp_path)), PROFILE) is None


def test_the_diagram_has_every_method_and_a_bar_per_group(folder: Path) -> None:
    found = across(boards(folder), PROFILE, Missing.BASELINE)
    assert found is not None

    info = diagrams.ranks(found)
    text = diagrams.draw_ranks(info, "Mean ranks")

    assert [mean for _, mean in info.methods] == sorted(found.ranking.mean_ranks)
    assert len(found.ranking.cliques) == len(info.bars)
    assert all(label in text for label, _ in info.methods)


def test_the_tables_carry_intervals_ranks_and_groups(folder: Path) -> None:
    with (folder / "leaderboard.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["mdice_d_fg"]]
    entries = [entry for entry in json.loads((folder / "leaderboard.json").read_text()) if entry["metrics"]]
    everything = json.loads((folder / "statistics.json").read_text())

    assert lines and all(
        float(line["mdice_d_fg_low"]) <= float(line["mdice_d_fg"]) <= float(line["mdice_d_fg_high"]) for line in lines
    )
    assert entries[0]["intervals"]["mdice_d_fg"] == [
        pytest.approx(float(lines[0][f"mdice_d_fg_{end}"])) for end in ("low", "high")
    ]
    ranked = [entry for entry in entries if entry["rank"] is not None]
    assert len(ranked) > 20 and all(one["rank_range"][0] <= one["rank"] <= one["rank_range"][1] for one in ranked)
    assert {"1", "2", "3", "4"} <= {line["tie_group"] for line in lines}
    assert "| rank range |" in (folder / "leaderboard.md").read_text()
    assert 2 == len(everything["datasets"]) and everything["across"]["missing"] == "baseline"
    assert everything["datasets"][0]["precision"]["variance"]["levels"] == [2, 2, 3, 12]


def test_the_page_says_how_precise_it_is(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")

    for part in (
        "<b>Imputed.</b>",
        "Little to go by.", "would be told apart in 80% of such studies", "seeds</b> of each would separate",
        "architecture × image", "Across data sets", "Friedman", "critical difference", "p (Holm)",
    ):  # fmt: skip
        assert part in text


def test_missing_scores_are_named_on_the_command_line_as_in_the_engine() -> None:
    from bench.cli import Absent

    assert [one.value for one in Missing] == [one.value for one in Absent]
    assert ranking.Missing("baseline") is Missing.BASELINE
