"""The config keys of models without boxes: META_ARCHITECTURE "DenseSegmentor" and its U-Net."""

from __future__ import annotations

from detectron2.config import CfgNode as CN


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
    dense.TILE = 0  # side of the tiles that an image is cut into at inference, px; 0 = whole
    dense.OVERLAP = 0  # least px that tiles share; answers are blended by Gaussian weights
    dense.TILE_BATCH = 8  # tiles at once
    dense.SCORE = "probability"  # mean of it in a cell; "agreement": times what its outline earns
    dense.BORDER_AREA = 0.0  # px below which a cell that the image's edge cuts loses score; 0 = off
    dense.BORDER_FIELD = 0.0  # px of an image's shorter side from which BORDER_AREA acts; 0 = always
    dense.SLIVER_AREA = 0  # least px of cells at the image's edge, in place of DECODE.MIN_AREA; 0 = off
    dense.COUNTED = 0.0  # power of the "counted" head in a cell's score; 0 = every cell counts
    dense.OUTLINES = "image"  # resolution at which outlines are drawn: "image" or "model"
    _add_targets(dense)
    _add_decode(dense)


def _add_unet(config: CN) -> None:
    unet = config.MODEL.UNET = CN()  # of BACKBONE.NAME "build_residual_unet"
    unet.CHANNELS = (32, 64, 128, 256)  # of each level, the finest first
    unet.STEM_STRIDE = 2  # image pixels to a side of the finest level's map: 1, 2 or 4
    unet.BLOCKS = 1  # residual blocks a level, down and up alike


def _add_targets(dense: CN) -> None:
    target = dense.TARGET = CN()  # how maps are drawn; bccd_d2.masks.encode.EncodeOptions
    target.BOUNDARY_WIDTH = 2  # px of a cell's edge that are boundary; 0 = only gaps
    target.BOUNDARY_GAP = 3  # background with two cells within these px is boundary; 0 = none
    target.CENTRE = "gaussian"  # "point", "disc" or "gaussian"
    target.CENTRE_SIZE = 0.12  # radius or sigma, px or share of the cell's diameter
    target.CENTRE_RELATIVE = True  # which of the two


def _add_decode(dense: CN) -> None:
    decode = dense.DECODE = CN()  # how maps become cells; bccd_d2.masks.decode.DecodeOptions
    decode.METHOD = "threshold"  # "threshold", "boundary", "watershed" or "flow"
    decode.CELL_THRESHOLD = 0.5  # probability of foreground
    decode.CELL_HIGH = 0.0  # what a piece of foreground must reach somewhere; 0 = no condition
    decode.BOUNDARY_THRESHOLD = 0.5  # probability of boundary
    decode.SEED_MAP = "centre"  # or "distance": where the watershed's seeds come from
    decode.SEED_THRESHOLD = 0.5
    decode.SEED_DISTANCE = 0.0  # px between peaks that are seeds; 0 = connected pieces are seeds
    decode.MIN_SEED_AREA = 1  # px
    decode.KEEP_UNSEEDED = True  # foreground without a seed is a cell of its own
    decode.LANDSCAPE = "shape"  # what the watershed floods: or "distance", "boundary", "centre"
    decode.MAX_FLOW_ERROR = 0.0  # cells of less consistent flows are dropped; 0 = none are
    decode.MIN_AREA = 16  # px; smaller cells are dropped
    decode.FILL_HOLES = True
    flow = decode.FLOW = CN()  # bccd_d2.masks.flows.FlowOptions
    flow.STEP_SIZE = 1.0  # px
    flow.STEPS = 16
    flow.LEAPS = 5  # how often the way is doubled
    flow.SINK_COUNT = 8  # px that must end in a sink
    flow.SINK_RADIUS = 1  # px; sinks closer than twice this are one
