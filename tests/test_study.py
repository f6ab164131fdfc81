"""Study files: read, checked once, overridden, written back; and the schema that describes them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import study
from bench.errors import NameUnknown, StudyError
from bench.specs import SCHEMA, Budget, Recipe, Study, Tuning

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs/study.schema.json"
EVERYTHING = Study(
    name="all",
    title='Zellen "im Blut" \\ 血 \n\x7f',
    datasets=("smear[train=4]", "./my cells"),
    architectures=("unet[depth=4,encoder=resnet18]",),
    losses=("0.7*focal[gamma=2]+0.3*tversky", "ce"),
    baselines=(),
    measures=("boundary",),
    seeds=3,
    folds=5,
    recipe=Recipe(
        size=(64, 96),
        batch=2,
        augment="none",
        optimiser="sgd",
        clip=0.5,
        patience=4,
        warmup=0.0,
        fit="tile",
        overlap=40,
    ),
    ratios=(0.5, 0.25, 0.25),
    tuning=Tuning(lr_range=(1e-5, 0.1), trials=1, stop=False, grace=1),
    budget=Budget(epochs=3, seconds=12.5),
)


def file(folder: Path, text: str, name: str = "mine.toml") -> str:
    """A study file, by its path."""
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def refused(text: str, folder: Path) -> str:
    """The one line with which a study file is refused."""
    with pytest.raises(StudyError) as caught:
        study.load(file(folder, text))
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", study.builtin())
def test_a_builtin_study_is_named_after_its_file_and_valid(name: str) -> None:
    assert name == study.load(name).name
    assert name == study.folder_name(name)


@pytest.mark.parametrize("path", study.builtin().values(), ids=study.builtin())
def test_a_builtin_study_points_to_the_schema_and_says_nothing_the_schema_does_not_know(path: Path) -> None:
    properties = study.schema()["properties"]
    values = tomllib.loads(path.read_text())

    assert path.read_text().startswith("#:schema ../../docs/study.schema.json")
    assert values.keys() <= properties.keys()


def test_an_unknown_builtin_is_answered_with_the_nearest() -> None:
    with pytest.raises(NameUnknown, match="Did you mean quick"):
        study.load("quik")


def test_an_empty_file_is_a_study_of_defaults_named_after_the_file(tmp_path: Path) -> None:
    assert Study(name="mine") == study.load(file(tmp_path, ""))


def test_a_file_without_the_suffix_is_read_when_it_exists(tmp_path: Path) -> None:
    assert Study(name="mine", seeds=2) == study.load(file(tmp_path, "seeds = 2", "mine"))


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"Cannot read the study .*gone\.toml: No such file"):
        study.load(str(tmp_path / "gone.toml"))


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(StudyError, match="Cannot read the study"):
        study.load(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seeds = = 1", ["is not TOML", "line 1"]),
        ("schema = 2", [f"has schema 2; this version of bench reads schema {SCHEMA}"]),
        ('schema = "1"', ["has schema 1"]),
        ("sedes = 1", ["sedes"]),
        ("[recipe]\nepochs = 1", ["recipe.epochs"]),
        ("recipe = 3", ["recipe"]),
        ("seeds = 1.5\nfolds = 'two'\n[tuning]\nlr_range = [1]", ["seeds", "folds", "tuning.lr_range"]),
        (
            "seeds = -1\nfolds = 0\n[budget]\nepochs = 0",
            ["seeds is -1", "folds is 0", "budget.epochs is 0, it must lie between 1"],
        ),
        ("datasets = []\nlosses = []", ["datasets is empty", "losses is empty", "bench list datasets"]),
        ("datasets = 'smear'", ["datasets"]),
        ("[tuning]\nlr_range = [0.1, 0.001]", ["tuning.lr_range is 0.1 to 0.001", "lower end comes first"]),
        ("[tuning]\nlr_range = [nan, inf]", ["tuning.lr_range is nan", "tuning.lr_range is inf"]),
        ("[recipe]\nsize = 8", ["recipe.size is 8"]),
        ("[recipe]\nsize = [64, 96, 3]", ["recipe.size"]),
        ("[recipe]\nsize = 'large'", ["recipe.size"]),
        ("[recipe]\nfit = 'crop'", ["recipe.fit", "'resize', 'letterbox' or 'tile'"]),
        ("[recipe]\noverlap = 9", ["recipe.overlap is 9", "must be 0 unless fit is tile"]),
        ("ratios = [0.5, 0.5]", ["ratios"]),
        ("ratios = [0.5, 0.25, 0.2]", ["ratios is [0.5, 0.25, 0.2]", "add up to 1"]),
        ("ratios = [1.2, -0.4, 0.2]", ["ratios is", "above 0"]),
        ("[recipe]\noptimiser = 'adma'", ["recipe.optimiser", "'adamw', 'adam' or 'sgd'"]),
    ],
)
def test_everything_that_is_wrong_is_said_in_one_line(text: str, parts: list[str], tmp_path: Path) -> None:
    message = refused(text, tmp_path)

    assert [] == [part for part in parts if part not in message], message


@pytest.mark.parametrize(("text", "size"), [("128", (128, 128)), ("[96, 128]", (96, 128))])
def test_a_size_is_one_number_or_height_and_width(text: str, size: tuple[int, int], tmp_path: Path) -> None:
    assert size == study.load(file(tmp_path, f"[recipe]\nsize = {text}")).recipe.size


@pytest.mark.parametrize("name", study.BOUNDS)
@pytest.mark.parametrize("end", [0, 1])
def test_the_ends_of_a_range_are_allowed_and_nothing_beyond(name: str, end: int) -> None:
    table, _, key = name.rpartition(".")
    limit = study.BOUNDS[name][end]
    pair = name in ("recipe.size", "tuning.lr_range", "tuning.weight_decay_range", "tuning.batches")

    def check(value: float) -> Study:
        values: dict[str, Any] = {"name": "x"}
        if key == "overlap":
            values["recipe"] = {"fit": "tile", "size": 8192}
        (values.setdefault(table, {}) if table else values)[key] = [value, value] if pair else value
        return study.parse(values, where="here")

    assert check(limit).name == "x"
    with pytest.raises(StudyError, match=rf"here: {name} is"):
        check(limit + (1 if isinstance(limit, int) else max(abs(limit), 1.0) * 1e-3) * (1 if end else -1))


def test_a_study_written_out_reads_back_to_the_same(tmp_path: Path) -> None:
    text = study.dump(EVERYTHING)

    assert EVERYTHING == study.load(file(tmp_path, text))
    assert f"schema = {SCHEMA}" == text.splitlines()[0]


@given(
    st.text(max_size=20), st.lists(st.text(max_size=8), min_size=1, max_size=3), st.floats(1e-8, 100), st.floats(0, 0.5)
)
def test_any_text_and_number_survives_being_written_out(
    title: str, axis: list[str], rate: float, warmup: float
) -> None:
    written = replace(
        EVERYTHING,
        title=title,
        datasets=tuple(axis),
        tuning=Tuning(lr_range=(rate, 100.0)),
        recipe=Recipe(warmup=warmup),
    )

    assert written == study.parse(tomllib.loads(study.dump(written)), where="here")


@pytest.mark.parametrize("name", study.builtin())
def test_a_builtin_study_survives_being_written_out(name: str, tmp_path: Path) -> None:
    read = study.load(name)

    assert read == study.load(file(tmp_path, study.dump(read)))


def test_options_take_the_place_of_values_and_split_outside_brackets() -> None:
    changed = study.override(
        EVERYTHING,
        {
            "datasets": ["smear[train=4,test=2],lisc", "pbc"],
            "losses": "ce",
            "size": "48x64",
            "lr_range": "1e-4:1e-2",
            "epochs": 7,
            "seeds": 0,
            "batch": None,
        },
    )

    assert ("smear[train=4,test=2]", "lisc", "pbc") == changed.datasets
    assert (("ce",), (48, 64), (1e-4, 1e-2), 7, 0) == (
        changed.losses,
        changed.recipe.size,
        changed.tuning.lr_range,
        changed.budget.epochs,
        changed.seeds,
    )
    assert EVERYTHING.recipe == replace(changed.recipe, size=EVERYTHING.recipe.size)
    assert EVERYTHING.architectures == changed.architectures


@pytest.mark.parametrize("given", ["objects,boundary", ["objects", "boundary"], ["objects, boundary", "objects"]])
def test_measures_split_at_commas_and_stand_once(given: object) -> None:
    changed = study.override(EVERYTHING, {"measures": given})

    assert replace(EVERYTHING, measures=("objects", "boundary")) == changed


def test_no_measures_can_be_asked_for() -> None:
    assert () == study.override(EVERYTHING, {"measures": ""}).measures


def test_a_measure_that_does_not_exist_is_refused_in_a_file(tmp_path: Path) -> None:
    assert "measures.0: Input should be 'boundary' or 'objects'" in refused('measures = ["hd95"]', tmp_path)


def test_another_fit_than_tile_leaves_no_overlap() -> None:
    changed = study.override(EVERYTHING, {"fit": "letterbox"}).recipe

    assert ("letterbox", 0) == (changed.fit, changed.overlap)


def test_no_options_change_nothing() -> None:
    assert EVERYTHING == study.override(EVERYTHING, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "12a"}, "--size 12a: write one number or HEIGHTxWIDTH"),
        ({"size": "64x"}, "HEIGHTxWIDTH"),
        ({"size": "²"}, "HEIGHTxWIDTH"),
        ({"size": "1x2x3"}, "HEIGHTxWIDTH"),
        ({"size": "8"}, "the command line: recipe.size is 8"),
        ({"lr_range": "1e-3"}, "write LOW:HIGH"),
        ({"lr_range": "1e-3:a"}, "write LOW:HIGH"),
        ({"lr_range": "1e-2:1e-3"}, "the lower end comes first"),
        ({"lr_range": "nan:1"}, "must lie between"),
        ({"trials": 0}, "tuning.trials is 0"),
        ({"datasets": [" , "]}, "datasets is empty"),
        ({"fit": "crop"}, "recipe.fit is 'crop', it must be one of resize, letterbox, tile"),
        ({"measures": "boundary,hd95"}, "the command line: measures has 'hd95', it may hold boundary and objects"),
        ({"size": "32"}, "recipe.overlap is 40, it must be less than the size, 32"),
    ],
)
def test_an_option_out_of_range_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study.override(EVERYTHING, changes)


@pytest.mark.parametrize("name", ["quick", "my-study_2.1", "a" * 100, "_x"])
def test_a_plain_name_can_name_a_folder(name: str) -> None:
    assert name == study.folder_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\n", "ü", "a" * 101, "C:"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match="cannot name a folder"):
        study.folder_name(name)


def test_the_published_schema_is_that_of_the_program() -> None:
    expected = json.dumps(study.schema(), indent=1, sort_keys=True) + "\n"

    assert expected == PUBLISHED.read_text(encoding="utf-8"), "write docs/study.schema.json anew from study.schema()"


def test_the_schema_describes_every_field_and_forbids_others() -> None:
    schema = study.schema()
    tables = {"Recipe": Recipe, "Tuning": Tuning, "Budget": Budget}

    assert {field.name for field in fields(Study)} | {"schema"} == schema["properties"].keys()
    for name, table in tables.items():
        assert {field.name for field in fields(table)} == schema["$defs"][name]["properties"].keys()
    assert [False] * 4 == [part["additionalProperties"] for part in (schema, *schema["$defs"].values())]


@pytest.mark.parametrize("name", study.BOUNDS)
def test_the_schema_says_the_same_bounds_as_the_check(name: str) -> None:
    schema, (table, _, key) = study.schema(), name.rpartition(".")
    owner = schema["$defs"][table.capitalize()] if table else schema
    numbers = [part for part in _parts(owner["properties"][key]) if part.get("type") in ("integer", "number")]

    assert numbers
    assert [study.BOUNDS[name]] * len(numbers) == [(part["minimum"], part["maximum"]) for part in numbers]


def _parts(node: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [part for key in ("anyOf", "prefixItems") for one in node.get(key, []) for part in _parts(one)]
    items = [node["items"]] if isinstance(node.get("items"), dict) else []
    return [node, *items, *inner]
