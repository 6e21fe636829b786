"""The network of the image tasks: small enough for a processor without a GPU, and the same on every rank."""

from __future__ import annotations

from torch import nn

from edge_training.task import Tensor

GROUPS = 8
WIDTHS = (32, 64, 64)
HIDDEN = 128
SMALL_SIDE = 6


class _Pixels(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Pixels as files have them, (n, height, width) or (n, height, width, 3), 0 to 255, to (n, c, h, w), 0 to 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        planes = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)
        return planes / 255.0


def convolutional(height: int, width: int, channels: int, classes: int) -> nn.Module:
    """Three convolutions, more for large images, each halving the image, and two layers on what is left of it.

    GroupNorm, not BatchNorm: it needs no statistics over a batch, which every rank would have of its own data only, and
    which differ where devices hold different classes (Hsieh et al., arXiv 1910.00189).
    """
    layers: list[nn.Module] = [_Pixels()]
    before, number = channels, 0
    while number < len(WIDTHS) or min(height, width) > SMALL_SIDE:
        after = WIDTHS[min(number, len(WIDTHS) - 1)]
        layers += [nn.Conv2d(before, after, kernel_size=3, padding=1), nn.GroupNorm(GROUPS, after), nn.ReLU()]
        if min(height, width) > 1:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        before, number = after, number + 1
    flat = before * height * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
