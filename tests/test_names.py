"""The syntax of names: `stem[key=value,...]` and lists of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import names
from bench.errors import NameUnknown
from bench.specs import Option

STEMS = st.from_regex(r"[a-z][a-z0-9_+-]{0,8}", fullmatch=True)
TEXTS = st.from_regex(r"[a-z][a-z0-9_.-]{0,6}(\[[a-z]=[0-9](,[a-z]=1)?\])?", fullmatch=True).filter(
    lambda text: text not in ("true", "false", "nan", "inf", "infinity")
)
OPTIONS = st.dictionaries(
    STEMS, st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS, max_size=4
)


@given(STEMS, OPTIONS)
def test_a_shown_name_reads_back_to_the_same(stem: str, options: dict[str, Option]) -> None:
    found = names.parse(names.show(stem, options))

    assert (stem, options) == found
    assert {key: type(value) for key, value in options.items()} == {key: type(value) for key, value in found[1].items()}


@given(st.lists(st.builds(names.show, STEMS, OPTIONS), max_size=4))
def test_commas_split_only_outside_brackets(written: list[str]) -> None:
    assert written == names.split(",".join(written))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unet", ("unet", {})),
        (" unet [ depth = 4 , encoder=resnet50 ] ", ("unet", {"depth": 4, "encoder": "resnet50"})),
        ("unet[]", ("unet", {})),
        ("a[x=1,y=1.0,z=1e-3]", ("a", {"x": 1, "y": 1.0, "z": 0.001})),
        ("a[x=True,y=false]", ("a", {"x": True, "y": False})),
        ("a[x=b[c=1,d=2]]", ("a", {"x": "b[c=1,d=2]"})),
        ("a[x=y=z]", ("a", {"x": "y=z"})),
    ],
)
def test_values_are_read_as_what_they_look_like(text: str, expected: tuple[str, dict[str, Option]]) -> None:
    assert expected == names.parse(text)


@pytest.mark.parametrize(
    "text", ["", "[a=1]", "unet[", "unet]", "unet[a=1", "unet[a=1]]", "unet[a=[1]", "a[b=1],c[d=2]", "a[b=1]c"]
)
def test_brackets_that_do_not_match_are_refused(text: str) -> None:
    with pytest.raises(NameUnknown, match="Cannot read the name") as caught:
        names.parse(text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a[b]", "a[=1]", "a[b=]", "a[b=1,c]"])
def test_an_option_needs_a_key_and_a_value(text: str) -> None:
    with pytest.raises(NameUnknown, match="Cannot read the option"):
        names.parse(text)


def test_options_are_shown_sorted_without_spaces() -> None:
    assert "a[b=true,c=1]" == names.show("a", {"c": 1, "b": True})


def test_empty_parts_are_dropped_when_splitting() -> None:
    assert ["a", "b[c=1,d=2]"] == names.split(" a,, b[c=1,d=2] ,")
