"""A benchmark of segmentation architectures across microscopy data sets.

    import bench

    study = bench.Study(name="mine", datasets=("smear",), architectures=("plain_unet",), losses=("dice+ce",))
    results = bench.run(study)  # trains what is missing; `bench run matrix` does the same
    table = bench.leaderboard(results)  # a pandas.DataFrame, best first
    model = bench.load("results/mine/cells/smear/plain_unet/dice+ce/f0-s0")
    labels, probabilities = model.predict(image)  # uint8 (H, W), float32 (C, H, W)

docs/library.md describes each. Everything is imported when it is asked for: `import bench` alone loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.errors import BenchError
    from bench.job import Event
    from bench.library import Results, leaderboard, load_study, run
    from bench.predict import How, Model, Options, Prediction, load
    from bench.records import Record
    from bench.specs import Budget, Recipe, Study, Tuning

__version__ = "0.1.0"
__all__ = [
    "BenchError", "Budget", "Event", "How", "Model", "Options", "Prediction", "Recipe", "Record", "Results", "Study",
    "Tuning", "__version__", "leaderboard", "load", "load_study", "run",
]  # fmt: skip
_MODULES = {
    "errors": ("BenchError",),
    "job": ("Event",),
    "library": ("Results", "leaderboard", "load_study", "run"),
    "predict": ("How", "Model", "Options", "Prediction", "load"),
    "records": ("Record",),
    "specs": ("Budget", "Recipe", "Study", "Tuning"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
