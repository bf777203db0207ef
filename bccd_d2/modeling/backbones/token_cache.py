"""What a frozen ViT said of an image, kept for when the image comes again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch


class TokenCache:
    """Token maps by the images' own pixels, in half precision.

    Nothing else names an image, so a crop that was drawn, turned or coloured otherwise is another
    image and never gets wrong tokens. With ``DATALOADER.SAMPLES`` crops that come again and again,
    a frozen ViT is run once for each. What does not fit is computed each time.

    Args:
        cache_mb: bound in MB (10^6 bytes). A 256 px crop has 256 tokens of a ViT-S: 0.2 MB.
    """

    def __init__(self, cache_mb: float) -> None:
        self._room = cache_mb * 1e6
        self._kept: dict[bytes, torch.Tensor] = {}

    def __len__(self) -> int:
        """Number of images whose tokens are kept."""
        return len(self._kept)

    @torch.no_grad()
    def get(
        self, images: torch.Tensor, compute: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """(B, C, h, w) tokens of ``images`` (B, 3, H, W), those that are not known by ``compute``.

        They are rounded to half precision the first time too, so that all times are alike.
        """
        keys = [_key(image) for image in images]
        new = [i for i, key in enumerate(keys) if key not in self._kept]
        found = {}
        if new:
            tokens = compute(images[new]).half().cpu()
            found = {keys[i]: one.clone() for i, one in zip(new, tokens, strict=True)}
        chosen = [found[key] if key in found else self._kept[key] for key in keys]
        for key, one in found.items():
            size = one.numel() * one.element_size()
            if size <= self._room:
                self._kept[key] = one
                self._room -= size
        return torch.stack([one.to(images.device, images.dtype) for one in chosen])


def _key(image: torch.Tensor) -> bytes:
    pixels = image.detach().float().cpu().contiguous()
    return hashlib.blake2b(pixels.numpy().tobytes(), key=str(tuple(pixels.shape)).encode()).digest()
