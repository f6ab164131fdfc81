"""Copies as three projects made them, split by file or by photograph: pixels, names, and who stands on which side."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from bench import catalog, copies, prepare, protocols, runner, study
from bench.errors import DataError, NameUnknown, StudyError
from bench.protocols import CLEAN, Protocol
from bench.specs import Sample, Study
from bench.split import assign
from tests import small

LEAK, HONEST = Protocol("as-published", "seed2"), Protocol("split-first", "seed2")
SIZE = 96
SMEAR = "smear[size=64,test=4,train=6,val=3]"


def picture(height: int = SIZE, width: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A picture in which no two places look alike, and its mask of three classes."""
    random = np.random.default_rng(height * width)
    image = random.integers(100, 256, (height, width, 3), dtype=np.uint8)
    return image, random.integers(0, 3, (height, width), dtype=np.uint8)


def made(maker: str, prefix: str, name: str = "one") -> tuple[np.ndarray, np.ndarray]:
    return copies.MOVES[maker][prefix](*picture(), name)


def photographs(count: int) -> list[Sample]:
    return [Sample(id=f"{at:05d}", image="", mask="", source=f"{at:05d}") for at in range(count)]


@pytest.mark.parametrize(
    ("maker", "expected"), [("seed0", 6), ("seed2", 18), ("seed4", 20)], ids=["seed0", "seed2", "seed4"]
)
def test_a_photograph_has_as_many_copies_as_were_published(maker: str, expected: int):
    assert expected == len(copies.MOVES[maker])
    assert expected * 7 == len({one.id for one in copies.listed(photographs(7), Protocol("as-published", maker))})


def test_a_copy_of_a_copy_is_of_the_same_photograph_as_the_copy_itself():
    """Else the untouched one of a folder's `mirrored_x` would be drawn apart from those made of it."""
    assert {"x"} == {copies.photograph(name) for name in ("x", "mirrored_x", "rotated_90_mirrored_x")}


@pytest.mark.parametrize("prefix", copies.PREFIXES)
def test_the_name_of_a_copy_tells_its_photograph(prefix: str):
    published = (
        r"^(rotated_\d+_|mirrored_|flipped_|hflipped_|vflipped_|shrinked_0_8_|deformed_(alpha_)?1300_(sigmoid_)?[\d.]+_"
        r"|distorted_[\d.]+_rsigma[\d.]+_sigma\d+_|barrdistorted_\d+_[\d.]+_[\d.]+_|pincdistorted_\d+_[\d.]+_-[\d.]+_)"
    )

    assert "baso_7" == copies.photograph(f"{prefix}baso_7")
    assert re.fullmatch(f"{published}baso_7", f"{prefix}baso_7")


@pytest.mark.parametrize(
    ("maker", "prefix", "move"),
    [
        ("seed0", "", lambda one: one),
        ("seed0", "rotated_90_", np.rot90),
        ("seed2", "rotated_180_", lambda one: np.rot90(one, 2)),
        ("seed4", "rotated_270_", lambda one: np.rot90(one, 3)),
        ("seed0", "mirrored_", np.fliplr),
        ("seed0", "flipped_", np.flipud),
        ("seed4", "hflipped_", np.fliplr),
        ("seed4", "vflipped_", np.flipud),
    ],
)
def test_turns_and_flips_are_those_of_numpy(maker: str, prefix: str, move):
    image, mask = picture()
    copied = made(maker, prefix)

    assert np.array_equal(move(image), copied[0])
    assert np.array_equal(move(mask), copied[1])


def test_quarter_turns_are_those_of_pillow_as_seed_0_made_them():
    assert np.array_equal(np.asarray(Image.fromarray(picture()[0]).rotate(90)), made("seed0", "rotated_90_")[0])


def bulged(image: np.ndarray, amount: float, discs: int) -> np.ndarray:
    """Barrel and pincushion from the published formula, a pixel at a time, one disc after the other."""
    edge = len(image)
    for x, y in [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)][:discs]:
        rows, columns = np.zeros((edge, edge)), np.zeros((edge, edge))
        for row, column in np.ndindex(edge, edge):
            down, across = row - y * edge, column - x * edge
            distance = (down**2 + across**2) ** 0.5
            if distance >= 0.3 * edge:
                rows[row, column], columns[row, column] = row, column
            else:
                factor = np.sin(np.pi * distance / (2 * 0.3 * edge)) ** amount if distance > 0 else 1.0
                rows[row, column], columns[row, column] = y * edge + factor * down, x * edge + factor * across
        planes = [map_coordinates(image[..., at], [rows, columns], order=1, output=np.uint8) for at in range(3)]
        image = np.stack(planes, axis=-1)
    return image


@pytest.mark.parametrize(("kind", "amount"), [("barr", 0.3), ("pinc", -0.3)])
@pytest.mark.parametrize("discs", [1, 3])
def test_lenses_follow_the_published_formula_one_after_the_other(kind: str, amount: float, discs: int):
    image, _ = picture()

    assert np.array_equal(
        bulged(image, amount, discs), made("seed2", f"{kind}distorted_{100 + discs}_0.3_{amount}_")[0]
    )


def test_outside_its_discs_a_lens_leaves_a_near_duplicate_untouched():
    image, mask = picture()
    copied = made("seed4", "barrdistorted_101_0.3_0.3_")

    assert np.array_equal(image[70:], copied[0][70:])
    assert np.array_equal(mask[70:], copied[1][70:])
    assert not np.array_equal(image, copied[0])


def test_the_elastic_field_moves_pixels_as_far_as_was_measured():
    rows, columns = np.indices((512, 512))
    moved = [
        np.stack([field.rows - rows, field.columns - columns]) for field in (copies.bent(512, at) for at in (0, 1))
    ]

    assert 2.27 == pytest.approx(moved[0].std(), rel=0.05)
    assert 1.48 == pytest.approx(moved[1].std(), rel=0.05)
    assert 8.1 == pytest.approx(np.abs(moved[0]).max(), rel=0.2)


def test_an_elastic_copy_keeps_image_and_mask_together():
    rows, columns = np.indices((96, 96))
    disc = ((rows - 48) ** 2 + (columns - 48) ** 2 < 30**2).astype(np.uint8)
    image, mask = copies.deformed(0, np.repeat(disc[..., None] * np.uint8(255), 3, axis=-1), disc, "one")

    assert not np.array_equal(disc, mask)
    assert 0.99 < np.mean((image[..., 0] > 127) == (mask > 0))
    assert np.array_equal(mask, copies.deformed(0, image, disc, "another")[1])


@pytest.mark.parametrize(("share", "most"), [(0.02, 10), (0.03, 15)])
def test_a_distorted_copy_has_wrong_labels_as_published(share: float, most: int):
    rows, columns = np.indices((512, 512))
    one, other = (copies.swirled(512, share, f"cell/{what}") for what in ("image", "mask"))

    assert most == pytest.approx((rows - one.rows).max())
    assert most == pytest.approx((columns - other.columns).max())
    disc = ((rows - 256) ** 2 + (columns - 256) ** 2 < 80**2).astype(np.uint8)
    image, mask = copies.distorted(share, np.repeat(disc[..., None] * np.uint8(255), 3, axis=-1), disc, "cell")
    seen = image[..., 0] > 127
    assert 0.75 < 2 * (seen & (mask > 0)).sum() / (seen.sum() + mask.sum()) < 0.99


def test_copies_repeat_and_those_of_two_photographs_are_distorted_differently():
    first, again, other = (made("seed4", "distorted_0.02_rsigma0.5_sigma40_", name) for name in ("a", "a", "b"))

    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_a_shrunk_copy_lies_in_the_middle_of_its_own_border():
    image, mask = picture()
    small_image, small_mask = made("seed4", "shrinked_0_8_")
    inner = slice(10, 86)  # 76 of 96 pixels

    assert (image[2, 2] == small_image[:10]).all()
    assert 0 == small_mask[:, 86:].sum()
    chosen = np.arange(76) * 96 // 76
    assert np.array_equal(image[np.ix_(chosen, chosen)], small_image[inner, inner])
    assert np.array_equal(mask[np.ix_(chosen, chosen)], small_mask[inner, inner])


def test_a_picture_is_padded_to_a_square_with_its_own_colour_and_shrunk_to_512():
    image, mask = picture(60, 100)
    square, labels = copies.squared("seed4", image, mask)
    large, _ = copies.squared("seed0", *picture(600, 800))

    assert (100, 100, 3) == square.shape
    assert np.array_equal(image, square[20:80])
    assert (image[2, 2] == square[:20]).all()
    assert 0 == labels[:20].sum() + labels[80:].sum()
    assert (512, 512, 3) == large.shape


@pytest.mark.parametrize(("colour", "padding"), [((150, 160, 170), (150, 160, 170)), ((150, 99, 170), (188, 198, 188))])
def test_seed_0_pads_with_a_light_colour(colour: tuple[int, ...], padding: tuple[int, ...]):
    image = np.full((60, 100, 3), colour, np.uint8)

    assert padding == tuple(copies.squared("seed0", image, image[..., 0])[0][0, 0])


def siblings(assigned: dict[str, str]) -> list[bool]:
    """Of every test file, whether a copy of its photograph is trained on."""
    trained = {copies.photograph(name) for name, split in assigned.items() if split == "train"}
    return [copies.photograph(name) in trained for name, split in assigned.items() if split == "test"]


def test_as_published_every_lisc_test_file_has_a_copy_in_training():
    found = siblings(assign(copies.listed(photographs(242), LEAK), ratios=(0.7, 0.2, 0.1)))

    assert 436 == pytest.approx(len(found), abs=1)  # published: 440, since each class was rounded by itself
    assert all(found)


def test_as_published_almost_every_file_of_six_has_one_as_the_binomial_says():
    found = siblings(assign(copies.listed(photographs(1208), Protocol("as-published")), ratios=(0.8, 0.15, 0.05)))

    assert 1 - 0.2**5 == pytest.approx(np.mean(found), abs=0.01)


def test_split_first_none_has_and_the_files_are_the_same():
    lists = [copies.listed(photographs(242), protocol) for protocol in (LEAK, HONEST)]
    found = siblings(assign(lists[1], ratios=(0.7, 0.2, 0.1)))

    assert not any(found)
    assert len(found) > 400
    assert [one.image for one in lists[0]] == [one.image for one in lists[1]]
    assert [one.id for one in lists[0]] == [one.id for one in lists[1]]


def test_official_splits_are_ignored_and_labels_kept():
    samples = [replace(one, split="test", label="mono") for one in photographs(2)]

    assert {(None, "mono")} == {(one.split, one.label) for one in copies.listed(samples, LEAK)}


def test_copies_of_what_holds_copies_already_are_refused():
    samples = [*photographs(1), replace(photographs(1)[0], id="mirrored_00000")]

    with pytest.raises(DataError, match=r"^Two copies would be called 'mirrored_00000'"):
        copies.listed(samples, Protocol("as-published"))


@pytest.mark.parametrize(
    ("name", "base", "protocol"),
    [
        ("smear", "smear", CLEAN),
        ("smear[protocol=clean]", "smear", CLEAN),
        ("smear[protocol=as-published]", "smear", Protocol("as-published")),
        ("smear[copies=seed0,protocol=as-published]", "smear", Protocol("as-published")),
        ("smear[size=64, protocol=split-first, copies=seed2]", "smear[size=64]", HONEST),
        ("cnseg[protocol=as-published,subset=easy]", "cnseg[subset=easy]", Protocol("as-published")),
    ],
)
def test_a_name_says_its_protocol_and_is_spelled_in_one_way(name: str, base: str, protocol: Protocol):
    assert (base, protocol) == protocols.apart(name)
    spelled = catalog.canonical("datasets", name)
    assert (base, protocol) == protocols.apart(spelled)
    assert spelled == catalog.canonical("datasets", spelled) == protocols.under(base, protocol)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smear[protocol=published]", "There is no protocol=published, .* Allowed: clean, as-published, split-first."),
        ("smear[copies=seed1,protocol=as-published]", "There is no copies=seed1, .* Allowed: seed0, seed2, seed4."),
        ("smear[copies=seed2]", "asks for copies, and the protocol clean makes none. Add protocol=as-published"),
        ("smear[protocol=as-published,sise=64]", "There is no option of .* named 'sise'"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(name: str, message: str):
    with pytest.raises(NameUnknown, match=message):
        catalog.canonical("datasets", name)


def test_a_study_stands_under_each_of_its_protocols_and_resolving_it_again_changes_nothing():
    wanted = Study(name="x", datasets=("smear", "smear[protocol=as-published]"), protocol=("clean", "split-first"))
    resolved = runner.resolve(replace(wanted, copies="seed2"))

    assert ("smear", "smear[copies=seed2,protocol=split-first]", "smear[protocol=as-published]") == resolved.datasets
    assert resolved == runner.resolve(resolved)
    assert resolved == study.parse(tomllib.loads(study.dump(resolved)), where="here")


@pytest.mark.parametrize("told", ['"as-published"', '["as-published"]'])
def test_a_study_file_says_one_protocol_or_several(told: str, tmp_path: Path):
    (tmp_path / "some.toml").write_text(f'protocol = {told}\ncopies = "seed4"\n')
    resolved = runner.resolve(study.load(str(tmp_path / "some.toml")))

    assert ("smear[copies=seed4,protocol=as-published]",) == resolved.datasets


def test_the_command_line_says_protocols_and_an_unknown_one_is_refused():
    lisc = study.load("seed2-lisc")
    resolved = runner.resolve(study.override(lisc, {"protocol": ["split-first,as-published"]}))

    assert ("lisc[copies=seed2,protocol=split-first]", "lisc[copies=seed2,protocol=as-published]") == resolved.datasets
    with pytest.raises(StudyError, match="protocol has 'leaky', it may hold clean, as-published and split-first"):
        study.override(lisc, {"protocol": ["leaky"]})
    with pytest.raises(StudyError, match="protocol is empty"):
        study.override(lisc, {"protocol": []})


def test_a_clean_study_keeps_its_names_and_fingerprints():
    resolved = runner.resolve(small.study())

    assert (small.SMEAR,) == resolved.datasets
    assert resolved == runner.resolve(study.override(small.study(), {"protocol": ["clean"]}))


@pytest.mark.parametrize("maker", ["seed0", "seed2"])
def test_a_prepared_data_set_is_copied_pixel_by_pixel(maker: str, data_home: Path):
    clean = prepare.prepare(SMEAR, data_home)
    leaked, honest = (
        prepare.prepare(protocols.under(SMEAR, Protocol(word, maker)), data_home)
        for word in ("as-published", "split-first")
    )
    pairs = {entry.sample.id: clean.native(entry) for entry in clean.index.entries}

    assert len(copies.MOVES[maker]) * 13 == len(leaked.samples)
    assert {e.sample.id: e.hash for e in leaked.index.entries} == {e.sample.id: e.hash for e in honest.index.entries}
    for entry in leaked.index.entries[::7]:
        name = copies.photograph(entry.sample.id)
        prefix = entry.sample.id.removesuffix(name)
        for expected, found in zip(copies.MOVES[maker][prefix](*pairs[name], name), leaked.native(entry), strict=True):
            assert np.array_equal(expected, found)
    assert any(siblings({name: part for part, ids in leaked.ids(0, 1).items() for name in ids}))
    assert not any(siblings({name: part for part, ids in honest.ids(0, 1).items() for name in ids}))
    assert leaked.index.title == f"{clean.index.title}, copies split by file (leak)"
    assert catalog.dataset(leaked.index.name).title == leaked.index.title


def test_copies_are_made_once_and_again_where_their_images_changed(tmp_path: Path):
    folder, home = _folder(tmp_path / "cells[1]"), tmp_path / "home"
    name = f"{folder}[protocol=as-published]"
    first = prepare.open_prepared(name, home)
    made = (first.folder / "index.json").stat().st_mtime_ns

    assert made == (prepare.open_prepared(name, home).folder / "index.json").stat().st_mtime_ns
    Image.fromarray(np.full((40, 50, 3), 222, np.uint8)).save(folder / "images" / "cell_3.png")
    assert first.index.hash != prepare.open_prepared(name, home).index.hash


def test_copies_follow_the_colours_and_the_licence_of_their_images(tmp_path: Path):
    folder = _folder(tmp_path / "cells")
    name = f"{folder}[protocol=split-first]"
    first = prepare.open_prepared(name, tmp_path / "home").index
    (folder / "dataset.toml").write_text(
        'title = "Mine"\nlicence = "CC0"\n[[classes]]\nname = "background"\ncolour = [0, 0, 0]\nvalue = 0\n'
        f'[[classes]]\nname = "{first.classes[1].name}"\ncolour = [1, 2, 3]\nvalue = 1\n'
    )
    second = prepare.open_prepared(name, tmp_path / "home").index

    assert ("Mine, copies split by photograph", "CC0") == (second.title, second.licence)
    assert (1, 2, 3) == second.classes[1].colour != first.classes[1].colour


def test_a_folder_that_is_gone_is_asked_for(tmp_path: Path):
    with pytest.raises(NameUnknown, match=r"There is none called .*my .odd., set' here"):
        protocols.apart(f"{tmp_path}/my [odd], set[protocol=as-published]")


def test_a_folder_of_a_user_stands_under_a_protocol(tmp_path: Path):
    folder = _folder(tmp_path / "cells[1]")
    name = f"{folder}[protocol=as-published]"
    resolved = runner.resolve(Study(name="x", datasets=(str(folder),), protocol=("clean", "as-published")))
    prepared = prepare.open_prepared(name, tmp_path / "home")

    assert (str(folder), name) == resolved.datasets
    assert catalog.is_folder(name)
    assert 6 * 12 == len(prepared.samples)
    assert prepared.folder != prepare.location(str(folder), tmp_path / "home")
    assert prepared.index == prepare.reopen(name, tmp_path / "home").index
    assert catalog.code_hash("datasets", name) == catalog.code_hash("datasets", str(folder))


def test_a_folder_that_is_called_like_a_protocol_is_a_folder(tmp_path: Path):
    folder = _folder(tmp_path / "cells[protocol=as-published]")

    assert (str(folder), CLEAN) == protocols.apart(str(folder))
    assert 12 == len(prepare.open_prepared(str(folder), tmp_path / "home").samples)


def _folder(path: Path) -> Path:
    """Twelve pairs without any source."""
    for kind in ("images", "masks"):
        (path / kind).mkdir(parents=True)
    for at in range(12):
        random = np.random.default_rng(at)
        Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(path / "images" / f"cell_{at}.png")
        Image.fromarray(random.integers(0, 2, (40, 50), np.uint8)).save(path / "masks" / f"cell_{at}.png")
    return path
