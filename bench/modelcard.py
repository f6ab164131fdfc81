"""The README of what is uploaded to the Hugging Face Hub: a model card of one cell, a data set card of a whole study.

Metadata are made by huggingface_hub itself; every text that comes from data or files is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bench import catalog, leaking, names, quantities, report
from bench.errors import BenchError, StoreError
from bench.markdown import escape
from bench.metrics import Metric
from bench.plan import RECIPE_VERSION
from bench.records import Record
from bench.report import Content
from bench.rows import Row
from bench.specs import ArchitectureSpec
from bench.standings import Standing

LIBRARY = "cytobench"
UNKNOWN = "unknown"
"""What the Hub calls a licence that nobody has chosen."""
TASK = "image-segmentation"
LIMITS = (
    "Trained to compare networks under equal conditions, not for diagnosis: it was tested on images of one data set "
    "alone, and nothing is known of other stains, microscopes, laboratories or diseases. Nothing here is a medical "
    "device. Whoever wants to use it looks at its errors on own, annotated images first."
)


class Subject(NamedTuple):
    """The cell that a card is of, and where it stands among the others of its study."""

    content: Content
    row: Row
    record: Record
    standing: Standing


def subject(content: Content, key: str) -> Subject:
    """The cell of a key, in all that was collected.

    Raises:
        StoreError: If it has no score.
    """
    for board in content.boards:
        for standing in board.standings:
            for row in standing.rows:
                if row.cell.key == key and row.record is not None and row.record.data and row.counts is not None:
                    return Subject(content, row, row.record, standing)
    raise StoreError(f"{key} has no score, and a model without one is not shared. bench status shows which cells have.")


def model(about: Subject, repository: str, licence: str = UNKNOWN) -> str:
    """The model card of a cell, with its YAML head.

    Args:
        repository: Where it goes, as `owner/name`.
        licence: The Hub's name of the licence that the weights are under.
    """
    from huggingface_hub import EvalResult, ModelCardData

    record, card = about.record, about.record.data
    assert card is not None  # `subject` looked
    stem = _stem(record.cell.dataset)
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=stem,
            dataset_name=card.title,
            dataset_split="test",
            metric_type=name,
            metric_name=metric.title,
            metric_value=value,
            metric_args=_told(about, name, metric),
        )
        for name, metric, value in _scored(about)
    ]
    data = ModelCardData(
        license=licence,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=["microscopy", TASK, "benchmark", names.parse(record.cell.architecture)[0], *_leak_tag(record)],
        datasets=[stem],
        metrics=[name for name, _, _ in _scored(about)],
        model_name=repository.rpartition("/")[2],
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(_model(about, repository, licence)) + "\n"


def dataset(content: Content, repository: str, licence: str = UNKNOWN) -> str:
    """The card of a results folder, with its YAML head: the leaderboards as they are, and how to read them on."""
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        license=licence,
        pretty_name=f"{report.title(content)}: results",
        task_categories=[TASK],
        tags=["microscopy", "benchmark", LIBRARY],
        configs=[{"config_name": "leaderboard", "data_files": "leaderboard.csv"}],
    )
    cards = {row.cell.dataset: row.record.data for row in content.rows if row.record and row.record.data}
    lines = [
        report.texts(content)["leaderboard.md"].rstrip(),
        "",
        "## What these scores are",
        "",
        *(f"- {text}" for text in _stamps([one for board in content.boards for one in board.standings])),
        f"- {LIMITS}",
        "",
        "## Data",
        "",
        "The images are not here; the hashes say which ones they were.",
        "",
        *(
            f"- **{escape(card.title)}** ({_code(card.hash)}): {escape(card.licence)}. {escape(card.citation)}"
            for card in cards.values()
        ),
        "",
        "## How to check it",
        "",
        "```sh",
        f"hf download --repo-type dataset {repository} --local-dir results/{content.study.name}",
        f"cd results/{content.study.name} && sha256sum -c SHA256SUMS && cd ../..",
        f"bench verify {content.study.name}       # every published number again from the stored matrices",
        f"bench report {content.study.name}",
        "```",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines) + "\n"


def _model(about: Subject, repository: str, licence: str) -> Iterator[str]:
    """The text of a model card, line by line."""
    record = about.record
    card = record.data
    assert card is not None
    yield f"# {escape(record.cell.architecture)} on {escape(card.title)}"
    yield ""
    yield (
        f"A network that tells {len(card.classes)} classes apart in microscopy images "
        f"({', '.join(escape(one.name) for one in card.classes)}), trained with the loss "
        f"{_code(record.cell.loss)} as the cell {_code(record.cell.key)} of the study `{about.content.study.name}`."
    )
    for title, lines in (
        ("Results", _results(about)),
        ("How to use it", _usage(record, repository)),
        ("Intended use and limits", [LIMITS]),
        ("Training data", _data(record)),
        ("How it was trained", _training(record)),
        ("Architecture", _architecture(record)),
        ("Licence", [_licence(licence)]),
    ):
        yield from ("", f"## {title}", "", *lines)


def _results(about: Subject) -> Iterator[str]:
    """The numbers, each with its interval and its definition, under what has to be known of all."""
    content, record = about.content, about.record
    for text in (*_leaks(about), *_stamps([about.standing])):
        yield f"- {text}"
    if about.standing.rank is not None:
        board = next(one for one in content.boards if about.standing in one.standings)
        primary = content.profile.metrics[content.profile.primary].title
        rank = f"Rank {about.standing.rank} of {len(board.standings)}"
        yield f"- {rank} in its study, by {escape(primary)}; ties share a rank."
        yield from (f"- {text}" for text in _baseline(about, board.standings))
    yield ""
    yield f"{len(about.row.ids)} test images at native size, profile `{content.profile.id}`."
    yield ""
    yield "| metric | value | 95% interval over test images | definition |"
    yield "| --- | ---: | --- | --- |"
    intervals = about.row.intervals
    for name, metric in content.profile.metrics.items():
        value, interval = about.row.values.get(name), intervals.get(name)
        told = "undefined" if value is None else f"{value:.4f}"
        between = "n/a" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
        yield f"| `{name}` | {told} | {between} | {escape(metric.title)}. {escape(metric.definition)} |"
    yield ""
    counts = f"`counts.npz`, sha256 {_code(record.counts_hash)}"
    yield f"They can be computed again from the stored confusion matrices: {counts}."


def _baseline(about: Subject, standings: tuple[Standing, ...]) -> Iterator[str]:
    """How the best rule without a network does on the same images."""
    name = about.content.profile.primary
    better = [(value, one) for one in standings if one.loss is None and (value := one.values.get(name)) is not None]
    if better:
        value, one = max(better, key=lambda pair: pair[0])
        scored = f"has `{name}` {value:.4f} on the same images"
        yield f"The best baseline without a network, {_code(one.architecture)}, {scored}."


def _stamps(standings: list[Standing]) -> Iterator[str]:
    """What the intervals do not hold."""
    networks = [one for one in standings if one.loss is not None]
    if networks and min(len({row.cell.seed for row in one.rows if row.values}) for one in networks) < 2:
        yield "**Excludes seed noise**: a single run; intervals are over test images, another seed may differ by more."
    if any(one.selected and any(len(row.record.trials) > 1 for row in one.rows if row.record) for one in networks):
        yield "The run is that of the tuning with the best validation score; test images were scored once."


def _leaks(about: Subject) -> Iterator[str]:
    board = next(one for one in about.content.boards if about.standing in one.standings)
    if (found := leaking.leak(board, about.content.profile)) is not None:
        yield f"**{escape(leaking.sentence(found))}**"
    elif not leaking.audited(list(about.standing.rows)):
        yield "The data were not searched for copies across splits."


def _leak_tag(record: Record) -> list[str]:
    return ["leak"] if record.data and sum((record.data.leaked or {}).values()) else []


def _usage(record: Record, repository: str) -> Iterator[str]:
    own = record.ingredients.get("code")
    yield "With `cytobench` installed:"
    yield ""
    yield "```python"
    yield "import bench"
    yield "from huggingface_hub import snapshot_download"
    yield ""
    yield f'model = bench.load(snapshot_download("{repository}"), device="cpu")'
    yield "labels, probabilities = model.predict(image)  # uint8 (H, W), float32 (C, H, W), of uint8 (H, W, 3)"
    yield "```"
    yield ""
    if not _known(record):
        yield (
            "The network is not one of cytobench's own: its code is in `catalog/`. Read it, then name that folder in "
            "the environment variable `BENCH_PATH`, or `bench --catalog catalog predict ..`; nothing runs it unasked."
        )
    else:
        yield f"The weights go with code of the network of hash {_code(own)}; another version is refused, not guessed."


def _data(record: Record) -> Iterator[str]:
    card = record.data
    assert card is not None
    yield f"- **{escape(card.title)}**, {_code(record.cell.dataset)} in the catalogue, pixels {_code(card.hash)}"
    yield f"- {card.train} images to train, {card.val} to validate, {card.test} to test, from {card.sources} sources"
    yield f"- licence: {escape(card.licence) or 'not told'}"
    yield f"- citation: {escape(card.citation) or 'not told'}"
    yield "- the images are not in this repository"


def _training(record: Record) -> Iterator[str]:
    made = record.ingredients
    tuning, recipe = _mapping(made.get("tuning")), _mapping(made.get("recipe"))
    low, high = tuning.get("lr_range", (math.nan, math.nan))
    rates = [trial.lr for trial in record.trials]
    if len(rates) > 1:
        edge = " It is at the end of the range: a better one may lie outside." if record.edge else ""
        yield f"- tuned on validation images alone: {len(rates)} learning rates from {low:g} to {high:g}.{edge}"
    else:
        yield "- not tuned: the learning rate was given"
    rate = "unknown" if record.lr is None else f"{record.lr:.3g}"
    yield f"- learning rate {rate}, best epoch {record.best_epoch or 'unknown'} of {len(record.history)}"
    told = ("size", "fit", "batch", "augment", "optimiser", "schedule", "precision")
    yield f"- recipe (version {made.get('recipe_version', RECIPE_VERSION)}): " + ", ".join(
        f"{name} {'x'.join(map(str, value)) if isinstance(value, list | tuple) else escape(str(value))}"
        for name in told
        if (value := recipe.get(name)) is not None
    )
    if isinstance(started := made.get("weights"), Mapping):
        yield f"- started from {escape(str(started.get('source')))}, sha256 {_code(started.get('sha256'))}"
    yield "- environment: " + ", ".join(escape(f"{name} {value}") for name, value in record.environment.items())
    yield f"- time: {quantities.duration(sum(record.seconds.values()))}"
    energy = record.efficiency.energy_j if record.efficiency else None
    yield "- energy: not measured" if energy is None else f"- energy: {energy / 1000:,.1f} kJ, by the GPU's own meter"
    made_of = "hash of all that can change the result; `record.json` has all of it"
    yield f"- fingerprint {_code(record.fingerprint)}: {made_of}"


def _architecture(record: Record) -> Iterator[str]:
    yield f"- {_code(record.cell.architecture)}"
    if (spec := _spec(record)) is not None:
        yield f"- {escape(spec.title)}: {escape(spec.citation)}"
        yield f"- origin of the code: {escape(spec.origin)}; licence of the code: {escape(spec.licence)}"
    if record.params is not None:
        yield f"- {record.params:,} trainable parameters"
    if record.efficiency and record.efficiency.flops is not None:
        yield f"- {record.efficiency.flops / 1e9:.2f} GFLOPs per image at training size, a multiply-add as two"


def _licence(licence: str) -> str:
    if licence == UNKNOWN:
        return (
            "Nobody has said under which licence the weights are. The licences of the data and of what the network "
            "started from, above, may bind them."
        )
    return f"The weights: {_code(licence)}. The data keep their own licence, which may bind what was learned from them."


def _scored(about: Subject) -> list[tuple[str, Metric, float]]:
    """The numbers that are defined."""
    named = about.content.profile.metrics.items()
    return [(name, one, value) for name, one in named if (value := about.row.values.get(name)) is not None]


def _told(about: Subject, name: str, metric: Metric) -> dict[str, Any]:
    """What a number means, for programs."""
    interval = about.row.intervals.get(name)
    told: dict[str, Any] = {"profile": about.content.profile.id, "definition": metric.definition}
    if interval is not None:
        told |= {"interval_95": [float(edge) for edge in interval], "interval_over": "test images; excludes seed noise"}
    return told


def _known(record: Record) -> bool:
    """Whether the network is one that comes with the program, in any version."""
    entry = catalog.entries("architectures").get(names.parse(record.cell.architecture)[0])
    return entry is not None and entry.path.parent == catalog.folders("architectures")[-1]


def _spec(record: Record) -> ArchitectureSpec | None:
    try:
        return catalog.architecture(record.cell.architecture)[0]
    except BenchError:
        return None


def _stem(dataset: str) -> str:
    """The name of a data set without options; of a folder its last part."""
    return dataset.partition("[")[0].rstrip("/").rpartition("/")[2] or "data"


def _code(text: object) -> str:
    """A text as code, in which nothing but a backtick means anything."""
    return "`" + " ".join(str(text).split()).replace("`", "'") + "`"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
