"""What can stand on an axis, and what is on this machine, as rows of plain text for the command line."""

from __future__ import annotations

import ast
import importlib.metadata
import platform
import tomllib
from pathlib import Path

from bench import catalog

Rows = list[dict[str, object]]
EXTRAS = {
    "cluster": ("ray", "--engine ray"),
    "slurm": ("submitit", "--engine slurm"),
    "onnx": ("onnxruntime", "bench convert"),
    "inspect": ("torchview", "bench show"),
    "dashboard": ("optuna-dashboard", "bench dashboard"),
    "tensorboard": ("tensorboard", "--tensorboard"),
    "parquet": ("pyarrow", "--format parquet"),
    "energy": ("nvidia-ml-py", "energy of a GPU"),
    "drive": ("gdown", "--release of Google Drive"),
}
"""The optional parts of pyproject.toml: the package that shows whether each is here, and what needs it."""


def table(axis: str) -> Rows:
    """The rows of `bench list AXIS`; loads no drop-in file and no heavy library."""
    return {
        "datasets": _datasets,
        "architectures": _architectures,
        "losses": _losses,
        "metrics": _metrics,
        "studies": _studies,
    }[axis]()


def versions() -> Rows:
    """The version of everything that matters, or what is missing."""
    names = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "optuna", "numpy", "scipy", "scikit-image",
             "pandas", "seaborn", "matplotlib", "pydantic", "typer", "rich")  # fmt: skip
    rows: Rows = [{"package": "python", "version": platform.python_version()}]
    for name in names:
        try:
            rows.append({"package": name, "version": importlib.metadata.version(name)})
        except importlib.metadata.PackageNotFoundError:
            rows.append({"package": name, "version": "missing: pip install -e . -c constraints.txt"})
    return rows


def extras() -> Rows:
    """The packages that are used only when they are asked for, and what each is for."""
    rows: Rows = []
    for extra, (package, use) in EXTRAS.items():
        try:
            state = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            state = f"not installed: pip install 'cytobench[{extra}]'"
        rows.append({"extra": extra, "for": use, "version": state})
    return rows


def devices() -> Rows:
    """What networks can be trained on here."""
    import os

    try:
        import torch
    except ImportError as error:
        return [{"device": "none", "what": f"torch cannot be imported: {error}"}]
    rows: Rows = [{"device": "cpu", "what": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}"}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        rows.append(
            {"device": f"cuda:{index}", "what": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"}
        )
    if not torch.cuda.is_available():
        rows.append({"device": "cuda", "what": "not available: torch sees no CUDA device"})
    return rows


def data_found(data_home: Path) -> Rows:
    """Every data set of the catalogue, and whether it is prepared below the data home."""
    from bench import download, prepare

    rows: Rows = []
    for name in catalog.entries("datasets"):
        if name == "folder":
            continue
        spec = catalog.dataset(name)
        folder = prepare.location(name, data_home)
        if (folder / "index.json").is_file():
            state = f"prepared in {folder}"
        elif spec.generated:
            state = "generated when it is first used"
        else:
            state = f"missing: {download.how(name, spec)}"
        rows.append({"data set": name, "state": state})
    return rows


def _datasets() -> Rows:
    rows: Rows = [
        {"name": entry.name, "options": _options(entry.path), "what": entry.summary}
        for entry in catalog.entries("datasets").values()
    ]
    return [row | {"name": "path/to/folder"} if row["name"] == "folder" else row for row in rows]


def _architectures() -> Rows:
    rows: Rows = [
        {"name": entry.name, "options": _options(entry.path), "what": entry.summary}
        for entry in catalog.entries("architectures").values()
    ]
    return rows + [
        {"name": name, "options": "(baseline)", "what": _baseline_titles()[name]} for name in _baseline_titles()
    ]


def _losses() -> Rows:
    from bench.losses import LOSSES

    ours: Rows = [
        {
            "name": name,
            "options": ", ".join(
                f"{key}={_shown(value, spec.choices.get(key))}" for key, value in spec.options.items()
            ),
            "what": spec.title,
            "source": spec.citation,
        }
        for name, spec in LOSSES.items()
    ]
    return ours + [
        {"name": name, "options": _options(entry.path), "what": entry.summary, "source": _citation(entry.path)}
        for name, entry in catalog.own("losses", LOSSES).items()
    ]


def _shown(default: object, choices: tuple[str, ...] | None) -> str:
    """The default of an option, the words it may be instead, and numbers short."""
    if choices:
        return "|".join(choices)
    return f"{default:g}" if isinstance(default, float) else str(default).lower()


def _metrics() -> Rows:
    from bench.metrics import PROFILES, own

    ours: Rows = [
        {"profile": profile.id, "name": name, "what": metric.definition}
        for profile in PROFILES.values()
        for name, metric in profile.metrics.items()
    ]
    mine: Rows = [
        {"profile": name, "name": f"(see bench explain {name})", "what": entry.summary} for name, entry in own().items()
    ]
    return (
        ours
        + mine
        + [{"profile": "custom[..]", "name": "(switches)", "what": "Put together: see bench explain custom."}]
    )


def _studies() -> Rows:
    from bench.study import builtin

    return [
        {"name": name, "what": tomllib.loads(path.read_text(encoding="utf-8")).get("title", "")}
        for name, path in builtin().items()
    ]


def _options(path: Path) -> str:
    """The options of a drop-in file, read from the call that makes its SPEC; nothing is imported."""
    try:
        node = _told(path).get("options")
    except (SyntaxError, ValueError):
        return "(cannot be read)"
    pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else []
    return ", ".join(f"{ast.literal_eval(key)}={ast.literal_eval(value)}" if key else ".." for key, value in pairs)


def _citation(path: Path) -> str:
    """The citation of a drop-in file, read likewise; empty where it is not written out."""
    try:
        node = _told(path).get("citation")
    except (SyntaxError, ValueError):
        return ""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _told(path: Path) -> dict[str | None, ast.expr]:
    """What is said by name in the calls whose results a drop-in file keeps; the first of each name."""
    lines = catalog.parsed(path).body
    calls = [line.value for line in lines if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call)]
    return {one.arg: one.value for call in reversed(calls) for one in reversed(call.keywords)}


def _baseline_titles() -> dict[str, str]:
    from bench.baselines import BASELINES

    return {name: baseline.title for name, baseline in BASELINES.items()}
