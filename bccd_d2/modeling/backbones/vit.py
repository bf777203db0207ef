"""A timm VisionTransformer as a detectron2 backbone, with optional window attention.

timm brings LayerScale, registers, SwiGLU, fused attention and every published layout; this module
adds what a detector needs: any image size, windows with a few global blocks (Li et al., "Exploring
Plain Vision Transformer Backbones for Object Detection", ECCV 2022), tiled position embeddings
(Bolya et al., "Window Attention is Bugged", arXiv 2311.05613), freezing and activation
checkpointing.

Shapes: B images, H x W pixels, h x w tokens, P prefix tokens (class and registers), C channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from timm.layers import SwiGLUPacked, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from bccd_d2.modeling.backbones.token_cache import TokenCache
from bccd_d2.modeling.backbones.window_attention import from_windows, padding_bias, to_windows

POSITIONS = ("resize", "tile")
_CLASSES = {"SwiGLUPacked": SwiGLUPacked, "SiLU": nn.SiLU, "GELU": nn.GELU}


def create_vit(
    architecture: str, *, grid: int, patch: int = 16, **kwargs: Any
) -> VisionTransformer:
    """An untrained timm ViT without classifier that takes images of any size.

    Args:
        architecture: timm model name.
        grid: side of its position embedding in patches.
        patch: side of a patch in pixels, whatever the architecture's name says.
        kwargs: further timm arguments; ``mlp_layer`` and ``act_layer`` may be class names.

    Raises:
        ValueError: timm knows no such model, or it is no plain ViT.
    """
    kwargs = {k: _CLASSES[v] if k in ("mlp_layer", "act_layer") else v for k, v in kwargs.items()}
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture[:12]}*")[:8]
        raise ValueError(f"timm knows no model {architecture!r}; near: {near}")
    vit = timm.create_model(
        architecture, pretrained=False, num_classes=0, global_pool="", dynamic_img_size=True,
        img_size=grid * patch, patch_size=patch, **kwargs,
    )  # fmt: skip
    if not isinstance(vit, VisionTransformer):
        raise ValueError(f"{architecture!r} is a {type(vit).__name__}, not a plain ViT")
    return vit


class TimmViT(Backbone):
    """The last block's normalised patch tokens as one feature map.

    Args:
        vit: a timm ViT made by `create_vit`.
        window_size: side of an attention window in tokens; 0 = attention over the whole image.
        global_blocks: indices of blocks that attend over the whole image all the same.
        position: "resize" stretches the position embedding over the image; "tile" repeats it
            unchanged, which keeps windows of its size in the state they were trained in.
        activation_checkpointing: recompute activations in the backward pass to save memory.
        frozen: train no parameter of the ViT, and keep it in eval mode (no drop path).
        zoom: 2 enlarges the image twice for the ViT, so that a token covers half as many pixels.
        cache_mb: memory for the tokens of training images, so that one that comes again costs
            nothing; only of a frozen ViT. See `TokenCache`.

    Output: {"tokens": (B, C, ceil(H / stride), ceil(W / stride))}, stride being patch / zoom; the
    image is padded with zeros at the bottom and the right to whole patches.

    Raises:
        ValueError: an unknown ``position``, a global block that does not exist, a zoom that is no
            power of 2, or a cache for tokens that change.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        *,
        window_size: int = 0,
        global_blocks: Sequence[int] = (),
        position: str = "resize",
        activation_checkpointing: bool = False,
        frozen: bool = False,
        zoom: int = 1,
        cache_mb: float = 0,
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f"MODEL.VIT.POSITION must be one of {POSITIONS}, got {position!r}")
        missing = [i for i in global_blocks if not 0 <= i < len(vit.blocks)]
        if missing:
            raise ValueError(f"global blocks {missing} do not exist: {len(vit.blocks)} blocks")
        if zoom not in (1, 2, 4):
            raise ValueError(f"MODEL.VIT.ZOOM must be 1, 2 or 4, got {zoom}")
        if cache_mb and not frozen:
            raise ValueError("MODEL.VIT.CACHE_MB keeps tokens of a frozen ViT: set FROZEN True")
        self.vit = vit
        self.zoom = zoom
        self._cache = TokenCache(cache_mb) if cache_mb else None
        self.window_size = window_size
        self.global_blocks = frozenset(global_blocks)
        self.position = position
        self.activation_checkpointing = activation_checkpointing
        self.frozen = frozen
        self._trained_parts = len(vit.blocks) + 1
        self.patch = vit.patch_embed.patch_size[0]
        self._out_features = ["tokens"]
        self._out_feature_channels = {"tokens": vit.embed_dim}
        self._out_feature_strides = {"tokens": self.patch // zoom}
        if frozen:
            vit.requires_grad_(False)
            vit.eval()

    @property
    def size_divisibility(self) -> int:
        return self.patch // self.zoom

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"tokens": ShapeSpec(channels=self.vit.embed_dim, stride=self.patch // self.zoom)}

    def train(self, mode: bool = True) -> TimmViT:
        """As `nn.Module.train`, but what is frozen stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.vit.eval()
        for block in self.vit.blocks[: max(0, len(self.vit.blocks) - self._trained_parts)]:
            block.eval()
        return self

    def train_top(self, parts: int) -> None:
        """Train only the ``parts`` topmost parts of the ViT; a frozen ViT is left as it is.

        Part 1 is the last block with the norm after it, part ``depth`` the first block, part
        ``depth + 1`` the embeddings and prefix tokens. The parts below get no gradient and no drop
        path.
        """
        if self.frozen:
            return
        vit, depth = self.vit, len(self.vit.blocks)
        self._trained_parts = parts
        vit.requires_grad_(parts > depth)
        for block in vit.blocks[max(0, depth - parts) :]:
            block.requires_grad_(True)
        vit.norm.requires_grad_(parts > 0)
        self.train(self.training)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """``images`` (B, 3, H, W) float, normalised."""
        if self._cache is None or not self.training:
            return {"tokens": self._tokens(images)}
        return {"tokens": self._cache.get(images, self._tokens)}

    def _tokens(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) patch tokens of the images."""
        if self.zoom > 1:
            images = nn.functional.interpolate(images, scale_factor=self.zoom, mode="bilinear")
        height, width = images.shape[-2:]
        images = nn.functional.pad(images, (0, -width % self.patch, 0, -height % self.patch))
        vit = self.vit
        patches = vit.patch_embed(images)
        shape = tuple(patches.shape[1:3])
        tokens = vit.norm_pre(vit.patch_drop(self._add_position(patches)))
        bias = None
        if self.window_size:
            bias = padding_bias(shape, self.window_size, tokens, vit.num_prefix_tokens)
            if bias is not None:
                bias = bias.repeat(len(tokens), 1, 1, 1)
        for index, block in enumerate(vit.blocks):
            windowed = self.window_size and index not in self.global_blocks
            if windowed:
                tokens = self._windowed(block, tokens, shape, bias)
            else:
                tokens = self._run(block, tokens)
        tokens = vit.norm(tokens)[:, vit.num_prefix_tokens :]
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *shape)

    def _add_position(self, patches: torch.Tensor) -> torch.Tensor:
        """(B, h, w, C) patches -> (B, P + h * w, C) with class, registers and positions."""
        vit = self.vit
        batch, height, width, _ = patches.shape
        spatial = patches.flatten(1, 2)
        prefix = [t.expand(batch, -1, -1) for t in (vit.cls_token, vit.reg_token) if t is not None]
        if vit.pos_embed is None:
            return vit.pos_drop(torch.cat([*prefix, spatial], dim=1))
        embedded = 0 if vit.no_embed_class else vit.num_prefix_tokens
        position = self._positions(vit.pos_embed, (height, width), embedded)
        if vit.no_embed_class:
            tokens = torch.cat([*prefix, spatial + position], dim=1)
        else:
            tokens = torch.cat([*prefix, spatial], dim=1) + position
        return vit.pos_drop(tokens)

    def _positions(
        self, stored: torch.Tensor, shape: tuple[int, int], embedded: int
    ) -> torch.Tensor:
        """(1, embedded + h * w, C) position embedding of a token map of ``shape`` (h, w)."""
        grid = self.vit.patch_embed.grid_size
        if self.position == "resize":
            return resample_abs_pos_embed(
                stored, new_size=list(shape), old_size=list(grid), num_prefix_tokens=embedded
            )
        tile = stored[:, embedded:].reshape(1, *grid, -1)
        repeats = [-(-n // side) for n, side in zip(shape, grid, strict=True)]
        tiled = tile.repeat(1, *repeats, 1)[:, : shape[0], : shape[1]].flatten(1, 2)
        return torch.cat([stored[:, :embedded], tiled], dim=1)

    def _run(
        self, block: nn.Module, tokens: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        kwargs: dict[str, Any] = {} if bias is None else {"attn_mask": bias}
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, tokens, use_reentrant=False, **kwargs)
        return block(tokens, **kwargs)

    def _windowed(
        self,
        block: nn.Module,
        tokens: torch.Tensor,
        shape: tuple[int, int],
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """One block inside windows; each window sees the prefix tokens, whose mean goes on."""
        batch, _, channels = tokens.shape
        count = self.vit.num_prefix_tokens
        spatial = tokens[:, count:].reshape(batch, *shape, channels)
        windows = to_windows(spatial, self.window_size)
        each = len(windows) // batch
        prefix = tokens[:, :count].repeat_interleave(each, dim=0)
        windows = self._run(block, torch.cat([prefix, windows], dim=1), bias)
        prefix = windows[:, :count].reshape(batch, each, count, channels).mean(dim=1)
        spatial = from_windows(windows[:, count:], self.window_size, shape)
        return torch.cat([prefix, spatial.flatten(1, 2)], dim=1)


def layer_index(name: str, depth: int) -> int:
    """Depth of a detector's parameter, for layer-wise learning-rate decay.

    Args:
        name: parameter name inside the whole model, such as
            ``backbone.net.vit.blocks.3.norm1.bias``.
        depth: number of ViT blocks.

    Returns:
        0 for the patch and position embedding and prefix tokens, i + 1 for block i, and depth + 1
        for everything after the blocks.
    """
    match = re.search(r"\.vit\.blocks\.(\d+)\.", f".{name}")
    if match:
        return int(match.group(1)) + 1
    if ".vit." in f".{name}" and ".vit.norm." not in f".{name}":
        return 0
    return depth + 1
