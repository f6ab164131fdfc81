"""A network as it is run: padded to its divisor, in a precision, a memory layout and a mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.records import Execution

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
Heads = Tensor | tuple[Tensor, ...]
"""What a network gives: logits (N, C, H, W), or several of them while it trains, the prediction first."""


class Forward:
    """Images of any size to logits of the same size, as an execution says.

    Attributes:
        network: The network itself, on its device; its parameters lie in the layout of the execution from now on.
        divisor: Inputs are padded to a multiple of this, and logits cropped back [pixels].
        execution: Precision, layout, mode, and how many images go through at once.
    """

    def __init__(self, network: nn.Module, divisor: int, execution: Execution) -> None:
        self.network = network.to(memory_format=LAYOUTS[execution.layout])
        self.divisor, self.execution = divisor, execution
        runners = {"eager": lambda cast: cast, "compiled": _compiled, "graphs": _Graphs}
        self._run = runners[execution.mode](_Cast(network, PRECISIONS[execution.precision]))

    def __call__(self, images: Tensor) -> Tensor:
        """Logits float32 (N, C, H, W) of images float32 (N, 3, H, W): the prediction."""
        return self.heads(images)[0]

    def heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """Every set of logits float32 (N, C, H, W) that the loss is taken of; the prediction is the first.

        There are several only while a network trains that is supervised at several depths.
        """
        height, width = images.shape[-2:]
        below, right = -height % self.divisor, -width % self.divisor
        if below or right:
            images = functional.pad(images, (0, right, 0, below), mode="replicate")
        found: Heads = self._run(images.contiguous(memory_format=LAYOUTS[self.execution.layout]))
        heads = (found,) if isinstance(found, Tensor) else found
        return tuple(logits[..., :height, :width].float() for logits in heads)


class _Cast(nn.Module):
    """A network under autocast."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.precision = network, precision
        self.train(network.training)

    def forward(self, images: Tensor) -> Heads:
        # casts are not cached: what a captured graph casts must be cast in the graph
        wanted = self.precision is not torch.float32
        with torch.autocast(images.device.type, self.precision, enabled=wanted, cache_enabled=False):
            return self.network(images)


def _compiled(cast: _Cast) -> nn.Module:
    """Compiled at the first batch of each shape; shapes are few, since batches differ by one image at most."""
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 16)
    return torch.compile(cast, dynamic=False)  # ty: ignore[invalid-explicit-return]


class _Graphs:
    """Training steps as CUDA graphs, one per shape, captured at its first batch; anything else as it is."""

    def __init__(self, cast: _Cast) -> None:
        self.cast, self.captured = cast, dict[torch.Size, _Cast]()

    def __call__(self, images: Tensor) -> Heads:
        if not (self.cast.network.training and torch.is_grad_enabled()):
            return self.cast(images)
        if images.shape not in self.captured:
            self.captured[images.shape] = self._capture(images)
        return self.captured[images.shape](images)

    def _capture(self, images: Tensor) -> _Cast:
        """Warming up for a capture moves running statistics; they are put back where they were."""
        buffers = {name: buffer.clone() for name, buffer in self.cast.named_buffers()}
        graphed = torch.cuda.make_graphed_callables(_Cast(self.cast.network, self.cast.precision), (images.clone(),))
        for name, buffer in self.cast.named_buffers():
            buffer.copy_(buffers[name])
        return graphed  # ty: ignore[invalid-explicit-return]
