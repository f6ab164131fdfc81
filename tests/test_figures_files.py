"""`bench report --figures`: files for papers, the same bytes every time, from the data that the page is drawn from."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import cli, cli_figures, drawings, paper, report
from bench.drawings import Drawing
from bench.errors import StudyError
from tests import synthetic

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def everything(folder: Path) -> list[Drawing]:
    return list(report.figures_of(report.collect(folder)))


def test_every_figure_of_the_page_is_a_file_and_some_more(folder: Path, everything: list[Drawing]) -> None:
    content = report.collect(folder)
    page = {one.kind for one in drawings.of_board(content.boards[0], content.profile, content.views, 0)}

    kinds = {one.kind for one in everything}
    assert {"forest", "heatmap", "sweeps", "curves", "profiles", "confusion"} == page
    assert page | {"variance", "classes"} == kinds
    assert 4 == sum(one.kind == "confusion" for one in everything)  # three networks and otsu
    assert len(everything) == len({paper.place(one) for one in everything})


def test_places_are_named_by_data_set_and_kind_and_stay_inside() -> None:
    bad = Drawing("forest", "../a/b", str, None, "", of="../../<x>")

    assert "%2E%2E%2Fa%2Fb" not in ("..", "")
    assert paper.place(Drawing("ranks", "", str, None, "")) == "ranks"
    assert all(part not in ("", ".", "..") for part in paper.place(bad).split("/"))
    assert len(paper.place(bad).split("/")) == 3


def test_a_file_holds_what_its_suffix_says_and_the_fonts(everything: list[Drawing]) -> None:
    forest = next(one for one in everything if one.kind == "forest")
    found = paper.files(forest, paper.FORMATS)

    assert b"%PDF" == found["pdf"][:4]
    assert b"/FontFile2" in found["pdf"]
    assert b"/Type3" not in found["pdf"]
    assert b"/Subtype /Image" not in found["pdf"]
    assert b"Date" not in found["pdf"]
    assert b"\x89PNG" == found["png"][:4]
    assert b"<svg" in found["svg"]
    assert b"<image" not in found["svg"]
    assert b"currentColor" not in found["svg"]


def test_ink_is_black_in_vector_files(everything: list[Drawing]) -> None:
    forest = next(one for one in everything if one.kind == "forest")
    found = paper.files(forest, ("pdf", "svg"))

    assert b"#010203" not in found["svg"]
    streams = found["pdf"].split(b"stream\n")
    lines = b"\n".join(_inflated(part) for part in streams)
    assert b"0.01176" not in lines  # the last of its 255ths
    assert lines.count(b" rg") + lines.count(b" g") > 2
    assert "currentColor" in forest.svg()  # and on the page it is the page's again


def test_files_are_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib\nfrom bench import figures, paper\nfrom bench.drawings import Drawing\n"
        "bars = [figures.Bar(f'unet{at}', 1, True, False, 0.5, (0.4, 0.6)) for at in range(5)]\n"
        "one = Drawing('forest', 'smear', figures.draw_forest, bars, 't', {'metric': 'mDice'})\n"
        "for name, data in paper.files(one, paper.FORMATS).items():\n"
        "    print(name, hashlib.sha256(data).hexdigest())\n"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    )  # fmt: skip

    assert first == second
    assert 3 == len(first.splitlines())


def test_the_command_writes_them_and_says_where(folder: Path) -> None:
    done = CliRunner().invoke(cli.app, ["report", "--figures", str(folder)])

    assert (0, None) == (done.exit_code, done.exception)
    files = sorted(path for path in (folder / "figures").rglob("*") if path.is_file())
    assert f"Figures: {len(files)} files (pdf, svg) in {(folder / 'figures').resolve()}" in done.output
    assert {".pdf", ".svg"} == {path.suffix for path in files}
    assert (folder / "figures/smear/heatmap.pdf").is_file()
    before = (folder / "figures/smear/heatmap.pdf").stat().st_mtime_ns
    report.write_figures(report.collect(folder), ("pdf",))
    assert before == (folder / "figures/smear/heatmap.pdf").stat().st_mtime_ns  # the same again is not written again


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--figures"], ["--figures="]),
        (["a", "--figures", "b"], ["a", "--figures=", "b"]),
        (["--figures", "--watch"], ["--figures=", "--watch"]),
        (["--figures", "png", "a"], ["--figures", "png", "a"]),
        (["--figures", "pdf,PNG"], ["--figures", "pdf,PNG"]),
        (["--figures=svg"], ["--figures=svg"]),
        (["--figures", "gif"], ["--figures", "gif"]),
        (["--", "--figures"], ["--", "--figures"]),
    ],
)
def test_the_option_may_stand_alone(given: list[str], read: list[str]) -> None:
    assert read == cli_figures.valued(given)


def test_formats_are_read_once_each_and_unknown_ones_refused() -> None:
    assert ("png", "pdf") == paper.chosen(["png,pdf", "PNG"])
    assert ("pdf", "svg") == paper.chosen([""])
    with pytest.raises(StudyError, match=r"cannot write 'gif'. Use pdf, svg, png"):
        paper.chosen(["pdf", "gif"])


def test_watching_prints_nothing_for_published_numbers_to_stand_below(folder: Path) -> None:
    done = CliRunner().invoke(cli.app, ["report", str(folder), "--watch", "--published"])

    assert isinstance(done.exception, StudyError)
    assert "--watch prints no boards" in str(done.exception)


def test_watching_writes_no_figures(folder: Path) -> None:
    done = CliRunner().invoke(cli.app, ["report", str(folder), "--watch", "--figures"])

    assert isinstance(done.exception, StudyError)
    assert "--watch does not write --figures" in str(done.exception)


def _inflated(part: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(part)
    except zlib.error:
        return b""
