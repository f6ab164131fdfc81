"""What a metric or a profile means, as lines of plain text with an example that is computed on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bench import metrics
from bench.catalog import unknown
from bench.measures import MEASURES, measured
from bench.profiles import PROFILES
from bench.rules import RATIOS, ByClasses, Counts, Metric, Profile, Rule, Values, binary, constant
from bench.shapes import GROUPS, takers
from bench.switches import SWITCHES

Rows = list[dict[str, object]]
CLASSES = ("background", "nucleus", "plasma")
EXAMPLE = np.array(
    [
        [[88, 2, 0], [3, 7, 0], [0, 0, 0]],  # no plasma, and none is found
        [[80, 1, 4], [2, 13, 0], [0, 0, 0]],  # no plasma, and some is found
        [[70, 2, 0], [1, 9, 2], [6, 0, 10]],
    ]
)
"""Three images of 100 pixels, true class (row) by predicted class (column)."""
TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 0]], np.uint8)
CELL = np.array([[0.1, 0.2, 0.9, 0.8], [0.0, 0.3, 0.6, 0.1]], np.float32)
"""One image of eight pixels, and the probability of a cell in each."""


def lines(name: str) -> list[str]:
    """The explanation of a profile, a metric or a family of metrics (`miou`), or of `custom`.

    Raises:
        NameUnknown: If it is none of them.
    """
    stem = name.partition("[")[0].strip()
    if name == "custom":
        return list(_switches())
    if stem == "custom" or name in PROFILES or name in metrics.own():
        return list(_profile(metrics.profile(name)))
    short = name.partition("/")[0]
    if short in ("iou_d", "dice_d"):
        return [f"{short}/CLASS: one class by itself, pixels summed over all test images.", *_ratio(short[:-2])]
    found = [(one, key) for one in PROFILES.values() for key in one.metrics if key == name]
    found = found or [(one, key) for one in PROFILES.values() for key in one.metrics if key.startswith(f"{name}_")]
    if not found:
        mine = [metrics.profile(one) for one in metrics.own()]
        found = [(one, key) for one in mine for key in one.metrics if key == name]
    if not found:
        keys = {key for one in PROFILES.values() for key in one.metrics}
        known = sorted(
            {*PROFILES, *metrics.own(), *keys, *(key.partition("_")[0] for key in keys), "custom", "definitions"}
        )
        raise unknown("metric or profile", name, known, "bench list metrics")
    return list(_metric(found))


def definitions() -> Rows:
    """Two predictions and an empty one under every profile that counts tell: the winner depends on the profile."""
    first, second = rivals()
    nothing = constant(first, 0)
    rows: Rows = []
    for name, profile in PROFILES.items():
        metric = profile.metrics[profile.primary]
        if metric.measure is not None:
            continue
        a, b, empty = (float(metric.compute(counts)) for counts in (first, second, nothing))
        rows.append(
            {
                "profile": name,
                "metric": profile.primary,
                "A": f"{a:.3f}",
                "B": f"{b:.3f}",
                "first": "A" if a > b else "B",
                "all background": "n/a" if np.isnan(empty) else f"{empty:.3f}",
            }
        )
    return rows


def rivals() -> tuple[Counts, Counts]:
    """Two predictions of 60 images, int64 (60, 6, 6): A strews specks of classes that are not there, B never finds one.

    Every image has 10,000 pixels and two of four common classes, 400 pixels each; every tenth shows 200 pixels of a
    rare one. A finds 90% of all of them, and calls 20 background pixels by each class that is absent. B finds 95% of
    the common ones and nothing of the rare one.
    """
    careless, careful = np.zeros((2, 60, 6, 6), np.int64)
    for image in range(60):
        shown = {1 + image % 4: 400, 1 + (image + 1) % 4: 400} | ({5: 200} if image % 10 == 0 else {})
        specks = [label for label in range(1, 6) if label not in shown]
        background = 10_000 - sum(shown.values())
        careless[image, 0, 0], careful[image, 0, 0] = background - 20 * len(specks), background
        careless[image, 0, specks] = 20
        for label, pixels in shown.items():
            right = pixels * 9 // 10, pixels * 19 // 20 if label < 5 else 0
            for counts, hit in zip((careless, careful), right, strict=True):
                counts[image, label, label], counts[image, label, 0] = hit, pixels - hit
    return careless, careful


def _profile(profile: Profile) -> Iterator[str]:
    yield f"{profile.id}: {profile.title}."
    yield f"Defined in: {profile.source}"
    yield f"Used by: {profile.users}"
    yield from ("", *_example(profile.metrics.values()))
    for name, metric in profile.metrics.items():
        ranked = ", ranks the leaderboard" if name == profile.primary else ""
        yield f"\n{name} ({metric.title}{ranked})"
        yield f"  {metric.definition}"
        yield from (f"  {line}" for line in _formula(metric))
        yield f"  here: {_value(metric)}"


def _metric(found: Sequence[tuple[Profile, str]]) -> Iterator[str]:
    chosen = [profile.metrics[key] for profile, key in found]
    for of in dict.fromkeys(metric.of for metric in chosen if metric.of):
        yield from _ratio(of)
    yield from ("", *_example(chosen))
    for (profile, key), metric in zip(found, chosen, strict=True):
        yield f"\n{key} in the profile {profile.id}: {metric.title}"
        yield f"  {metric.definition}"
        yield f"  used by: {profile.users}"
        yield from (f"  {line}" for line in _steps(metric))
        yield f"  here: {_value(metric)}"


def _ratio(of: str) -> Iterator[str]:
    ratio = RATIOS[of]
    yield f"{ratio.title} = {ratio.formula}"
    yield (
        "  It counts pixels of one class: hit, those of the class that are called so; true, all of the class; "
        "predicted, all that are called so; all, every pixel that is not ignored."
    )
    yield f"  Undefined where {ratio.undefined}."


def _formula(metric: Metric) -> Iterator[str]:
    if metric.of:
        yield f"{RATIOS[metric.of].title} = {RATIOS[metric.of].formula}; undefined where {RATIOS[metric.of].undefined}"


def _example(chosen: Iterable[Metric]) -> Iterator[str]:
    """What the numbers below are computed from."""
    kinds = {metric.measure is None for metric in chosen}
    if True in kinds:
        yield "Example: three images of 100 pixels, true class (row) by predicted class (column)."
        yield "  " + " " * 12 + "".join(f"{f'image {number}':<16}" for number in range(1, len(EXAMPLE) + 1))
        for row, name in enumerate(CLASSES):
            numbers = ("".join(f"{pixels:>4}" for pixels in image[row]) for image in EXAMPLE)
            yield f"  {name:<12}" + "    ".join(numbers)
    if False in kinds:
        yield "Example: one image of eight pixels, cells (1) in its truth, and the predicted probability of a cell."
        for truth, cell in zip(TRUTH, CELL, strict=True):
            yield "  " + " ".join(map(str, truth)) + "    " + " ".join(f"{value:.1f}" for value in cell)


def _steps(metric: Metric) -> Iterator[str]:
    """The ratio per class on the way to the number, where there is one."""
    rule = metric.compute.more if isinstance(metric.compute, ByClasses) else metric.compute
    if not isinstance(rule, Rule):
        return
    values, _ = rule.per_class(binary(EXAMPLE) if rule.merged else EXAMPLE)
    names = ("background", "foreground") if rule.merged else CLASSES
    names = ("all classes",) if rule.average == "micro" else names if rule.background else names[1:]
    for number, row in enumerate(values, start=1):
        where = "all images" if rule.aggregate == "dataset" else f"image {number}"
        shown = (
            f"{name} {'left out' if np.isnan(value) else f'{value:.4f}'}"
            for name, value in zip(names, row, strict=True)
        )
        yield f"{where}: {', '.join(shown)}"


def _value(metric: Metric) -> str:
    """The metric on the example."""
    if metric.measure is None:
        value = float(metric.compute(EXAMPLE))
    else:
        value = float(metric.compute(_taken(metric.measure)[None]))
    return "undefined" if np.isnan(value) else f"{value:.4f}"


def _taken(name: str) -> Values:
    """A measure of the example with probabilities."""
    predicted = (CELL > 0.5).astype(np.uint8)
    if name in MEASURES:
        return measured(TRUTH, predicted, np.stack([1 - CELL, CELL]), [name])[name]
    takes = takers(list(GROUPS), lambda: [TRUTH], 2)
    return next(found[name] for take in takes if name in (found := take(TRUTH, predicted, None, 2)))


def _switches() -> Iterator[str]:
    words = {
        "aggregate": "dataset sums the pixels of all images first; image takes the mean over classes, then images; "
        "class over images per class, then classes; pair over all images and classes at once",
        "background": "whether class 0 is counted",
        "empty": "what stands where a class is neither in the truth nor predicted: nothing, 0 or 1",
        "average": "macro counts classes alike; micro pools their pixels; weighted weighs them by their true pixels",
        "classes": "truth leaves out a class that is only predicted; union counts it as 0",
        "worst": "the share of the images that is kept, the worst of them: 0.05 is 5%",
    }
    yield "custom[switch=value,..]: a profile put together from switches, as in"
    yield "  bench report --profile 'custom[aggregate=image,background=with,empty=one,worst=0.05]'"
    for key, values in SWITCHES.items():
        allowed = " | ".join(values) if key != "worst" else "above 0, at most 1"
        yield f"\n{key} = {allowed}{' (the first is the default)' if key != 'worst' else ' (1 is the default)'}"
        yield f"  {words[key]}"
