"""What a network is made of: its layers against torch's own counter, its graph against its layers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import nn

from bench import cli, graph, networks, outline
from bench.errors import NameUnknown
from bench.outline import OWN, Layer

NAMES = ["unet", "linknet", "segformer", "plain_unet", "dpt[encoder=tu-vit_tiny_patch16_224]", "tiny[channels=1]"]
DOT = pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot of Graphviz is not installed")


def layers(name: str, depth: int = 2, size: tuple[int, int] = (64, 64)) -> list[Layer]:
    return networks.sketch(name, 2, lambda network, divisor: outline.layers(network, divisor, size, depth))


def drawing(network: nn.Module, depth: int = 2, size: tuple[int, int] = (64, 64)) -> str:
    pytest.importorskip("torchview", reason="the extra inspect is not installed")
    return graph.trace(network, networks.blank(network, size), depth, "title").source


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run a command as its entry point does; give its exit code, what it printed, and what it complained."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return call


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_rows_without_parts_sum_to_what_is_known_of_the_whole_network(name: str, depth: int):
    found = layers(name, depth)
    known = networks.sketch(name, 2, lambda network, divisor: networks.facts(network, divisor, (64, 64)))
    leaves = [one for one in found if not one.parts]

    assert (known.params, known.flops) == outline.total(found)
    assert (known.params, known.flops) == (sum(one.params for one in leaves), sum(one.flops for one in leaves))
    assert depth >= max(one.depth for one in found)


class Shared(nn.Module):
    """Weights of its own, a layer that is called twice, one that is made anew, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        self.forgotten = nn.Linear(7, 11)
        self.fixed = nn.Conv2d(3, 2, 1, bias=False).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.Sequential(self.body, self.body)(x)
        return self.fixed(x) + (x.flatten(2) @ x.flatten(2).mT).sum()


def test_each_layer_has_its_calls_its_shape_and_its_own_share():
    found = outline.layers(Shared(), 4, (6, 5), 3)
    conv, product = 2 * 3 * 3 * 9 * 64, 2 * 3 * 3 * 64  # twice the multiply-adds, on 8 x 8 pixels

    assert [
        ("", "Sequential", 1, 1, (3, 8, 8), 84, 2 * conv, True),
        ("body", "Sequential", 2, 2, (3, 8, 8), 84, 2 * conv, True),
        ("body.0", "Conv2d", 3, 2, (3, 8, 8), 84, 2 * conv, False),
        ("body.1", "ReLU", 3, 2, (3, 8, 8), 0, 0, False),
        ("fixed", "Conv2d", 1, 1, (2, 8, 8), 0, 2 * 3 * 2 * 64, False),
        ("", OWN, 1, 1, (), 5 + 7 * 11 + 11, product, False),
    ] == [
        (one.name, one.kind, one.depth, one.calls, one.shape, one.params, one.flops, one.parts) for one in found
    ]
    assert ["(no name)", "  body", "    body.0", "    body.1", "fixed", "(no name)", "total"] == [
        row["layer"] for row in outline.table(found)
    ]
    assert outline.table(found)[1]["kind"] == "Sequential x 2"


def test_a_network_that_is_one_layer_has_one_row():
    [row] = outline.layers(nn.Conv2d(3, 2, 1), 1, (4, 4), 2)

    assert (OWN, 8, 2 * 3 * 2 * 16) == (row.kind, row.params, row.flops)


def test_hooks_are_taken_off_even_if_a_network_raises():
    from torch.nn.modules import module

    for network in (Shared(), nn.Conv2d(5, 2, 1)):
        try:
            outline.layers(network, 1, (4, 4), 2)
        except RuntimeError:
            assert isinstance(network, nn.Conv2d)

    assert (0, 0) == (len(module._global_forward_hooks), len(module._global_forward_pre_hooks))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_graph_holds_every_layer_with_parameters_under_its_name(name: str, depth: int):
    wanted = [one for one in layers(name, depth) if one.params and one.kind != OWN and not one.parts]
    source = networks.sketch(name, 2, lambda network, divisor: drawing(network, depth, (128, 128)))

    assert len(wanted) > 2 or depth == 1
    assert [] == [one for one in wanted if f'"{one.name}\\n{one.kind}\\n' not in source]
    assert [] == [one for one in wanted if f"\\n{one.params:,} parameters" not in source]
    assert 1 == source.count("image\\n3 x 128 x 128")
    assert 1 == source.count("logits\\n2 x 128 x 128")


def test_skip_connections_are_edges_of_the_graph():
    source = networks.sketch("plain_unet[levels=2,width=4]", 2, lambda network, _: drawing(network, 1))
    numbers = {
        label.split("\\n")[0]: number
        for number, _, label in (line.strip().partition(' [label="') for line in source.splitlines())
        if label
        for number in [number]
    } if False else dict(_labels(source))

    assert f"{numbers['encoder.0']} -> {numbers['cat']}" in source
    assert f"{numbers['interpolate']} -> {numbers['cat']}" in source
    assert f"{numbers['cat']} -> {numbers['decoder.0']}" in source


@DOT
@pytest.mark.parametrize(("ending", "beginning"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"strict")])
def test_the_graph_is_written_in_the_format_of_its_name(bench, tmp_path: Path, ending: str, beginning: bytes):
    code, out, err = bench("show", "architecture", "tiny", "--to", f"deep/er/tiny.{ending}", "--size", "32x48")
    written = (tmp_path / "deep" / "er" / f"tiny.{ending}").read_bytes()

    assert (0, "") == (code, err)
    assert f"Graph: {tmp_path}/deep/er/tiny.{ending}" in out
    assert written.startswith(beginning)
    if ending == "svg":
        text = " ".join(ET.fromstring(written).itertext())
        assert all(word in text for word in ("8 x 32 x 48", "Conv2d", "584 parameters", "Dropout2d"))


def test_the_terminal_tells_facts_layers_and_total(bench, tmp_path: Path):
    code, out, _ = bench("show", "architecture", "unet[encoder=resnet18]", "--classes", "6", "--size", "50x70", "--depth", "1")
    words = " ".join(out.split())

    assert 0 == code
    assert "GFLOPs 1.36 for one image of 64 x 96 pixels; a multiply-add counts as two" in words
    assert "options channels=3, encoder=resnet18, weights=none, decoder=256" in words
    assert "segmentation_head SegmentationHead 6 x 64 x 96 870" in words
    assert "total 14,329,094" in words
    assert not err_of_libraries(out)


def test_without_graphviz_the_summary_is_printed_and_the_graph_is_text(bench, tmp_path: Path, monkeypatch):
    pytest.importorskip("torchview", reason="the extra inspect is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = bench("show", "architecture", "tiny")

    assert 0 == code
    assert "total" in out
    assert f"Graph: {tmp_path}/tiny.dot" in out
    assert 1 == err.count("\n")
    assert "install Graphviz" in err
    assert "dot -Tsvg 'tiny.dot' -o 'tiny.svg'" in err
    assert ["tiny.dot"] == [path.name for path in tmp_path.iterdir()]


def test_without_the_extra_the_summary_is_printed_unless_a_file_was_asked_for(bench, tmp_path: Path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchview"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchview", None)
    line = (
        "The graph of a network needs the package torchview, which is not installed. "
        "Install it: pip install 'cytobench[inspect]'\n"
    )
    code, out, err = bench("show", "architecture", "tiny")

    assert (0, f"No picture: {line}") == (code, err)
    assert "total" in out
    assert (2, "", f"Error: {line}") == bench("show", "architecture", "tiny", "--to", "tiny.svg")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["unett"], ["There is no architecture named 'unett'", "Did you mean unet"]),
        (["unet[width=3]"], ["There is no option of 'unet[width=3]' named 'width'"]),
        (["unet[encoder=resnet999]"], ["unet[encoder=resnet999] cannot be built"]),
        (["faulty"], ["faulty cannot be built: ValueError: planted", "faulty.py, line "]),
        (["tiny", "--size", "8"], ["--size 8: must be 16 to 8192 pixels"]),
        (["tiny", "--size", "big"], ["--size big", "HEIGHTxWIDTH"]),
        (["tiny", "--to", "tiny.jpg"], ["tiny.jpg", ".svg, .png, .pdf, .dot"]),
        (["tiny", "--to", "folder.svg"], ["folder.svg", "ends in"]),
        (["tiny", "--to", "file/tiny.dot"], ["file", "cannot be written"]),
    ],
    ids=lambda words: " ".join(words) if "[" not in words[0] else None,
)
def test_wrong_input_is_one_line(bench, tmp_path: Path, words: list[str], parts: list[str]):
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file").write_text("this is a file")
    code, _, err = bench("show", "architecture", *words)

    assert (2, 1) == (code, err.count("\n")), err
    assert [] == [part for part in parts if part not in err], err


def test_a_sketch_fetches_no_weights_and_takes_no_memory():
    network = networks.sketch("unet[weights=imagenet]", 2, lambda network, _: network)

    assert {torch.device("meta")} == {one.device for one in network.parameters()}


def test_a_network_that_computes_with_numbers_is_built_with_them(own):
    own("numbers", "step = float(torch.linspace(0, 1, 5)[3])\n    return nn.Conv2d(channels, round(step * 4) - 3 + classes, 1)")
    own("pixels", "class Net(nn.Conv2d):\n        def forward(self, x):\n            return super().forward(x) if x.sum().item() == 0 else x[0]\n    return Net(channels, classes, 1)")

    assert 8 == outline.total(layers("pixels"))[0]


def err_of_libraries(text: str) -> bool:
    return "Warning" in text
