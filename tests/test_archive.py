"""Zips from the internet: nothing outside the folder, no links, no bombs, nothing left behind."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from bench import archive
from bench.errors import BenchError, DataError


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip with members of any name."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, method
            file.writestr(info, content)
    return path


def refused(path: Path, scratch: Path) -> str:
    """The one line with which an archive is refused; nothing may be left."""
    with pytest.raises(BenchError) as caught, archive.opened(path, scratch):
        pass
    assert not scratch.exists() or not list(scratch.iterdir())
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, DataError)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_zip_is_unpacked_and_removed_at_the_end(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x/one.txt": b"1", "x/deep/two ü.txt": b"2", "empty/": b""})
    with archive.opened(path, tmp_path / "scratch") as folder:
        found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    assert {"x/one.txt": b"1", "x/deep/two ü.txt": b"2"} == found
    assert [] == list((tmp_path / "scratch").iterdir())


def test_what_was_unpacked_is_removed_when_its_reader_fails(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1"})
    with pytest.raises(ZeroDivisionError), archive.opened(path, tmp_path / "scratch"):
        raise ZeroDivisionError

    assert [] == list((tmp_path / "scratch").iterdir())


def test_an_array_of_few_nuclei_is_no_bomb(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"masks.npy": bytes(4 * 2**20)})
    with zipfile.ZipFile(path) as file:
        (member,) = file.infolist()
    with archive.opened(path, tmp_path / "scratch") as folder:
        assert 4 * 2**20 == (folder / "masks.npy").stat().st_size

    assert member.file_size > archive.EXPANSION * member.compress_size + 2**20


def test_a_folder_of_zips_is_unpacked_each_into_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "zips").mkdir()
    for name in ("one", "two"):
        zipped(tmp_path / f"zips/{name}.zip", {"x.txt": name.encode()})
    with archive.opened(tmp_path / "zips", tmp_path / "scratch") as folder:
        found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    assert {"one/x.txt": b"one", "two/x.txt": b"two"} == found
    assert [] == list((tmp_path / "scratch").iterdir())


def test_a_folder_with_a_zip_among_other_files_passes_through(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"x": b"1"})
    (tmp_path / "readme.txt").touch()
    with archive.opened(tmp_path, tmp_path / "scratch") as folder:
        assert tmp_path == folder


def test_a_folder_passes_through_untouched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with archive.opened(tmp_path / "data", tmp_path / "scratch") as folder:
        assert tmp_path / "data" == folder

    assert (tmp_path / "data").is_dir()
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "//x", "..\\x", "a\\..\\..\\x", "C:/x", "C:x", "..", "a/.."]
)
def test_a_name_that_points_outside_is_refused(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"good": b"1", name: b"evil"})

    assert "points outside" in refused(path, tmp_path / "scratch")
    assert ["a.zip"] == [file.name for file in tmp_path.rglob("*") if file.is_file()]


def test_a_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")

    assert "links are not allowed" in refused(tmp_path / "a.zip", tmp_path / "scratch")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"zeros": bytes(20 * 2**20)})

    assert "a zip bomb" in refused(path, tmp_path / "scratch")


def test_a_small_file_may_be_well_compressed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"mask.bmp": bytes(2**20)})
    with archive.opened(path, tmp_path / "scratch") as folder:
        assert 2**20 == (folder / "mask.bmp").stat().st_size


def test_more_than_the_limit_in_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST", 100)
    path = zipped(tmp_path / "a.zip", {"one": bytes(60), "two": bytes(60)})

    assert "would unpack to" in refused(path, tmp_path / "scratch")


def test_a_size_that_lies_does_not_unpack_more_than_it_says(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"zeros": bytes(5000)})
    data = path.read_bytes()
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))

    assert "damaged zip" in refused(path, tmp_path / "scratch")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_flipped_bytes_are_a_damaged_zip(method: int, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": bytes(range(256)) * 20}, method)
    data = bytearray(path.read_bytes())
    data[40:70] = bytes(255 - byte for byte in data[40:70])
    path.write_bytes(data)

    assert "damaged zip" in refused(path, tmp_path / "scratch")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_what_is_no_zip_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)

    assert "neither a folder nor a zip" in refused(tmp_path / "a.zip", tmp_path / "scratch")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_half_a_download_is_refused(share: float, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"{at}": bytes(range(256)) for at in range(20)})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    assert "Give the folder or the zip you downloaded" in refused(path, tmp_path / "scratch")


def test_a_zip_that_needs_a_password_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)

    assert "password" in refused(path, tmp_path / "scratch")


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "gone.zip", tmp_path / "scratch")


@pytest.mark.parametrize("name", ["x/y", ".", f"{'n' * 256}.png"], ids=["folder as well", "none", "too long"])
def test_a_name_that_no_folder_can_hold_is_refused_before_anything_is_unpacked(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1", name: b"2"})

    with pytest.raises(DataError, match="a folder as well"):
        archive.check(path, contents=False)
    assert "It is not unpacked" in refused(path, tmp_path / "scratch")


def test_a_zip_packed_in_an_unknown_way_is_not_called_damaged(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for start, offset in ((0, 8), (data.index(b"PK\x01\x02"), 10)):
        data[start + offset] = 9  # Deflate64, as Windows packs what is large
    path.write_bytes(data)

    assert "Unpack it with another program" in refused(path, tmp_path / "scratch")
