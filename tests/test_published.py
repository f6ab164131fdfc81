"""Numbers that others published: what the table holds, and that none stands beside ours unless it may."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import metrics, published, report, standings, study
from bench.errors import DataError
from bench.published import COLUMNS, Beside, Published
from bench.records import DataCard
from bench.specs import Cell
from bench.standings import Board
from bench.store import Store, write_bytes
from tests import synthetic
from tests.commands import call

ROOT = Path(__file__).resolve().parents[1]
BINARY, DEFAULT = metrics.profile("image_binary"), metrics.profile("default")
OURS = {*metrics.PROFILES, "medsegbench", "seeds_soft", "ubench_binary"}
"""The profiles that a row may name."""
PLAIN = {
    "dataset": "blood_cell", "method": "somebody's", "metric": "Dice", "value": "0.9", "profile": "image_binary",
    "column": "dice_fg", "size": "native", "train": "38", "test": "12", "leak": "none", "source": "doi:10.1/2",
    "status": "opened",
}  # fmt: skip


def text(*rows: dict[str, str]) -> str:
    """A table with these rows."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def loaded(tmp_path: Path, *changes: dict[str, str]) -> tuple[Published, ...]:
    path = tmp_path / "published.csv"
    path.write_text(text(*(PLAIN | change for change in changes)), encoding="utf-8")
    return published.load(path)


def kept(folder: Path, dataset: str = "blood_cell", images: int = 12, **values: object) -> Path:
    """A study with one cell on a data set of that name; 30 images trained it and 8 validated."""
    wanted = replace(synthetic.STUDY, datasets=(dataset,))
    store = Store(folder / wanted.name)
    write_bytes(store.root / "study.toml", study.dump(wanted).encode())
    cell = Cell(dataset=dataset, architecture="otsu", loss=None)
    card = synthetic.record(cell).data
    assert isinstance(card, DataCard)
    counts = np.tile(np.array([[50, 10, 0, 0], [10, 30, 0, 0], [0] * 4, [0] * 4], np.uint32), (images, 1, 1))
    hashed = store.write_counts(cell, [f"image-{number}" for number in range(images)], counts)
    store.write(synthetic.record(cell, data=replace(card, **{"test": images, **values}), counts_hash=hashed))
    return store.root


def board(folder: Path, profile: metrics.Profile = BINARY) -> Board:
    rows = standings.rows(study.load(str(folder / "study.toml")), Store(folder), profile)
    return standings.boards(rows, profile)[0]


def stamps(found: Sequence[Beside]) -> list[tuple[str, ...]]:
    return [one.stamps for one in found]


def test_the_table_that_comes_with_the_program_is_in_order():
    rows = published.load()

    assert len(rows) > 100
    assert {"blood_cell", "lisc", "cnseg", "smear_release"} <= {row.dataset.partition("[")[0] for row in rows}
    assert {row.profile for row in rows} <= OURS | {""}
    assert all(row.profile and row.column for row in rows if row.profile or row.column)
    assert all(row.column in metrics.PROFILES[row.profile].metrics for row in rows if row.profile in metrics.PROFILES)


@pytest.mark.parametrize(
    ("method", "metric", "value"),
    [
        ("TernausNet (VGG16, ImageNet)", "Dice (paper's word", 0.9338),
        ("Otsu (grey, inverse)", "Jaccard (paper's word", 0.8650),
        ("Otsu (grey)", "Dice (foreground, per image)", 0.9406),
        ("Otsu (grey)", "pixel accuracy (per image)", 0.9653),
        ("frozen DinoBloom-S with a deconvolution head", "Dice (mean of background and foreground)", 0.9662),
        ("U-Net of half width, from scratch", "pixel accuracy (test)", 0.9448),
        ("FlexUNet (TensorFlow)", "soft Dice pooled over 6 channels, background in (test)", 0.9974),
        ("U-Net (densenet121, from scratch)", "F1 (macro, per image, background in)", 0.9658),
    ],
)
def test_a_value_is_what_was_published(method: str, metric: str, value: float):
    assert value in [row.value for row in published.load() if row.method == method and row.metric.startswith(metric)]


def test_no_number_stands_twice():
    rows = [(row.dataset, row.method, row.metric, row.source, row.note, row.value) for row in published.load()]

    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("leaked", [None, {"val": 0, "test": 0}], ids=["never audited", "audited"])
def test_a_number_of_our_definition_and_a_split_of_our_size_may_stand_beside_ours(tmp_path: Path, leaked: object):
    found = published.beside(board(kept(tmp_path, leaked=leaked)), BINARY, loaded(tmp_path, {}))

    assert [()] == stamps(found)
    assert "0 of 1 of ours are higher" == found[0].standing  # 0.75 here


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"profile": "", "column": ""}, ("other definition",)),
        ({"profile": "default", "column": "mdice_d_fg"}, ("other definition",)),
        ({"column": "dice_of_something"}, ("other definition",)),
        ({"size": "256"}, ("other definition",)),
        ({"size": ""}, ("other definition",)),
        ({"leak": "augmented copies"}, ("leaky protocol",)),
        ({"leak": "selected on test"}, ("leaky protocol",)),
        ({"leak": "unknown"}, ("other protocol",)),
        ({"test": "20"}, ("other protocol",)),
        ({"test": ""}, ("other protocol",)),
        ({"train": "1169"}, ("other protocol",)),
        ({"dataset": "blood_cell[threshold=90]"}, ("other protocol",)),
        ({"status": "excerpt"}, ("excerpt only",)),
        ({"size": "256", "leak": "augmented copies"}, ("other definition", "leaky protocol")),
        ({"train": "0"}, ()),  # nothing is trained, so it matters not on what
    ],
    ids=str,
)
def test_whatever_else_differs_is_stamped(tmp_path: Path, change: dict[str, str], expected: tuple[str, ...]):
    found = published.beside(board(kept(tmp_path)), BINARY, loaded(tmp_path, change))

    assert [expected] == stamps(found)
    assert (found[0].standing is None) == bool(expected)


def test_the_same_number_is_of_another_definition_under_another_profile(tmp_path: Path):
    found = published.beside(board(kept(tmp_path), DEFAULT), DEFAULT, loaded(tmp_path, {}))

    assert [("other definition",)] == stamps(found)


def test_what_may_stand_beside_ours_comes_first_and_the_rest_is_never_sorted(tmp_path: Path):
    rows = loaded(
        tmp_path,
        {"method": "a", "leak": "augmented copies", "value": "0.1"},
        {"method": "b", "value": "0.2"},
        {"method": "c", "leak": "augmented copies", "value": "0.99"},
        {"method": "d", "value": "0.8"},
        {"method": "e", "dataset": "lisc"},
    )
    found = published.beside(board(kept(tmp_path)), BINARY, rows)

    assert ["d", "b", "a", "c"] == [one.row.method for one in found]


def test_a_cross_validation_is_another_protocol_than_a_published_split(tmp_path: Path):
    found = board(kept(tmp_path))
    rows = tuple(replace(row, cell=replace(row.cell, fold=1)) for row in found.standings[0].rows)
    folded = replace(found, standings=(replace(found.standings[0], rows=rows),))

    assert [("other protocol",)] == stamps(published.beside(folded, BINARY, loaded(tmp_path, {})))


def test_otsu_of_the_reference_stands_beside_ours_on_twenty_images_only(tmp_path: Path):
    def fitting(images: int) -> list[str]:
        found = published.beside(board(kept(tmp_path / str(images), images=images)), BINARY, published.load())
        return [f"{one.row.method} {one.row.column}" for one in found if not one.stamps]

    expected = ["Otsu (green) dice_fg", "Otsu (grey) dice_fg", "Otsu (saturation) dice_fg"]
    assert [*expected, "Otsu (grey) dice_mean", "Otsu (grey) iou_fg", "Otsu (grey) pixel_acc"] == fitting(20)
    assert [] == fitting(12)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"value": "94.06"}, "line 2: value is '94.06'; it must be a share from 0 to 1"),
        ({"value": "high"}, "line 2: value is 'high'"),
        ({"value": ""}, "line 2 has no value"),
        ({"spread": "nan"}, "line 2: spread is 'nan'"),
        ({"source": ""}, "line 2 has no source"),
        ({"leak": "perhaps"}, "line 2: leak is 'perhaps'; allowed are none, augmented copies"),
        ({"status": "seen"}, "line 2: status is 'seen'; allowed are opened, excerpt, computed"),
        ({"test": "-1"}, "line 2: test is '-1'; it must be a number of images"),
        ({"size": "big"}, "line 2: size is 'big'; allowed are native"),
        ({"profile": ""}, "line 2: column 'dice_fg' has no profile"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, change: dict[str, str], complaint: str):
    with pytest.raises(DataError, match=re.escape(complaint)) as raised:
        loaded(tmp_path, change)
    assert 1 == len(str(raised.value).splitlines())


def test_other_columns_a_missing_file_and_too_few_fields_are_errors(tmp_path: Path):
    path = tmp_path / "published.csv"
    with pytest.raises(DataError, match="cannot be read"):
        published.load(path)
    path.write_text("dataset,value\nlisc,0.5\n")
    with pytest.raises(DataError, match="has the columns dataset, value; they must be dataset, method"):
        published.load(path)
    path.write_text(text(PLAIN) + "lisc,one\n")
    with pytest.raises(DataError, match="line 3 does not have 16 fields"):
        published.load(path)


def test_the_page_has_a_section_of_its_own_and_shows_every_row_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hostile = loaded(tmp_path, {"method": synthetic.SCRIPT, "note": synthetic.IMAGE}, {"leak": "selected on test"})
    monkeypatch.setattr(published, "load", lambda: hostile)
    content = report.collect(kept(tmp_path), "image_binary")
    page = report.index(content)
    section = page[page.index('id="published"') : page.index('id="failures"')]

    assert "0 of 1 of ours are higher" in section
    assert '<span class="chip bad">leaky protocol</span>' in section
    assert "<script>alert" not in section
    assert "<img" not in section
    assert "None is known" not in section


def test_a_data_set_of_which_nothing_is_known_says_so(tmp_path: Path):
    folder = kept(tmp_path, dataset="smear")

    assert "None is known of this data set." in report.index(report.collect(folder))
    assert "No published numbers are known of smear." in call("report", folder, "--published")[1]


def test_the_terminal_shows_published_numbers_when_asked_and_leaves_the_leaderboard_as_it_is(tmp_path: Path):
    folder = kept(tmp_path)
    _, bare, _ = call("report", folder, "--profile", "image_binary")
    code, out, _ = call("report", folder, "--profile", "image_binary", "--published")

    assert 0 == code
    assert "Published elsewhere" not in bare
    assert "TernausNet" in out
    assert "other definition" in out
    assert bare.splitlines()[:6] == out.splitlines()[:6]
