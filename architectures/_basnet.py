"""BASNet's two modules, the one that predicts and the one that refines; imported when one is built: it loads torch."""

from __future__ import annotations

import torch
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from ._blocks import conv_bn_relu, enlarged


class BASNet(nn.Module):
    """Six stages down, a dilated bridge, six stages up, and a refinement; (N, channels, H, W) to (N, classes, H, W).

    Args:
        encoder: A ResNet of timm; what it does before its stages is left out.
        widths: Channels of its four stages, at H to H / 8.
        deep: Whether all eight outputs are given in training, the refined one first, then from fine to coarse.
    """

    def __init__(self, encoder: nn.Module, channels: int, classes: int, widths: list[int], *, deep: bool) -> None:
        super().__init__()
        width, deepest = widths[0], widths[-1]
        self.encoder, self.deep = encoder, deep
        self.stem = conv_bn_relu(channels, encoder.get_submodule("model.layer1.0.conv1").weight.shape[1])
        self.deeper = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), *(BasicBlock(deepest, deepest) for _ in range(3)))
            for _ in range(2)
        )
        self.bridge = nn.Sequential(*(conv_bn_relu(deepest, deepest, dilation=2) for _ in range(3)))
        features = [*widths, deepest, deepest]  # at H to H / 32
        self.decoder = nn.ModuleList(
            nn.Sequential(
                conv_bn_relu(2 * before, before),
                conv_bn_relu(before, before, dilation=2 if stage == 5 else 1),
                conv_bn_relu(before, after, dilation=2 if stage == 5 else 1),
            )
            for stage, (before, after) in enumerate(zip(features, [width, *features], strict=False))
        )
        predicting = [width, *features[:5], deepest] if deep else [width]  # and the bridge is the last
        self.heads = nn.ModuleList(nn.Conv2d(before, classes, 3, padding=1) for before in predicting)
        self.refine = Refinement(classes, width)

    def features(self, images: Tensor) -> list[Tensor]:
        """What each of the four stages of the encoder makes of images, at H to H / 8."""
        found = [self.stem(images)]
        for number in range(1, 5):
            found.append(self.encoder.get_submodule(f"model.layer{number}")(found[-1]))
        return found[1:]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Refined logits; in training, beside them, those of every stage."""
        skips = self.features(images)
        for block in self.deeper:
            skips.append(block(skips[-1]))  # at H to H / 32
        x = self.bridge(skips[-1])
        features = [x]
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            x = block(torch.cat([enlarged(x, skip), skip], dim=1))
            features.append(x)
        if not (self.deep and self.training):
            return self.refine(self.heads[0](x))
        outputs = [enlarged(head(one), images) for head, one in zip(self.heads, reversed(features), strict=True)]
        return (self.refine(outputs[0]), *outputs)


class Refinement(nn.Module):
    """A U-Net of one width that tells what to add to logits: (N, classes, H, W) to the same."""

    def __init__(self, classes: int, width: int, levels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(classes, width, 3, padding=1)
        self.down = nn.ModuleList(conv_bn_relu(width, width) for _ in range(levels))
        self.deepest = conv_bn_relu(width, width)
        self.back = nn.ModuleList(conv_bn_relu(2 * width, width) for _ in range(levels))
        self.last = nn.Conv2d(width, classes, 3, padding=1)

    def forward(self, logits: Tensor) -> Tensor:
        """The sum of the logits and what they lack."""
        x, skips = self.first(logits), list[Tensor]()
        for block in self.down:
            skips.append(block(x))  # (N, width, H / 2^level, ..)
            x = nn.functional.max_pool2d(skips[-1], 2, ceil_mode=True)
        x = self.deepest(x)
        for block, skip in zip(self.back, reversed(skips), strict=True):
            x = block(torch.cat([enlarged(x, skip), skip], dim=1))
        return logits + self.last(x)
