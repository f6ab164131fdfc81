"""A metric profile put together from switches: `custom[aggregate=image,background=with,empty=one,worst=0.05]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from bench import names
from bench.catalog import unknown
from bench.errors import NameUnknown
from bench.profiles import PIXELS, SHARE, overlaps
from bench.rules import Aggregate, Average, Classes, Empty, Profile
from bench.specs import Option

SWITCHES: dict[str, tuple[str, ...]] = {
    "aggregate": get_args(Aggregate),
    "background": ("without", "with"),
    "empty": get_args(Empty),
    "average": get_args(Average),
    "classes": get_args(Classes),
    "worst": ("1.0",),
}
"""The switches with their values, the default first; `worst` is a share of the images."""


def custom(options: Mapping[str, Option]) -> Profile:
    """The profile of these switches.

    Args:
        options: Keys and values of SWITCHES; `worst` is a number above 0 and at most 1.
    Raises:
        NameUnknown: If a key or a value is none of those, or switches contradict each other.
    """
    chosen, worst = _checked(options)
    background = chosen.pop("background") == "with"
    switches: dict[str, Any] = {**chosen, "background": background, "worst": worst}
    level = {"dataset": "d", "image": "i", "class": "c", "pair": "p"}[chosen["aggregate"]]
    suffix = level + ("" if background else "_fg") + (f"_worst{100 * worst:g}" if worst < 1 else "")
    metrics = overlaps(suffix, "as switched", **switches)
    if chosen["average"] != "macro":
        word = {"micro": "pooled", "weighted": "weighted"}[chosen["average"]]
        metrics = {f"{word}_{name[1:]}": replace(one, title=f"{word} {one.title[1:]}") for name, one in metrics.items()}
    shown = {key: value for key, value in options.items() if value not in (SWITCHES[key][0], 1.0)}
    return Profile(
        name=names.show("custom", shown),
        title="Custom: " + (", ".join(f"{key} {value}" for key, value in sorted(shown.items())) or "the defaults"),
        primary=next(iter(metrics)),
        metrics=metrics | {"pixel_acc": PIXELS, "background_share": SHARE},
        source="bench explain custom",
        users="Whoever writes it down with its switches.",
    )


def _checked(options: Mapping[str, Option]) -> tuple[dict[str, str], float]:
    """All switches but the last, those that were not set at their default, and the share `worst`."""
    for key, value in options.items():
        if key not in SWITCHES:
            raise unknown("switch of the profile 'custom'", key, SWITCHES, "bench explain custom")
        if key != "worst" and value not in SWITCHES[key]:
            raise unknown(f"value of the switch {key!r}", str(value), SWITCHES[key], "bench explain custom")
    worst = options.get("worst", 1.0)
    if isinstance(worst, (str, bool)) or not 0 < worst <= 1:
        raise NameUnknown(f"The switch worst={worst} must be a share of the images above 0 and at most 1, as in 0.05.")
    chosen = {key: str(options.get(key, values[0])) for key, values in SWITCHES.items() if key != "worst"}
    if chosen["average"] == "weighted" and chosen["aggregate"] in ("class", "pair"):
        raise NameUnknown(
            f"The switch average=weighted needs aggregate=dataset or aggregate=image, not {chosen['aggregate']}."
        )
    if worst < 1 and chosen["aggregate"] in ("dataset", "pair"):
        raise NameUnknown(
            f"The switch worst={worst} needs scores per image: write aggregate=image or aggregate=class, not "
            f"{chosen['aggregate']}."
        )
    return chosen, float(worst)
