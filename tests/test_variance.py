"""Variance components against simulated ones, against statsmodels, and on what is not balanced."""

from __future__ import annotations

import numpy as np
import pytest

from bench.variance import TERMS, components, decompose

TRUE = {
    "architecture": 0.30, "loss": 0.10, "architecture x loss": 0.06, "seed": 0.08, "image": 0.50,
    "architecture x image": 0.12, "loss x image": 0.05, "architecture x loss x image": 0.09, "seed x image and rest": 0.20,
}  # fmt: skip


def drawn(shape: tuple[int, int, int, int], generator: np.random.Generator, variances: dict[str, float]) -> np.ndarray:
    """Scores of a random-effects model with known variances."""
    total = np.full(shape, 0.7)
    for name, axes in TERMS.items():
        effect = generator.normal(size=[levels if at in axes else 1 for at, levels in enumerate(shape)])
        total = total + np.sqrt(variances.get(name, 0.0)) * effect
    return total


def test_the_mean_estimate_is_the_true_component() -> None:
    generator = np.random.default_rng(1)
    found = [components(drawn((8, 6, 4, 25), generator, TRUE)) for _ in range(150)]

    for name, variance in TRUE.items():
        estimates = [one[name] for one in found]
        assert variance == pytest.approx(np.mean(estimates), abs=3.5 * np.std(estimates) / np.sqrt(150) + 0.004), name


def test_without_a_source_its_component_is_near_zero() -> None:
    generator = np.random.default_rng(2)
    found = components(drawn((5, 3, 4, 200), generator, {"image": 1.0, "seed x image and rest": 0.5}))

    assert found["seed"] < 0.01 and found["architecture"] < 0.01
    assert 0.5 == pytest.approx(found["seed x image and rest"], rel=0.1)


def test_two_crossed_factors_are_the_textbook_formulas() -> None:
    values = np.random.default_rng(3).normal(size=(4, 1, 1, 9)) + np.arange(4).reshape(4, 1, 1, 1)
    table = values[:, 0, 0]
    rows = 9 * table.mean(1).var(ddof=1)
    columns = 4 * table.mean(0).var(ddof=1)
    rest = ((table - table.mean(1)[:, None] - table.mean(0) + table.mean()) ** 2).sum() / (3 * 8)

    found = components(values)

    assert {"architecture", "image", "architecture x image"} == set(found)
    assert (rows - rest) / 9 == pytest.approx(found["architecture"])
    assert max((columns - rest) / 4, 0) == pytest.approx(found["image"])
    assert rest == pytest.approx(found["architecture x image"])


def test_one_network_with_seeds_is_split_into_seed_image_and_rest() -> None:
    values = drawn((1, 1, 30, 60), np.random.default_rng(4), {"seed": 0.3, "image": 0.5, "seed x image and rest": 0.1})

    found = components(values)

    assert ["seed", "image", "seed x image and rest"] == list(found)
    assert [0.3, 0.5, 0.1] == pytest.approx(list(found.values()), rel=0.5)


def test_components_equal_a_mixed_model_on_balanced_data() -> None:
    pandas = pytest.importorskip("pandas")
    models = pytest.importorskip("statsmodels.formula.api")
    values = drawn(
        (6, 1, 1, 30), np.random.default_rng(5), {"architecture": 0.6, "image": 0.8, "architecture x image": 0.2}
    )
    frame = pandas.DataFrame(
        [(a, i, values[a, 0, 0, i]) for a in range(6) for i in range(30)], columns=["network", "image", "score"]
    )
    frame["all"] = 1
    parts = {"network": "0 + C(network)", "image": "0 + C(image)"}
    fitted = models.mixedlm("score ~ 1", frame, groups="all", vc_formula=parts, re_formula="0").fit(reml=True)

    found = components(values)

    assert fitted.scale == pytest.approx(found["architecture x image"], rel=0.01)
    named = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))
    assert named["network"] == pytest.approx(found["architecture"], rel=0.02)
    assert named["image"] == pytest.approx(found["image"], rel=0.02)


def test_shares_add_up_to_one_and_levels_are_told() -> None:
    values = drawn((3, 2, 2, 10), np.random.default_rng(6), TRUE)
    runs = {(f"a{a}", f"l{b}", c): values[a, b, c] for a in range(3) for b in range(2) for c in range(2)}

    found = decompose(runs)

    assert found is not None
    assert 1.0 == pytest.approx(sum(one.share for one in found.components))
    assert ((3, 2, 2, 10), ()) == (found.levels, found.dropped)
    assert components(values) == pytest.approx({one.name: one.variance for one in found.components})


def test_what_spoils_the_balance_is_left_out_and_named() -> None:
    values = drawn((3, 2, 2, 10), np.random.default_rng(7), TRUE)
    runs = {(f"a{a}", f"l{b}", c): values[a, b, c].copy() for a in range(3) for b in range(2) for c in range(2)}
    del runs["a1", "l0", 1], runs["a1", "l1", 0]
    runs["a0", "l0", 0][4] = np.nan

    found = decompose(runs)

    assert found is not None
    assert (2, 2, 2, 9) == found.levels
    assert found.dropped == (
        "architecture a1, which lacks a score somewhere", "1 of 10 images, undefined for some network",
    )  # fmt: skip
    kept = np.delete(values[[0, 2]], 4, axis=3)
    assert components(kept) == pytest.approx({one.name: one.variance for one in found.components})


def test_with_one_seed_its_effect_is_said_to_be_hidden() -> None:
    found = decompose({(name, "ce", 0): np.random.default_rng(at).random(5) for at, name in enumerate("abc")})

    assert found is not None
    assert {"architecture", "image", "architecture x image"} == {one.name for one in found.components}
    assert "there is one per network" in found.dropped[-1]


def test_nothing_to_compare_has_no_components() -> None:
    assert decompose({}) is None
    assert decompose({("a", "ce", 0): np.ones(5)}) is None
    assert decompose({("a", "ce", 0): np.full(5, np.nan), ("b", "ce", 0): np.ones(5)}) is None
