"""Damaged files through every reader: they read, or one line says what is wrong; masks survive every exact format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from bench import archive, catalog
from bench.datasets import _coco, _description, _files, _labelme, folder, pannuke  # ty: ignore[unresolved-import]
from bench.errors import BenchError
from tests import lookalike
from tests.lookalike import save

CASES = 60  # damaged versions of each file
SIZE = 24, 20
FEW = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def small_pictures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header with a flipped bit may ask for a large picture; here that is one of more than a megapixel."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**20)


def damaged(content: bytes, case: int) -> bytes:
    """A file cut short, with a few bits flipped (most often near its beginning), or with bytes put in or left out."""
    generator = np.random.default_rng(case)
    data = bytearray(content)
    kind = case % 4
    if kind == 0:
        return bytes(data[: generator.integers(len(data))])
    reach = len(data) if kind == 1 else min(len(data), 100)
    for position in generator.integers(reach, size=generator.integers(1, 6)):
        if kind < 3:
            data[position] ^= 1 << int(generator.integers(8))
        elif generator.random() < 0.5:
            del data[position % len(data)]
        else:
            data.insert(int(position), int(generator.integers(256)))
    return bytes(data)


def survives(read: Callable[[], object]) -> bool:
    """Whether a damaged file could be read; what is raised instead has to be one line."""
    _coco._read.cache_clear()  # files change faster here than their times tell
    message = None
    try:
        read()
    except BenchError as error:
        message = str(error)
    assert message is None or (message and "\n" not in message)
    return message is None


def read_folder(root: Path) -> None:
    """Everything a folder holds, loaded: image and mask fit each other and the classes."""
    spec = catalog.dataset(str(root))
    for sample in spec.read(root):
        image, mask = spec.load(sample)
        assert (np.uint8, np.uint8) == (image.dtype, mask.dtype)
        assert (*mask.shape, 3) == image.shape
        assert ((mask < len(spec.classes)) | (mask == 255)).all()


def outcomes(path: Path, read: Callable[[], object]) -> set[bool]:
    """How reading ends over all damaged versions of a file."""
    content = path.read_bytes()
    assert survives(read)
    found = set()
    for case in range(CASES):
        path.write_bytes(damaged(content, case))
        found.add(survives(read))
    return found


@pytest.mark.parametrize("what", ["images", "masks"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_damaged_pictures(suffix: str, what: str, tmp_path: Path) -> None:
    lookalike.folder(tmp_path, count=2, size=SIZE, suffix=suffix)
    (tmp_path / "dataset.toml").write_text("".join(f'[[classes]]\nname = "c{at}"\nvalue = {at}\n' for at in range(2)))
    path = sorted((tmp_path / what).iterdir())[0]

    assert False in outcomes(path, lambda: read_folder(tmp_path))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_damaged_packed_tiff(compression: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(lookalike.picture(0, SIZE)[0]).save(tmp_path / "a.tif", compression=compression)

    assert False in outcomes(tmp_path / "a.tif", lambda: _files.read_rgb(tmp_path / "a.tif"))
    capfd.readouterr()  # libtiff prints what it thinks of it


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16"])
def test_damaged_masks_of_every_mode(mode: str, tmp_path: Path) -> None:
    mask = Image.fromarray(lookalike.picture(0, SIZE)[1])
    (mask.convert("I") if mode == "I;16" else mask).convert(mode).save(tmp_path / "a.png")

    assert False in outcomes(tmp_path / "a.png", lambda: folder.read_mask(tmp_path / "a.png"))


@pytest.mark.parametrize("kind", ["labelme", "coco"])
def test_damaged_annotations(kind: str, tmp_path: Path) -> None:
    outline = [[2.5, 3.0], [12.0, 3.5], [12.25, 20.0]]
    content: dict[str, object] = {"shapes": [{"label": "a", "points": outline}], "imageHeight": 24, "imageWidth": 20}
    runs = {"counts": [100, 50, 330], "size": [24, 20]}
    if kind == "coco":
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 20}],
            "categories": [{"id": 1, "name": "cell"}],
            "annotations": [
                {"image_id": 1, "category_id": 1, "segmentation": [[*outline[0], *outline[1], *outline[2]]]},
                {"image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": runs},
            ],
        }
    save(tmp_path / "a.png", lookalike.picture(0, SIZE)[0])
    path = tmp_path / ("a.json" if kind == "labelme" else "all.json")
    path.write_text(json.dumps(content))

    assert False in outcomes(path, lambda: read_folder(tmp_path))


def test_damaged_descriptions(tmp_path: Path) -> None:
    lookalike.folder(tmp_path, count=2, size=SIZE)
    path = tmp_path / "dataset.toml"
    classes = "".join(f'[[classes]]\nname = "c{at}"\nvalue = {at}\n' for at in range(2))
    path.write_text(f'ignore = 255\npixel_size_um = 0.5\n{classes}[reader]\ngamma = 1.5\ncolour = "hsv"\n')

    assert False in outcomes(path, lambda: read_folder(tmp_path))


@pytest.mark.parametrize("name", ["images", "masks", "types"])
def test_damaged_arrays(name: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", generator.integers(0, 256, (2, 8, 8, 3)).astype(np.float64))
    np.save(tmp_path / "masks.npy", generator.integers(0, 2, (2, 8, 8, 6)).astype(np.int32))
    np.save(tmp_path / "types.npy", np.array(["Breast", "Colon"]))

    def read() -> None:
        for sample in pannuke.read(tmp_path):
            assert np.uint8 == pannuke.load(sample)[0].dtype

    found = outcomes(tmp_path / f"{name}.npy", read)

    assert (name != "types") == (False in found)  # labels that cannot be read are left out


def test_damaged_zips(tmp_path: Path) -> None:
    lookalike.folder(tmp_path / "raw", count=2, size=SIZE)
    path = lookalike.zipped(tmp_path / "raw")

    def read() -> None:
        with archive.opened(path, tmp_path / "scratch") as root:
            read_folder(root)

    assert False in outcomes(path, read)
    assert [] == list((tmp_path / "scratch").iterdir())


READERS: dict[str, Callable[[Path], object]] = {
    "png": _files.read_rgb,
    "tif": folder.read_mask,
    "json": _labelme.regions,
    "coco.json": _coco.read,
    "toml": _description.described,
    "npy": lambda path: pannuke._opened(path),
}


@pytest.mark.parametrize("suffix", READERS)
@FEW
@given(content=st.binary(max_size=300) | st.text('{}[]"=:0,ae\n', max_size=60).map(str.encode))
def test_bytes_that_mean_nothing(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    survives(lambda: READERS[suffix](path))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@FEW
@given(
    mask=npst.arrays(
        np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 11) | st.just(255)
    ),
    deep=st.booleans(),
)
def test_masks_of_small_integers_survive_every_exact_format(
    suffix: str, mask: np.ndarray, deep: bool, tmp_path: Path
) -> None:
    stored = mask.astype(np.uint16) if deep and suffix != "bmp" else mask  # bmp has no 16 bits
    save(tmp_path / f"a.{suffix}", stored)

    np.testing.assert_array_equal(mask, folder.read_mask(tmp_path / f"a.{suffix}"))


@FEW
@given(sizes=st.tuples(*[st.integers(1, 30)] * 4))
def test_a_mask_of_another_size_is_never_accepted(sizes: tuple[int, int, int, int], tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text("".join(f'[[classes]]\nname = "c{at}"\nvalue = {at}\n' for at in range(2)))
    save(tmp_path / "images/a.png", np.zeros(sizes[:2], np.uint8))
    save(tmp_path / "masks/a.png", np.zeros(sizes[2:], np.uint8))

    assert (sizes[:2] == sizes[2:]) == survives(lambda: read_folder(tmp_path))


def test_a_picture_larger_than_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (1025, 1024)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())

    assert not survives(lambda: _files.read_rgb(tmp_path / "a.png"))
