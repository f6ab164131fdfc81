"""What every data set of the catalogue must say and do; a new file is tested because it exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import catalog, check_datasets
from bench.errors import DataError

NAMES = [name for name in catalog.entries("datasets") if name != "folder"]
GENERATED = [name for name in NAMES if catalog.dataset(name).generated]


def subject(name: str, root: Path | None = None) -> check_datasets.Subject:
    return check_datasets.Subject(name=name, spec=catalog.dataset(name), root=root)


@pytest.mark.parametrize("name", NAMES)
def test_the_specification_is_filled(name: str):
    spec = catalog.dataset(name)

    assert [] == list(check_datasets.filled(subject(name)))
    assert catalog.entries("datasets")[name].summary
    assert spec.homepage.startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_classes_begin_with_the_background_and_differ_in_name_and_colour(name: str):
    assert [] == list(check_datasets.classes(subject(name)))


@pytest.mark.parametrize("name", NAMES)
def test_loading_travels_to_other_processes(name: str):
    assert [] == list(check_datasets.travels(subject(name)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(GENERATED)))
def test_an_empty_folder_is_refused_with_the_layout_that_is_wanted(name: str, tmp_path):
    spec = catalog.dataset(name)

    with pytest.raises(DataError) as error:
        spec.read(tmp_path, **spec.options)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_samples_load_as_rgb_bytes_with_masks_of_known_classes(name: str, tmp_path):
    generated = subject(name, tmp_path)

    assert [] == [line for check in check_datasets.READ for line in check.find(generated)]
