"""The leaderboard in other forms: the same numbers, typed or described, and nothing in a name is taken for markup."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pydantic
import pytest

from bench import cli, formats, latex, markdown, parquet, recompute, report, study
from bench.errors import StudyError
from bench.ranking import Missing
from bench.records import Status
from bench.rows import DISPUTED
from bench.store import Store
from tests import commands, synthetic

DOCS = Path(__file__).resolve().parents[1] / "docs"
HOSTILE = "a|b `c` <b>&$x$ [y](https://evil.example) @someone www.evil.example *s* _u_ ~~t~~ \\ \n# h"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = synthetic.write(tmp_path_factory.mktemp("results"))
    (folder / "study.toml").write_text(study.dump(replace(synthetic.STUDY, datasets=("smear", "lisc"))))
    store = Store(folder)
    for name, loss, skill in ((synthetic.FINE, "ce", 0.7), (synthetic.WEAK, "ce", 0.8), ("otsu", None, 0.2)):
        synthetic.scored(store, replace(synthetic.cell(name, loss), dataset="lisc"), skill=skill)
    return folder


@pytest.fixture(scope="module")
def content(folder: Path) -> report.Content:
    return report.collect(folder)


@pytest.fixture(scope="module")
def texts(content: report.Content) -> dict[str, str]:
    return report.texts(content)


@pytest.mark.parametrize("name", ["leaderboard", "statistics"])
def test_the_published_schema_is_that_of_the_program(name: str):
    expected = json.dumps(formats.schema(name), indent=1, sort_keys=True) + "\n"

    assert expected == (DOCS / f"{name}.schema.json").read_text(), f"write docs/{name}.schema.json anew"


@pytest.mark.parametrize("missing", list(Missing))
@pytest.mark.parametrize("name", ["leaderboard", "statistics"])
def test_what_is_written_follows_its_schema_to_the_last_key(folder: Path, name: str, missing: Missing):
    text = report.texts(report.collect(folder, "default", missing))[f"{name}.json"]
    read = pydantic.TypeAdapter(formats.FILES[name]).validate_json(text, strict=True)

    assert json.loads(text) == json.loads(pydantic.TypeAdapter(formats.FILES[name]).dump_json(read))


def test_the_schema_describes_every_key_and_knows_every_status():
    schema = formats.schema("leaderboard")["$defs"]["Entry"]

    assert [field.name for field in fields(formats.Entry)] == list(schema["properties"]) == schema["required"]
    assert all("description" in one for one in schema["properties"].values())
    assert {*Status, DISPUTED, "stale", "pending"} == set(schema["properties"]["status"]["enum"])
    assert schema["additionalProperties"] is False


def test_markdown_has_a_table_per_data_set_with_intervals_failures_definitions_and_a_link(
    content: report.Content, texts: dict[str, str]
):
    text = texts["leaderboard.md"]
    first = content.boards[0].standings[0]
    rows = [line for line in text.splitlines() if line.startswith("| 1= |")]

    assert "[index.html](index.html)" in text
    assert "7 of 14 cells are scored, 1 diverged, 1 failed, 5 pending." in text
    low, high = first.interval
    assert f"| {first.values['mdice_d_fg']:.4f}** | {low:.4f} to {high:.4f} |".replace("| ", "| **", 1) in rows[0]
    assert all(f"- `{name}`: " in text for name in content.profile.metrics)
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert 1 == len(widths)


def test_markdown_takes_no_text_for_markup():
    shown = markdown.escape(HOSTILE)
    plain = re.sub(r"\\([^a-z\s])", r"\1", html.unescape(shown))

    assert " ".join(HOSTILE.split()) == plain
    assert not re.search(r"<|(?<!\\)[`|*~]|\]\(|://|@\w|\$|www\.", shown)
    assert "unet[encoder=resnet18,width=64]" == markdown.escape("unet[encoder=resnet18,width=64]")


def test_the_hostile_names_of_a_study_are_text_in_markdown_and_latex(texts: dict[str, str]):
    assert synthetic.SCRIPT not in texts["leaderboard.md"] + texts["leaderboard.tex"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in texts["leaderboard.md"]
    assert r"\textless{}script\textgreater{}" in texts["leaderboard.tex"]


def test_latex_has_one_labelled_table_per_data_set_with_its_definition_ties_and_intervals(
    content: report.Content, texts: dict[str, str]
):
    text = texts["leaderboard.tex"]
    first = content.boards[0].standings[0]
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]

    for part in (r"\begin{table}", r"\end{table}", r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{"):
        assert len(content.boards) == text.count(part)
    assert len(content.boards) == len(set(re.findall(r"\\label\{tab:[a-z0-9-]+\}", text)))
    assert latex.escape(content.profile.metrics["mdice_d_fg"].definition) in text
    assert 1 == len({row.count(" & ") for row in rows})
    low, high = first.interval
    start = f"1= & unet[encoder=resnet18] & ce & \\textbf{{{first.values['mdice_d_fg']:.3f}}} & {low:.3f}--{high:.3f}"
    assert any(row.startswith(start) for row in rows)
    assert text.count("{") == text.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles_whatever_a_name_holds(content: report.Content, tmp_path: Path):
    boards = [
        replace(
            board,
            title=f'{board.title} 100% #1_a^b~c{{d}}$e&f\\g <h>|i "j" `k\'',
            standings=tuple(replace(one, architecture=f"{one.architecture}[x_y=%#&]") for one in board.standings),
        )
        for board in content.boards
    ]
    start = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{start}\n{latex.as_latex(boards, content.profile)}\n\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout[-2000:]


def test_latex_keeps_two_labels_apart(content: report.Content):
    same = [replace(content.boards[0], dataset=name) for name in ("a b", "a_b", "a_b 1")]
    labels = re.findall(r"\\label\{(.*)\}", latex.as_latex(same, content.profile))

    assert 3 == len(set(labels))


def test_parquet_has_the_columns_and_numbers_of_the_csv_with_types(content: report.Content, texts: dict[str, str]):
    reader = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'cytobench[parquet]'")
    table = reader.read_table(io.BytesIO(parquet.as_parquet(content.rows, content.boards, content.profile)))
    lines = list(csv.DictReader(io.StringIO(texts["leaderboard.csv"])))
    shared = [name for name in lines[0] if name in table.column_names]

    assert set(lines[0]) | {"profile", "params"} == set(table.column_names)
    told = [{name: "" if row[name] is None else str(row[name]) for name in shared} for row in table.to_pylist()]
    assert [{name: line[name] for name in shared} for line in lines] == told
    kinds = {name: str(table.schema.field(name).type) for name in ("dataset", "seed", "mdice_d_fg", "rank", "params")}
    assert {"dataset": "string", "seed": "int32", "mdice_d_fg": "double", "rank": "int32", "params": "int64"} == kinds


def test_parquet_is_written_where_pyarrow_is_and_read_alike_by_pandas(folder: Path, tmp_path: Path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'cytobench[parquet]'")
    import pandas

    shutil.copytree(folder, tmp_path / "one")
    report.write(tmp_path / "one")
    frame = pandas.read_parquet(tmp_path / "one" / "leaderboard.parquet")

    assert 14 == len(frame)
    assert pandas.read_csv(tmp_path / "one" / "leaderboard.csv")["mdice_d_fg"].equals(frame["mdice_d_fg"])


def test_a_changed_parquet_file_is_found_and_a_missing_one_is_no_finding(folder: Path, tmp_path: Path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'cytobench[parquet]'")
    path = Path(shutil.copytree(folder, tmp_path / "one")) / "leaderboard.parquet"
    report.write(path.parent)
    content = report.collect(path.parent)
    other = [replace(row, values=row.values | {"pixel_acc": 0.5}) for row in content.rows]

    assert [] == list(recompute.differences(content, ()))
    path.write_bytes(parquet.as_parquet(other, content.boards, content.profile))
    assert [("leaderboard.parquet", "differs from the records in 14 rows.")] == list(recompute.differences(content, ()))
    whole = path.read_bytes()
    for damaged in (b"no parquet", whole[:4] + bytes(60) + whole[64:]):
        path.write_bytes(damaged)
        [(name, what)] = recompute.differences(content, ())
        assert ("leaderboard.parquet", True) == (name, what.startswith("cannot be read: "))
    path.unlink()
    assert [] == list(recompute.differences(content, ()))


def test_without_pyarrow_nothing_is_missed_but_the_file(folder: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(folder, tmp_path / "one")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(parquet, "possible", lambda: False)
    (tmp_path / "one" / "leaderboard.parquet").write_bytes(b"of earlier numbers")
    report.write(tmp_path / "one")
    code, out, complaint = commands.call("report", tmp_path / "one", "--format", "parquet")

    assert not (tmp_path / "one" / "leaderboard.parquet").exists()
    assert (2, "") == (code, out)
    assert (
        "Error: bench report --format parquet needs the package pyarrow, which is not installed. "
        "Install it: pip install 'cytobench[parquet]'\n" == complaint
    )


def test_parquet_is_not_printed_on_a_terminal():
    with pytest.raises(StudyError, match=r"no text for a terminal.*> leaderboard.parquet"):
        parquet.check(terminal=True)


@pytest.mark.parametrize("form", ["csv", "md", "tex", "json"])
def test_what_is_printed_is_what_is_written(folder: Path, tmp_path: Path, form: str):
    shutil.copytree(folder, tmp_path / "one")
    code, out, _ = commands.call("report", tmp_path / "one", "--format", form)

    assert (0, (tmp_path / "one" / f"leaderboard.{form}").read_text()) == (code, out)
    assert form in set(cli.Format)
