"""Every profile against the library it follows, or against that library's rules written out in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torchmetrics import segmentation as tm

from bench import metrics
from bench.errors import NameUnknown
from bench.metrics import PROFILES, Counts
from bench.rules import RATIOS, Rule, binary
from bench.specs import IGNORE
from bench.switches import SWITCHES

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
C = 4
Maps = tuple[np.ndarray, np.ndarray]  # truth with IGNORE and prediction, (images, H, W) each
Scores = dict[str, float]


def random_maps(seed: int, *, classes: int = C, ignored: float = 0.0) -> Maps:
    """Five pictures in which a class may be absent, and predictions that are mostly right."""
    generator = np.random.default_rng(seed)
    truth = np.stack([generator.choice(generator.permutation(classes)[:3], (8, 9)) for _ in range(5)])
    predicted = np.where(generator.random(truth.shape) < 0.6, truth, generator.integers(0, classes, truth.shape))
    return np.where(generator.random(truth.shape) < ignored, IGNORE, truth), predicted


def adversarial(name: str) -> Maps:
    """Maps that definitions fall over."""
    empty = np.zeros((3, 4, 4), int)
    some, pixel, rare = empty.copy(), empty.copy(), empty.copy()
    some[:, :2], some[0, 3] = 1, 2
    pixel[1, 2, 2], rare[2, 0, 0] = 3, 3
    return {
        "all background": (empty, empty),
        "cells in no truth": (empty, some),
        "cells in no prediction": (some, empty),
        "one pixel found": (pixel, pixel),
        "one pixel missed": (pixel, empty),
        "one pixel found elsewhere": (pixel, rare),
        "all foreground": (empty + 1, empty + 1),
        "class in one picture": (some, np.where(some == 2, 1, some)),
        "class hallucinated": (np.where(some == 2, 1, some), some),
        "perfect": (some, some),
    }[name]


CASES: dict[str, Maps] = (
    {f"random {seed}": random_maps(seed) for seed in range(4)}
    | {f"ignored {seed}": random_maps(seed, ignored=0.3) for seed in range(3)}
    | {
        name: adversarial(name)
        for name in (
            "all background", "cells in no truth", "cells in no prediction", "one pixel found", "one pixel missed",
            "one pixel found elsewhere", "all foreground", "class in one picture", "class hallucinated", "perfect",
        )
    }
)  # fmt: skip
WHOLE = {name: maps for name, maps in CASES.items() if not name.startswith("ignored")}
TWO = {name: ((truth > 0).astype(int), (predicted > 0).astype(int)) for name, (truth, predicted) in WHOLE.items()}


def counted(maps: Maps, classes: int = C) -> Counts:
    """Confusion matrices, pixel by pixel."""
    counts = np.zeros((len(maps[0]), classes, classes), np.uint32)
    for image, (truth, predicted) in enumerate(zip(*maps, strict=True)):
        for true, found in zip(truth.ravel(), predicted.ravel(), strict=True):
            if true != IGNORE:
                counts[image, true, found] += 1
    return counts


def pixels(truth: np.ndarray, predicted: np.ndarray, label: int) -> tuple[int, int, int, int]:
    """TP, FP, FN, TN of one class, without ignored pixels."""
    valid = truth != IGNORE
    true, found = (truth == label) & valid, (predicted == label) & valid
    return tuple(int(part.sum()) for part in (true & found, ~true & found, true & ~found, ~true & ~found & valid))  # type: ignore[return-value]


def over(numerator: float, denominator: float, empty: float = math.nan) -> float:
    """A quotient with a value for 0/0."""
    return numerator / denominator if denominator else empty


def nanmean(values: list[float]) -> float:
    """The mean of what is a number."""
    kept = [value for value in values if not math.isnan(value)]
    return sum(kept) / len(kept) if kept else math.nan


def summed(maps: Maps) -> list[tuple[int, int, int, int]]:
    """TP, FP, FN, TN per class over all images."""
    return [
        tuple(map(sum, zip(*(pixels(*pair, c) for pair in zip(*maps, strict=True)), strict=True))) for c in range(C)
    ]  # type: ignore[misc]


def mmseg(maps: Maps, first: int = 0) -> Scores:
    """IoUMetric: histograms over the data set, nanmean over classes."""
    areas = summed(maps)[first:]
    iou = [over(tp, tp + fp + fn) for tp, fp, fn, _ in areas]
    dice = [over(2 * tp, 2 * tp + fp + fn) for tp, fp, fn, _ in areas]
    recall = [over(tp, tp + fn) for tp, _, fn, _ in areas]
    precision = [over(tp, tp + fp) for tp, fp, _, _ in areas]
    fscore = [over(2 * p * r, p + r) if p + r == p + r else math.nan for p, r in zip(precision, recall, strict=True)]
    everything = summed(maps)
    right, all_pixels = sum(area[0] for area in everything), sum(area[0] + area[2] for area in everything)
    tail = "" if first == 0 else "_fg"
    return {
        f"miou_d{tail}": nanmean(iou),
        f"mdice_d{tail}": nanmean(dice),
        f"mfscore_d{tail}": nanmean(fscore),
        f"mean_class_acc{tail}": nanmean(recall),
        "pixel_acc": over(right, all_pixels),
    }


def paddleseg(maps: Maps) -> Scores:
    """metrics.py: whatever is 0/0 is 0 and stays in the mean."""
    areas = summed(maps)
    return {
        "miou_d": sum(over(tp, tp + fp + fn, 0) for tp, fp, fn, _ in areas) / C,
        "mdice_d": sum(over(2 * tp, 2 * tp + fp + fn, 0) for tp, fp, fn, _ in areas) / C,
        "precision_d": sum(over(tp, tp + fp, 0) for tp, fp, _, _ in areas) / C,
        "recall_d": sum(over(tp, tp + fn, 0) for tp, _, fn, _ in areas) / C,
        "pixel_acc": sum(area[0] for area in areas) / sum(area[0] + area[1] for area in areas),
    }


def nnunet(maps: Maps) -> Scores:
    """evaluate_predictions: nanmean over cases per label, then a plain mean over the foreground labels."""
    tables: dict[str, list[float]] = {"mdice_i_fg": [], "miou_i_fg": []}
    for label in range(1, C):
        cases = [pixels(*pair, label) for pair in zip(*maps, strict=True)]
        tables["mdice_i_fg"].append(nanmean([over(2 * tp, 2 * tp + fp + fn) for tp, fp, fn, _ in cases]))
        tables["miou_i_fg"].append(nanmean([over(tp, tp + fp + fn) for tp, fp, fn, _ in cases]))
    return {name: sum(values) / len(values) for name, values in tables.items()}  # NaN stays NaN


def smp_scores(maps: Maps, reduction: str, suffix: str, mean: str = "m") -> Scores:
    """The library itself."""
    truth, predicted = (torch.from_numpy(part).long() for part in maps)
    stats = smp.metrics.get_stats(predicted, truth, mode="multiclass", num_classes=C, ignore_index=IGNORE)

    def score(function: Callable[..., torch.Tensor]) -> float:
        return float(function(*(part.double() for part in stats), reduction=reduction, zero_division=1.0))

    return {
        f"{mean}iou_{suffix}": score(smp.metrics.iou_score),
        f"{mean}dice_{suffix}": score(smp.metrics.f1_score),
        f"ovr_acc_{suffix}": score(smp.metrics.accuracy),
        f"precision_{suffix}": score(smp.metrics.precision),
        f"recall_{suffix}": score(smp.metrics.recall),
    }


def tm_meaniou(maps: Maps) -> Scores:
    truth, predicted = (torch.from_numpy(part).long() for part in maps)
    pairs, classes = (
        tm.MeanIoU(num_classes=C, input_format="index", per_class=per_class) for per_class in (False, True)
    )
    for metric in (pairs, classes):
        metric.update(predicted[:2], truth[:2])  # batches do not matter
        metric.update(predicted[2:], truth[2:])
    found = classes.compute()
    return {"miou_i": float(pairs.compute()), "miou_c": float(found[found >= 0].mean())}


def tm_dice(maps: Maps, level: str, suffix: str, micro: str) -> Scores:
    truth, predicted = (torch.from_numpy(part).long() for part in maps)

    def score(average: str) -> float:
        metric = tm.DiceScore(C, average=average, aggregation_level=level, input_format="index")
        metric.update(predicted, truth)
        return float(metric.compute())

    return {f"mdice_{suffix}": score("macro"), f"wdice_{suffix}": score("weighted"), micro: score("micro")}


def medsegbench(maps: Maps, *, two: bool = False) -> Scores:
    """test_pytorch_multi_class.py, and test_pytorch.py for two classes: one image per batch, NaN dropped, then mean."""
    functions = {
        "miou_i": smp.metrics.iou_score, "mdice_i": smp.metrics.f1_score, "ovr_acc_i": smp.metrics.accuracy,
        "precision_i": smp.metrics.precision, "recall_i": smp.metrics.recall,
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in functions}
    for truth, predicted in zip(*maps, strict=True):
        target, output = torch.from_numpy(truth)[None, None].long(), torch.from_numpy(predicted)[None, None].long()
        kind = {"mode": "binary"} if two else {"mode": "multiclass", "num_classes": C}
        stats = [part.double() for part in smp.metrics.get_stats(output, target, **kind)]
        for name, function in functions.items():
            found[name].append(float(function(*stats, reduction="micro" if two else "macro-imagewise")))
    return {name: nanmean(values) for name, values in found.items()}


def ubench(maps: Maps) -> Scores:
    """metrics_medpy.py: every image binarised; medpy gives 0 for 0/0."""
    rows: dict[str, list[float]] = {}
    for truth, predicted in zip(*maps, strict=True):
        keep = truth != IGNORE
        mask, output = (truth > 0)[keep].astype(int), (predicted > 0)[keep].astype(int)
        tp, fp, fn, tn = pixels(mask, output, 1)
        scores = {
            "iou_fg": over(tp, tp + fp + fn, 0),
            "dice_fg": over(2 * tp, 2 * tp + fp + fn, 0),
            "sensitivity_fg": over(tp, tp + fn, 0),
            "specificity_fg": over(tn, tn + fp, 0),
            "precision_fg": over(tp, tp + fp, 0),
            "pixel_acc_fg": float(((output > 0.5) == (mask == mask.max())).mean()),
        }
        for name, value in scores.items():
            rows.setdefault(name, []).append(value)
    return {name: nanmean(values) for name, values in rows.items()}


def worst(values: list[float], share: float) -> float:
    kept = sorted(value for value in values if not math.isnan(value))
    return nanmean(kept[: max(1, int(share * len(kept)))])


def wang_image(maps: Maps) -> Scores:
    """miouic_metric.py: per image over the classes of its truth."""
    result: Scores = {}
    for name, twice in (("miou", 1), ("mdice", 2)):
        images = []
        for pair in zip(*maps, strict=True):
            parts = [pixels(*pair, label) for label in range(C)]
            images.append(nanmean([twice * p[0] / (twice * p[0] + p[1] + p[2]) for p in parts if p[0] + p[2]]))
        result |= {f"{name}_i": nanmean(images), f"{name}_i_worst5": worst(images, 0.05)}
    return result | wang_whole(maps)


def wang_class(maps: Maps) -> Scores:
    """miouic_metric.py: per class over the images whose truth has it."""
    result: Scores = {}
    for name, twice in (("miou", 1), ("mdice", 2)):
        tables = []
        for label in range(C):
            parts = [pixels(*pair, label) for pair in zip(*maps, strict=True)]
            tables.append([twice * p[0] / (twice * p[0] + p[1] + p[2]) for p in parts if p[0] + p[2]])
        result[f"{name}_c"] = nanmean([nanmean(table) for table in tables])
        result[f"{name}_c_worst5"] = nanmean([worst(table, 0.05) for table in tables if table])
    return result | wang_whole(maps)


def wang_whole(maps: Maps) -> Scores:
    """mioud_metric.py and accuracy_metric.py, whose counts begin at 1."""
    areas = summed(maps)
    return {
        "miou_d": nanmean([over(tp, tp + fp + fn) for tp, fp, fn, _ in areas]),
        "mean_class_acc": sum((tp + 1) / (tp + fn + 1) for tp, _, fn, _ in areas) / C,
    }


def wang_two(maps: Maps) -> Scores:
    """The branch for two classes: foreground alone, an image without any scores 1; both names are the same number."""
    parts = [pixels(*pair, 1) for pair in zip(*maps, strict=True)]
    iou = [over(tp, tp + fp + fn, 1) for tp, fp, fn, _ in parts]
    dice = [over(2 * tp, 2 * tp + fp + fn, 1) for tp, fp, fn, _ in parts]
    tp, fp, fn, _ = map(sum, zip(*parts, strict=True))
    return {
        "miou": nanmean(iou), "mdice": nanmean(dice), "miou_worst5": worst(iou, 0.05),
        "mdice_worst5": worst(dice, 0.05), "miou_d": over(tp, tp + fp + fn, 1),
    }  # fmt: skip


def metrics_reloaded(maps: Maps) -> Scores:
    """pairwise_measures.py, one class at a time: DSC is 1 and IoU NaN where both are empty."""
    tables: dict[str, list[float]] = {"mdice_i_fg": [], "miou_i_fg": [], "ovr_acc_i_fg": []}
    for label in range(1, C):
        parts = [pixels(*pair, label) for pair in zip(*maps, strict=True)]
        tables["mdice_i_fg"].append(nanmean([over(2 * tp, 2 * tp + fp + fn, 1) for tp, fp, fn, _ in parts]))
        tables["miou_i_fg"].append(nanmean([over(tp, tp + fp + fn) for tp, fp, fn, _ in parts]))
        tables["ovr_acc_i_fg"].append(nanmean([(tp + tn) / (tp + fp + fn + tn) for tp, fp, fn, tn in parts]))
    return {name: nanmean(values) for name, values in tables.items()}


REFERENCES: dict[str, Callable[[Maps], Scores]] = {
    "mmseg": mmseg,
    "mmseg_fg": lambda maps: mmseg(maps, first=1),
    "paddleseg": paddleseg,
    "nnunet": nnunet,
    "smp_micro": lambda maps: smp_scores(maps, "micro", "micro", mean=""),
    "smp_macro": lambda maps: smp_scores(maps, "macro", "d"),
    "smp_macro_imagewise": lambda maps: smp_scores(maps, "macro-imagewise", "i"),
    "ubench_binary": ubench,
    "wang_image": wang_image,
    "wang_class": wang_class,
    "metrics_reloaded": metrics_reloaded,
}
WITHOUT_IGNORE: dict[str, Callable[[Maps], Scores]] = {
    "tm_meaniou": tm_meaniou,
    "tm_dice_global": lambda maps: tm_dice(maps, "global", "d", "dice_micro"),
    "tm_dice_samplewise": lambda maps: tm_dice(maps, "samplewise", "i", "dice_micro_i"),
    "medsegbench": medsegbench,
}


def plain(scores: Scores | dict[str, float | None]) -> Scores:
    """Numbers that can be compared: -1 where there is none."""
    return {name: -1.0 if value is None or math.isnan(value) else value for name, value in scores.items()}


def ours(profile: str, maps: Maps, classes: int = C) -> Scores:
    return plain(metrics.scores(counted(maps, classes), ["x"] * classes, metrics.profile(profile)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("profile", REFERENCES)
def test_a_profile_is_what_its_library_computes(profile: str, case: str) -> None:
    assert plain(REFERENCES[profile](CASES[case])) == pytest.approx(ours(profile, CASES[case]), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*average=micro.*:UserWarning")
@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("profile", WITHOUT_IGNORE)
def test_a_profile_of_a_library_that_ignores_no_pixels_is_what_it_computes(profile: str, case: str) -> None:
    assert plain(WITHOUT_IGNORE[profile](CASES[case])) == pytest.approx(ours(profile, CASES[case]), abs=1e-6)


@pytest.mark.filterwarnings("ignore:Zero division")
@pytest.mark.parametrize("case", TWO)
def test_two_classes_take_the_branch_of_their_own(case: str) -> None:
    wang, image, label = wang_two(TWO[case]), ours("wang_image", TWO[case], 2), ours("wang_class", TWO[case], 2)

    assert plain(medsegbench(TWO[case], two=True)) == pytest.approx(ours("medsegbench", TWO[case], 2), abs=1e-6)
    for found, suffix in ((image, "i"), (label, "c")):
        scores = {name.replace(f"_{suffix}", ""): value for name, value in found.items() if name != "mean_class_acc"}
        assert plain(wang) == pytest.approx(scores, abs=1e-6)


def test_an_image_that_is_wholly_ignored_is_left_out_even_where_a_library_would_score_it_1() -> None:
    truth, predicted = random_maps(1)
    with_it = np.concatenate([truth, np.full((1, 8, 9), IGNORE)]), np.concatenate([predicted, predicted[:1]])
    names = [name for name, one in PROFILES.items() if all(m.measure is None for m in one.metrics.values())]

    for name in names:
        assert ours(name, (truth, predicted)) == pytest.approx(ours(name, with_it)), name


def test_every_profile_of_the_issue_is_there_and_says_where_it_is_from() -> None:
    wanted = {
        "default", "mmseg", "mmseg_fg", "paddleseg", "nnunet", "smp_micro", "smp_macro", "smp_macro_imagewise",
        "tm_meaniou", "tm_dice_global", "tm_dice_samplewise", "medsegbench", "ubench_binary", "wang_image", "wang_class",
        "metrics_reloaded", "image_binary", "seed0_hard", "seed1_hard", "seed3_hard", "seeds_soft",
        "rates", "boundary", "objects",
    }  # fmt: skip

    assert wanted == set(PROFILES)
    assert all(name == one.name and one.title and one.source and one.users for name, one in PROFILES.items())
    assert all(
        metric.title and metric.definition.endswith(".") for one in PROFILES.values() for metric in one.metrics.values()
    )


def test_the_id_of_a_profile_carries_the_version_of_the_library_it_was_compared_with() -> None:
    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    names = {"torchmetrics": "torchmetrics", "smp": "segmentation_models_pytorch"}
    for name, one in PROFILES.items():
        library, _, version = one.library.partition("-")

        assert one.id == (f"{name}@{one.library}" if one.library else name)
        assert version == (pinned[names[library]] if library in names else version)


def test_no_column_is_headed_by_a_bare_accuracy_iou_or_dice() -> None:
    titles = [metric.title.partition(" (")[0].lower() for one in PROFILES.values() for metric in one.metrics.values()]

    assert not {"accuracy", "acc", "iou", "dice", "f1", "jaccard", "mean accuracy"} & set(titles)
    keys = [key for one in PROFILES.values() for key in one.metrics]
    assert not {"accuracy", "acc", "iou", "dice", "f1"} & set(keys)


def by_switches(counts: Counts, of: str, **switches: object) -> float:
    """The switches written out in loops."""
    aggregate, empty = switches["aggregate"], {"skip": math.nan, "zero": 0.0, "one": 1.0}[str(switches["empty"])]
    first = 0 if switches["background"] == "with" else 1
    matrices = [counts.sum(axis=0)] if aggregate == "dataset" else list(counts)
    table, weights = [], []
    for matrix in matrices:
        hit = [float(matrix[c, c]) for c in range(first, C)]
        true = [float(matrix[c].sum()) for c in range(first, C)]
        found = [float(matrix[:, c].sum()) for c in range(first, C)]
        if switches["average"] == "micro":
            hit, true, found = [sum(hit)], [sum(true)], [sum(found)]
        one = {"iou": lambda h, t, f: over(h, t + f - h, empty), "dice": lambda h, t, f: over(2 * h, t + f, empty)}[of]
        row = [one(h, t, f) for h, t, f in zip(hit, true, found, strict=True)]
        if switches["classes"] == "truth":
            row = [value if t else math.nan for value, t in zip(row, true, strict=True)]
        table.append(row)
        weights.append(true)
    share = float(str(switches["worst"]))
    if aggregate == "pair":
        return nanmean([value for row in table for value in row])
    if aggregate == "class":
        return nanmean(
            [worst(list(column), share) if share < 1 else nanmean(list(column)) for column in zip(*table, strict=True)]
        )
    if switches["average"] == "weighted":
        images = [
            over(
                sum(v * w for v, w in zip(row, own, strict=True) if v == v),
                sum(w for v, w in zip(row, own, strict=True) if v == v),
            )
            for row, own in zip(table, weights, strict=True)
        ]
    else:
        images = [nanmean(row) for row in table]
    return worst(images, share) if share < 1 else nanmean(images)


@pytest.mark.parametrize("aggregate", SWITCHES["aggregate"])
@pytest.mark.parametrize("background", SWITCHES["background"])
@pytest.mark.parametrize("empty", SWITCHES["empty"])
def test_custom_switches_do_what_they_say(aggregate: str, background: str, empty: str) -> None:
    for average in SWITCHES["average"]:
        if average == "weighted" and aggregate in ("class", "pair"):
            continue
        for classes in SWITCHES["classes"]:
            for share in (1.0, 0.5) if aggregate in ("image", "class") else (1.0,):
                switches = {"aggregate": aggregate, "background": background, "empty": empty, "average": average}
                switches |= {"classes": classes, "worst": share}
                inner = ",".join(f"{key}={value}" for key, value in switches.items())
                profile = metrics.profile(f"custom[{inner}]")
                for maps in (CASES["random 1"], CASES["ignored 1"], CASES["class hallucinated"]):
                    counts = counted(maps)
                    found = plain(metrics.scores(counts, ["x"] * C, profile))
                    [dice, iou] = list(found.values())[:2]

                    assert plain({"x": by_switches(counts, "dice", **switches)})["x"] == pytest.approx(dice)
                    assert plain({"x": by_switches(counts, "iou", **switches)})["x"] == pytest.approx(iou)


def test_a_custom_profile_is_named_by_the_switches_that_differ_from_the_default() -> None:
    profile = metrics.profile("custom[worst=0.05, aggregate=image,background=without,empty=one,average=macro]")

    assert "custom[aggregate=image,empty=one,worst=0.05]" == profile.id
    assert "mdice_i_fg_worst5" == profile.primary
    assert "custom" == metrics.profile("custom").id == metrics.profile("custom[worst=1]").id


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("custom[agregate=image]", "Did you mean aggregate"),
        ("custom[empty=nan]", "There are: one, skip, zero"),
        ("custom[worst=0]", "worst=0 must be a share"),
        ("custom[aggregate=image,worst=half]", "worst=half must be a share"),
        ("custom[worst=0.5]", "needs scores per image"),
        ("custom[aggregate=pair,average=weighted]", "average=weighted needs"),
        ("mmsegg", "Did you mean mmseg"),
    ],
)
def test_a_profile_that_makes_no_sense_is_answered_in_one_line(name: str, message: str) -> None:
    with pytest.raises(NameUnknown, match=message) as error:
        metrics.profile(name)

    assert "\n" not in str(error.value)


def test_the_sentence_of_a_rule_names_each_of_its_switches() -> None:
    plain_rule, odd = Rule(of="iou"), Rule(of="dice", aggregate="class", background=False, empty="one", worst=0.05)

    assert "Pixels summed over all test images; IoU per class; mean over classes." == plain_rule.sentence
    assert all(part in odd.sentence for part in ("foreground", "1 where", "worst 5%", "per class, then over classes"))


def test_merging_foreground_classes_of_counts_of_two_changes_nothing() -> None:
    counts = np.arange(8).reshape(2, 2, 2)

    assert counts.tolist() == binary(counts).tolist()
    assert {"iou", "dice", "fscore", "recall", "precision", "specificity", "ovr", "ubench", "smoothed"} == set(RATIOS)
