"""The keys that this package adds to detectron2's config, and the defaults it changes.

A group that fills a dataclass takes its keys and defaults from there, where each is explained.
"""

from __future__ import annotations

from detectron2.config import CfgNode as CN

from bccd_d2.data.augment.extras import ExtraOptions
from bccd_d2.data.augment.microscope import MicroscopeOptions
from bccd_d2.data.augment.photometric import PhotometricOptions
from bccd_d2.data.mapper import MapperOptions
from bccd_d2.data.preprocess import PreprocessOptions
from bccd_d2.masks.cell_types import TypeOptions
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.cleanup import CleanupOptions
from bccd_d2.masks.encode import EncodeOptions
from bccd_d2.masks.otsu import OtsuOptions
from bccd_d2.modeling.dense.answer import AnswerOptions
from bccd_d2.modeling.dense.blend import Tiles
from bccd_d2.modeling.options import keys_of
from bccd_d2.modeling.rcnn.redraw import RedrawOptions


def add_bccd_config(config: CN) -> None:
    """Add our keys in place; detectron2's own keep their meaning."""
    _change_defaults(config)
    _add_input(config)
    _add_model(config)
    _add_dense(config)
    _add_solver(config)


def _change_defaults(config: CN) -> None:
    config.INPUT.FORMAT = "RGB"
    config.INPUT.MASK_FORMAT = "bitmask"
    config.MODEL.META_ARCHITECTURE = "CellRCNN"
    config.MODEL.DEVICE = "auto"  # "auto" takes the GPU where there is one; else "cpu", "cuda:1".
    config.MODEL.WEIGHTS = ""
    config.MODEL.MASK_ON = True
    config.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]  # ImageNet, RGB, 0 to 255
    config.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]
    config.MODEL.ROI_HEADS.NUM_CLASSES = 1
    config.MODEL.ROI_BOX_HEAD.NAME = "CellBoxHead"
    config.MODEL.ROI_MASK_HEAD.NAME = "CellMaskHead"
    # The one cap on cells per image: it drives the box predictor, the RPN's proposals at test time
    # and COCO's maxDets. The densest image of the dataset has 190 cells.
    config.TEST.DETECTIONS_PER_IMAGE = 300
    config.TEST.EVAL_PERIOD = 0  # iterations between evaluations; 0 = only after the last
    config.SEED = 0
    config.OUTPUT_DIR = "output/run"


def _add_input(config: CN) -> None:
    config.DATASETS.ROOT = ""  # converted folder; "" looks at BCCD_DATASET, DETECTRON2_DATASETS
    config.DATASETS.MORE = ()  # further converted folders: bccd2_train, bccd3_train, ...
    config.DATASETS.TAXONOMY = "blood"  # what labels mean to MODEL.CLASSES: a name or a file
    config.DATASETS.TRAIN = ("bccd_train",)
    config.DATASETS.VALIDATION = ("bccd_val",)  # chooses the best checkpoint and the threshold
    config.DATASETS.TEST = ("bccd_test",)  # seen by --eval-only alone
    mapper, photometric = MapperOptions(), PhotometricOptions()  # what each key means is said there
    config.INPUT.IMAGE_SCALE = mapper.image_scale
    # A model's file carries DIAMETER / IMAGE_SCALE; 0 = every image is scaled by IMAGE_SCALE.
    config.INPUT.DIAMETER = mapper.diameter or 0.0
    config.INPUT.CROP_SIZE = mapper.crop_size[0]
    config.INPUT.SCALE_RANGE = mapper.scale_range
    config.INPUT.CROWD_CANDIDATES = mapper.crowd_candidates
    config.INPUT.UNIFORM = mapper.uniform_probability
    config.INPUT.MIN_VISIBLE = mapper.min_visible
    config.INPUT.IGNORE_VISIBLE = mapper.ignore_visible
    config.INPUT.FLIP = mapper.flip
    config.INPUT.ROT90 = mapper.rotate90
    jitter = config.INPUT.JITTER = CN()
    jitter.BRIGHTNESS = photometric.brightness
    jitter.CONTRAST = photometric.contrast
    jitter.SATURATION = photometric.saturation
    jitter.HUE = photometric.hue
    jitter.BLUR = photometric.blur_probability
    jitter.NOISE = photometric.noise_probability
    config.INPUT.EXTRA = CN(keys_of(ExtraOptions()))  # all off
    config.INPUT.MICROSCOPE = CN(keys_of(MicroscopeOptions()))  # all off
    _add_preprocessing(config.INPUT)
    # > 0: so many crops are drawn and then come again in another order; 0 = always new ones
    config.DATALOADER.SAMPLES = 0
    config.DATALOADER.CACHE_MB = 0  # decoded images kept in memory by each loading process


def _add_preprocessing(given: CN) -> None:
    """The same for every image, in training and in use; a checkpoint records and checks it."""
    usual = PreprocessOptions()
    given.STAIN = CN()
    given.STAIN.METHOD = ""  # "" (off), "reinhard" or "macenko"
    given.STAIN.STRENGTH = usual.stain_strength
    given.STAIN.REFERENCE = ()  # numbers of StainStatistics; () = median of DATASETS.TRAIN
    given.DENOISE = usual.denoise
    given.CLAHE = usual.clahe


def _add_model(config: CN) -> None:
    config.MODEL.CLASSES = CN(keys_of(Classes()))  # what a cell may be; masks/classes.py
    config.MODEL.TYPES = CN(keys_of(TypeOptions()))  # a network that gives types to found cells
    config.MODEL.NEW_PARTS = ()  # beginnings of parameters' names that MODEL.WEIGHTS may lack
    vit = config.MODEL.VIT = CN()
    vit.PRESET = "vit_base"  # a name of bccd_d2.modeling.backbones.presets.PRESETS
    vit.WEIGHTS = ""  # "" (random), a local file, "timm:NAME" or "hf-hub:OWNER/NAME"
    vit.DEPTH = 0  # blocks; 0 here and below = the preset's own
    vit.DIM = 0  # channels of a token
    vit.HEADS = 0
    vit.GRID = 0  # side of the position embedding in tokens
    vit.WINDOW_SIZE = 0  # side of an attention window in tokens; 0 = whole image
    vit.GLOBAL_BLOCKS = ()  # blocks that attend over the whole image all the same
    vit.POSITION = "resize"  # "resize" or "tile" the position embedding over the image
    vit.DROP_PATH = 0.0  # stochastic depth rate of the last block
    vit.ZOOM = 1  # 2: the ViT sees the image twice as large: tokens of half as many pixels
    vit.FROZEN = False  # train no parameter of the ViT
    vit.CACHE_MB = 0  # of a frozen ViT's tokens, kept for crops that come again: DATALOADER.SAMPLES
    vit.FROZEN_ITERS = 0  # iterations before the ViT begins to train, from its top block
    vit.FROZEN_EPOCHS = 0.0  # > 0 sets FROZEN_ITERS from the number of training images
    vit.UNFREEZE_ITERS = 0  # then iterations from one block to the next below it; 0 = all at once
    vit.UNFREEZE_EPOCHS = 0.0  # > 0 sets UNFREEZE_ITERS from the number of training images
    vit.ACTIVATION_CHECKPOINTING = False  # recompute activations to save memory
    # Of a ResNet, as torchvision or detectron2 name its tensors: "" (random), a local file (.pth,
    # .safetensors), "timm:NAME" or "hf-hub:OWNER/NAME"; bccd_d2.modeling.backbones.resnet
    config.MODEL.RESNETS.WEIGHTS = ""
    config.MODEL.PYRAMID = CN()
    config.MODEL.PYRAMID.CHANNELS = 256
    config.MODEL.PYRAMID.COARSEST = 5  # 5: p2 to p5 (strides 4 to 32); 6: with p6 (64); 3, 4: less
    config.MODEL.PYRAMID.STEM = 0  # channels of a stem on the image itself: adds p1 (stride 2)
    config.MODEL.PYRAMID.UNET = False  # the stem is a U-Net that the tokens join; else shallow
    config.MODEL.BACKBONE.NAME = "build_vit_pyramid"
    _add_outlines(config.MODEL)
    _add_redraw(config)
    config.MODEL.OTSU = CN(keys_of(OtsuOptions()))  # of META_ARCHITECTURE "OtsuWatershed"


def _add_redraw(config: CN) -> None:
    """At inference only: nothing here changes the training."""
    config.MODEL.REDRAW = CN(keys_of(RedrawOptions()))  # detected masks drawn anew
    config.TEST.CLEANUP = CN(keys_of(CleanupOptions()))  # of finished masks


def _add_outlines(given: CN) -> None:
    """Of "CellROIHeads", "CellCascadeROIHeads" and `CellRCNN`."""
    mask = given.ROI_MASK_HEAD
    mask.LOSS_WEIGHT = 1.0  # factor of loss_mask
    mask.BOX_MARGIN = 1.0  # masks are drawn in boxes this many times as wide and high
    mask.FINE = False  # mix p1 into the upsampled mask; needs PYRAMID.STEM
    mask.SAMPLES = 0  # most boxes an image that the mask head learns from; 0 = all positive ones
    mask.DICE = 0.0  # weight of the Dice loss beside the cross-entropy
    mask.OUTLINE = 0.0  # further weight of pixels at the outline in the cross-entropy
    mask.IOU_LOSS = 0.0  # > 0: predict each mask's IoU, with this loss weight
    mask.IOU_POWER = 1.0  # a score is multiplied by the predicted IoU to this power
    outline = given.OUTLINE = CN()  # auxiliary dense head; bccd_d2.modeling.rcnn.outline
    outline.ENABLED = False  # predict cell, boundary and centre for each pixel; needs PYRAMID.STEM
    outline.CHANNELS = 32
    outline.LOSS_WEIGHT = 1.0  # factor of its losses


def _add_dense(config: CN) -> None:
    """Of META_ARCHITECTURE "DenseSegmentor"; lengths in px at ``INPUT.IMAGE_SCALE``."""
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
    dense.BORDER_FIELD = answer.border_field
    dense.SLIVER_AREA = answer.sliver_area
    dense.COUNTED = answer.counted
    dense.COUNTED_WHERE = answer.counted_where
    dense.OUTLINES = answer.outlines
    dense.TARGET = CN(keys_of(EncodeOptions()))  # how maps to learn from are drawn
    dense.DECODE = CN(keys_of(answer.decode))  # how maps become cells


def _add_unet(config: CN) -> None:
    unet = config.MODEL.UNET = CN()  # of BACKBONE.NAME "build_residual_unet"
    unet.CHANNELS = (32, 64, 128, 256)  # of each level, the finest first
    unet.STEM_STRIDE = 2  # image pixels to a side of the finest level's map: 1, 2 or 4
    unet.BLOCKS = 1  # residual blocks a level, down and up alike


def _add_solver(config: CN) -> None:
    solver = config.SOLVER
    solver.EPOCHS = 0.0  # > 0 sets MAX_ITER from the number of training images
    solver.STEP_FRACTIONS = ()  # with WarmupMultiStepLR: the steps as shares of MAX_ITER
    solver.LAYER_DECAY = 1.0  # learning-rate factor from one ViT block to the one below it
    solver.BACKBONE_FACTOR = 1.0  # learning rate of the ViT over that of the heads
    solver.BETAS = (0.9, 0.999)  # AdamW's
    solver.ACCUMULATE = 1  # micro-batches a step; IMS_PER_BATCH stays the effective batch
    solver.PRECISION = "fp32"  # "fp32", "bf16" (CPU or GPU) or "fp16" (GPU)
    solver.BASE_LR = 1e-4
    solver.WEIGHT_DECAY = 0.05
    solver.WEIGHT_DECAY_NORM = 0.0  # also biases, position embeddings and LayerScale
    solver.LR_SCHEDULER_NAME = "WarmupCosineLR"
    solver.CLIP_GRADIENTS.ENABLED = True
    solver.CLIP_GRADIENTS.CLIP_TYPE = "full_model"  # norm over all parameters; the only one here
    solver.CLIP_GRADIENTS.CLIP_VALUE = 1.0
    solver.EMA_DECAY = 0.0  # > 0: moving average of the weights (.999), evaluated in their place
    solver.EMA_WARMUP = 10.0  # after n steps the decay is at most (1 + n) / (EMA_WARMUP + n)
    solver.BEST_METRIC = "segm/AP"  # what model_best.pth is best in on validation: group/score
    solver.BEST_MODE = "max"  # or "min", for validation/total_loss or instances/count_mae
    solver.PATIENCE = 0  # evaluations in a row without a new best before training stops; 0 = never
    config.TEST.EVAL_EPOCHS = 0.0  # > 0 sets EVAL_PERIOD from the number of training images
    config.TEST.LOSS_BATCHES = 4  # validation crops, in batches, for the validation loss; 0 = none
