"""Data sets as they were published, made again from real photographs, and what the audit says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import auditfile, copies
from bench.datasets import blood_cell
from bench.findings import Audit, Kind
from tests import commands, lookalike_archives, published_tree
from tests.real import REAL, real


def told(name: object, home: Path) -> tuple[int, Audit, dict[str, list[str]], str]:
    """Exit code, findings, leaked ids; and what is printed for a reader."""
    words = ("data", "audit", name, "--data-home", home, "--to", home / "page.html")
    code, out, err = commands.call(*words, "--format", "json")
    assert out, err
    (home / "printed.json").write_text(out)
    return code, auditfile.load(home / "printed.json"), json.loads(out)["leaked"], commands.call(*words)[1]


@real
@pytest.mark.parametrize(
    ("count", "edge"), [(5, 256), pytest.param(40, 512, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_copies_made_before_the_split_as_seed_0_published_them_are_told_by_looks_and_by_name(
    tmp_path: Path, count: int, edge: int
):
    pairs = [(Path(one.image), Path(one.mask)) for one in blood_cell.read(REAL)[:count]]
    root = published_tree.write(tmp_path / "Blood-Cell-ImageMask-Dataset", pairs, edge)
    (root / "dataset.toml").write_text("[reader]\nthreshold = 127\n")
    sizes = {split: len(list((root / split / "images").iterdir())) for split in ("train", "valid", "test")}
    code, found, leaked, out = told(root, tmp_path)
    kinds = {kind: [one for one in found.findings if one.kind is kind] for kind in Kind}

    assert (1, 6 * count) == (code, found.images)
    assert f"{sizes['test']} of {sizes['test']} test images have copies or files of the same photograph" in out
    assert f"{sizes['valid']} of {sizes['valid']} validation images have copies or files" in out
    assert (sizes["test"], sizes["valid"]) == (len(leaked["test"]), len(leaked["val"]))
    assert 15 * count == len(kinds[Kind.NEAR]), "every pair of the six copies of a photograph"
    assert not kinds[Kind.CROP]
    assert not kinds[Kind.SHIFTED]
    sources = kinds[Kind.SOURCE]
    assert {f"{split}-" for split in ("train", "val", "test")} >= {
        one.images[0][:-1].split("-")[0] + "-" for one in sources
    }
    assert 6 * count == sum(int(one.measures["masks"]) for one in kinds[Kind.GREYS])


@real
def test_a_tree_with_jpeg_masks_is_refused_with_the_lines_that_make_it_readable(tmp_path: Path):
    pairs = [(Path(one.image), Path(one.mask)) for one in blood_cell.read(REAL)[:2]]
    root = published_tree.write(tmp_path / "tree", pairs, 64)
    code, _, err = commands.call("data", "audit", root, "--data-home", tmp_path)

    assert (2, 1) == (code, err.count("\n"))
    assert "[reader]" in err
    assert "threshold = 127" in err


@real
@pytest.mark.slow
@pytest.mark.parametrize("maker", ["seed2", "seed4"])
def test_every_copy_of_seeds_2_and_4_is_told_with_its_source_and_every_distorted_one_is_off_its_mask(
    tmp_path: Path, maker: str
):
    """Five barrels and five pincushions are not always told with each other, but always with their source."""
    for one in blood_cell.read(REAL)[::10]:
        for kind, pixels in zip(("images", "masks"), blood_cell.load(one), strict=True):
            target = tmp_path / "few" / kind / f"{Path(one.image).stem[:8]}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    code, found, leaked, _ = told(f"{tmp_path}/few[copies={maker},protocol=as-published]", tmp_path)
    stems = [path.stem for path in (tmp_path / "few/images").iterdir()]
    pairs = {frozenset(one.images) for one in found.findings if one.kind is Kind.NEAR}
    expected = {prefix + stem for prefix in copies.MOVES[maker] for stem in stems}

    assert (1, len(expected)) == (code, found.images)
    assert {frozenset((name, copies.photograph(name))) for name in expected.difference(stems)} <= pairs
    assert all(len({copies.photograph(name) for name in pair}) == 1 for pair in pairs)
    distorted = {name for name in expected if name.startswith("distorted_")}
    assert distorted == {name for one in found.findings if one.kind is Kind.SHIFTED for name in one.images}
    assert found.images - int(0.8 * found.images) - 6 < len(leaked["val"]) + len(leaked["test"])


def test_lisc_cut_to_the_same_corner_as_seed_2_cut_it_is_four_pixels_off(tmp_path: Path):
    truth = lookalike_archives.lisc(tmp_path / "raw", count=2, mixt=0, size=(576, 720))
    cut = 0
    for name, (image, parts) in truth.items():
        mask = np.uint8(parts > 0)[4:-4, 4:-4][:512, :512]
        if not mask.any():
            continue
        cut += 1
        for kind, pixels in (("images", image[:512, :512]), ("masks", mask)):
            target = tmp_path / "cut" / kind / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    code, found, _, _ = told(tmp_path / "cut", tmp_path)
    notes = [one.note for one in found.findings if one.kind is Kind.SHIFTED]

    assert 1 == code
    assert [f"{cut} of {cut} masks fit 4.0 px further right and 4.0 px further down."] == notes
