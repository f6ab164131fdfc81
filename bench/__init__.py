"""A benchmark of segmentation architectures across microscopy data sets.

    import bench

    model = bench.load("results/quick/cells/smear/plain_unet/dice+ce/f0-s0")
    labels, probabilities = model.predict(image)  # uint8 (H, W), float32 (C, H, W)

`load` and what goes with it are imported when they are asked for: `import bench` alone loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.predict import How, Model, Options, Prediction, load

__version__ = "0.1.0"
__all__ = ["How", "Model", "Options", "Prediction", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from bench import predict

        return getattr(predict, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
