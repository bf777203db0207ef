"""Loaders for training, validation loss and scoring, as the config describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, build_detection_test_loader
from detectron2.data.build import worker_init_reset_seed
from detectron2.utils import comm
from torch.utils.data import DataLoader

from bccd_d2.config.load import types_of
from bccd_d2.data.augment.extras import ExtraOptions
from bccd_d2.data.augment.microscope import MicroscopeOptions
from bccd_d2.data.augment.photometric import PhotometricOptions
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions
from bccd_d2.data.targets import DenseTargets
from bccd_d2.io.processes import cores
from bccd_d2.modeling.build import encode_options, target_names
from bccd_d2.modeling.options import options_of
from bccd_d2.models.preprocessing import preprocess_options
from bccd_d2.training.sampler import Positions, Samples


def mapper_options(config: Any) -> MapperOptions:
    """``config.INPUT`` as the mapper's options."""
    given, jitter = config.INPUT, config.INPUT.JITTER
    return MapperOptions(
        image_scale=given.IMAGE_SCALE,
        diameter=given.DIAMETER or None,
        scale_range=tuple(given.SCALE_RANGE),
        crop_size=(given.CROP_SIZE, given.CROP_SIZE),
        crowd_candidates=given.CROWD_CANDIDATES,
        uniform_probability=given.UNIFORM,
        min_visible=given.MIN_VISIBLE,
        ignore_visible=given.IGNORE_VISIBLE,
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
        extras=options_of(ExtraOptions, given.EXTRA),
        microscope=options_of(MicroscopeOptions, given.MICROSCOPE),
        preprocess=preprocess_options(config),
        dense=dense_targets(config),
        types=types_of(config),
        cache_mb=config.DATALOADER.CACHE_MB,
    )


def dense_targets(config: Any) -> DenseTargets | None:
    """The maps that ``config``'s model learns from; None for a detector."""
    if config.MODEL.META_ARCHITECTURE != "DenseSegmentor":
        return None
    return DenseTargets(target_names(config), encode_options(config))


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

    The order and the crops follow the seed and the iteration alone: a run resumed at ``start_iter``
    sees what the uninterrupted one would have seen from there on, with any number of workers.

    Raises:
        ValueError: no images, or the micro-batch cannot be shared over the processes.
    """
    seed = config.SEED if config.SEED >= 0 else comm.shared_random_seed()
    world = comm.get_world_size()
    micro = config.SOLVER.IMS_PER_BATCH // config.SOLVER.ACCUMULATE
    if not dataset or micro % world:
        raise ValueError(
            f"a micro-batch of {micro} (SOLVER.IMS_PER_BATCH / ACCUMULATE) cannot be shared over "
            f"{world} processes, or {config.DATASETS.TRAIN} has no images ({len(dataset)})"
        )
    mapper = LabelMapMapper(mapper_options(config), is_train=True, seed=seed)
    first = start_iter * config.SOLVER.IMS_PER_BATCH
    return DataLoader(
        Samples(dataset, mapper, seed, config.DATALOADER.SAMPLES),
        sampler=Positions(first, comm.get_rank(), world),
        batch_size=micro // world,
        num_workers=loading_processes(config),
        collate_fn=list,
        worker_init_fn=worker_init_reset_seed,
        # Starting an iterator draws a number, which must not come from the model's stream.
        generator=torch.Generator().manual_seed(seed + first),
    )


def loading_processes(config: Any) -> int:
    """``DATALOADER.NUM_WORKERS``, but no more than there are cores; samples do not depend on it."""
    return min(config.DATALOADER.NUM_WORKERS, cores())


def test_loader(config: Any, name: str) -> Any:
    """Whole images of a registered dataset, one at a time, shared over the processes."""
    mapper = LabelMapMapper(mapper_options(config), is_train=False)
    return build_detection_test_loader(
        dataset=DatasetCatalog.get(name), mapper=mapper, num_workers=loading_processes(config)
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
    for group in (plain.INPUT.JITTER, plain.INPUT.EXTRA, plain.INPUT.MICROSCOPE):
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
