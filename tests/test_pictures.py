"""Pictures: which images are chosen, what is painted, what the page and the folder beside it hold."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import album, gallery, metrics, picks, pictures, report, standings, study, thumbnails, verify
from bench.errors import DiskFull, StoreError
from bench.gallery import Gallery
from bench.rows import Row
from bench.specs import ClassSpec
from bench.store import Store, read_arrays, write_arrays
from tests import planted, synthetic

MDICE = metrics.profile("default").metrics["mdice_d_fg"]
LINK = re.compile(r'href="pictures/([^"]+)"')


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write(tmp_path_factory.mktemp("results"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / planted.STUDY.name))


def chosen(folder: Path, most: int = gallery.SHOWN, further: int = 0) -> Gallery:
    profile = metrics.profile("default")
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), profile)
    found = gallery.gallery(standings.boards(table, profile)[0], MDICE, most, further)
    assert found is not None
    return found


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_best_median_and_worst_image_are_those_of_the_scores():
    points = {"a": 0.5, "b": 0.9, "c": 0.1, "d": 0.5, "e": 0.2}
    lower = replace(MDICE, better="lower")

    assert {"best": "b", "median": "a", "worst": "c"} == {**picks.extremes(points, MDICE), "median": "a"}
    assert {"best": "b", "median": "d", "worst": "c"} == picks.extremes(points, MDICE)  # of b a d e c the middle
    assert {"best": "c", "median": "a", "worst": "b"} == picks.extremes(points, lower)
    assert {"best": "b", "worst": "a"} == picks.extremes({"a": 0.5, "b": 0.9}, MDICE)
    assert {"best": "a"} == picks.extremes({"a": 0.5}, MDICE)
    assert {} == picks.extremes({}, MDICE)


@pytest.mark.parametrize("name", ["mdice_d_fg", "mdice_i_fg", "pixel_acc"])
def test_the_score_of_an_image_is_the_metric_on_its_counts_alone(name: str):
    metric = metrics.profile("default").metrics[name]
    counts = np.random.default_rng(0).integers(0, 50, (6, 3, 3))
    counts[2] = 0  # nothing counts, so that nothing is defined
    row = Row(cell=synthetic.cell("x", "ce"), status="ok", record=None, values={}, ids=tuple("abcdef"), counts=counts)
    alone = {one: float(metric.compute(counts[[at]])) for at, one in enumerate("abcdef") if one != "c"}

    assert alone == pytest.approx(picks.scores(row, metric))


def test_the_hardest_image_is_the_one_whose_best_score_is_lowest():
    points = {0: {"a": 0.2, "b": 0.9, "c": 0.5}, 4: {"a": 0.6, "b": 0.1, "c": 0.4}}

    assert [("c", 0, 0.5), ("a", 4, 0.6), ("b", 0, 0.9)] == picks.hardest(points, MDICE)


def test_a_region_is_doubtful_when_all_agree_on_it_and_it_is_no_rim_and_no_speck():
    truth = np.zeros((50, 50), np.uint8)
    truth[10:20, 10:20] = 1
    agreed = truth.copy()
    agreed[9, 9:21] = agreed[20, 9:21] = 1  # a rim around the cell
    agreed[40, 40] = agreed[41, 41] = 2  # specks
    assert not picks.suspicious(truth, agreed).any()

    agreed[30:36, 30:36] = 2  # a cell that the mask does not have
    agreed[10:14, 10:20] = 255  # the networks differ
    expected = np.zeros((50, 50), bool)
    expected[30:36, 30:36] = True
    assert expected.tolist() == picks.suspicious(truth, agreed).tolist()

    truth[30:36, 30:36] = 255
    assert not picks.suspicious(truth, agreed).any()


def test_the_majority_is_the_class_of_most_and_of_equally_many_the_lowest():
    masks = [np.array([[0, 1, 2, 1]], np.uint8), np.array([[0, 2, 2, 2]], np.uint8), np.array([[1, 1, 2, 0]], np.uint8)]

    assert [[0, 1, 2, 0]] == picks.majority(masks).tolist()
    assert [[255, 255, 2, 255]] == picks.agreement(masks).tolist()


def test_counts_bound_from_above_how_much_networks_can_agree_against_a_mask():
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 3, (8, 20, 20)).astype(np.uint8)
    guesses = [np.where(generator.random(truth.shape) < 0.5, truth, (truth + 1) % 3).astype(np.uint8) for _ in range(3)]
    counts = [np.stack([planted.confusion(*pair) for pair in zip(truth, guess, strict=True)]) for guess in guesses]
    agreed = [picks.agreement([guess[at] for guess in guesses]) for at in range(8)]
    shares = [((one != 255) & (one != mask)).mean() for one, mask in zip(agreed, truth, strict=True)]

    assert (picks.doubtful(counts) >= shares).all()
    assert [0.25] == picks.doubtful([np.array([[[3, 1], [0, 0]]])] * 3).tolist()


def test_the_matrices_of_many_networks_are_not_copied():
    counts = [np.ones((200, 8, 8), np.uint32)] * 300
    tracemalloc.start()
    try:
        picks.doubtful(counts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10 * counts[0].nbytes


def test_the_error_map_says_what_became_of_every_pixel():
    truth = np.array([[0, 1, 1, 0, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 0, 2, 2, 1]], np.uint8)
    names = ["right background", "right", "missed", "invented", "confused", "ignored"]
    painted = opened(pictures.error_map(truth, predicted))

    assert names == [pictures.KINDS[at].name for at in pictures.errors(truth, predicted)[0]]
    assert [list(kind.colour) for kind in pictures.KINDS] == painted[0].tolist()
    assert {"missed": 0.2, "invented": 0.2, "confused": 0.2} == pictures.error_shares(truth, predicted)


MACHADO = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""Linear RGB as it is seen without one kind of cone: Machado, Oliveira, Fernandes 2009, severity 1."""


@pytest.mark.parametrize("eye", ["all", *MACHADO])
def test_the_colours_of_errors_are_told_apart_by_colour_blind_readers(eye: str):
    from skimage.color import deltaE_ciede2000, rgb2lab

    shown = np.array([kind.colour for kind in pictures.KINDS]) / 255
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(MACHADO[eye]).T, 0, 1) if eye != "all" else linear
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))

    assert all(deltaE_ciede2000(one, other) > 12 for one, other in itertools.combinations(lab, 2))


@pytest.mark.parametrize("count", [2, 3, 16, 17, 200])
def test_a_mask_is_painted_in_the_colours_of_its_classes(count: int):
    classes = [ClassSpec(name=str(at), colour=(at, 255 - at, 7)) for at in range(count)]
    mask = np.array([[0, 1, count - 1, 255, 254]], np.uint8)
    colours = [list(classes[at].colour) for at in (0, 1, count - 1)]

    assert [[*colours, list(pictures.GREY), list(pictures.GREY)]] == opened(pictures.painted(mask, classes)).tolist()


@pytest.mark.parametrize("count", [3, 255])
def test_a_sheet_shows_truth_prediction_and_errors_side_by_side(count: int):
    classes = [ClassSpec(name=str(at), colour=(at, 255 - at, 7)) for at in range(count)]
    truth, predicted = np.array([[1, 255]], np.uint8), np.array([[2, 0]], np.uint8)
    row = opened(pictures.sheet(truth, predicted, classes))[0].tolist()
    gap, wrong = [[255, 255, 255]] * pictures.GAP, [list(pictures.KINDS[4].colour), list(pictures.KINDS[5].colour)]

    assert [[1, 254, 7], list(pictures.GREY), *gap, [2, 253, 7], [0, 255, 7], *gap, *wrong] == row


@pytest.mark.parametrize(("shape", "expected"), [((700, 431), (256, 158)), ((265, 176), (256, 170))])
def test_thumbnails_keep_their_shape_and_take_the_same_pixels_of_every_mask(
    shape: tuple[int, int], expected: tuple[int, int]
):
    mask = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    small = thumbnails.mask(mask)
    places = [
        [(2 * at + 1) * length // (2 * few) for at in range(few)] for length, few in zip(shape, expected, strict=True)
    ]

    assert expected == small.shape
    assert mask[np.ix_(*places)].tolist() == small.tolist()
    assert places == [thumbnails.places(length, few).tolist() for length, few in zip(shape, expected, strict=True)]
    assert (20, 30) == thumbnails.mask(mask[:20, :30]).shape
    assert (1, 256) == thumbnails.size(1, 5000)


def test_a_stored_image_that_is_damaged_is_told(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)

    assert image.shape == thumbnails.decoded(thumbnails.encoded(image)).shape
    assert image.tolist() == thumbnails.decoded(image).tolist()  # as older results hold it
    with pytest.raises(StoreError, match="damaged"):
        thumbnails.decoded(np.frombuffer(b"<svg/>", np.uint8))
    with pytest.raises(StoreError, match="damaged"):
        thumbnails.decoded(thumbnails.encoded(np.zeros((4, 5000, 3), np.uint8)))


def test_a_hundred_masks_take_less_than_400_kilobytes(tmp_path: Path):
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :256]
    masks = {}
    for number in range(100):
        mask = np.zeros((256, 256), np.uint8)
        for _ in range(25):
            row, column, radius = generator.integers(0, 256, 3)
            ragged = (4 + radius // 12) * (1 + 0.1 * np.sin(9 * np.arctan2(rows - row, columns - column)))
            mask[np.hypot(rows - row, columns - column) < ragged] = generator.integers(1, 9)
        masks[f"predicted{number}"] = mask
    write_arrays(tmp_path / "predictions.npz", **masks)

    assert 400_000 > (tmp_path / "predictions.npz").stat().st_size


def test_every_standing_shows_its_own_best_median_and_worst_image(folder: Path):
    found = {
        one.standing.architecture: {kind: made.id for kind, made in one.made.items()} for one in chosen(folder).extremes
    }
    made = chosen(folder).extremes[0].made

    for network, name in enumerate(planted.NETWORKS):
        truths = planted.masks()
        points = {
            one: float(MDICE.compute(planted.confusion(truths[one], planted.predicted(network, one))[None]))
            for one in planted.IDS
        }
        order = sorted(points, key=lambda one: (-points[one], one))
        assert {"best": order[0], "median": order[2], "worst": order[-1]} == found[name]
    assert ("a", "d") == (found["one"]["best"], found["one"]["worst"])
    assert planted.predicted(0, "d").tolist() == made["worst"].predicted.tolist()
    assert planted.masks()["d"].tolist() == made["worst"].truth.tolist()


def test_the_hardest_image_shows_what_most_networks_say(folder: Path):
    first = chosen(folder).hard[0]

    assert "d" == first.made.id
    expected = picks.majority([planted.predicted(network, "d") for network in range(3)])
    assert expected.tolist() == first.made.predicted.tolist()


def test_a_mask_without_a_cell_that_all_networks_see_is_a_suspect_and_a_right_one_is_not(folder: Path):
    found = {one.made.id: one for one in chosen(folder).suspects}
    forgotten = np.zeros((planted.SIDE, planted.SIDE), bool)
    forgotten[36:56, 36:56] = True

    assert {"b", "d"} == set(found)  # and in d they all take a cell for one of another class
    assert forgotten.tolist() == found["b"].region.tolist()
    assert (400 / planted.SIDE**2, ("blue",)) == (found["b"].share, found["b"].instead)


def test_two_networks_are_too_few_to_suspect_a_mask(folder: Path):
    shutil.rmtree(Store(folder).cell(synthetic.cell("three", "ce")))

    assert () == chosen(folder).suspects
    assert 2 == chosen(folder).networks


def test_predictions_of_other_data_or_another_training_are_not_shown(folder: Path):
    store = Store(folder)
    planted.grown(folder, "one")
    planted.grown(folder, "two", best_epoch=3)
    assert [("one", (1, 2, 4, 8))] == [(film.standing.architecture, film.epochs) for film in chosen(folder).films]

    arrays = read_arrays(store.examples("smear", 0))
    write_arrays(store.examples("smear", 0), **{**arrays, "data": np.array("other")})
    assert ((), (), ()) == (chosen(folder).strips, chosen(folder).extremes, chosen(folder).hard)


def test_an_older_folder_shows_the_pictures_it_has(tmp_path: Path):
    found = chosen(planted.write(tmp_path, old=True))

    assert ("a", "b") == tuple(one.id for one in found.shown)
    assert (2, 5) == (found.kept, found.of)
    assert all(one is not None for strip in found.strips for one in strip.made)
    assert {"best", "worst"} == set(found.extremes[0].made)
    assert {"b"} == {one.made.id for one in found.suspects}
    assert () == found.films


def test_a_prediction_is_found_by_its_image_and_left_out_when_it_has_another_shape(folder: Path):
    path = Store(folder).cell(synthetic.cell("one", "ce")) / "predictions.npz"
    arrays = read_arrays(path)
    write_arrays(path, **{**arrays, "predicted0": arrays["predicted0"][:30], "ids": arrays["ids"][[0, 2, 1, 3, 4]]})
    strip = next(strip for strip in chosen(folder).strips if strip.standing.architecture == "one")

    assert strip.made[0] is None
    for at, number in ((1, 2), (2, 1), (3, 3)):
        one = strip.made[at]
        assert one is not None
        assert (arrays[f"predicted{number}"] == one.predicted).all()


def test_the_page_shows_every_kind_of_picture_and_links_files_that_are_there(folder: Path):
    planted.grown(folder, "one")
    text = report.write(folder).read_text(encoding="utf-8")
    linked, there = set(LINK.findall(text)), {path.name for path in (folder / "pictures").iterdir()}

    for part in (
        "row by row",
        "Best, median and worst",
        "Hardest images",
        "Annotation suspects",
        "How predictions grew",
    ):
        assert part in text
    assert "A suspicion, not a verdict" in text
    assert "epoch 4, kept" in text
    assert linked == there
    assert len(there) > 10
    assert all(Image.open(folder / "pictures" / name).verify() is None for name in there)
    assert planted.HOSTILE not in text
    assert "onerror=alert(3)&gt;" in text
    assert all(re.fullmatch(r"[0-9a-f]{20}\.(png|jpg)", name) for name in there)


def test_no_picture_stands_on_the_page_twice(folder: Path):
    text = report.write(folder).read_text(encoding="utf-8")
    data = re.findall(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", text)

    assert len(set(data)) == len(data) > 10


def test_the_folder_keeps_what_is_there_and_loses_what_no_page_links_to(folder: Path):
    report.write(folder)
    beside = folder / "pictures"
    first = {path.name: path.stat().st_mtime_ns for path in beside.iterdir()}
    (beside / "0123456789abcdef0123.png").write_bytes(b"old")
    (beside / "notes.txt").write_text("somebody's")
    report.write(folder)

    assert {*first, "notes.txt"} == {path.name for path in beside.iterdir()}
    assert first == {name: (beside / name).stat().st_mtime_ns for name in first}

    (beside / "notes.txt").unlink()
    album.tidy(beside, {})
    assert not beside.exists()


def test_what_another_report_is_writing_and_what_is_not_ours_stays(folder: Path):
    report.write(folder)
    beside = folder / "pictures"
    young, old, other = (beside / name for name in (f".{'0' * 20}.png.1.part", f".{'1' * 20}.jpg.1.part", "film.part"))
    for path in (young, old, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    report.write(folder)

    assert [True, False, True] == [path.exists() for path in (young, old, other)]


def test_a_picture_that_cannot_be_written_leaves_no_part(tmp_path: Path):
    def full() -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / f".{'0' * 20}.png.{os.getpid()}.part").write_bytes(b"half")
    with pytest.raises(DiskFull):
        album.write(tmp_path, {f"{'0' * 20}.png": full})

    assert [] == list(tmp_path.iterdir())


def test_a_page_keeps_its_pictures_until_the_next_one_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, data: bytes) -> None:
        raise DiskFull(str(path))

    report.write(folder)
    names = album.linked((folder / "index.html").read_text())
    monkeypatch.setattr(album, "VERSION", "another")
    monkeypatch.setattr(report, "write_bytes", full)
    with pytest.raises(DiskFull):
        report.write(folder)

    assert names
    assert [] == [name for name in names if not (folder / "pictures" / name).is_file()]


def test_the_pictures_of_a_page_keep_to_their_room_and_the_others_become_links(folder: Path, monkeypatch):
    monkeypatch.setattr(album, "BYTES", 1)
    text = report.write(folder).read_text(encoding="utf-8")

    assert "3 further rows of the leaderboard are not shown" in text
    assert "image of 3 further rows, as links" in text
    assert set(LINK.findall(text)) == {path.name for path in (folder / "pictures").iterdir()}


def test_standings_beyond_the_page_have_their_extremes_as_files(folder: Path):
    found = chosen(folder, most=1, further=2)

    assert (1, 1, 2, 3) == (len(found.strips), len(found.extremes), len(found.further), found.left_out)


def test_a_page_without_pictures_leaves_no_folder(folder: Path):
    shutil.rmtree(folder / "examples")

    assert "No pictures are stored yet." in report.write(folder).read_text(encoding="utf-8")
    assert not (folder / "pictures").exists()


def test_verify_takes_the_new_files_and_finds_damaged_ones(folder: Path):
    path = planted.grown(folder, "one")
    report.write(folder)
    odd = {"predictions.npz", "epochs.npz", "f0.npz", "index.html"}
    assert not odd & {Path(one.path).name for one in verify.verify(folder, folder).findings}

    arrays = read_arrays(path)
    del arrays["predicted0"]
    write_arrays(path, **arrays)
    name = min((folder / "pictures").iterdir()).name
    (folder / "pictures" / name).unlink()
    found = {Path(one.path).name: one.what for one in verify.verify(folder, folder).findings}
    assert "does not hold predicted0." == found["epochs.npz"]
    assert "is missing." == found[name]

    shutil.rmtree(folder / "pictures")
    told = verify.verify(folder, folder)
    assert not any(one.path.startswith("pictures") for one in told.findings)
    assert any("no folder pictures/" in note for note in told.notes)
