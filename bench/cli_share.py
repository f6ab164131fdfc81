"""`bench export` and `bench share`: results for another machine, as one file or on the Hugging Face Hub."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import Results, Stored, complain, say, study_folder
from bench.errors import StudyError

if TYPE_CHECKING:
    from bench.manifest import Manifest

Cells = Annotated[
    list[str] | None,
    typer.Option(
        "--cell", metavar="KEY", help="Only this cell, as smear/unet/ce/f0-s0 or without its end; repeatable."
    ),
]
Pictures = Annotated[
    bool | None,
    typer.Option("--pictures/--no-pictures", help="Small test images; default: where their licence says they may go."),
]
Paths = Annotated[bool, typer.Option("--allow-paths", help="Even if it tells where something lies on this machine.")]


def export(
    study: Stored = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Ends in .zip or .tar.gz; default: NAME.zip here.")
    ] = None,
    cells: Cells = None,
    weights: Annotated[bool, typer.Option("--weights", help="With the weights of the networks.")] = False,
    pictures: Pictures = None,
    allow_paths: Paths = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    results: Results = Path("results"),
) -> None:
    """Pack results into one file with checksums, for bench report, verify and compare on another machine."""
    from bench import packing, sealing, unpacking
    from bench.store import writing

    folder = study_folder(study, results)
    archive = to or Path(f"{folder.resolve().name}.zip")
    if not archive.name.endswith(unpacking.ENDINGS):
        raise StudyError(f"--to is {archive}. Its name must end in {', '.join(unpacking.ENDINGS)}.")
    if archive.is_dir() or (archive.exists() and not overwrite):
        raise StudyError(f"{archive} exists. Choose another --to, or --overwrite.")
    choice = packing.Choice(cells=tuple(cells or ()), weights=weights, pictures=pictures, paths=allow_paths)
    with writing(archive):
        archive.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=archive.parent, prefix=f".{archive.name}.", suffix=".part"))
    try:
        found = packing.stage(folder, scratch / "staged", choice, complain)
        hashed = sealing.pack(scratch / "staged", archive, found.study)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _told(found)
    say(f"Archive: {archive.resolve()}, {_amount(archive.stat().st_size)}, sha256 {hashed}")


def share(
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A repository on the Hugging Face Hub.")],
    study: Stored = None,
    cell: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="The weights of this cell as a model, as smear/unet/ce/f0-s0; else all results."
        ),
    ] = None,
    licence: Annotated[str, typer.Option(metavar="ID", help="As the Hub calls it: mit, cc-by-4.0, ..")] = "unknown",
    private: Annotated[bool, typer.Option("--private", help="A new repository is for you alone.")] = False,
    pictures: Pictures = None,
    allow_paths: Paths = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder, and upload nothing.")] = False,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="With --dry-run: the folder; default: share-NAME.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Upload results, or the weights of one cell, to the Hugging Face Hub, with a card that says what they are.

    The token is the one of hf auth login, or HF_TOKEN.
    """
    from bench import hub, packing, sharing
    from bench.store import writing

    if to is not None and not dry_run:
        raise StudyError("--to says where --dry-run writes the folder. Add --dry-run, or leave it out.")
    hub.check_name(repository)
    folder = study_folder(study, results)
    choice = packing.Choice(cells=(cell,) if cell else (), weights=bool(cell), pictures=pictures, paths=allow_paths)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        target = Path(scratch) / "repository"
        shown = to or Path(f"share-{repository.rpartition('/')[2]}")
        if dry_run and shown.exists() and (not shown.is_dir() or any(shown.iterdir())):
            raise StudyError(f"{shown} holds something. Choose another --to.")
        kind = sharing.write(folder, target, repository, choice, licence, complain)
        if dry_run:
            with writing(shown):
                target = Path(shutil.copytree(target, shown, dirs_exist_ok=True))
        for path in sorted(path for path in target.rglob("*") if path.is_file()):
            say(f"{_amount(path.stat().st_size):>10}  {path.relative_to(target).as_posix()}")
        if dry_run:
            say(f"Nothing was uploaded. This is what would go into the {kind} {repository}: {target.resolve()}")
            return
        say(f"Uploading to the {kind} {repository} ..")
        say(f"Uploaded: {hub.upload(target, repository, kind, private=private)}")


def _told(found: Manifest) -> None:
    """What is in an export, and what is not, in two lines."""
    weighty = sum(one.weights for one in found.cells)
    pictured = [one.name for one in found.data if one.pictures]
    held = [f"{len(found.cells)} cells", f"{weighty} with weights", f"{len(found.files)} files"]
    held.append(f"pictures of {', '.join(pictured)}" if pictured else "no pictures")
    held += [f"{len(found.code)} files of your own code"] if found.code else []
    say(f"Packed: {', '.join(held)}.")
    if found.shortened:
        say(f"In {len(found.shortened)} records paths of this machine were shortened, and the seal renewed.")


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
