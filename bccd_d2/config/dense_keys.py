"""The config keys of models without boxes: META_ARCHITECTURE "DenseSegmentor" and its U-Net."""

from __future__ import annotations

from detectron2.config import CfgNode as CN

from bccd_d2.masks.encode import EncodeOptions
from bccd_d2.modeling.dense.answer import AnswerOptions
from bccd_d2.modeling.dense.blend import Tiles
from bccd_d2.modeling.options import keys_of


def add_dense_config(config: CN) -> None:
    """Add the keys in place; lengths in pixels are those at ``INPUT.IMAGE_SCALE``."""
    _add_unet(config)
    dense = config.MODEL.DENSE = CN()
    dense.IN_FEATURES = ()  # maps of the backbone that the decoder takes; () = all
    dense.DECODER = "stepwise"  # "stepwise", "transposed", "shuffle" or "fusion"
    dense.CHANNELS = 64  # channels of the decoder's map
    dense.STRIDE = 4  # image pixels to a side of the decoder's map
    dense.HEADS = ("cell",)  # "cell" and any of "boundary", "centre", "distance", "flow"
    dense.LOSSES = ("dice + bce",)  # of each head in turn; see bccd_d2.losses.composite
    dense.LOSS_WEIGHTS = ()  # factor of each head's loss; () = 1
    dense.WEIGHTING = "fixed"  # or "uncertainty": factors that are learned, from these on
    dense.BOUNDARY_WEIGHT = 1.0  # of boundary pixels in the pixel-wise losses of "cell"
    dense.CENTRE_WEIGHT = 1.0  # of centre pixels there
    tiles, answer = Tiles(), AnswerOptions()
    dense.TILE = tiles.size
    dense.OVERLAP = tiles.overlap
    dense.TILE_BATCH = tiles.batch
    dense.SCORE = answer.score
    dense.BORDER_AREA = answer.border_area
    dense.OUTLINES = answer.outlines
    dense.TARGET = CN(keys_of(EncodeOptions()))  # how maps to learn from are drawn
    dense.DECODE = CN(keys_of(answer.decode))  # how maps become cells


def _add_unet(config: CN) -> None:
    unet = config.MODEL.UNET = CN()  # of BACKBONE.NAME "build_residual_unet"
    unet.CHANNELS = (32, 64, 128, 256)  # of each level, the finest first
    unet.STEM_STRIDE = 2  # image pixels to a side of the finest level's map: 1, 2 or 4
    unet.BLOCKS = 1  # residual blocks a level, down and up alike
