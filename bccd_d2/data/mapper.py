"""From a dataset dict to what the model sees: one crop, its cells as boxes and bitmaps, or as maps.

The cells of an image live in one label map. It is cropped and resized once, and only then taken
apart into one bitmap a cell, so the work does not grow with the size of the image times the number
of its cells.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from bccd_d2.data.augment.extras import ExtraOptions, augment_pair
from bccd_d2.data.augment.microscope import MicroscopeOptions, microscope
from bccd_d2.data.augment.photometric import (
    PhotometricOptions,
    photometric,
    turn_and_flip,
    turn_boxes,
)
from bccd_d2.data.augment.stain_jitter import stain_jitter
from bccd_d2.data.cache import PairReader
from bccd_d2.data.ignored import largest_label, refuse_ignored, split_ignored
from bccd_d2.data.instances import (
    allowed_by_label,
    areas_by_label,
    box_instances,
    boxes_of,
    is_boxed,
    make_instances,
)
from bccd_d2.data.preprocess import PreprocessOptions, Preprocessor, resize_image, scaled_size
from bccd_d2.data.targets import DenseTargets
from bccd_d2.io.images import read_image
from bccd_d2.masks.taxonomy import Types


@dataclass(frozen=True)
class MapperOptions:
    """What `LabelMapMapper` does to an image.

    Attributes:
        image_scale: the detector's frame: its pixels per pixel of the file. 0.5 = half resolution.
            A fixed factor, not a fixed edge, so that a cell has one size in every image.
        diameter: px; when set, an image whose dataset dict has a ``diameter`` (px across a typical
            cell) is scaled so that its cells have this size; others keep ``image_scale``.
        short_edge: px; when set, each image's scale is short_edge / min(height, width) instead.
        scale_range: random factor on top of that scale, log-uniform; training only.
        crop_size: (height, width) of the training crop in the detector's frame; where the scaled
            image is smaller, so is the crop (the batch is padded by the model).
        crowd_candidates: places drawn for a crop, of which the one with the most cells is taken;
            1 = any cell's surroundings.
        uniform_probability: share of the crops whose place does not depend on the cells.
        min_visible: cells of which less than this share of the area lies in the crop are left out:
            a sliver at the edge cannot be told from its neighbour and its box says nothing about
            the cell. Cells cut by the border of the image itself are whole in this sense.
        ignore_visible: cells of which less than this share lies in the crop are neither cells nor
            background to a detector's box head, which so learns at the image's own border alone
            which cut cells the annotators count; 0 = off.
        min_pixels: cells with fewer pixels in the finished crop are left out.
        flip: mirror at random.
        rotate90: turn by quarters at random.
        photometric: bounds of colour jitter, blur and noise; training only.
        extras: stain jitter, affine and elastic maps, erasing, copied cells; training only.
        microscope: light, sensor, focus, grain, resolution and file; training only.
        preprocess: stain normalisation, denoising and CLAHE; always.
        dense: maps in place of boxes and bitmaps in training; None = boxes and bitmaps. Cells are
            drawn however little of them shows.
        types: which classes each cell may be of; None = there is one class.
        cache_mb: memory for decoded images and label maps, per process; see `PairReader`.
    """

    image_scale: float = 1.0
    diameter: float | None = None
    short_edge: int | None = None
    scale_range: tuple[float, float] = (0.8, 1.25)
    crop_size: tuple[int, int] = (512, 512)
    crowd_candidates: int = 3
    uniform_probability: float = 0.25
    min_visible: float = 0.15
    ignore_visible: float = 0.0
    min_pixels: int = 10
    flip: bool = True
    rotate90: bool = True
    photometric: PhotometricOptions = field(default_factory=PhotometricOptions)
    extras: ExtraOptions = field(default_factory=ExtraOptions)
    microscope: MicroscopeOptions = field(default_factory=MicroscopeOptions)
    preprocess: PreprocessOptions = field(default_factory=PreprocessOptions)
    dense: DenseTargets | None = None
    types: Types | None = None
    cache_mb: float = 0

    def __post_init__(self) -> None:
        low, high = self.scale_range
        checks = [
            (self.image_scale > 0, f"image_scale must be above 0, got {self.image_scale}"),
            (0 < low <= high, f"scale_range must be 0 < low <= high, got {self.scale_range}"),
            (min(self.crop_size) > 0, f"crop_size must be (height, width), got {self.crop_size}"),
            (self.crowd_candidates >= 1, "crowd_candidates must be at least 1"),
            (0 <= self.uniform_probability <= 1, "uniform_probability must lie in [0, 1]"),
            (0 <= self.min_visible <= 1, "min_visible must lie in [0, 1]"),
            (0 <= self.ignore_visible < 1, "ignore_visible must lie in [0, 1)"),
            (self.diameter is None or self.diameter > 0, "diameter must be above 0 or None"),
            (self.short_edge is None or self.short_edge > 0, "short_edge must be above 0 or None"),
        ]
        for passed, message in checks:
            if not passed:
                raise ValueError(message)

    def scale_of(self, size: Sequence[int], diameter: float | None = None) -> float:
        """Detector pixels per pixel of a file of this size (height, width) and cell diameter."""
        if self.diameter is not None and diameter:
            return self.diameter / diameter
        if self.short_edge is not None:
            return self.short_edge / min(size)
        return self.image_scale


def resize_labels(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The label map at ``size`` (height, width) by the label under each new pixel's centre.

    No label is invented; cuts of 1 px between cells may vanish, their numbers keep them apart.
    """
    rows = ((np.arange(size[0]) + 0.5) * (label_map.shape[0] / size[0])).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * (label_map.shape[1] / size[1])).astype(np.int64)
    return label_map[rows[:, None], columns]


def choose_window(
    image_size: tuple[int, int],
    window_size: tuple[int, int],
    centres: np.ndarray,
    options: MapperOptions,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Top left corner (y0, x0) of a crop window, by preference in a crowded place.

    With ``uniform_probability``, and in an image without cells, any place is as likely as another.
    Else ``crowd_candidates`` windows are drawn, each around a random cell at a random offset, and
    the one that holds the most cell centres is taken.

    Args:
        image_size: (height, width).
        window_size: (height, width), not larger than the image.
        centres: (N, 2) x, y of the cells.
    """
    room = np.subtract(image_size, window_size)
    if rng.uniform() < options.uniform_probability or len(centres) == 0:
        y0, x0 = rng.integers(0, room + 1)
        return int(y0), int(x0)
    picked = rng.integers(0, len(centres), size=options.crowd_candidates)
    offsets = rng.uniform(size=(options.crowd_candidates, 2)) * window_size
    corners = np.clip(np.floor(centres[picked][:, ::-1] - offsets), 0, room)
    inside = np.ones((options.crowd_candidates, len(centres)), dtype=bool)
    for axis, values in ((0, centres[:, 1]), (1, centres[:, 0])):
        low = corners[:, axis, None]
        inside &= (values >= low) & (values < low + window_size[axis])
    y0, x0 = corners[inside.sum(axis=1).argmax()]
    return int(y0), int(x0)


class LabelMapMapper:
    """Maps detectron2's dataset dicts, with a ``label_file``, to model inputs.

    Training: a random crop at a random scale in one resize, flipped and turned exactly, colours
    jittered. Otherwise: the whole image at its fixed scale.

    The random stream follows ``seed`` and the loader worker; without a seed it follows torch's own,
    which detectron2 sets for each worker. It starts anew in each process, so a resumed run repeats
    its crops unless it gives another seed or calls `restart` before each sample.

    Args:
        options: sizes, scales and strengths.
        is_train: crops and augmentations on.
        seed: whole number at least 0, or None.
        with_instances: add ground truth (always so in training); in evaluation it is that of the
            whole image, for a validation loss.
    """

    def __init__(
        self,
        options: MapperOptions | None = None,
        *,
        is_train: bool = True,
        seed: int | None = None,
        with_instances: bool = False,
    ) -> None:
        self.options = options or MapperOptions()
        self.is_train = is_train
        self.with_instances = with_instances or is_train
        self.seed = seed
        self._reader = PairReader(self.options.cache_mb)
        self._preprocess = Preprocessor(self.options.preprocess)
        self._rng: np.random.Generator | None = None
        self._rng_owner: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rng": None, "_rng_owner": None}

    def __call__(self, dataset_dict: Mapping[str, Any]) -> dict[str, Any]:
        """The model input of one image.

        Args:
            dataset_dict: as `bccd_d2.data.catalog.load_split` makes it; it is not changed.
                Evaluation without instances needs only ``file_name``.

        Returns:
            ``image`` (3, H, W) uint8 RGB tensor; ``height``, ``width`` of the file, to which the
            model scales its answer; ``file_name``, ``image_id`` when given; ``instances``, or
            ``dense`` in training where ``options.dense`` asks for it.

        Raises:
            FileNotFoundError: the image or its label map is missing.
            ValueError: one cannot be read, or they do not belong together.
        """
        if self.is_train:
            image, truth = self._training_crop(dataset_dict)
        else:
            image, instances = self._whole_image(dataset_dict)
            truth = {} if instances is None else {"instances": instances}
        kept = ("file_name", "image_id", "height", "width")
        output = {key: dataset_dict[key] for key in kept if key in dataset_dict}
        if "height" not in output:
            raise KeyError(f"{dataset_dict['file_name']}: the dataset dict lacks height and width")
        output["image"] = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return output | truth

    def restart(self, position: int) -> None:
        """Begin a random stream that depends on the seed and ``position`` alone.

        Called with its number before each sample, it makes the samples the same whichever process
        draws them and wherever training was resumed.
        """
        self._rng = np.random.default_rng([self.seed or 0, position])
        self._rng_owner = os.getpid()

    def _generator(self) -> np.random.Generator:
        """This process's random stream: a forked worker must not repeat its parent's."""
        if self._rng is None or self._rng_owner != os.getpid():
            worker = torch.utils.data.get_worker_info()
            root = torch.initial_seed() if self.seed is None else self.seed
            self._rng = np.random.default_rng([root, 0 if worker is None else worker.id + 1])
            self._rng_owner = os.getpid()
        return self._rng

    def _scale(self, record: Mapping[str, Any], image: np.ndarray) -> float:
        return self.options.scale_of(image.shape[:2], record.get("diameter"))

    def _training_crop(self, record: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        options, rng = self.options, self._generator()
        image, label_map = self._read(record)
        boxed = is_boxed(record)
        boxes = boxes_of(record["annotations"])
        areas = np.zeros(1) if boxed else areas_by_label(record, largest_label(label_map))
        low, high = np.log(options.scale_range)
        scale = self._scale(record, image) * float(np.exp(rng.uniform(low, high)))
        turns = int(rng.integers(4)) if options.rotate90 else 0
        mirror = bool(rng.integers(2)) if options.flip else False

        crop_size = options.crop_size[::-1] if turns % 2 else options.crop_size
        window = _smaller(label_map.shape, scaled_size(crop_size, 1 / scale))
        size = _smaller(crop_size, scaled_size(window, scale))
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        y0, x0 = choose_window(label_map.shape, window, centres, options, rng)
        here = np.s_[y0 : y0 + window[0], x0 : x0 + window[1]]
        crop = turn_and_flip(resize_image(image[here], size), turns, mirror)
        labels = turn_and_flip(resize_labels(label_map[here], size), turns, mirror)
        areas = areas * (size[0] / window[0]) * (size[1] / window[1])
        crop = self._preprocess(crop, image, record["file_name"])
        copied: list[int] = []
        if not boxed:
            crop, labels, areas, copied = augment_pair(crop, labels, areas, rng, options.extras)
        truth: dict[str, Any] = {}
        if boxed:
            moved = (boxes - [x0, y0, x0, y0]) * np.tile(np.divide(size, window)[::-1], 2)
            moved = turn_boxes(moved, size, turns, mirror)
            truth["instances"] = self._boxed(record, moved, labels, options.ignore_visible)
        elif options.dense is not None:
            truth["dense"] = options.dense(labels)
        else:
            refuse_ignored(labels, record["label_file"])
            visible, pixels = options.min_visible, options.min_pixels
            allowed = self._allowed(record, len(areas) - len(copied), copied)
            truth["instances"] = make_instances(
                labels, areas, visible, pixels, allowed, options.ignore_visible
            )
        crop = stain_jitter(crop, rng, options.extras.stain_jitter)
        crop = microscope(crop, rng, options.microscope)
        return photometric(crop, rng, options.photometric), truth

    def _boxed(
        self,
        record: Mapping[str, Any],
        boxes: np.ndarray,
        labels: np.ndarray,
        ignore_visible: float = 0.0,
    ) -> Instances:
        """The cells of a crop or image whose annotations are boxes, given in its frame."""
        rows, types = record["annotations"], self.options.types
        allowed = None if types is None else types.allowed([row["category"] for row in rows])
        return box_instances(
            boxes, labels.shape, min_visible=self.options.min_visible,
            min_pixels=self.options.min_pixels, label_map=labels, allowed=allowed,
            labels=np.array([row.get("label", 0) for row in rows], dtype=np.int64),
            ignore_visible=ignore_visible,
        )  # fmt: skip

    def _read(self, record: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        files = record["file_name"], record["label_file"]
        return self._reader.read(*files, record.get("max_value"))

    def _allowed(
        self, record: Mapping[str, Any], labels: int, copied: Sequence[int] = ()
    ) -> np.ndarray | None:
        """(labels + copies, K) bool classes that each label may be of; None for one class."""
        if self.options.types is None:
            return None
        allowed = allowed_by_label(self.options.types, record["annotations"], labels)
        return np.concatenate([allowed, allowed[list(copied)]])

    def _whole_image(self, record: Mapping[str, Any]) -> tuple[np.ndarray, Instances | None]:
        if not self.with_instances:
            image = read_image(record["file_name"], max_value=record.get("max_value"))
            size = scaled_size(image.shape[:2], self._scale(record, image))
            return self._preprocess(resize_image(image, size), image, record["file_name"]), None
        image, label_map = self._read(record)
        size = scaled_size(label_map.shape, self._scale(record, image))
        labels = split_ignored(resize_labels(label_map, size))[0]
        if is_boxed(record):
            scale = np.tile(np.divide(size, label_map.shape)[::-1], 2)
            found = self._boxed(record, boxes_of(record["annotations"]) * scale, labels)
            return self._preprocess(resize_image(image, size), image, record["file_name"]), found
        nothing_cut = np.zeros(largest_label(label_map) + 1)
        allowed = self._allowed(record, len(nothing_cut))
        instances = make_instances(labels, nothing_cut, 0.0, self.options.min_pixels, allowed)
        return self._preprocess(resize_image(image, size), image, record["file_name"]), instances


def _smaller(size: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """The smaller height and the smaller width of two sizes."""
    return min(size[0], other[0]), min(size[1], other[1])
