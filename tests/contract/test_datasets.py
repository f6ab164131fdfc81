"""What every data set of the catalogue must say and do; a new file is tested because it exists."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from bench import catalog
from bench.errors import DataError

NAMES = [name for name in catalog.entries("datasets") if name != "folder"]
GENERATED = [name for name in NAMES if catalog.dataset(name).generated]


@pytest.mark.parametrize("name", NAMES)
def test_the_specification_is_filled(name: str):
    spec = catalog.dataset(name)

    assert all([spec.title, spec.licence, spec.citation, catalog.entries("datasets")[name].summary])
    assert spec.homepage.startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_classes_begin_with_the_background_and_differ_in_name_and_colour(name: str):
    classes = catalog.dataset(name).classes

    assert "background" == classes[0].name
    assert len(classes) == len({spec.name for spec in classes}) == len({spec.colour for spec in classes}) >= 2
    assert all(re.fullmatch(r"[a-z0-9_]+", spec.name) for spec in classes)
    assert all(0 <= channel <= 255 for spec in classes for channel in spec.colour)


@pytest.mark.parametrize("name", NAMES)
def test_loading_travels_to_other_processes(name: str):
    spec = catalog.dataset(name)

    assert pickle.loads(pickle.dumps(spec.load)) is not None


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(GENERATED)))
def test_an_empty_folder_is_refused_with_the_layout_that_is_wanted(name: str, tmp_path):
    spec = catalog.dataset(name)

    with pytest.raises(DataError) as error:
        spec.read(tmp_path, **spec.options)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_samples_load_as_rgb_bytes_with_masks_of_known_classes(name: str, tmp_path):
    spec = catalog.dataset(name)
    samples = spec.read(tmp_path, **spec.options)
    image, mask = spec.load(samples[0])

    assert (np.uint8, np.uint8, 3) == (image.dtype, mask.dtype, image.shape[2])
    assert image.shape[:2] == mask.shape
    assert mask.max() < len(spec.classes)
    assert len(samples) == len({sample.id for sample in samples})
