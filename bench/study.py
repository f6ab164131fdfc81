"""A study from a TOML file, from the built-in ones, and from options; checked once, here."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from bench import catalog, names
from bench.errors import StudyError
from bench.specs import SCHEMA, Budget, Fit, Measures, Protocol, Recipe, Study, Tuning

STUDIES = Path(__file__).resolve().parent / "studies"
FITS, MEASURES, PROTOCOLS = get_args(Fit), get_args(Measures), get_args(Protocol)

# What a number may be: the check and the published schema both read this table.
BOUNDS: dict[str, tuple[float, float]] = {
    "seeds": (0, 100),
    "folds": (1, 100),
    "recipe.batch": (1, 4096),
    "recipe.size": (16, 8192),
    "recipe.overlap": (0, 8191),
    "recipe.weight_decay": (0.0, 1.0),
    "recipe.warmup": (0.0, 0.5),
    "recipe.decay": (1e-6, 0.999999),
    "recipe.decay_epochs": (1, 100_000),
    "recipe.decay_times": (1, 1000),
    "recipe.clip": (0.0, 1e6),
    "recipe.patience": (1, 100_000),
    "tuning.lr_range": (1e-8, 100.0),
    "tuning.trials": (1, 1000),
    "tuning.grace": (1, 100_000),
    "tuning.weight_decay_range": (1e-10, 1.0),
    "tuning.batches": (1, 4096),
    "budget.epochs": (1, 100_000),
    "budget.seconds": (1.0, 1e7),
}


def builtin() -> dict[str, Path]:
    """The studies that come with the program, by name."""
    return {path.stem: path for path in sorted(STUDIES.glob("*.toml"))}


def load(text: str) -> Study:
    """The study named on the command line: a file when it exists or ends in .toml, else a built-in one.

    Raises:
        StudyError: If the file is missing, is not TOML, or says something that is not allowed.
        NameUnknown: If there is no built-in study of that name.
    """
    path = Path(text)
    if path.suffix != ".toml" and not path.is_file():
        known = builtin()
        if text not in known:
            raise catalog.unknown("study", text, known, "bench list studies")
        path = known[text]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"Cannot read the study {path}: {getattr(error, 'strerror', None) or error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(
            f"{path} is not TOML: {error}. See docs/study.schema.json for what a study may say."
        ) from error
    return parse({"name": path.stem, **values}, where=str(path))


def parse(values: Mapping[str, Any], *, where: str) -> Study:
    """Check the values of a study file; `where` is named in the errors.

    Raises:
        StudyError: Listing everything that is wrong at once.
    """
    import pydantic

    values = dict(values)
    schema = values.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise StudyError(f"{where} has schema {schema}; this version of bench reads schema {SCHEMA}. Write it anew.")
    try:
        study = pydantic.TypeAdapter(Study).validate_json(json.dumps(_square(values), default=str), strict=True)
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors())
        raise StudyError(f"{where}: {problems}. See docs/study.schema.json.") from error
    return check(study, where=where)


def check(study: Study, *, where: str) -> Study:
    """The study itself, if all its numbers are in range and its axes are not empty.

    Raises:
        StudyError: Everything that is wrong, where, and what is allowed.
    """
    problems = [
        f"{axis} is empty, name at least one (see bench list {axis})"
        for axis in ("datasets", "architectures", "losses")
        if not getattr(study, axis)
    ]
    problems += [
        f"{field} has {name!r}, it may hold {', '.join(allowed[:-1])} and {allowed[-1]}"
        for field, allowed in (("measures", MEASURES), ("protocol", PROTOCOLS))
        for name in getattr(study, field)
        if name not in allowed
    ]
    problems += [] if study.protocol else [f"protocol is empty, name at least one of {', '.join(PROTOCOLS)}"]
    problems += [
        f"{name} is {value:g}, it must lie between {low:g} and {high:g}"
        for name, (low, high) in BOUNDS.items()
        for value in dict.fromkeys(_numbers(study, name))
        if not (math.isfinite(value) and low <= value <= high)
    ]
    problems += _contradictions(study)
    if problems:
        raise StudyError(f"{where}: {'; '.join(problems)}.")
    return study


def _contradictions(study: Study) -> Iterator[str]:
    """What no table of bounds can say: values that do not go together."""
    low, high = study.tuning.lr_range
    if low > high:
        yield f"tuning.lr_range is {low:g} to {high:g}, the lower end comes first, as in 1e-4:1e-2"
    if study.tuning.weight_decay_range is not None:
        low, high = study.tuning.weight_decay_range
        if low > high:
            yield f"tuning.weight_decay_range is {low:g} to {high:g}, the lower end comes first"
    recipe = study.recipe
    if recipe.fit not in FITS:
        yield f"recipe.fit is {recipe.fit!r}, it must be one of {', '.join(FITS)}"
    if recipe.overlap and recipe.fit != "tile":
        yield f"recipe.overlap is {recipe.overlap}, it must be 0 unless fit is tile"
    elif recipe.overlap >= min(recipe.size) > 0:
        yield f"recipe.overlap is {recipe.overlap}, it must be less than the size, {min(recipe.size)}"
    if not (all(share > 0 for share in study.ratios) and math.isclose(sum(study.ratios), 1, abs_tol=1e-6)):
        yield f"ratios is {list(study.ratios)}, it must be three shares above 0 that add up to 1: train, val, test"


def override(study: Study, changes: Mapping[str, object]) -> Study:
    """A study with options of the command line in place of its own values; None leaves a value as it is.

    Raises:
        StudyError: If an option cannot be read or is out of range.
    """
    values = {name: value for name, value in changes.items() if value is not None}
    axes = {
        axis: tuple(name for text in _texts(values[axis]) for name in _names(text))
        for axis in ("datasets", "architectures", "losses")
        if axis in values
    }
    measures = [name for text in _texts(values.get("measures", study.measures)) for name in names.split(text)]
    protocol = [name for text in _texts(values.get("protocol", study.protocol)) for name in names.split(text)]
    recipe = {key: values[key] for key in ("batch", "augment", "fit", "deterministic") if key in values}
    if recipe.get("fit", "tile") != "tile":
        recipe["overlap"] = 0
    if "size" in values:
        recipe["size"] = size(str(values["size"]))
    tuning = {"trials": values["trials"]} if "trials" in values else {}
    if "lr_range" in values:
        tuning["lr_range"] = _range(str(values["lr_range"]))
    changed = dataclasses.replace(
        study if not axes else dataclasses.replace(study, title=""),  # it was the title of other axes
        **axes,
        **{key: values[key] for key in ("seeds", "folds") if key in values},
        measures=tuple(dict.fromkeys(measures)),
        protocol=tuple(dict.fromkeys(protocol)),
        recipe=dataclasses.replace(study.recipe, **recipe),
        tuning=dataclasses.replace(study.tuning, **tuning),
        budget=dataclasses.replace(study.budget, **({"epochs": values["epochs"]} if "epochs" in values else {})),
    )
    return check(changed, where="the command line")


def folder_name(name: str) -> str:
    """A study's name, if it can name a folder.

    Raises:
        StudyError: If it holds anything but letters, digits, dot, dash and underscore.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise StudyError(f"The study name {name!r} cannot name a folder. Use letters, digits, '.', '-' and '_'.")
    return name


def dump(study: Study) -> str:
    """The study as TOML, every value written out; `load` reads it back to the same study."""
    values = dataclasses.asdict(study)
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    plain = {key: value for key, value in values.items() if key not in tables}
    lines = [f"schema = {SCHEMA}", *_assignments(plain)]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_assignments(table)]
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema of a study file, as published in docs/study.schema.json."""
    import pydantic

    document = pydantic.TypeAdapter(Study).json_schema()
    for name, kind in {"Recipe": Recipe, "Tuning": Tuning, "Budget": Budget, "": Study}.items():
        describe(document["$defs"][name] if name else document, kind)
    document["title"] = "cytobench study"
    document["properties"]["schema"] = {"const": SCHEMA, "description": "Version of the format."}
    document["required"] = []  # a file may leave out everything, its own name included
    for name, (low, high) in BOUNDS.items():
        table, _, key = name.rpartition(".")
        owner = document["$defs"][table.capitalize()] if table else document
        target = owner["properties"][key]
        for option in target.get("anyOf", [target]):
            for number in option.get("prefixItems", [option.get("items", option)]):
                if number.get("type") in ("integer", "number"):
                    number |= {"minimum": low, "maximum": high}
    size = document["$defs"]["Recipe"]["properties"]["size"]
    pair = {key: size.pop(key) for key in ("type", "prefixItems", "minItems", "maxItems")}
    low, high = BOUNDS["recipe.size"]
    size["anyOf"] = [{"type": "integer", "minimum": low, "maximum": high}, pair]
    protocol = document["properties"]["protocol"]
    several = {key: protocol.pop(key) for key in ("type", "items")}
    protocol["anyOf"] = [several["items"], several | {"minItems": 1}]
    return document


def describe(owner: dict[str, Any], kind: type) -> None:
    """Take the description of a type from the first line of its docstring, and those of its fields from below."""
    owner["description"], _, below = (inspect.getdoc(kind) or "").partition("\n")
    for field, words in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", below, re.MULTILINE):
        owner["properties"][field]["description"] = " ".join(words.split())


def _square(values: dict[str, Any]) -> dict[str, Any]:
    """`size = 128` is short for `size = [128, 128]`, and one protocol for a list of one."""
    if isinstance(values.get("protocol"), str):
        values = values | {"protocol": [values["protocol"]]}
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and type(recipe.get("size")) is int:
        return values | {"recipe": recipe | {"size": (recipe["size"], recipe["size"])}}
    return values


def _numbers(study: Study, name: str) -> list[float]:
    value: Any = study
    for part in name.split("."):
        value = getattr(value, part)
    if value is None:
        return []
    return list(value) if isinstance(value, tuple) else [value]


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _names(text: str) -> list[str]:
    """The names an option holds; a folder whose name has a comma is one name."""
    return [text] if Path(text).is_dir() else names.split(text)


def size(text: str) -> tuple[int, int]:
    """Height and width from `128` or `288x384`; whether they are in bounds is not looked at.

    Raises:
        StudyError: If the text is neither.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise StudyError(f"--size {text}: write one number or HEIGHTxWIDTH, as 128 or 288x384.")
    return int(parts[0]), int(parts[-1])


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise StudyError(f"--lr-range {text}: write LOW:HIGH, as 1e-5:1e-1.") from None
    return low, high


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the study"


def _assignments(table: Mapping[str, Any]) -> list[str]:
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items() if value is not None]
    return [line.replace("\x7f", "\\u007f") for line in lines]  # the one character JSON may leave bare and TOML may not
