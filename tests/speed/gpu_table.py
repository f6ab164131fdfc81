"""What a GPU trains in a second: the bare step, ours, and the script, for real networks at real sizes.

    python -m tests.speed.gpu_table --to results/reference/gpu.json

In bf16 with channels_last, with and without CUDA graphs, with peak memory; the script in fp32, as it stands in most
repositories, from PNG files of 1600x1200. Absolute numbers, for the device that is named in the file; needs a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench import catalog, execution, losses, networks, train
from bench.data import Resident, normalise, resident
from bench.device import environment
from bench.forward import Forward
from bench.records import Execution
from bench.specs import Budget, Recipe
from tests.speed import peers
from tests.speed.photographs import files

GPU = torch.device("cuda", 0)
ROWS = [
    ("unet[encoder=resnet34]", 256, 8),
    ("unet[encoder=resnet34]", 256, 32),
    ("unet[encoder=resnet34]", 512, 16),
    ("deeplabv3plus[encoder=resnet50]", 512, 16),
    ("plain_unet[width=16]", 224, 16),
]
IMAGES = 128


def pairs(size: int) -> Resident:
    """Noise with masks: what is in a picture changes no time."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)
    return resident(images, images[..., 0] // 128, range(IMAGES), GPU)


def built(architecture: str, way: Execution) -> Forward:
    network = networks.build(architecture, 2, seed=0).to(GPU).train()
    return Forward(network, catalog.architecture(architecture)[0].divisor, way)


def bare(architecture: str, way: Execution, data: Resident, recipe: Recipe) -> float:
    """Steps on one batch that is there already [images/s]."""
    forward, loss = built(architecture, way), losses.build("dice+ce")
    optimiser = train.optimiser(forward.network, recipe, 1e-4)
    images, masks = normalise(data.images[: recipe.batch]), data.masks[: recipe.batch].long()
    for steps in (10, 50):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss(forward(images), masks).backward()
            optimiser.step()
        torch.cuda.synchronize()
    return 50 * recipe.batch / (time.perf_counter() - began)


def ours(architecture: str, way: Execution, data: Resident, recipe: Recipe) -> float:
    """Epochs of `train.fit` as it is, augmentation and clipping on [images/s]."""
    fitted = train.fit(
        built(architecture, way), losses.build("dice+ce"), data, data, classes=2, recipe=recipe,
        budget=Budget(epochs=6), lr=1e-4, seed=0, watch=lambda epoch, speed: False,
    )  # fmt: skip
    return fitted.images_s or 0.0


def script(architecture: str, photographs: list[tuple[Path, Path]], recipe: Recipe) -> float:
    """The usual loop from PNG files, four loading processes [images/s]."""
    pictures = peers.Pictures(photographs, recipe.size[0])
    loop = peers.Script(peers.network(architecture)[0], pictures, batch=recipe.batch, device="cuda", loaders=4)
    loop.train()
    return loop.train()


def measured(call, *arguments) -> dict[str, float]:
    """Its throughput and the peak of memory [MiB]; what raises is told, not hidden."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(GPU)
    try:
        speed = call(*arguments)
    except RuntimeError as error:
        return {"error": str(error).splitlines()[0][:200]}
    return {"images_s": round(speed, 1), "peak_mb": round(torch.cuda.max_memory_allocated(GPU) / 2**20)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; this table is of a GPU")
    torch.backends.cudnn.benchmark = True
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photographs = files(Path(folder), 32)
        for architecture, size, batch in ROWS:
            recipe = Recipe(size=(size, size), batch=batch, augment="standard")
            data, eager = pairs(size), Execution(precision="bf16", micro_batch=batch)
            row: dict[str, object] = {"architecture": architecture, "size": size, "batch": batch}
            for mode in ("eager", "graphs"):
                way = replace(eager, mode=mode)
                row[f"bare {mode}"] = measured(bare, architecture, way, data, recipe)
                row[f"ours {mode}"] = measured(ours, architecture, way, data, recipe)
            row["script"] = measured(script, architecture, photographs, recipe)
            timer = execution.Timer(built(architecture, eager).network, losses.build("dice+ce"), 32, 2, recipe, GPU)
            row["chosen"] = execution.fastest(timer, execution.rule(recipe, GPU)).speeds
            rows.append(row)
            print(json.dumps(row), flush=True)
    content = {"environment": environment(GPU, torch.get_num_threads()), "rows": rows}
    chosen.to.parent.mkdir(parents=True, exist_ok=True)
    chosen.to.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
