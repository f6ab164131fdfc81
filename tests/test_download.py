"""Data sets from the web: terms first, files kept with their hash, nothing unsafe kept at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from bench import catalog, cli_download, download, fetch, hosts, locks
from bench.errors import DataError
from bench.specs import RemoteFile
from tests import lookalike
from tests.commands import call
from tests.site import Site, Turn, serving
from tests.test_archive import zipped

KAGGLE_NAMES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")
ARCHIVE = "jeetblahiri/bccd-dataset-with-mask"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Site]:
    """A server, which is Kaggle and Google Drive as well, on a machine that has no credentials."""
    for name in (*KAGGLE_NAMES, "BENCH_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "credentials"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "sleep", lambda seconds: None)
    with serving() as served:
        monkeypatch.setattr(hosts, "KAGGLE", f"{served.address}/api/v1/datasets/download")
        monkeypatch.setattr(hosts, "DRIVE", served.address)
        yield served


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small archive laid out as Blood-Cell's."""
    root = tmp_path_factory.mktemp("archive") / "raw"
    lookalike.blood_cell(root)
    return lookalike.zipped(root).read_bytes()


def got(*options: str, name: str = "blood_cell") -> tuple[int, str, str]:
    """`bench data prepare NAME --download` with the licence accepted."""
    return call("data", "prepare", name, "--download", "--accept-licence", *options)


def kept(home: Path) -> list[Path]:
    """What lies where downloads are kept, but for the lock."""
    return [path for path in (home / "downloads").rglob("*") if path.is_file() and path.name != "lock"]


def test_a_data_set_is_downloaded_in_two_goes_prepared_and_shown(
    site: Site, home: Path, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    site.files["archive.zip"], site.turns = archive, [Turn(cut=len(archive) // 3)]
    code, out, err = got("--mirror", f"{site.address}/archive.zip")

    assert (0, "") == (code, err)
    assert [None, f"bytes={len(archive) // 3}-"] == site.ranges
    assert "MIT as stated by the archive" in out
    assert f"{len(archive)} bytes, sha256 {hashlib.sha256(archive).hexdigest()} (which nobody has published" in out
    assert "Blood-Cell: 3 train, 1 val, 2 test" in out
    folder = home / "downloads/blood_cell"
    assert {folder / "kaggle.json", folder / "kaggle/bccd-dataset-with-mask.zip"} == set(kept(home))
    assert archive == (folder / "kaggle/bccd-dataset-with-mask.zip").read_bytes()

    code, out, _ = call("data", "show", "blood_cell")
    assert 0 == code
    assert "bench data prepare blood_cell --download [--release kaggle | authors]" in out


def test_what_is_here_and_unchanged_is_not_asked_for_again(site: Site, home: Path, archive: bytes) -> None:
    site.files["archive.zip"] = archive
    got("--mirror", f"{site.address}/archive.zip")
    site.asked.clear()
    code, out, _ = call("data", "prepare", "blood_cell[skip_unpaired=true]", "--download")  # of the same archive

    assert (0, []) == (code, site.asked)
    assert "Downloaded before, and unchanged" in out


@pytest.mark.parametrize("damage", ["bytes", "length", "note"])
def test_what_was_changed_here_is_downloaded_again(site: Site, home: Path, archive: bytes, damage: str) -> None:
    site.files["archive.zip"] = archive
    got("--mirror", f"{site.address}/archive.zip")
    path = home / "downloads/blood_cell/kaggle/bccd-dataset-with-mask.zip"
    if damage == "note":
        path.parent.with_name("kaggle.json").write_text("[]")
    else:
        path.write_bytes(archive[:-1] + (b"x" if damage == "bytes" else b""))
    code, _, _ = got("--mirror", f"{site.address}/archive.zip")

    assert (0, 2) == (code, len(site.asked))
    assert archive == path.read_bytes()


def test_nobody_is_asked_before_the_licence_is_accepted(site: Site, home: Path) -> None:
    code, out, err = call("data", "prepare", "blood_cell", "--download", "--mirror", f"{site.address}/archive.zip")

    assert (2, []) == (code, site.asked)
    assert not home.exists()
    assert "CC BY-NC-SA 3.0" in out
    assert "Depto et al. 2021" in out
    assert f"{site.address}/archive.zip" in out
    assert "add --accept-licence" in err


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_the_licence_is_asked_for(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text: asked.append(text) or answer)
    refused = contextlib.nullcontext() if answer else pytest.raises(DataError, match="was not accepted")
    with refused:
        cli_download._agree("blood_cell", {"licence": "MIT"}, cli_download.Wish(download=True))

    assert ["Do you accept the licence?"] == asked


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lisc", ["forbid passing it on", "hrezatofighi", "bench data prepare lisc --from PATH"]),
        ("smear", ["nothing to download", "bench data prepare smear"]),
        ("smear_release", ["kept it out of the repository", "--from PATH"]),
        (".", ["is a folder on this machine"]),
    ],
)
def test_what_cannot_be_downloaded_says_why_and_what_to_do(site: Site, home: Path, name: str, words: list[str]) -> None:
    code, _, err = got(name=name)

    assert (2, []) == (code, site.asked)
    assert all(word in err for word in words), err
    assert 1 == err.count("\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from", "x.zip"], "two ways"),
        (["--sha256", "abc"], "64 hexadecimal digits"),
        (["--release", "nope"], "There are: kaggle, authors"),
        (["--sha256", "0" * 64], f"not {'0' * 64}"),
    ],
)
def test_options_that_make_no_sense_are_told(
    site: Site, home: Path, archive: bytes, options: list[str], words: str
) -> None:
    site.files["archive.zip"] = archive
    code, _, err = got("--mirror", f"{site.address}/archive.zip", *options)

    assert 2 == code
    assert words in err
    assert [] == kept(home)


@pytest.mark.parametrize(
    "option", [["--accept-licence"], ["--mirror", "http://127.0.0.1/a.zip"]], ids=["terms", "mirror"]
)
def test_options_of_a_download_need_one(home: Path, option: list[str]) -> None:
    code, _, err = call("data", "prepare", "blood_cell", *option, "--from", "x.zip")

    assert 2 == code
    assert "are for --download" in err


def test_a_mirror_that_is_always_set_is_for_downloads_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MIRROR", "http://127.0.0.1/")
    code, _, err = call("data", "prepare", "blood_cell", "--from", "x.zip")

    assert (2, True) == (code, "x.zip does not exist" in err)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"../outside.txt": b"x"}, "points outside"),
        ({"bomb.bin": bytes(100 * 2**20)}, "zip bomb"),
    ],
    ids=["a name that leads out", "a bomb"],
)
def test_an_unsafe_zip_is_not_kept(
    site: Site, home: Path, tmp_path: Path, members: dict[str, bytes], words: str
) -> None:
    site.files["archive.zip"] = zipped(tmp_path / "evil.zip", members).read_bytes()
    code, _, err = got("--mirror", f"{site.address}/archive.zip")

    assert 2 == code
    assert words in err
    assert f"came from {site.address}/archive.zip and was removed" in err
    assert [] == kept(home)
    assert [tmp_path / "evil.zip", home] == sorted(tmp_path.iterdir())


def test_a_zip_that_is_damaged_inside_is_not_kept(site: Site, home: Path, archive: bytes) -> None:
    site.files["archive.zip"] = archive[:300] + bytes(64) + archive[364:]
    code, _, err = got("--mirror", f"{site.address}/archive.zip")

    assert (2, []) == (code, kept(home))
    assert "damaged zip" in err


def test_an_archive_of_something_else_is_told_by_its_reader(site: Site, home: Path, tmp_path: Path) -> None:
    site.files["archive.zip"] = zipped(tmp_path / "other.zip", {"readme.txt": b"hello"}).read_bytes()
    code, _, err = got("--mirror", f"{site.address}/archive.zip")

    assert 2 == code
    assert "is not the Blood-Cell archive" in err


def test_kaggle_is_asked_for_the_archive_and_follows_to_where_it_is(
    site: Site, home: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    with serving() as store:
        store.files["bundle/archive.zip"] = archive
        site.turns = [Turn(status=302, body=b"", headers={"Location": f"{store.address}/bundle/archive.zip?X-Sig=1"})]
        code, _, err = got()

        assert (0, "") == (code, err)
        assert f"api/v1/datasets/download/{ARCHIVE}" == site.asked[0][0]
        assert "Bearer secret" == site.asked[0][1]["authorization"]
        assert "authorization" not in store.asked[0][1]


def test_a_mirror_is_not_told_who_asks(site: Site, home: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    monkeypatch.setenv("BENCH_MIRROR", f"{site.address}/mirror/")
    site.files["mirror/bccd-dataset-with-mask.zip"] = archive
    code, _, err = got()

    assert (0, "") == (code, err)
    assert "authorization" not in site.asked[0][1]


@pytest.mark.parametrize("status", [401, 403])
def test_missing_credentials_are_named_with_how_to_get_them(site: Site, home: Path, status: int) -> None:
    site.turns = [Turn(status=status, body=b"{}")]
    code, _, err = got()

    assert 2 == code
    for word in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME and KAGGLE_KEY", "kaggle.json", hosts.TOKEN_PAGE, "--from PATH"):
        assert word in err
    assert 1 == err.count("\n")


def test_credentials_that_are_refused_are_named(site: Site, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    site.turns = [Turn(status=403, body=b"{}")]
    code, _, err = got()

    assert 2 == code
    assert "does not accept the credentials in KAGGLE_USERNAME and KAGGLE_KEY" in err
    assert "secret" not in err


def test_credentials_are_found_where_kaggles_programs_look(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    found = []
    (folder / "kaggle.json").write_text('{"username": "me", "key": "json"}')
    found.append(hosts.credentials())
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "environment")
    found.append(hosts.credentials())
    (folder / "access_token").write_text("file\n")
    found.append(hosts.credentials())
    (tmp_path / "token").write_text("named file")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    found.append(hosts.credentials())
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    found.append(hosts.credentials())

    basic = [base64.b64encode(text).decode() for text in (b"me:json", b"me:environment")]
    wanted = [f"Basic {basic[0]}", f"Basic {basic[1]}", "Bearer file", "Bearer named file", "Bearer token"]
    assert wanted == [headers["Authorization"] for headers, _ in found]


def test_half_of_the_credentials_are_told(site: Site, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    code, _, err = got()

    assert (2, []) == (code, site.asked)
    assert "KAGGLE_KEY is set but KAGGLE_USERNAME is not" in err


def test_a_damaged_file_of_credentials_is_told(site: Site, home: Path, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/kaggle.json").write_text("{")
    code, _, err = got()

    assert (2, []) == (code, site.asked)
    assert "kaggle.json holds no username and key" in err


def test_a_version_is_pinned(site: Site) -> None:
    remote = RemoteFile(name="a.zip", how="kaggle", address="owner/name", version=3)

    assert f"{hosts.KAGGLE}/owner/name?datasetVersionNumber=3" == hosts.order(remote).url


def test_a_missing_extra_is_named(site: Site, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    code, _, err = got("--release", "authors")

    assert (2, []) == (code, site.asked)
    assert "pip install 'cytobench[drive]'" in err


def test_google_drive_is_asked_through_gdown(site: Site, home: Path, tmp_path: Path) -> None:
    pytest.importorskip("gdown")
    from tests import lookalike_archives

    lookalike_archives.blood_cell_original(tmp_path / "raw", size=(480, 640))
    content = lookalike.zipped(tmp_path / "raw").read_bytes()
    cut = 3 * 2**19 + 1000  # gdown keeps whole blocks of half a MiB
    assert cut < len(content)
    site.files["uc"], site.turns = content, [Turn(cut=cut)]
    code, out, err = got("--release", "authors")

    assert (0, "") == (code, err)
    assert "1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71" in site.asked[0][0]
    assert [None, "bytes=1572864-"] == site.ranges
    assert content == (home / "downloads/blood_cell/authors/Final data.zip").read_bytes()
    assert hashlib.sha256(content).hexdigest() in out


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(status=404, body=b""), "is not to be had"),
        (Turn(status=500, body=b""), "broke off"),
        (Turn(body=b"<html>quota exceeded</html>"), "web page in place of Final data.zip"),
    ],
    ids=["gone", "in trouble", "a page"],
)
def test_what_google_drive_refuses_is_told(site: Site, home: Path, turn: Turn, words: str) -> None:
    pytest.importorskip("gdown")
    site.turns = [turn] * 10
    code, _, err = got("--release", "authors")

    assert (2, []) == (code, kept(home))
    assert words in err
    assert "1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71" in err
    assert 1 == err.count("\n")


def folds(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve three small folds of PanNuke, and publish their hashes."""
    from bench.datasets import pannuke

    hashes: dict[str, str] = {}
    for number in (1, 2, 3):
        inner = tmp_path / f"raw{number}/Fold {number}"
        for kind, depth in (("images", 3), ("masks", 6)):
            (inner / kind / f"fold{number}").mkdir(parents=True)
            pixels = np.random.default_rng(number).integers(0, 2, (4, 256, 256, depth)).astype(np.uint8)
            np.save(inner / kind / f"fold{number}/{kind}.npy", pixels)
        content = lookalike.zipped(inner.parent).read_bytes()
        site.files[f"folds/fold_{number}.zip"] = content
        hashes[f"fold_{number}.zip"] = hashlib.sha256(content).hexdigest()
    (release,) = pannuke.SPEC.releases
    from dataclasses import replace

    files = tuple(replace(remote, sha256=hashes[remote.name]) for remote in release.files)
    monkeypatch.setattr(pannuke, "SPEC", replace(pannuke.SPEC, releases=(replace(release, files=files),)))


def test_a_release_of_several_files_is_prepared_as_one(
    site: Site, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds(site, tmp_path, monkeypatch)
    site.turns = [Turn(), Turn(status=404)]
    code, _, err = got("--mirror", f"{site.address}/folds/", name="pannuke[classes=types]")

    assert 2 == code
    assert "fold_2.zip does not exist" in err

    site.asked.clear()
    code, out, err = got("--mirror", f"{site.address}/folds/", name="pannuke[classes=types]")
    assert (0, "") == (code, err)
    assert ["folds/fold_2.zip", "folds/fold_3.zip"] == [path for path, _ in site.asked]
    assert "fold_1.zip is here already" in out
    assert "as published" in out
    assert "PanNuke: 4 train, 4 val, 4 test" in out

    code, _, err = call("data", "prepare", "pannuke", "--download", "--no-native")
    assert 2 == code
    assert "is packed and cannot be read again" in err


def test_a_mirror_of_several_files_stands_before_their_names(site: Site, home: Path) -> None:
    code, _, err = got("--mirror", f"{site.address}/fold_1.zip", name="pannuke")

    assert (2, []) == (code, site.asked)
    assert "must end in a slash" in err


def test_a_published_hash_is_not_to_be_contradicted() -> None:
    release = catalog.dataset("pannuke").releases[0]

    with pytest.raises(DataError, match="contradicts the published one"):
        download._instead(
            release.files[0], download.Release(name="x", title="", files=release.files[:1]), None, "0" * 64
        )


def test_a_file_that_another_process_is_downloading_is_left_alone(site: Site, home: Path) -> None:
    with locks.held(home / "downloads/blood_cell/.kaggle/lock") as ours:
        assert ours
        code, _, err = got()

    assert (2, []) == (code, site.asked)
    assert "Another process is downloading blood_cell" in err


@pytest.mark.parametrize("name", ["blood_cell", "cnseg", "pannuke"])
def test_releases_say_where_their_files_are(name: str) -> None:
    for release in catalog.dataset(name).releases:
        for remote in release.files:
            assert remote.name.endswith(".zip")
            assert hosts.page(remote).startswith("https://")
            assert remote.sha256 is None or 64 == len(remote.sha256)
        assert download.chosen(name, release.name) == release


def test_every_data_set_has_releases_or_says_why_not() -> None:
    for name in ("blood_cell", "cnseg", "lisc", "pannuke", "smear", "smear_release"):
        spec = catalog.dataset(name)
        assert 1 == sum((bool(spec.releases), bool(spec.unreleased), spec.generated)), name
