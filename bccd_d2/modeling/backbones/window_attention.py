"""Cutting a token map into square windows and putting it together again.

Shapes: B images, H x W tokens, C channels, w the window's side, n = ceil(H / w) * ceil(W / w).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def to_windows(tokens: torch.Tensor, size: int) -> torch.Tensor:
    """(B, H, W, C) -> (B * n, w * w, C), padded with zeros at the bottom and the right."""
    batch, height, width, channels = tokens.shape
    tokens = F.pad(tokens, (0, 0, 0, -width % size, 0, -height % size))
    rows, columns = tokens.shape[1] // size, tokens.shape[2] // size
    windows = tokens.view(batch, rows, size, columns, size, channels).transpose(2, 3)
    return windows.reshape(batch * rows * columns, size * size, channels)


def from_windows(windows: torch.Tensor, size: int, shape: tuple[int, int]) -> torch.Tensor:
    """The inverse of `to_windows`: (B * n, w * w, C) -> (B, H, W, C) with ``shape`` = (H, W)."""
    height, width = shape
    rows, columns = -(-height // size), -(-width // size)
    tokens = windows.view(-1, rows, columns, size, size, windows.shape[-1]).transpose(2, 3)
    tokens = tokens.reshape(-1, rows * size, columns * size, windows.shape[-1])
    return tokens[:, :height, :width]


def padding_bias(
    shape: tuple[int, int], size: int, like: torch.Tensor, prefix: int = 0
) -> torch.Tensor | None:
    """Additive attention bias that hides the tokens `to_windows` padded with.

    Args:
        shape: (H, W) before padding.
        size: the window's side w.
        like: a tensor of the wanted dtype and device.
        prefix: how many always visible tokens stand before each window's own.

    Returns:
        (n, 1, 1, prefix + w * w) with 0 and -inf, or None where nothing is padded.
    """
    height, width = shape
    if height % size == 0 and width % size == 0:
        return None
    real = to_windows(like.new_ones(1, height, width, 1), size)[..., 0]
    bias = torch.zeros_like(real).masked_fill(real == 0, float("-inf"))
    return F.pad(bias, (prefix, 0))[:, None, None, :]
