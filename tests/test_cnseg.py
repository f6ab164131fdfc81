"""CNSeg from its archive and from its released copies: polygons filled exactly, JPEG masks cut at 128."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.datasets import cnseg
from bench.datasets._files import read_grey
from bench.datasets._masks import ambiguous, fill, nearest, off_palette
from bench.datasets._sources import source_of
from bench.errors import BenchError, DataError
from bench.prepare import open_prepared, prepare
from tests import lookalike_archives as archives
from tests.lookalike import Truth, check, save, zipped

SIZE = (30, 40)
SUBSETS = {
    "all": {"patch", "easy", "normal", "difficult"},
    "clustered": {"easy", "normal", "difficult"},
    "patch": {"patch"},
    "easy": {"easy"},
    "normal": {"normal"},
    "difficult": {"difficult"},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("cnseg")
    return root, archives.cnseg(root)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def refused(name: str, raw: Path, home: Path) -> str:
    """The one line that says why nothing is prepared."""
    with pytest.raises(BenchError) as caught:
        prepare(name, home, raw)
    assert "\n" not in str(caught.value)
    assert not home.exists() or [] == list(home.iterdir())
    return str(caught.value)


@pytest.mark.parametrize(("subset", "parts"), SUBSETS.items(), ids=SUBSETS)
def test_a_subset_holds_its_parts_pixel_by_pixel(
    subset: str, parts: set[str], archive: tuple[Path, Truth], home: Path
) -> None:
    prepared = prepare(f"cnseg[subset={subset}]", home, archive[0])

    check(prepared, {name: pair for name, pair in archive[1].items() if name.split("-")[0] in parts})
    assert parts == {entry.sample.label for entry in prepared.index.entries}
    assert {"train", "test"} == {entry.sample.split for entry in prepared.index.entries}
    assert [0, 0] == [cnseg.doubtful(entry.sample) for entry in prepared.index.entries[:2]]


@pytest.mark.parametrize("inner", ["folder around", "archive", "clusteredCell", "PatchSeg"])
def test_the_archive_is_found_in_a_zip_from_any_of_its_folders(
    inner: str, archive: tuple[Path, Truth], home: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(archive[0], tmp_path / "raw" / "CNSeg"))
    source = {"folder around": copy.parent, "archive": copy}.get(inner, copy / inner)
    wanted = {"clusteredCell": ("easy", "normal", "difficult"), "PatchSeg": ("patch",)}.get(inner, ("",))
    prepared = prepare("cnseg", home, zipped(source))

    check(prepared, {name: pair for name, pair in archive[1].items() if name.startswith(wanted)})
    assert prepared == open_prepared("cnseg", home)


def test_other_spellings_and_a_missing_test_split_are_understood(raw: Path, home: Path) -> None:
    truth = archives.cnseg(raw, parts=("sample",))
    base = (raw / "clusteredCell").rename(raw / "clusterSeg")
    for path in list(base.glob("test-*")):
        shutil.rmtree(path)
    (base / "sample").rename(base / "Easy")
    (base / "sample_json").rename(base / "easy_JSON")
    for path in list((base / "Easy").glob("*.jpg")):
        path.rename(path.with_suffix(".JPG"))
    prepared = prepare("cnseg[subset=easy]", home, raw)

    check(prepared, {name: pair for name, pair in truth.items() if name.startswith("easy-train")})
    assert {None} == {entry.sample.split for entry in prepared.index.entries}


def test_patches_of_one_number_are_one_photograph_and_clusters_are_their_stems(raw: Path) -> None:
    archives.cnseg(raw, parts=("patch", "difficult"), count=1)
    folder = raw / "PatchSeg"
    for stem in ("0001_0", "0002_7"):
        shutil.copy(folder / "train-images/0001_1.jpg", folder / f"train-images/{stem}.jpg")
        shutil.copy(folder / "train-labels/0001_1.json", folder / f"train-labels/{stem}.json")

    assert {
        "patch-train-0001_0": "patch-train-0001",
        "patch-train-0001_1": "patch-train-0001",
        "patch-train-0002_7": "patch-train-0002",
        "patch-test-0001_1": "patch-test-0001",
        "difficult-train-1": "difficult-train-1",
        "difficult-test-1": "difficult-test-1",
    } == {sample.id: sample.source for sample in cnseg.read(raw)}


quarter = st.integers(-80, 240).map(lambda value: value / 4)
polygons = st.lists(st.lists(st.tuples(quarter, quarter).map(list), min_size=3, max_size=9), max_size=4)


@settings(max_examples=150, deadline=None)
@given(polygons)
def test_polygons_are_filled_as_counting_crossings_says(shapes: list[archives.Polygon]) -> None:
    wanted = np.any([np.zeros(SIZE, bool), *(archives.inside(shape, SIZE) for shape in shapes)], axis=0)

    np.testing.assert_array_equal(wanted, fill([np.array(shape) for shape in shapes], SIZE))


def test_a_polygon_far_outside_and_one_around_everything_are_cut_off() -> None:
    far = np.array([[1e6, 1e6], [1e6, -1e6], [9e5, 0]])
    around = np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]])

    assert (0, 30 * 40) == (fill([far], SIZE).sum(), fill([around], SIZE).sum())


@pytest.mark.parametrize(
    "shapes",
    [
        [],
        [{"points": []}],
        [{"points": [[3, 3], [9, 9]]}],
        [{"points": [[3, 3]], "shape_type": "point"}],
        [{"points": [[3, 3], [9, 9], [3, 9]], "shape_type": "linestrip"}],
    ],
    ids=["none", "no points", "two points", "a point", "a line"],
)
def test_shapes_that_enclose_nothing_are_background(shapes: list[object], raw: Path, home: Path) -> None:
    archives.cnseg(raw, parts=("difficult",))
    path = raw / "clusteredCell/difficult_json/1.json"
    archives.labelme(path, [], None, shapes=shapes)

    assert 0 == prepare("cnseg", home, raw).native(open_prepared("cnseg", home).index.entries[0])[1].max()


IMAGES, LABELS = "clusteredCell/difficult", "clusteredCell/difficult_json"


def relabel(**changes: object) -> Callable[[Path], object]:
    return lambda raw: archives.labelme(raw / LABELS / "1.json", [], None, **changes)


def points(*values: object) -> Callable[[Path], object]:
    return relabel(shapes=[{"points": []}, {"points": list(values)}])


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no labels": (lambda raw: shutil.rmtree(raw / LABELS), "difficult_json does not exist"),
    "no folder": (lambda raw: shutil.rmtree(raw / "clusteredCell"), "is not the CNSeg archive: .*Unpack the archive"),
    "no images": (lambda raw: [path.unlink() for path in (raw / IMAGES).glob("*.jpg")], "difficult holds no file of"),
    "image without labels": (
        lambda raw: (raw / LABELS / "1.json").unlink(),
        r"1 of 2 files have no mask, the first is .*difficult/1\.jpg\. .*or write cnseg\[skip_unpaired=true\]",
    ),
    "labels without image": (lambda raw: (raw / IMAGES / "1.jpg").unlink(), r"no image, the first is .*json/1\.json"),
    "cut image": (
        lambda raw: (raw / IMAGES / "1.jpg").write_bytes((raw / IMAGES / "1.jpg").read_bytes()[:900]),
        r"difficult/1\.jpg cannot be read as an image",
    ),
    "cut labels": (
        lambda raw: (raw / LABELS / "1.json").write_bytes((raw / LABELS / "1.json").read_bytes()[:200]),
        r"difficult_json/1\.json is not JSON: .*Download",
    ),
    "deep labels": (lambda raw: (raw / LABELS / "1.json").write_text("[" * 100000), r"1\.json is not JSON"),
    "no shapes": (lambda raw: (raw / LABELS / "1.json").write_text("[]"), r"1\.json has no list `shapes`"),
    "shapes are a word": (relabel(shapes="no"), r"1\.json has no list `shapes`"),
    "another height": (relabel(imageHeight=999), r"1\.json has imageHeight 999, but its picture has 190\. Replace"),
    "a shape is a number": (relabel(shapes=[3]), r"1\.json: shape 0 has no list `points`"),
    "a point of three": (points([1, 2, 3]), r"1\.json: shape 1 has no list `points` of \[x, y\]\. Mend"),
    "a point of words": (points([1, "2"]), r"1\.json: shape 1 has the point \[1, '2'\], which is no place"),
    "not a number": (points([1, float("nan")]), r"shape 1 has the point \[1, nan\]"),
    "infinite": (points([1, float("inf")]), r"shape 1 has the point \[1, inf\]"),
    "beyond all pictures": (points([10**400, 2]), r"shape 1 has the point \[10+, 2\]"),
    "true": (points([True, 2]), r"shape 1 has the point \[True, 2\]"),
    "a circle": (
        relabel(shapes=[{"points": [[1, 2], [3, 4]], "shape_type": "circle"}]),
        "shape 0 is a 'circle'; a nucleus is a polygon",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_archive_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, raw: Path, home: Path
) -> None:
    archives.cnseg(raw, parts=("difficult",))
    spoil(raw)
    found = refused("cnseg", raw, home)

    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cnseg[subset=hard]", "subset='hard' .*Allowed: all, patch, clustered, easy, normal, difficult"),
        ("cnseg[skip_unpaired=1]", r"skip_unpaired=1 .*must be true or false"),
        (
            "cnseg[subset=patch]",
            r"does not hold the subset 'patch' with its labels; there are: difficult\. Write cnseg\[subset=difficult\]",
        ),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(name: str, message: str, raw: Path, home: Path) -> None:
    archives.cnseg(raw, parts=("difficult",), count=1)

    assert re.search(message, refused(name, raw, home))


def test_what_has_no_partner_is_left_out_when_asked(raw: Path, home: Path) -> None:
    truth = archives.cnseg(raw, parts=("difficult",), count=3)
    (raw / LABELS / "1.json").unlink()
    (raw / IMAGES / "2.jpg").unlink()
    for name in ("difficult-train-1", "difficult-train-2"):
        del truth[name]

    check(prepare("cnseg[skip_unpaired=true]", home, raw), truth)


def test_bytes_flipped_in_labels_are_read_or_refused_but_never_crash(raw: Path) -> None:
    archives.cnseg(raw, parts=("difficult",), count=1)
    sample = cnseg.read(raw)[0]
    path = Path(sample.mask)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        spoiled = bytearray(content)
        spoiled[random.integers(len(content))] ^= 1 << random.integers(8)
        path.write_bytes(spoiled)
        try:
            told = str(cnseg.load(sample)[1].max())
        except DataError as error:
            told = str(error)
        assert told in "01" or ("1.json" in told and "\n" not in told)


@pytest.mark.parametrize("splits", [{"": (10001, 10002)}, {"train": (10001,), "valid": (10002,), "test": (10003,)}])
def test_released_masks_are_cut_at_128_and_honest_splits_are_kept(
    splits: dict[str, tuple[int, ...]], raw: Path, home: Path
) -> None:
    truth = archives.cnseg_release(raw / "Clustered-Cervical-Cell", splits, archives.CLUSTER_COPIES[:4])
    prepared = prepare("cnseg", home, zipped(raw))
    entries = prepared.index.entries

    check(prepared, truth)
    assert {str(number) for held in splits.values() for number in held} == {entry.sample.source for entry in entries}
    assert {"valid": "val", "": None}.get(next(iter(splits)), "train") == entries[0].sample.split


def test_a_released_split_that_parts_copies_is_not_used(raw: Path, home: Path) -> None:
    numbers = tuple(range(10001, 10006))
    truth = archives.cnseg_release(raw, {"train": numbers, "test": numbers}, archives.CLUSTER_COPIES[:2])
    prepared = prepare("cnseg", home, raw)
    entries = prepared.index.entries
    sides = [{entries[at].sample.source for at in positions} for positions in prepared.split(0, 1).values()]

    check(prepared, truth)
    assert {None} == {entry.sample.split for entry in entries}
    assert set() == sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_jpeg_noise_in_a_released_mask_is_counted_and_is_no_nucleus(raw: Path) -> None:
    truth = archives.cnseg_release(raw, {"train": (10001,)}, ("",))
    sample = cnseg.read(raw)[0]
    grey = read_grey(Path(sample.mask))

    assert (grey > 0).sum() > truth["train-10001"][1].sum() == (grey >= 128).sum()
    assert sum(16 <= value <= 239 for value in grey.ravel().tolist()) == cnseg.doubtful(sample) > 0


def test_released_copies_have_no_subset(raw: Path, home: Path) -> None:
    archives.cnseg_release(raw, {"train": (10001,)}, ("",))

    assert re.search("released images and masks, .*Leave out subset=patch", refused("cnseg[subset=patch]", raw, home))


def test_the_values_that_jpeg_leaves_doubtful_are_16_to_239() -> None:
    assert 239 - 16 + 1 == ambiguous(np.arange(256, dtype=np.uint8).reshape(16, 16))


@given(st.integers(0, 2**32 - 1))
def test_the_nearest_colour_is_that_of_the_smallest_distance(seed: int) -> None:
    random = np.random.default_rng(seed)
    palette = [tuple(colour) for colour in random.integers(0, 256, (5, 3)).tolist()]
    pixels = random.integers(0, 256, (6, 7, 3), np.uint8)
    pixels[0] = palette[3]
    distances = [[[np.sum((pixel.astype(int) - colour) ** 2) for colour in palette] for pixel in row] for row in pixels]

    np.testing.assert_array_equal(np.argmin(distances, axis=-1), nearest(pixels, palette))
    assert sum(tuple(pixel) not in palette for pixel in pixels.reshape(-1, 3).tolist()) == off_palette(pixels, palette)


@pytest.mark.parametrize(
    ("stem", "source"),
    [
        ("10005", "10005"),
        ("barrdistorted_103_0.3_0.3_10005", "10005"),
        ("pincdistorted_101_0.3_-0.3_10005", "10005"),
        ("deformed_alpha_1300_sigmoid_8.0_10005", "10005"),
        ("deformed_1300_10.0_baso_12", "baso_12"),
        ("distorted_0.03_rsigma0.5_sigma40_baso_12", "baso_12"),
        ("shrinked_0_8_10005", "10005"),
        ("rotated_270_neut_3", "neut_3"),
        ("hflipped_10005", "10005"),
        ("vflipped_10005", "10005"),
        ("mirrored_2f9f400d-2d67-4118-aaa1-9094bc4b0e47", "2f9f400d-2d67-4118-aaa1-9094bc4b0e47"),
        ("flipped_rotated_90_a", "a"),
        ("rotated_90_", "rotated_90_"),
        ("rotated_cell_4", "rotated_cell_4"),
        ("cell_rotated_90_4", "cell_rotated_90_4"),
    ],
)
def test_the_source_of_a_copy_is_the_stem_of_its_photograph(stem: str, source: str) -> None:
    assert source == source_of(stem)


@given(
    st.sampled_from((*archives.COPIES, *archives.CLUSTER_COPIES)),
    st.from_regex(r"([a-z]{4}_)?[0-9a-f-]{1,8}", fullmatch=True),
)
def test_every_copy_of_a_photograph_has_the_same_source(prefix: str, stem: str) -> None:
    assert source_of(stem) == source_of(prefix + stem)


def test_labels_of_any_encoding_are_read(raw: Path, home: Path) -> None:
    truth = archives.cnseg(raw, parts=("difficult",), count=1)
    path = raw / LABELS / "1.json"
    content = json.loads(path.read_text()) | {"imagePath": "细胞.jpg"}
    path.write_bytes("\ufeff".encode() + json.dumps(content, ensure_ascii=False).encode("utf-8"))
    other = raw / "clusteredCell/test-difficult_json/1.json"
    other.write_bytes(
        json.dumps(json.loads(other.read_text()) | {"imagePath": "细胞.jpg"}, ensure_ascii=False).encode("gb18030")
    )

    check(prepare("cnseg", home, raw), truth)


def test_a_size_that_differs_is_refused_in_one_line(raw: Path, home: Path) -> None:
    archives.cnseg_release(raw, {"train": (10001,)}, ("",))
    save(raw / "train/masks/10001.jpg", np.zeros((512, 500), np.uint8))

    assert re.search(r"10001\.jpg is 512x512 but its mask .*is 500x512", refused("cnseg", raw, home))
