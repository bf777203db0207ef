"""The keys that this package adds to detectron2's config, and the defaults it changes."""

from __future__ import annotations

from detectron2.config import CfgNode as CN

from bccd_d2.training.dense_keys import add_dense_config


def add_bccd_config(config: CN) -> None:
    """Add our keys in place; detectron2's own keep their meaning."""
    _change_defaults(config)
    _add_input(config)
    _add_model(config)
    add_dense_config(config)
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
    # The one cap on cells an image: it drives the box predictor, the RPN's proposals at test time
    # and COCO's maxDets. The densest image of the dataset has 190 cells.
    config.TEST.DETECTIONS_PER_IMAGE = 300
    config.TEST.EVAL_PERIOD = 0  # iterations between evaluations; 0 = only after the last
    config.SEED = 0
    config.OUTPUT_DIR = "output/run"


def _add_input(config: CN) -> None:
    config.DATASETS.ROOT = ""  # converted folder; "" looks at BCCD_DATASET, DETECTRON2_DATASETS
    config.DATASETS.TRAIN = ("bccd_train",)
    config.DATASETS.VALIDATION = ("bccd_val",)  # chooses the best checkpoint and the threshold
    config.DATASETS.TEST = ("bccd_test",)  # seen by --eval-only alone
    config.INPUT.IMAGE_SCALE = 1.0  # detector pixels for an image pixel, the same for all images
    # Detector pixels across a typical cell: images whose size of cells is known are scaled to it,
    # others by IMAGE_SCALE; 0 = all by IMAGE_SCALE. A model's file carries DIAMETER / IMAGE_SCALE.
    config.INPUT.DIAMETER = 0.0
    config.INPUT.CROP_SIZE = 512  # side of a training crop, detector pixels
    config.INPUT.SCALE_RANGE = (0.8, 1.25)  # random zoom of a training crop
    config.INPUT.CROWD_CANDIDATES = 3  # places drawn for a crop; the one with most cells is taken
    config.INPUT.UNIFORM = 0.25  # share of crops whose place does not depend on the cells
    config.INPUT.MIN_VISIBLE = 0.15  # cells showing less of their area in a crop are dropped
    config.INPUT.FLIP = True  # mirror at random
    config.INPUT.ROT90 = True  # turn by quarters at random
    jitter = config.INPUT.JITTER = CN()  # see bccd_d2.data.augment.PhotometricOptions
    jitter.BRIGHTNESS = 0.15  # largest relative change
    jitter.CONTRAST = 0.15
    jitter.SATURATION = 0.2
    jitter.HUE = 0.02  # largest turn of the colour circle, in full turns
    jitter.BLUR = 0.15  # probability of a mild Gaussian blur
    jitter.NOISE = 0.15  # probability of mild grey noise
    _add_treatments(config.INPUT)
    config.DATALOADER.CACHE_MB = 0  # decoded images kept in memory by each loading process


def _add_treatments(given: CN) -> None:
    extra = given.EXTRA = CN()  # more random augmentations, all off; bccd_d2.data.extras
    extra.STAIN_JITTER = 0.0  # largest relative change of each stain; 0.05 mild, 0.2 strong
    extra.ELASTIC = 0.0  # largest displacement, px of the crop, at most 12
    extra.AFFINE = 0.0  # largest turn (radians), shear and relative stretch; 0.1 mild, at most 0.5
    extra.ERASE = 0.0  # probability of one to three erased rectangles
    extra.COPY_PASTE = 0  # largest number of cells copied into a crop
    other = given.MICROSCOPE = CN()  # as another microscope shows it, all off; data.microscope
    other.LIGHT = 0.0  # largest relative unevenness of the light
    other.TINT = 0.0  # bound of the logarithm of the channels' gains and gammas; 0.25 is strong
    other.DEFOCUS = 0.0  # probability of a disc blur of up to 4 px
    other.GRAIN = 0.0  # grey levels of coloured noise at white
    other.RESAMPLE = 0.0  # probability of resolution lost, up to 3 times
    other.JPEG = 0.0  # probability of JPEG artefacts
    # Fixed treatment of every image, in training and in use; a checkpoint records and checks it.
    given.STAIN = CN()
    given.STAIN.METHOD = ""  # "" (off), "reinhard" or "macenko"
    given.STAIN.STRENGTH = 0.5  # 0 = unchanged, 1 = the colours of the reference
    given.STAIN.REFERENCE = ()  # numbers of StainStatistics; () = median of DATASETS.TRAIN
    given.DENOISE = 0.0  # grey levels within which neighbours are averaged; 0 = off
    given.CLAHE = 0.0  # clip limit of local contrast, 2 is mild; 0 = off


def _add_model(config: CN) -> None:
    config.MODEL.NEW_PARTS = ()  # beginnings of parameters' names that MODEL.WEIGHTS may lack
    vit = config.MODEL.VIT = CN()
    vit.PRESET = "vit_base"  # a name of bccd_d2.modeling.presets.PRESETS
    vit.WEIGHTS = ""  # "" (random), a local file, "timm:NAME" or "hf-hub:OWNER/NAME"
    vit.DEPTH = 0  # blocks; 0 here and below = the preset's own
    vit.DIM = 0  # channels of a token
    vit.HEADS = 0
    vit.GRID = 0  # side of the position embedding in tokens
    vit.WINDOW_SIZE = 0  # side of an attention window in tokens; 0 = whole image
    vit.GLOBAL_BLOCKS = ()  # blocks that attend over the whole image all the same
    vit.POSITION = "resize"  # "resize" or "tile" the position embedding over the image
    vit.DROP_PATH = 0.0  # stochastic depth rate of the last block
    vit.FROZEN = False  # train no parameter of the ViT
    vit.FROZEN_ITERS = 0  # iterations before the ViT begins to train, from its top block
    vit.FROZEN_EPOCHS = 0.0  # > 0 sets FROZEN_ITERS from the number of training images
    vit.UNFREEZE_ITERS = 0  # then iterations from one block to the next below it; 0 = all at once
    vit.UNFREEZE_EPOCHS = 0.0  # > 0 sets UNFREEZE_ITERS from the number of training images
    vit.ACTIVATION_CHECKPOINTING = False  # recompute activations to save memory
    # Of a ResNet, as torchvision or detectron2 name its tensors: "" (random), a local file (.pth,
    # .safetensors), "timm:NAME" or "hf-hub:OWNER/NAME"; bccd_d2.modeling.resnet
    config.MODEL.RESNETS.WEIGHTS = ""
    config.MODEL.PYRAMID = CN()
    config.MODEL.PYRAMID.CHANNELS = 256
    config.MODEL.PYRAMID.COARSEST = 5  # 5: p2 to p5 (strides 4 to 32); 6: with p6 (64); 3, 4: less
    config.MODEL.PYRAMID.STEM = 0  # channels of a shallow stem on the image: adds p1 (stride 2)
    config.MODEL.BACKBONE.NAME = "build_vit_pyramid"
    _add_outlines(config.MODEL)
    _add_redraw(config)
    _add_otsu(config)


def _add_redraw(config: CN) -> None:
    """At inference only: nothing here changes the training."""
    redraw = config.MODEL.REDRAW = CN()  # detected masks drawn anew; bccd_d2.modeling.redraw
    redraw.METHOD = ""  # "" (off), "blend", "assign" or "watershed"
    redraw.FOREGROUND = "dense"  # needs OUTLINE.ENABLED; or "otsu": MODEL.OTSU, nothing to learn
    redraw.MASK = 1.0  # weights of the evidence in logits: of the mask head
    redraw.CELL = 1.0  # of the dense foreground
    redraw.BOUNDARY = 0.0  # of the dense boundary
    redraw.CENTRE = 0.0  # of the pixel's vote for the cell's centre
    redraw.BIAS = 0.0  # added; > 0 makes cells larger
    redraw.RIVAL = 0.3  # cells scored below it are drawn for themselves, taking no other's pixel
    cleanup = config.TEST.CLEANUP = CN()  # of finished masks; bccd_d2.masks.cleanup
    cleanup.NMS = 0.0  # mask IoU from which the lower-scored of two goes; 0 = off
    cleanup.CONTAINMENT = 0.0  # so it does when the smaller shares this part with it; 0 = off
    cleanup.DECAY = ""  # lower scores instead: "linear" or "gaussian" matrix NMS; "" = off
    cleanup.SIGMA = 0.5  # of the gaussian decay; smaller is stricter
    cleanup.EXCLUSIVE = False  # a pixel wanted by two cells goes to the better-scored
    cleanup.MIN_KEPT = 0.5  # with EXCLUSIVE: cells that keep a smaller share of their area go
    cleanup.WHOLE = False  # only the largest part of a cell stays, holes filled
    cleanup.MIN_AREA = 0  # px of the image; smaller cells go


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
    outline = given.OUTLINE = CN()  # auxiliary dense head; bccd_d2.modeling.outline
    outline.ENABLED = False  # predict cell, boundary and centre for each pixel; needs PYRAMID.STEM
    outline.CHANNELS = 32
    outline.LOSS_WEIGHT = 1.0  # factor of its losses


def _add_otsu(config: CN) -> None:
    otsu = config.MODEL.OTSU = CN()  # of META_ARCHITECTURE "OtsuWatershed"; bccd_d2.masks.otsu
    otsu.CHANNEL = "green"  # what is thresholded: "red", "green", "blue" or "grey"
    otsu.BLUR = 1.0  # sigma before thresholding, px at INPUT.IMAGE_SCALE as all lengths here
    otsu.THRESHOLD_FACTOR = 1.0  # times Otsu's threshold
    otsu.SEED_BLUR = 2.0  # sigma over the distance map
    otsu.SEED_DISTANCE = 12.0  # least distance of two cells' centres
    otsu.CELL_DIAMETER = 50.0  # of a typical cell, for the scores
    otsu.MIN_AREA = 150  # px; smaller cells are dropped


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
