"""Random changes of crops that leave a cell's type what it is: turns, size, colour, focus."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def turned(
    planes: torch.Tensor, side: int, generator: torch.Generator, zoom: tuple[float, float]
) -> torch.Tensor:
    """(N, C, side, side): each mirrored or not, turned by any angle and zoomed about its middle.

    Args:
        planes: (N, C, S, S) float.
        zoom: least and greatest factor; at 1 a pixel stays a pixel.
    """
    count, whole = len(planes), planes.shape[-1]
    angle = torch.rand(count, generator=generator) * 2 * math.pi
    low, high = (math.log(factor) for factor in zoom)
    factor = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    mirror = (torch.rand(count, generator=generator) < 0.5).float() * 2 - 1
    reach = side / whole / factor
    cos, sin, none = reach * angle.cos(), reach * angle.sin(), torch.zeros(count)
    matrix = torch.stack([cos * mirror, -sin, none, sin * mirror, cos, none], dim=1)
    grid = F.affine_grid(matrix.view(count, 2, 3), [count, 1, side, side], align_corners=False)
    return F.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def recoloured(pixels: torch.Tensor, generator: torch.Generator, hue: float = 0.06) -> torch.Tensor:
    """(N, 3, S, S), 0 to 255: other light, contrast, saturation, tint, hue, focus and noise.

    Args:
        pixels: (N, 3, S, S) float, 0 to 255.
        hue: the most that the colour circle turns, as a share of it. Purple must stay purple.
    """
    count = len(pixels)

    def between(low: float, high: float, channels: int = 1) -> torch.Tensor:
        drawn = torch.rand(count, channels, 1, 1, generator=generator)
        return low + (high - low) * drawn

    x = pixels / 255
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * between(0.65, 1.35) + mean + between(-0.12, 0.12)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * between(0.5, 1.5)
    x = x + between(-0.06, 0.06, 3)
    x = _hue_turned(x, between(-hue, hue).flatten() * 2 * math.pi)
    x = x.clamp(1e-3, 1) ** torch.exp(between(-0.3, 0.3))
    x = _blurred(x, generator)
    x = x + torch.randn(x.shape, generator=generator) * between(0, 0.03)
    return x.clamp(0, 1) * 255


def _hue_turned(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Colours turned about the grey axis (Rodrigues' formula for the axis (1, 1, 1))."""
    cos, sin = angle.cos(), angle.sin() / math.sqrt(3)
    even = (1 - cos) / 3
    rows = [cos + even, even - sin, even + sin]
    matrix = torch.stack([*rows, *rows[2:], *rows[:2], *rows[1:], *rows[:1]], dim=1)
    return torch.einsum("nij,njhw->nihw", matrix.view(-1, 3, 3), x)


def _blurred(x: torch.Tensor, generator: torch.Generator, share: float = 0.3) -> torch.Tensor:
    """Some of the images out of focus, all of a batch by one width."""
    chosen = torch.rand(len(x), generator=generator) < share
    if not chosen.any():
        return x
    sigma = 0.3 + 1.2 * float(torch.rand(1, generator=generator))
    taps = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / (2 * sigma**2))
    taps = taps / taps.sum()
    kernel = (taps[:, None] * taps[None])[None, None]
    soft = F.pad(x[chosen], (3, 3, 3, 3), mode="replicate")
    soft = F.conv2d(soft.flatten(0, 1)[:, None], kernel).view_as(x[chosen])
    x = x.clone()
    x[chosen] = soft
    return x
