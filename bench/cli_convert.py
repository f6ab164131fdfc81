"""`bench convert`: a stored cell as a file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import EDGES, Force, Results, StoredCell, StudyOfKey, console, say, study_folder
from bench.cli_predict import edges
from bench.errors import StudyError
from bench.pictured import found, read

if TYPE_CHECKING:
    import numpy as np

    from bench.convert import Converted

SHOWN = 4
"""Pictures that an export is compared on, where none are named."""


def convert(
    cell: StoredCell,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file, as model.onnx or model.safetensors.")],
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGES", help="What ONNX is compared on; default: test pictures of the study."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar=EDGES, help="What the network sees; default: the study's.")
    ] = None,
    study: StudyOfKey = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a file.")] = False,
    force: Force = False,
    results: Results = Path("results"),
) -> None:
    """Write a stored cell as ONNX, compared with the network, or as safetensors with all that rebuilds it."""
    from bench.trained import find, itself, opened

    if to.exists() and not (overwrite and to.is_file()):
        raise StudyError(f"{to} exists. Choose another --to" + (", or add --overwrite." if to.is_file() else "."))
    if to.suffix.lower() not in (".onnx", ".safetensors"):
        raise StudyError(f"--to is {to}. It must end in .onnx or .safetensors.")
    paths = found(compare) if compare else []
    folder = Path(cell) if itself(cell) else find(cell, study_folder(study, results))
    trained = opened(folder, force=force)
    from bench.predict import Model  # torch is loaded only for what can be done

    pictures = [read(path) for path in paths] or _stored(folder, trained.record.cell.fold)
    model = Model(trained, "cpu")
    with console().status(f"Writing {to.name}"):
        done = model.export(to, pictures=pictures, size=edges(size))
    if done.opset is not None:
        say(f"ONNX, opset {done.opset}, {_free(done)}.")
        kind = "pictures" if pictures else "generated pictures, since the study keeps none here"
        say(f"Largest difference of a probability on {done.pictures} {kind}: {done.difference:.1e}")
    console().print(f"File: {to.resolve()}\nHow to use it: {to.resolve()}.md", markup=False, soft_wrap=True)


def _free(done: Converted) -> str:
    """Which sizes an ONNX file takes, in words."""
    if "height" in done.axes:
        return f"any number of pictures of any size in multiples of {done.divisor} pixels"
    number = "any number of pictures" if done.axes else "one picture at a time"
    return f"{number}, {done.size[0]}x{done.size[1]} only, to which the network is bound"


def _stored(folder: Path, fold: int) -> list[np.ndarray]:
    """The first of the small test pictures that a study keeps of its data, or none."""
    from bench import thumbnails
    from bench.store import read_arrays

    if folder.is_file() or len(folder.absolute().parents) < 5:
        return []
    where = folder.absolute()
    path = where.parents[4] / "examples" / where.parents[2].name / f"f{fold}.npz"
    if not path.is_file():
        return []
    stored = read_arrays(path, *(f"image{number}" for number in range(SHOWN)))
    return [thumbnails.decoded(image) for image in stored.values()]
