"""Data flows one way: who may import whom, and what stays out of the light half of the program."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "optuna", "safetensors"}
NEEDS_TORCH = {
    "augment", "cell", "check_learning", "check_losses", "check_networks", "checkpoint", "convert", "criteria", "data", "device", "distances", "estimate",
    "evaluate", "execution", "forward", "looks", "networks", "outline", "predict", "train", "trainer", "tune",
}  # fmt: skip

BLOCKS = {
    "_basnet.py",
    "_blocks.py",
    "_cmunext.py",
    "_dinov3.py",
    "_emcad.py",
    "_frozen.py",
    "_gates.py",
    "_initial.py",
    "_multires.py",
    "_r2unet.py",
    "_resenc.py",
    "_swinunet.py",
    "_ternausnet.py",
    "_transunet.py",
    "_u2net.py",
    "_ukan.py",
    "_unet.py",
    "_weights.py",
}
"""Parts of networks, imported when one is built: they may load torch at their top."""

# Each layer may import the ones before it (and modules of its own line); top to bottom is the direction of data.
LAYERS = [
    {"specs", "errors", "quantities", "cli_rows", "connected", "spawning"},
    {"records", "names", "findings", "manifest"},
    {"protocols", "privacy"},
    {"catalog", "datasets", "architectures", "own_losses", "own_profiles"},
    {"rules", "boundary", "distances", "checks"},
    {"objects", "criteria"},
    {"shapes"},
    {
        "measures",
        "profiles",
        "switches",
        "metrics",
        "losses",
        "plan",
        "study",
        "split",
        "baselines",
        "presets",
        "fit",
        "duplicates",
        "explain",
        "alignment",
        "contents",
        "lineage",
        "maskfiles",
    },
    {"decode", "thumbnails", "copies", "sign_index", "keypoints"},
    {"resemblance"},
    {"crops"},
    {"augment"},
    {
        "store",
        "statistics",
        "variance",
        "workers",
        "serve",
        "pool",
        "progress",
        "extras",
        "machine",
        "headers",
        "hub",
        "makespan",
    },
    {"paired", "rows"},
    {"stamps", "archive", "fetch", "hosts", "standings", "derived", "job", "locks", "events", "scalars", "watch"},
    {"diary", "film", "unfinished"},
    {"ranking", "sealing"},
    {"leaking", "verdict", "unpacking"},
    {"comparisons", "tables", "doubts", "merging", "provenance"},
    {"views", "auditfile", "formats", "parquet"},
    {"markdown", "latex", "download", "prepare", "svg", "picks", "pictures", "efficiency", "published", "graph"},
    {"figures"},
    {"matrices", "rates", "fronts", "diagrams", "worth"},
    {"drawings"},
    {"paper", "scaling"},
    {"courses", "filmstrip"},
    {"logbook"},
    {"gallery"},
    {"album"},
    {
        "card",
        "check_datasets",
        "check_losses",
        "check_profiles",
        "data",
        "listing",
        "problems",
        "sections",
        "export",
        "audit",
    },
    {"overview"},
    {"report"},
    {"order"},
    {"contact", "recompute", "selection", "frames"},
    {"compare", "verify", "evidence", "packing"},
    {"auditpage", "modelcard"},
    {"sharing"},
    {"device", "forward", "looks", "networks"},
    {"train", "outline"},
    {"tune", "evaluate", "checkpoint", "execution"},
    {"trainer", "check_learning"},
    {"check_networks"},
    {"cell"},
    {"estimate", "attempts", "refusals"},
    {"shipping"},
    {"alike"},
    {"node", "slurm_options"},
    {"ray_task", "slurm_job", "slurm_sites"},
    {"ray_team"},
    {"engine_ray", "engine_slurm"},
    {"engines"},
    {"runner"},
    {"onecell"},
    {"blending", "overlay", "pictured", "trained"},
    {"convert"},
    {"predict"},
    {"places", "conduct"},
    {"cli_options", "cli_show", "glyphs"},
    {"cli_screen"},
    {
        "cli_architecture",
        "cli_audit",
        "cli_check",
        "cli_compare",
        "cli_convert",
        "cli_costs",
        "cli_data",
        "cli_download",
        "cli_live",
        "cli_dashboard",
        "cli_status",
        "cli_explain",
        "cli_figures",
        "cli_plan",
        "cli_predict",
        "cli_share",
        "cli_training",
        "cli_watch",
    },
    {"cli_study"},
    {"library"},
    {"cli_run"},
    {"cli_cell"},
    {"cli"},
    {"__main__"},
]
LEVEL = {module: level for level, layer in enumerate(LAYERS) for module in layer}
MODULES = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if path.stem != "__init__")
DROP_INS = sorted(path for kind in ("datasets", "architectures") for path in (ROOT / kind).glob("*.py"))


def imports(path: Path, *, top: bool) -> set[str]:
    """Dotted names that a file imports, at the top of the module only or anywhere; type-only imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in tree.body if top else ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(names: set[str]) -> set[str]:
    """The engine modules among imported names."""
    return {name.split(".")[1] for name in names if name.startswith("bench.") and name.split(".")[1] in LEVEL}


def test_every_engine_module_has_its_layer():
    assert sorted(LEVEL) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_layers_above_it(module: str):
    upward = {name for name in ours(imports(ROOT / "bench" / f"{module}.py", top=False)) if LEVEL[name] > LEVEL[module]}

    # the catalogue opens drop-in files, which its own two packages find
    assert set() == upward


@pytest.mark.parametrize("module", sorted(set(MODULES) - NEEDS_TORCH))
def test_a_light_module_imports_no_heavy_library_at_its_top(module: str):
    top = {name.split(".")[0] for name in imports(ROOT / "bench" / f"{module}.py", top=True)}

    assert set() == top & HEAVY


def test_only_tune_imports_optuna_and_only_the_engine_prints():
    for module in set(MODULES) - {"tune"}:
        assert not any(n.startswith("optuna") for n in imports(ROOT / "bench" / f"{module}.py", top=False)), module
    for module in MODULES:
        calls = ast.walk(ast.parse((ROOT / "bench" / f"{module}.py").read_text(encoding="utf-8")))
        assert not any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print" for n in calls)


@pytest.mark.parametrize("path", DROP_INS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_drop_in_file_imports_specs_and_errors_of_ours_and_nothing_heavy_at_its_top(path: Path):
    assert ours(imports(path, top=False)) <= {"specs", "errors"}
    if path.name not in BLOCKS:
        assert {name.split(".")[0] for name in imports(path, top=True)} & HEAVY == set()


@pytest.mark.parametrize("kind", ["datasets", "architectures"])
def test_a_drop_in_folder_has_no_init_file(kind: str):
    assert not (ROOT / kind / "__init__.py").exists()


@pytest.mark.parametrize(
    "command", [["--help"], ["list"], ["run", "matrix", "--help"], ["list", "architectures"]], ids=" ".join
)
def test_help_and_list_do_not_import_torch_or_other_heavy_libraries(command: list[str]):
    code = (
        "import sys\nfrom bench.cli import app\n"
        f"try: app({command!r})\nexcept SystemExit as error: assert not error.code, error.code\n"
        f"loaded = {HEAVY | {'pandas', 'matplotlib', 'seaborn', 'scipy', 'skimage'}!r} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (0, "") == (result.returncode, result.stderr)
