"""A cell for other programs: ONNX gives the same probabilities in onnxruntime, safetensors the same cell anywhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

import bench
from bench import convert, extras, networks
from bench.errors import NameUnknown, StoreError, StudyError
from bench.predict import Options
from bench.records import Record
from bench.specs import Recipe
from bench.store import Store
from bench.trained import Trained
from tests import small
from tests.commands import call
from tests.contract import test_architectures as contract


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> tuple[Path, Record]:
    """The folder of a trained cell, and its record."""
    study, where = small.study(name="shown"), small.place(tmp_path_factory.mktemp("shown"), data_home)
    small.execute(study, where)
    record = next(one for one in small.stored(study, where).values() if one.cell.loss)
    return Store(where.results / "shown").cell(record.cell), record


@pytest.fixture(scope="module")
def exported(cell: tuple[Path, Record], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cell as ONNX, by the command, and what it said."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    code, out, err = call("convert", cell[0], "--to", path)

    assert (0, "") == (code, err)
    return path, out


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def trained(record: Record, name: str, size: tuple[int, int]) -> Trained:
    """A cell of another architecture, whose weights nobody needs."""
    other = replace(record, cell=replace(record.cell, architecture=name))
    return Trained(record=other, weights=Path(), recipe=Recipe(size=size))


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 48), (2, 16, 96)])
def test_onnxruntime_gives_the_probabilities_of_the_network_for_any_number_of_pictures_of_any_size(
    cell: tuple[Path, Record], exported: tuple[Path, str], shape: tuple[int, int, int]
):
    images = [noise(*shape[1:], seed) for seed in range(shape[0])]
    session = onnxruntime.InferenceSession(exported[0])
    found = session.run(None, {"image": np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255})[0]
    ours = bench.load(cell[0], device="cpu").predict_many(images, Options(how="whole"))

    for one, other in zip(ours, found, strict=True):
        np.testing.assert_allclose(one.probabilities, other, atol=1e-5)


def test_an_onnx_file_says_what_it_is_and_the_command_how_well_it_agrees(
    cell: tuple[Path, Record], exported: tuple[Path, str]
):
    path, said = exported
    file = onnx.load(path)
    about = {one.key: one.value for one in file.metadata_props}
    onnx.checker.check_model(file)

    assert cell[1].weights_hash == about["weights_sha256"]
    assert (cell[1].cell.key, cell[1].fingerprint) == (about["cell"], about["fingerprint"])
    assert [one.name for one in cell[1].data.classes] == [one["name"] for one in json.loads(about["classes"])]
    assert (cell[1].data.licence, cell[1].data.citation) == (about["data_licence"], about["data_citation"])
    assert ("32x32", "resize", "batch,height,width") == (about["size"], about["fit"], about["free_axes"])
    assert str(next(one.version for one in file.opset_import if not one.domain)) == about["opset"]
    assert re.search(r"Largest difference of a probability on 4 pictures: \d\.\de-0[5-9]", said)


def test_the_code_in_the_note_beside_an_onnx_file_gives_the_classes_of_bench(
    cell: tuple[Path, Record], exported: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(exported[0], tmp_path)
    Image.fromarray(noise(32, 32)).save(tmp_path / "picture.png")
    code = re.search("```python\n(.*?)```", exported[0].with_name("model.onnx.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    variables: dict[str, np.ndarray] = {}
    exec(code[1], variables)

    assert (bench.load(cell[0], device="cpu").predict(noise(32, 32)).labels == variables["labels"]).all()


def test_a_safetensors_file_is_the_cell_wherever_it_lies(cell: tuple[Path, Record], tmp_path: Path):
    path, picture = tmp_path / "far" / "model.safetensors", tmp_path / "a.png"
    Image.fromarray(noise(40, 56)).save(picture)
    code, _, err = call("convert", cell[0], "--to", path)
    ours, theirs = (bench.load(one, device="cpu") for one in (cell[0], path))

    assert (0, "") == (code, err)
    assert cell[1] == theirs.record
    np.testing.assert_array_equal(
        ours.predict(noise(40, 56)).probabilities, theirs.predict(noise(40, 56)).probabilities
    )
    assert 0 == call("predict", path, picture, "--to", tmp_path / "out", "--device", "cpu")[0]
    assert (
        safetensors.torch.load_file(path).keys() == safetensors.torch.load_file(cell[0] / "weights.safetensors").keys()
    )
    with safetensors.safe_open(path, "pt") as file:
        assert cell[1].data.licence == file.metadata()["data_licence"]
    again = tmp_path / "again.safetensors"
    theirs.export(again)  # and of the file itself
    assert safetensors.torch.load_file(again).keys() == safetensors.torch.load_file(path).keys()


def test_a_safetensors_file_that_was_changed_is_refused(cell: tuple[Path, Record], tmp_path: Path):
    path = tmp_path / "model.safetensors"
    bench.load(cell[0], device="cpu").export(path)
    whole = path.read_bytes()

    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match="is damaged: its tensors"):
        bench.load(path)
    path.write_bytes(whole.replace(b"tensors_sha256", b"tensors_sha255"))
    with pytest.raises(StoreError, match="is damaged: its tensors"):
        bench.load(path)
    for wrong in (b"", b"\xff" * 40, (2).to_bytes(8, "little") + b"[]", (9).to_bytes(8, "little") + b"{"):
        path.write_bytes(wrong)
        with pytest.raises(StoreError, match=r"is no \.safetensors"):
            bench.load(path)
    with pytest.raises(StoreError, match="holds no record"):
        bench.load(shutil.copy(cell[0] / "weights.safetensors", path))


class Bound(nn.Module):
    """A network that is bound to the size it was traced at, or to much more."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.plain = kind, nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        found = self.plain(image)
        if self.kind == "size":
            return found + torch.linspace(0, 1, 32 * 48).view(1, 1, 32, 48)
        if self.kind == "noise":
            return found + torch.rand_like(found)
        return found * torch.linalg.eigvals(image[0, 0, :4, :4].clone()).abs().max()


def test_a_network_that_is_bound_to_a_size_keeps_it_and_any_number_of_pictures(
    cell: tuple[Path, Record], tmp_path: Path
):
    done = convert.convert(Bound("size"), trained(cell[1], "tiny", (32, 48)), tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(done.path)

    assert (("batch",), (32, 48)) == (done.axes, done.size)
    assert [3, 32, 48] == session.get_inputs()[0].shape[1:]
    assert (5, 2, 32, 48) == session.run(None, {"image": np.zeros((5, 3, 32, 48), np.float32)})[0].shape


class PaddedSame(nn.Conv2d):
    """A convolution named like those that pad by the size of what they are given."""


def test_a_network_that_pads_by_its_size_is_not_tried_at_other_sizes(
    cell: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tried, held = [], convert._exported
    monkeypatch.setattr(convert, "_exported", lambda *given: tried.append(given[-1]) or held(*given))

    done = convert.convert(PaddedSame(3, 2, 1), trained(cell[1], "tiny", (32, 48)), tmp_path / "a.onnx")

    assert ([("batch",)], ("batch",)) == (tried, done.axes)


def test_a_network_that_cannot_be_exported_or_differs_is_one_line_and_leaves_no_file(
    cell: tuple[Path, Record], tmp_path: Path
):
    for kind, reason in (("noise", "probabilities differ by"), ("operator", "linalg_eig")):
        with pytest.raises(StudyError, match=f"^tiny cannot be exported to ONNX: .*{reason}") as raised:
            convert.convert(Bound(kind), trained(cell[1], "tiny", (32, 48)), tmp_path / "a.onnx")
        assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_with_a_conversion_is_one_line(
    cell: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(*words: object) -> str:
        code, _, err = call("convert", *words)
        assert (2, 1) == (code, err.count("\n"))
        return err

    taken = tmp_path / "taken.onnx"
    taken.touch()
    assert "It must end in .onnx or .safetensors" in refused(cell[0], "--to", tmp_path / "model.pt")
    assert "exists. Choose another --to, or add --overwrite" in refused(cell[0], "--to", taken)
    assert "is no picture" in refused(cell[0], "--to", tmp_path / "a.onnx", "--compare", tmp_path / "none*.png")
    assert "--size is 'big'" in refused(cell[0], "--to", tmp_path / "a.onnx", "--size", "big")

    def missing(module: str, *, extra: str, wanted_by: str) -> None:
        raise StudyError(f"{wanted_by} needs the package {module}, which is not installed. Install it: {extra}")

    monkeypatch.setattr(extras, "load", missing)
    assert "needs the package onnx" in refused(cell[0], "--to", tmp_path / "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", contract.NAMES)
def test_every_architecture_is_exported_and_agrees(cell: tuple[Path, Record], name: str, tmp_path: Path):
    chosen = contract.small(name)
    try:
        network = networks.build(chosen, len(cell[1].data.classes), seed=0, scratch=True)
    except NameUnknown as error:
        pytest.skip(str(error))
    done = convert.convert(network, trained(cell[1], chosen, (64, 96)), tmp_path / "a.onnx")

    assert done.difference <= convert.TOLERANCE
    assert FREE.get(name, ("batch", "height", "width")) == done.axes


FREE: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("efficientunet", "pspnet", "swinunet", "transunet", "upernet"), ("batch",)
)
"""Networks with fewer free axes than three."""
