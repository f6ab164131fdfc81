"""audit.json: written, read back, checked, and as its schema says."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

from bench import auditfile, formats
from bench.errors import StoreError
from bench.findings import Finding, Kind
from bench.specs import Split
from tests.audited import EVIL, audit, everything, near

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPLIT: dict[str, Split] = {
    EVIL: "train",
    **{f"train{at}": "train" for at in range(5)},
    **{f"val{at}": "val" for at in range(3)},
    **{f"xtest{at}": "test" for at in range(3)},
}


def test_an_audit_comes_back_as_it_was(tmp_path: Path):
    made = audit(everything(SPLIT), unread=3)
    (tmp_path / "audit.json").write_text(auditfile.dump(made, SPLIT))

    assert made == auditfile.load(tmp_path / "audit.json")
    assert auditfile.dump(made, SPLIT) == auditfile.dump(auditfile.load(tmp_path / "audit.json"), SPLIT)


def test_leaks_stand_in_it_with_their_splits_and_the_findings_they_are():
    made = audit([near("train0", "train1"), near("val0", "xtest1"), near("train2", "xtest0")])
    found = json.loads(auditfile.dump(made, SPLIT))

    assert [
        {"finding": 1, "images": ["val0", "xtest1"], "splits": ["val", "test"]},
        {"finding": 2, "images": ["train2", "xtest0"], "splits": ["train", "test"]},
    ] == found["leaks"]
    assert {"val": ["val0"], "test": ["xtest0", "xtest1"]} == found["leaked"]
    assert {"train": 6, "val": 3, "test": 3} == found["splits"]


def test_an_audit_without_a_split_has_no_leaks():
    found = json.loads(auditfile.dump(audit(everything(SPLIT)), {}))

    assert ([], {}, {"val": [], "test": []}) == (found["leaks"], found["splits"], found["leaked"])


def test_numbers_of_numpy_are_plain_and_what_is_no_number_is_left_out(tmp_path: Path):
    measures: dict[str, Any] = {"correlation": np.float32(0.5), "gain": float("nan"), "dx": np.int64(4)}
    box: Any = tuple(np.arange(4))
    one = Finding(kind=Kind.CROP, images=("a", "b"), note="Within.", measures=measures, box=box)
    (tmp_path / "audit.json").write_text(auditfile.dump(audit([one]), {}))
    read = auditfile.load(tmp_path / "audit.json").findings[0]

    assert ({"correlation": 0.5, "dx": 4.0}, (0, 1, 2, 3)) == (read.measures, read.box)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 99}, "has schema 99; this version of bench reads schema 1"),
        ({"images": "many"}, "is not an audit of bench"),
        ({"findings": [{"kind": "near copy"}]}, "is not an audit of bench"),
        ({"findings": [{"kind": "witchcraft", "images": [], "note": ""}]}, "is not an audit of bench"),
        (
            {"findings": [{"kind": "near copy", "images": ["a", "b"], "note": "", "position": "upside"}]},
            "position 'upside' is none of none, mirror",
        ),
    ],
    ids=["schema", "type", "missing", "kind", "position"],
)
def test_what_is_no_audit_is_refused_in_one_line_that_names_the_file(tmp_path: Path, change: dict[str, Any], said: str):
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(json.loads(auditfile.dump(audit([]), SPLIT)) | change))

    with pytest.raises(StoreError) as caught:
        auditfile.load(path)

    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, None])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "audit.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(StoreError, match="bench data audit writes it anew"):
        auditfile.load(path)


def test_the_published_schema_is_that_of_the_program():
    expected = json.dumps(formats.schema("audit"), indent=1, sort_keys=True) + "\n"

    assert expected == (DOCS / "audit.schema.json").read_text(), "write docs/audit.schema.json anew"


def test_what_is_written_follows_its_schema_to_the_last_key():
    text = auditfile.dump(replace(audit(everything(SPLIT)), unread=1), SPLIT)
    adapter = pydantic.TypeAdapter(formats.FILES["audit"])

    assert json.loads(text) == json.loads(adapter.dump_json(adapter.validate_json(text, strict=True)))


def test_the_schema_describes_every_key_and_knows_every_kind():
    schema = formats.schema("audit")

    assert [one.name for one in fields(auditfile.AuditFile)] == schema["required"]
    assert all("description" in one for one in schema["properties"].values())
    assert {str(kind) for kind in Kind} == set(schema["$defs"]["Kind"]["enum"])
    assert [False] * 3 == [
        one["additionalProperties"] for one in (schema, *(schema["$defs"][name] for name in ("Finding", "LeakEntry")))
    ]
