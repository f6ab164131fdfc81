"""A trained network for other programs: ONNX, compared with the network, or safetensors with all that rebuilds it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import re
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import __version__, extras, networks
from bench.catalog import architecture
from bench.errors import StudyError
from bench.fit import cut, windows
from bench.markdown import escape
from bench.specs import MEAN, STD, Recipe
from bench.store import write_bytes, writing_file
from bench.trained import Trained, tensors_hash

SUFFIXES = (".onnx", ".safetensors")
TOLERANCE = 1e-3
"""How far a probability may be from the one that is computed here: float32 in another order gives 1e-6 to 1e-4."""
LARGEST = 2**31 - 1
"""Bytes of an ONNX file, which is one message of protobuf."""
AXES = (("batch", "height", "width"), ("batch",), ())
"""Which axes may have any length: the first that can be had is taken."""
_TOLD = ("torch.onnx", "torch.export", "torch._dynamo", "torch.fx", "onnxscript", "onnx_ir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A file that was written.

    Attributes:
        path: The file; what is in it and how to use it stands beside it, in `path` + `.md`.
        axes: Which axes of the input may have any length; height and width are multiples of the divisor.
        size: (height, width) of the input where it is fixed; else that of the study, padded to the divisor [pixels].
        divisor: What height and width are multiples of [pixels].
        opset: The version of ONNX's operators; None for safetensors.
        difference: Largest difference of a probability from what is computed here; None for safetensors.
        pictures: How many were compared, each at every size.
    """

    path: Path
    axes: tuple[str, ...] = ()
    size: tuple[int, int]
    divisor: int = 1
    opset: int | None = None
    difference: float | None = None
    pictures: int = 0


class Probabilities(nn.Module):
    """Images float32 (N, 3, H, W) in [0, 1] to probabilities float32 (N, C, H, W): normalising and softmax included."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", MEAN), ("deviation", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """The probability of each class, at the size of the image."""
        return self.network((image - self.mean) / self.deviation).softmax(dim=1)


def convert(
    network: nn.Module,
    trained: Trained,
    path: Path,
    *,
    pictures: Sequence[NDArray[np.uint8]] = (),
    size: tuple[int, int] | None = None,
) -> Converted:
    """Write a trained network as `.onnx` or `.safetensors`, and beside it what it is and how to use it.

    Args:
        network: With its weights, anywhere; it is copied.
        trained: Its cell.
        path: The file; its suffix says what is wanted.
        pictures: To compare on, RGB uint8 (H, W, 3) each; generated ones without any.
        size: (height, width) that the network sees; None for that of the study [pixels].
    Raises:
        StudyError: If the suffix is another, a package is missing, the network cannot be exported, or differs.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise StudyError(f"{path} ends in neither {' nor '.join(SUFFIXES)}. Name the file that is wanted so.")
    about = description(trained, size)
    if path.suffix.lower() == ".onnx":
        done = _onnx(network, trained, path, about, replace(trained.recipe, size=size or trained.recipe.size), pictures)
    else:
        done = _safetensors(trained, path, about)
    write_bytes(path.with_name(f"{path.name}.md"), _readme(done, trained, about).encode())
    return done


def description(trained: Trained, size: tuple[int, int] | None = None) -> dict[str, str]:
    """What goes with the weights wherever they go: plain texts, the lists among them as JSON."""
    record, recipe = trained.record, trained.recipe
    spec = architecture(record.cell.architecture)[0]
    height, width = size or recipe.size
    found = {
        "bench": __version__,
        "study": record.study,
        "cell": record.cell.key,
        "fingerprint": record.fingerprint,
        "weights_sha256": record.weights_hash or "",
        "architecture": record.cell.architecture,
        "architecture_citation": spec.citation,
        "architecture_licence": spec.licence,
        "size": f"{height}x{width}",
        "fit": recipe.fit,
        "divisor": str(spec.divisor),
        "colour": "RGB",
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
    }
    if record.data is not None:
        found["classes"] = json.dumps([asdict(one) for one in record.data.classes])
        found |= {f"data_{name}": str(getattr(record.data, name)) for name in ("title", "licence", "citation", "hash")}
    return found


def _onnx(
    network: nn.Module,
    trained: Trained,
    path: Path,
    about: Mapping[str, str],
    recipe: Recipe,
    pictures: Sequence[NDArray[np.uint8]],
) -> Converted:
    """The file with the most free axes that agrees with the network."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        extras.load(module, extra="onnx", wanted_by=f"Writing {path.name}")
    plain = Probabilities(copy.deepcopy(network).float().cpu().eval().requires_grad_(False)).eval()
    divisor = architecture(trained.record.cell.architecture)[0].divisor
    size, reasons = networks.padded(recipe.size, divisor), list[str]()
    shown = tuple(pictures) or tuple(_generated())
    for axes in AXES[1:] if _pads_by_size(plain) else AXES:
        try:
            program = _exported(plain, size, divisor, axes)
            opset = int(program.model.opset_imports[""])
            program.model.metadata_props.update({**about, **_onnx_about(axes, size, opset)})
            data = program.model_proto.SerializeToString()
            if len(data) > LARGEST:
                raise StudyError(f"{path} would have more than 2 GiB, the most that ONNX allows. Choose safetensors.")
            difference = _difference(data, plain, shown, _sizes(axes, size, divisor), recipe)
        except StudyError:
            raise
        except Exception as error:  # an exporter and a runtime, which may raise anything
            reasons.append(_reason(error))
            continue
        if difference <= TOLERANCE:
            write_bytes(path, data)
            return Converted(
                path=path,
                axes=axes,
                size=size,
                divisor=divisor,
                opset=opset,
                difference=difference,
                pictures=len(shown),
            )
        reasons.append(f"probabilities differ by {difference:.2g}, {TOLERANCE:g} is allowed")
    raise StudyError(
        f"{trained.record.cell.architecture} cannot be exported to ONNX: {reasons[-1]}. Use the safetensors instead."
    )


def _exported(plain: nn.Module, size: tuple[int, int], divisor: int, axes: Sequence[str]) -> Any:
    """The network as a graph; what the exporter tells on the way is not shown."""
    lengths = [2 if "batch" in axes else 1, 3, *size]
    free: dict[int, Any] = {0: torch.export.Dim("batch")} if "batch" in axes else {}
    if "height" in axes:
        free |= {at + 2: divisor * torch.export.Dim(f"{name}_{divisor}", min=1) for at, name in enumerate(axes[1:])}
        lengths[2:] = [max(length, 2 * divisor) for length in size]  # a length of one unit would be taken for fixed
        lengths[3] += divisor if lengths[2] == lengths[3] else 0  # and equal ones for the same
    with _quiet(), torch.no_grad():
        return torch.onnx.export(
            plain,
            (torch.rand(lengths),),
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=(free,) if free else None,
            dynamo=True,
            verbose=False,
        )


def _pads_by_size(network: nn.Module) -> bool:
    """Whether layers pad as TensorFlow does, by the size of what they are given: sizes that are free take too long.

    Each becomes a term of the one before, in which the exporter looks for bounds; it was ended after 15 minutes.
    """
    names = (type(module).__name__ for module in network.modules())
    return any("Same" in name and "Static" not in name for name in names)


def _onnx_about(axes: Sequence[str], size: tuple[int, int], opset: int) -> dict[str, str]:
    return {
        "input": "image: RGB, float32 (N, 3, H, W) in [0, 1]; it is normalised inside",
        "output": "probabilities: float32 (N, classes, H, W), softmax done",
        "free_axes": ",".join(axes) or "none",
        "input_size": f"{size[0]}x{size[1]}",
        "opset": str(opset),
    }


def _sizes(axes: Sequence[str], size: tuple[int, int], divisor: int) -> list[tuple[int, int]]:
    """The sizes that are compared: where any is allowed, a wider and a higher one, too."""
    height, width = size
    return [size] if "height" not in axes else [size, (height, width + 2 * divisor), (height + divisor, width)]


def _difference(
    data: bytes,
    plain: nn.Module,
    pictures: Sequence[NDArray[np.uint8]],
    sizes: Sequence[tuple[int, int]],
    recipe: Recipe,
) -> float:
    """Largest difference of a probability between the graph and the network, one picture at a time and two at once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    batches = [1] if isinstance(session.get_inputs()[0].shape[0], int) else [1, 2]
    found = [0.0]
    for size in sizes:
        shown = np.stack([_input(picture, replace(recipe, size=size)) for picture in pictures])
        for count in batches:
            for start in range(0, len(shown), count):
                image = np.stack(list(islice(cycle(shown[start:]), count)))
                with torch.inference_mode():
                    ours = plain(torch.from_numpy(image)).numpy()
                theirs = session.run(None, {"image": image})[0]
                found.append(float(np.abs(ours - theirs).max()))
    return max(found) if np.isfinite(found).all() else float("inf")


def _input(picture: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """A picture as the study would show it, float32 (3, H, W) in [0, 1]; of `tile` the first window."""
    window = windows((picture.shape[0], picture.shape[1]), recipe)[0]
    small = cut(picture, np.zeros(picture.shape[:2], np.uint8), window, recipe.size)[0]
    return np.divide(small.transpose(2, 0, 1), 255, dtype=np.float32)


def _generated() -> Generator[NDArray[np.uint8]]:
    """Two pictures of blurred noise, uint8 (96, 128, 3)."""
    from scipy import ndimage

    for seed in range(2):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((96, 128, 3)), (4, 4, 0))
        yield (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def _safetensors(trained: Trained, path: Path, about: Mapping[str, str]) -> Converted:
    """The stored weights under a header with the whole record, which `bench.load` reads."""
    import safetensors.torch

    from bench import checkpoint

    tensors = checkpoint.load_weights(trained.weights)
    values = {"value": None, "best_epoch": trained.record.best_epoch}
    record = json.dumps(asdict(trained.record), allow_nan=False)
    header = {"format": "pt", "about": json.dumps(values), "record": record, **about}
    header["tensors_sha256"] = tensors_hash(trained.weights)
    with writing_file(path) as part:
        safetensors.torch.save_file(tensors, part, header)
    return Converted(path=path, size=trained.recipe.size)


def _reason(error: Exception) -> str:
    """What an exporter complains of, in a line: the operator where it names one."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < 9:
        chain.append(cause)
    texts = " ".join(str(one) for one in chain)
    lines = [line.strip() for line in str(chain[-1]).splitlines() if line.strip()]
    first = re.sub(r"\x1b\[\d*m", "", lines[0])[:200].rstrip(" .") if lines else type(chain[-1]).__name__
    operator = re.search(r"aten[.:]+(\w+)", texts)
    return f"{first} (operator {operator[1]})" if operator and operator[1] not in first else first


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    loggers = [logging.getLogger(name) for name in _TOLD]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _readme(done: Converted, trained: Trained, about: Mapping[str, str]) -> str:
    """What the file is and how it is used, as Markdown."""
    record = trained.record
    data = f" on {escape(f'{card.title} ({card.licence}; {card.citation})')}" if (card := record.data) else ""
    lines = [
        f"# {done.path.name}",
        "",
        f"`{record.cell.architecture}` ({about['architecture_citation']}; code: {about['architecture_licence']})",
        f"trained{data}. All of the lines below are in the file as metadata, too.",
        "",
        "| class | name | colour |",
        "| --- | --- | --- |",
        *(
            f"| {value} | {escape(one.name)} | {', '.join(map(str, one.colour))} |"
            for value, one in enumerate(record.data.classes if record.data else ())
        ),
        "",
        *(f"- {name}: {escape(text)}" for name, text in about.items() if name != "classes" and text),
        "",
        *(_use_onnx(done, trained.recipe, about) if done.opset else _use_safetensors(done)),
    ]
    return "\n".join(lines) + "\n"


def _use_onnx(done: Converted, recipe: Recipe, about: Mapping[str, str]) -> list[str]:
    divisor = about["divisor"]
    height, width = recipe.size if "height" in done.axes else done.size
    stretched = [f"picture = picture.resize(({width}, {height}), Image.BILINEAR)"]
    if recipe.fit == "tile":
        stretched = [] if "height" in done.axes else [f"picture = picture.crop((0, 0, {width}, {height}))  # a window"]
    any_size = f"height and width may be any multiples of {divisor}" if "height" in done.axes else "the size is fixed"
    return [
        f"Input `image`: RGB, float32 (N, 3, H, W) in [0, 1], normalised inside; {any_size}. Output `probabilities`:",
        f"float32 (N, classes, H, W), softmax done. On {done.pictures} pictures onnxruntime differed from the network",
        f"by {done.difference:.1e} at most. The study showed its pictures by `{recipe.fit}` at {about['size']}.",
        "",
        "```python",
        "import numpy as np",
        "import onnxruntime",
        "from PIL import Image",
        "",
        'picture = Image.open("picture.png").convert("RGB")',
        *stretched,
        "pixels = np.asarray(picture)",
        f"below, right = (-edge % {divisor} for edge in pixels.shape[:2])",
        'padded = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")',
        "image = padded.transpose(2, 0, 1)[None].astype(np.float32) / 255",
        f"session = onnxruntime.InferenceSession({done.path.name!r})",
        'probabilities = session.run(None, {"image": image})[0][0, :, : pixels.shape[0], : pixels.shape[1]]',
        "labels = probabilities.argmax(axis=0)",
        "```",
    ]


def _use_safetensors(done: Converted) -> list[str]:
    return [
        "The tensors bear the names that the parameters of the network have; `record` in the header is all that is",
        "known of the training, as JSON. `bench predict` takes the file as a cell, and from Python:",
        "",
        "```python",
        "import bench",
        "",
        f"model = bench.load({done.path.name!r})",
        "labels, probabilities = model.predict(image)  # image: RGB, uint8 (H, W, 3)",
        "```",
        "",
        "Without bench: `safetensors.torch.load_file` gives the tensors, `safetensors.safe_open(..).metadata()` the",
        "header; pictures are scaled to [0, 1], `mean` subtracted and divided by `std`, channel by channel.",
    ]
