"""Loaders for training, validation loss and scoring, as the config describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.data import (
    DatasetCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm

from bccd_d2.data.augment import PhotometricOptions
from bccd_d2.data.extras import ExtraOptions
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions
from bccd_d2.training.treatment import appearance_options


def mapper_options(config: Any) -> MapperOptions:
    """``config.INPUT`` as the mapper's options."""
    given, jitter, extra = config.INPUT, config.INPUT.JITTER, config.INPUT.EXTRA
    return MapperOptions(
        image_scale=given.IMAGE_SCALE,
        scale_range=tuple(given.SCALE_RANGE),
        crop_size=(given.CROP_SIZE, given.CROP_SIZE),
        crowd_candidates=given.CROWD_CANDIDATES,
        uniform_probability=given.UNIFORM,
        min_visible=given.MIN_VISIBLE,
        flip=given.FLIP,
        rotate90=given.ROT90,
        photometric=PhotometricOptions(
            brightness=jitter.BRIGHTNESS,
            contrast=jitter.CONTRAST,
            saturation=jitter.SATURATION,
            hue=jitter.HUE,
            blur_probability=jitter.BLUR,
            noise_probability=jitter.NOISE,
        ),
        extras=ExtraOptions(
            copy_paste=extra.COPY_PASTE,
            elastic=extra.ELASTIC,
            erase=extra.ERASE,
            stain_jitter=extra.STAIN_JITTER,
        ),
        appearance=appearance_options(config),
        cache_mb=config.DATALOADER.CACHE_MB,
    )


def records(names: Any) -> list[dict]:
    """The dataset dicts of several registered names, in order."""
    return [record for name in names for record in DatasetCatalog.get(name)]


def find_record(names: Any, wanted: str) -> dict:
    """The dataset dict of one image: its number, from 0, or a part of its file's name.

    Raises:
        KeyError: no such image, or several.
    """
    listed = records(names)
    if wanted.isdigit() and int(wanted) < len(listed):
        return listed[int(wanted)]
    found = [r for r in listed if wanted in r["file_name"].replace("\\", "/").rpartition("/")[2]]
    if len(found) != 1:
        raise KeyError(
            f"{wanted!r} names {len(found)} of the {len(listed)} images of {', '.join(names)}; "
            f"give a number below {len(listed)} or more of the file name"
        )
    return found[0]


def train_loader(config: Any, dataset: list[dict], start_iter: int = 0) -> Any:
    """Endless micro-batches for this process.

    The order and the crops follow the seed and the iteration that training starts at, so that a
    resumed run goes on to new crops instead of repeating the first ones.
    """
    seed = config.SEED + start_iter if config.SEED >= 0 else None
    rank = comm.get_rank()
    mapper = LabelMapMapper(
        mapper_options(config),
        is_train=True,
        seed=None if seed is None else seed * 1009 + rank,
    )
    return build_detection_train_loader(
        dataset=dataset,
        mapper=mapper,
        sampler=TrainingSampler(len(dataset), seed=seed),
        total_batch_size=config.SOLVER.IMS_PER_BATCH // config.SOLVER.ACCUMULATE,
        aspect_ratio_grouping=False,
        num_workers=config.DATALOADER.NUM_WORKERS,
    )


def test_loader(config: Any, name: str) -> Any:
    """Whole images of a registered dataset, one at a time, shared over the processes."""
    mapper = LabelMapMapper(mapper_options(config), is_train=False)
    return build_detection_test_loader(
        dataset=DatasetCatalog.get(name), mapper=mapper, num_workers=config.DATALOADER.NUM_WORKERS
    )


def validation_batches(config: Any) -> list[list[dict]]:
    """Fixed training-size crops of validation images, ``TEST.LOSS_BATCHES`` batches of them.

    Crops are not jittered or zoomed, and are drawn once: the loss moves only with the model.
    """
    dataset = records(config.DATASETS.VALIDATION)
    count = config.TEST.LOSS_BATCHES
    if not dataset or count == 0:
        return []
    plain = config.clone()
    plain.defrost()
    plain.INPUT.SCALE_RANGE = (1.0, 1.0)
    for group in (plain.INPUT.JITTER, plain.INPUT.EXTRA):
        for key, value in group.items():
            group[key] = type(value)(0)
    mapper = LabelMapMapper(mapper_options(plain), is_train=True, seed=1)
    size = max(1, config.SOLVER.IMS_PER_BATCH // config.SOLVER.ACCUMULATE)
    chosen = np.linspace(0, len(dataset) - 1, count * size).round().astype(int)
    samples = [mapper(dataset[i]) for i in chosen]
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch; a negative seed leaves them to chance."""
    if seed < 0:
        return
    import random

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
