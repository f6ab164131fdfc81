"""What a network is made of: its layers against torch's own counter, its graph against its layers."""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import segmentation_models_pytorch as smp
import torch
from rich.console import Console
from torch import nn

from bench import architectures, catalog, cli, cli_architecture, cli_options, graph, networks, outline
from bench.outline import OWN, Layer

NAMES = ["unet", "linknet", "segformer", "plain_unet", "dpt[encoder=tu-vit_tiny_patch16_224]", "tiny[channels=1]"]
EXTRA = pytest.mark.skipif(find_spec("torchview") is None, reason="the extra inspect is not installed")
DOT = pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot of Graphviz is not installed")


def layers(name: str, depth: int = 2, size: tuple[int, int] = (64, 64)) -> list[Layer]:
    return networks.sketch(name, 2, lambda network, divisor: outline.layers(network, divisor, size, depth))


def drawing(network: nn.Module, depth: int = 2, size: tuple[int, int] = (64, 64)) -> str:
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


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an architecture `mine` whose `build` has a body into a folder of the catalogue."""
    folder = tmp_path / "own" / "architectures"

    def put(body: str) -> None:
        folder.mkdir(parents=True)
        (folder / "mine.py").write_text(
            f"from bench.specs import ArchitectureSpec\n\ndef build(channels, classes):\n    {body}\n\n"
            "SPEC = ArchitectureSpec(title='Mine', family='test', citation='me', build=build, divisor=1)\n"
        )

    monkeypatch.setenv("BENCH_PATH", os.pathsep.join([os.environ["BENCH_PATH"], str(folder.parent)]))
    monkeypatch.setattr(architectures, "__path__", [*architectures.__path__, str(folder)])
    yield put
    sys.modules.pop("bench.architectures.mine", None)


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
    ] == [(one.name, one.kind, one.depth, one.calls, one.shape, one.params, one.flops, one.parts) for one in found]
    assert ["-", "  body", "    0", "    1", "fixed", "-", "total"] == [row["layer"] for row in outline.table(found)]
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


@EXTRA
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


@EXTRA
def test_skip_connections_are_edges_of_the_graph():
    source = networks.sketch("plain_unet[levels=2,width=4]", 2, lambda network, _: drawing(network, 1))
    numbers = {label: number for number, label in re.findall(r'^\s*(\d+) \[label="([^\\"]*)', source, re.MULTILINE)}

    assert f"{numbers['encoder.0']} -> {numbers['cat']}" in source
    assert f"{numbers['interpolate']} -> {numbers['cat']}" in source
    assert f"{numbers['cat']} -> {numbers['decoder.0']}" in source


@EXTRA
@DOT
@pytest.mark.parametrize(
    ("ending", "beginning"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"strict")]
)
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
    code, out, _ = bench(
        "show", "architecture", "unet[encoder=resnet18]", "--classes", "6", "--size", "50x70", "--depth", "1"
    )
    words = " ".join(out.split())
    network = smp.create_model("unet", "resnet18", encoder_weights=None, classes=6)

    assert 0 == code
    assert "GFLOPs 1.02 for one image of 64 x 96 pixels; a multiply-add counts as two" in words
    assert "options channels=3, encoder=resnet18, weights=none, decoder=256" in words
    assert "segmentation_head SegmentationHead 6 x 64 x 96 870" in words
    assert f"total {sum(one.numel() for one in network.parameters()):,} 510 M" in words


@EXTRA
def test_without_graphviz_the_summary_is_printed_and_the_graph_is_text(bench, tmp_path: Path, monkeypatch):
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
        pytest.param(["tiny", "--to", "file/tiny.dot"], ["Cannot write file/tiny.dot"], marks=EXTRA),
    ],
    ids=lambda words: " ".join(words) if "[" not in words[0] else None,
)
def test_wrong_input_is_one_line(bench, tmp_path: Path, words: list[str], parts: list[str]):
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file").write_text("this is a file")
    code, _, err = bench("show", "architecture", *words)

    assert (2, 1) == (code, err.count("\n")), err
    assert [] == [part for part in parts if part not in err], err


def test_a_sketch_asks_for_no_weights_and_takes_no_memory(monkeypatch):
    asked, build = [], networks.build
    monkeypatch.setattr(networks, "build", lambda *a, **how: asked.append(how) or build(*a, **how))
    network = networks.sketch("unet[weights=imagenet]", 2, lambda network, _: network)

    assert [{"scratch": True}] == asked
    assert {torch.device("meta")} == {one.device for one in network.parameters()}


@pytest.mark.parametrize(
    "body",
    [
        "return nn.Conv2d(channels, classes, int(torch.ones(1).item()))",
        """class Net(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) if x.sum().item() == 0 else x
    return Net(channels, classes, 1)""",
    ],
    ids=["built", "run"],
)
def test_a_network_that_computes_with_numbers_is_built_with_them(own, body: str):
    own(f"import torch\n    from torch import nn\n    {body}")

    assert (3 * 2 + 2, 2 * 3 * 2 * 64 * 64) == outline.total(layers("mine"))


@EXTRA
def test_what_libraries_and_files_print_and_warn_stays_away_from_the_terminal(bench, own):
    own(
        "import logging, sys, warnings\n    from torch import nn\n    print('printed')\n    warnings.warn('warned')\n"
        "    logging.getLogger('x').warning('logged')\n    print('said', file=sys.stderr)\n"
        "    return nn.Conv2d(channels, classes, 1)"
    )
    code, out, err = bench("show", "architecture", "mine", "--to", "mine.dot")

    assert (0, "") == (code, err)
    assert [] == [word for word in ("printed", "warned", "logged", "said") if word in out]


def test_details_of_every_architecture_and_the_reason_where_one_cannot_be_built(bench, own, monkeypatch):
    own("raise ValueError('planted')")
    kept = ("faulty", "mine", "plain_unet", "tiny", "unet")
    known = catalog.entries("architectures")
    monkeypatch.setattr(catalog, "entries", lambda kind: {name: known[name] for name in kept})
    rows = {row["name"]: row for row in outline.architectures()}

    assert sorted(kept) == list(rows)
    assert ("7.85 M", 27.904704512, 16, "MIT", "cytobench") == tuple(
        rows["plain_unet"][key] for key in ("parameters", "GFLOPs", "divisor", "licence", "from")
    )
    assert "Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28" == rows["unet"]["paper"]
    assert str(rows["mine"]["paper"]).startswith("mine cannot be built: ValueError: planted. Mend /")
    assert str(rows["mine"]["paper"]).endswith("mine.py, line 4.")
    assert None is rows["faulty"]["parameters"]
    code, out, err = bench("list", "architectures", "--details")

    assert (0, "") == (code, err)
    assert [] == [name for name in kept if name not in out]
    assert "256 x 256 pixels and 2 classes, options at their defaults; a multiply-add counts as two" in out


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_names_and_papers_stay_whole_in_terminals_of_every_width(bench, monkeypatch, width: int):
    known = catalog.entries("architectures")
    kept = {name: known[name] for name in ("deeplabv3plus", "manet", "plain_unet", "tiny")}
    monkeypatch.setattr(catalog, "entries", lambda kind: kept)
    for module in (cli_architecture, cli_options):
        monkeypatch.setattr(module, "console", lambda: Console(width=width))
    _, out, _ = bench("list", "architectures", "--details")
    table = out.partition("GFLOPs:")[0].splitlines()
    whole = [
        *kept,
        "doi:10.1007/978-3-030-01234-2_49",
        "doi:10.1109/ACCESS.2020.3025372",
        "segmentation-models-pytorch",
    ]

    assert [] == [word for word in whole if word not in out], out
    assert max(map(len, table)) <= width


def test_details_are_of_architectures_only(bench):
    line = "Error: --details is told of architectures only: bench list architectures --details.\n"

    assert (2, "", line) == bench("list", "losses", "--details")
    assert (2, "", line) == bench("list", "--details")
