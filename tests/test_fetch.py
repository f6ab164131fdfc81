"""A file over HTTP, from a server on this machine that cuts, lies, moves and stalls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from bench import fetch
from bench.errors import BenchError, DataError, StoreError, Unfinished
from tests.site import Site, Turn, serving

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Generator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as served:
        served.files["data.zip"] = CONTENT
        yield served


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited before every further try [s]; no test does."""
    waited: list[float] = []
    monkeypatch.setattr(fetch, "sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def _no_waiting(pauses: list[float]) -> None:
    """For every test."""


def get(site: Site, folder: Path, url: str = "", **known: object) -> str:
    """Fetch data.zip into a folder."""
    order = fetch.Order(url=url or f"{site.address}/data.zip", **known)  # ty: ignore[invalid-argument-type]
    return fetch.fetch(order, folder / "data.zip", lambda done, total: None)


def refused(site: Site, folder: Path, kind: type[BenchError] = DataError, url: str = "", **known: object) -> str:
    """The one line with which it is refused; no file is there afterwards, and of a wrong one nothing at all."""
    with pytest.raises(kind) as caught:
        get(site, folder, url, **known)
    assert "\n" not in str(caught.value)
    assert not (folder / "data.zip").exists()
    assert kind is not DataError or [] == list(folder.iterdir())
    return str(caught.value)


def test_a_file_comes_whole_with_its_hash_and_leaves_nothing_beside_it(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    order = fetch.Order(url=f"{site.address}/data.zip", size=len(CONTENT), sha256=HASH.upper())

    assert HASH == fetch.fetch(order, tmp_path / "data.zip", lambda done, total: told.append((done, total)))
    assert CONTENT == (tmp_path / "data.zip").read_bytes()
    assert [tmp_path / "data.zip"] == list(tmp_path.iterdir())
    assert (len(CONTENT), len(CONTENT)) == told[-1]
    assert sorted(told) == told


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(site: Site, tmp_path: Path, pauses: list[float]) -> None:
    site.turns = [Turn(cut=400_000), Turn(cut=300_000)]

    assert HASH == get(site, tmp_path)
    assert CONTENT == (tmp_path / "data.zip").read_bytes()
    assert [None, "bytes=400000-", "bytes=700000-"] == site.ranges
    assert site.asked[1][1]["if-range"] == f'"{HASH[:16]}"'
    assert [1.0, 1.0] == pauses


def test_the_next_run_goes_on_where_one_gave_up(site: Site, tmp_path: Path, pauses: list[float]) -> None:
    site.turns = [Turn(cut=400_000)] + [Turn(status=503)] * (fetch.TRIES - 1)
    text = refused(site, tmp_path, Unfinished)

    assert "400000 bytes are kept" in text
    assert "HTTP 503" in text
    assert [1.0, 2.0, 4.0, 8.0] == pauses
    assert {"data.zip.part", "data.zip.part.json"} == {path.name for path in tmp_path.iterdir()}

    site.asked.clear()
    assert HASH == get(site, tmp_path)
    assert ["bytes=400000-"] == site.ranges


def test_a_part_that_a_kill_left_whole_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    note = {"url": f"{site.address}/data.zip", "validator": '"x"', "total": len(CONTENT)}
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    (tmp_path / "data.zip.part.json").write_text(json.dumps(note))

    assert HASH == get(site, tmp_path, sha256=HASH)
    assert [] == site.asked


def test_a_server_that_ignores_ranges_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(cut=400_000), Turn(ranges=False)]

    assert HASH == get(site, tmp_path)
    assert CONTENT == (tmp_path / "data.zip").read_bytes()


@pytest.mark.parametrize("stubborn", [False, True], ids=["a server that sees it", "a server that goes on regardless"])
def test_a_file_that_changed_between_is_read_from_the_start(site: Site, tmp_path: Path, stubborn: bool) -> None:
    other = CONTENT[:4] + CONTENT[:3:-1]  # as long, and just as much a zip
    site.turns = [Turn(body=other, cut=400_000), Turn(stubborn=stubborn)]

    assert HASH == get(site, tmp_path)
    assert CONTENT == (tmp_path / "data.zip").read_bytes()


def test_a_file_that_became_shorter_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(body=CONTENT * 2, cut=len(CONTENT) + 10), Turn(stubborn=True)]

    assert HASH == get(site, tmp_path)


def test_without_a_mark_of_its_version_a_file_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(cut=400_000, tag=False)]

    assert HASH == get(site, tmp_path)
    assert [None, None] == site.ranges


def test_a_part_from_another_address_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.files["other.zip"] = CONTENT
    site.turns = [Turn(cut=400_000)] + [Turn(status=503)] * (fetch.TRIES - 1)
    refused(site, tmp_path, Unfinished)

    assert HASH == get(site, tmp_path, f"{site.address}/other.zip")
    assert site.ranges[-1] is None


def test_a_file_with_another_hash_is_removed(site: Site, tmp_path: Path) -> None:
    text = refused(site, tmp_path, sha256="0" * 64)

    assert HASH in text
    assert "0" * 64 in text


def test_a_file_of_another_size_is_refused_before_it_comes(site: Site, tmp_path: Path) -> None:
    assert f"has {len(CONTENT)} bytes, not 17" in refused(site, tmp_path, size=17)


@pytest.mark.parametrize("size", [17, len(CONTENT) + 1], ids=["longer", "shorter"])
def test_without_a_length_the_size_is_checked_all_the_same(site: Site, tmp_path: Path, size: int) -> None:
    site.turns = [Turn(length=False)]

    assert str(size) in refused(site, tmp_path, size=size)


def test_without_a_length_a_file_comes_all_the_same(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(length=False)]

    assert HASH == get(site, tmp_path)


@pytest.mark.parametrize(
    "turn",
    [
        Turn(body=b"<!DOCTYPE html><title>Log in</title>", headers={"Content-Type": "text/html; charset=utf-8"}),
        Turn(body=b"\n <html>Virus scan warning</html>", headers={"Content-Type": "application/octet-stream"}),
    ],
    ids=["as it says", "whatever it says"],
)
def test_a_web_page_in_place_of_a_zip_is_told(site: Site, tmp_path: Path, turn: Turn) -> None:
    site.turns = [turn]
    text = refused(site, tmp_path)

    assert "web page in place of data.zip" in text
    assert "--mirror URL" in text


def test_anything_but_a_zip_is_told(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(body=b'{"message": "no"}')]

    assert "no zip" in refused(site, tmp_path)


def test_an_empty_file_is_told(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(body=b"")]

    assert "is empty" in refused(site, tmp_path)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "log-in"), (403, "log-in"), (404, "does not exist"), (410, "does not exist"), (418, "HTTP 418")],
)
def test_a_refusal_is_one_line_with_the_address_and_what_to_do(
    site: Site, tmp_path: Path, status: int, words: str
) -> None:
    site.turns = [Turn(status=status)]
    text = refused(site, tmp_path)

    assert words in text
    assert f"{site.address}/data.zip" in text
    assert "--from PATH" in text
    assert 1 == len(site.asked)


def test_a_server_in_trouble_is_asked_again(site: Site, tmp_path: Path, pauses: list[float]) -> None:
    site.turns = [Turn(status=500), Turn(status=502)]

    assert HASH == get(site, tmp_path)
    assert [1.0, 2.0] == pauses


def test_a_server_is_left_alone_for_as_long_as_it_asks(site: Site, tmp_path: Path, pauses: list[float]) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    site.turns = [Turn(status=429, headers={"Retry-After": "7"}), Turn(status=503, headers={"Retry-After": later})]

    assert HASH == get(site, tmp_path)
    assert 7.0 == pauses[0]
    assert 55 <= pauses[1] <= 60


def test_a_pause_longer_than_anyone_waits_is_told(site: Site, tmp_path: Path, pauses: list[float]) -> None:
    site.turns = [Turn(status=429, headers={"Retry-After": "3600"})]
    text = refused(site, tmp_path, Unfinished)

    assert "3600 s" in text
    assert "goes on where it stopped" in text
    assert [] == pauses


def test_a_server_that_is_not_there_is_told(site: Site, tmp_path: Path) -> None:
    with serving() as gone:
        address = gone.address
    text = refused(site, tmp_path, Unfinished, f"{address}/data.zip")

    assert f"{address}/data.zip cannot be downloaded" in text
    assert "Check the network" in text


def test_a_server_that_falls_silent_is_asked_again(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.5)
    site.turns = [Turn(silent=True)]

    assert HASH == get(site, tmp_path)
    assert 2 == len(site.asked)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/data.zip"])
def test_a_redirect_out_of_the_web_is_refused(site: Site, tmp_path: Path, target: str) -> None:
    site.turns = [Turn(status=302, headers={"Location": target})]

    assert target in refused(site, tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "data.zip", "ftp://127.0.0.1/data.zip"])
def test_an_address_out_of_the_web_is_refused(site: Site, tmp_path: Path, url: str) -> None:
    assert "no address to download from" in refused(site, tmp_path, url=url)


@pytest.mark.parametrize(
    "url",
    ["http:///data.zip", "http://[bad/data.zip", "http://127.0.0.1:x/", "http://127.0.0.1/ä", "http://127.0.0.1/a b"],
)
def test_an_address_that_is_none_is_refused_at_once(site: Site, tmp_path: Path, url: str, pauses: list[float]) -> None:
    assert "no address to download from" in refused(site, tmp_path, url=url)
    assert [] == pauses


def test_a_password_in_an_address_is_neither_used_nor_repeated(site: Site, tmp_path: Path) -> None:
    url = f"{site.address.replace('http://', 'http://me:secret@')}/data.zip"

    said = refused(site, tmp_path, url=url)

    assert "without a user name and password" in said
    assert "secret" not in said
    assert [] == site.asked


def test_a_redirect_to_an_address_that_is_none_is_told(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(status=302, headers={"Location": "http://[bad/data.zip"})]

    assert "points to an address that is none" in refused(site, tmp_path)


def test_pieces_that_end_early_are_not_taken_for_all(site: Site, tmp_path: Path, pauses: list[float]) -> None:
    half = CONTENT[:300_000]
    pieces = b"%x\r\n%s\r\n" % (len(half), half)  # and no piece of length 0, which would end them
    site.turns = [Turn(body=pieces, length=False, headers={"Transfer-Encoding": "chunked"})]

    assert HASH == get(site, tmp_path)
    assert 1 == len(pauses)


def test_a_redirect_is_followed_with_the_range_but_tells_no_other_server_who_asks(site: Site, tmp_path: Path) -> None:
    with serving() as store:
        store.files["data.zip"] = CONTENT
        store.turns = [Turn(cut=400_000)]
        away = Turn(status=302, headers={"Location": f"{store.address}/data.zip"})
        home = Turn(status=302, headers={"Location": "/moved/data.zip"})
        site.turns = [home, away, home, away]

        assert HASH == get(site, tmp_path, headers={"Authorization": "Bearer secret"})
        assert ["Bearer secret"] * 4 == [headers.get("authorization") for _, headers in site.asked]
        assert ["data.zip", "moved/data.zip"] * 2 == [path for path, _ in site.asked]
        assert [None, None] == [headers.get("authorization") for _, headers in store.asked]
        assert [None, "bytes=400000-"] == store.ranges


def test_a_redirect_in_circles_is_told(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(status=302, headers={"Location": "/data.zip"})] * 20

    assert "cannot be downloaded (HTTP 302" in refused(site, tmp_path)


def test_no_room_on_the_disk_is_told_before_anything_comes(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(headers={"Content-Length": str(2**60)})]
    text = refused(site, tmp_path, StoreError)

    assert "MiB are needed" in text
    assert [] == list(tmp_path.iterdir())


def test_a_packed_answer_is_refused(site: Site, tmp_path: Path) -> None:
    site.turns = [Turn(headers={"Content-Encoding": "gzip"})]

    assert "packed (gzip)" in refused(site, tmp_path)
