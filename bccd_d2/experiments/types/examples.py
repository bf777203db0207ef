"""Found cells of annotated images as examples to learn types from: masks, boxes or points alike.

A found cell takes the type of the annotation that it matches: masks and boxes by IoU, a point by
lying in it alone. A found cell without one is an example of what annotators leave out, but only
where every cell of the dataset is annotated. An annotation that no found cell fits is told apart
by its name: where most of a name's are missed, such cells have to be found by other means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.catalog import read_description
from bccd_d2.inference.diameter import common_diameter, estimate_diameter
from bccd_d2.io.dataset_file import image_root, max_value, split_json
from bccd_d2.io.images import read_image
from bccd_d2.io.records import confined
from bccd_d2.masks.cell_crops import CropOptions, look_at
from bccd_d2.masks.cell_types import usual_diameter
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import CocoImage, read_coco
from bccd_d2.masks.overlap import box_iou, iou_matrix, match
from bccd_d2.masks.polygons import segmentation_to_rle

LEAST_IOU = 0.5  # of a found cell and its annotation
NEARLY = 0.4  # from here on nobody says that a found cell has no annotation
SEEN_FOR_SIZE = 16  # images of a dataset that are asked for the size of its cells


@dataclass(frozen=True)
class Examples:
    """N found cells.

    Attributes:
        crops: (N, 4, S, S) uint8; see `masks.cell_crops.look_at`.
        measures: (N, M) float32.
        labels: (N,) str, the annotation's name; "" where there is none.
        counted: (N,) int64: 1 an annotator marked the cell, 0 none did, -1 nobody can say.
        scores: (N,) float32 of the model.
        images: (N,) int64, numbers of their images.
        added: (N,) bool, small cells that the model did not find itself.
    """

    crops: np.ndarray
    measures: np.ndarray
    labels: np.ndarray
    counted: np.ndarray
    scores: np.ndarray
    images: np.ndarray
    added: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Examples:
        return Examples(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """All of them, in turn.

        Raises:
            ValueError: no parts.
        """
        if not parts:
            raise ValueError("there must be examples of at least one image")
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Annotated:
    """An image with what is annotated on it.

    Attributes:
        number: of the image among all.
        read: gives the image, (H, W, 3) uint8 RGB.
        diameter: px across its usual cell; 0 = that of the median outline.
        kind: "masks", "boxes" or "points".
        complete: every cell is annotated.
        rows: COCO annotations without crowds.
        ignored: (M, 4) boxes x0 y0 x1 y1 of crowds.
    """

    number: int
    name: str
    read: Callable[[], np.ndarray]
    diameter: float
    kind: str
    complete: bool
    rows: list[Mapping[str, Any]]
    ignored: np.ndarray

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, read when it is first asked for."""
        return self.read()

    @property
    def names(self) -> np.ndarray:
        """(A,) str: what each annotation is called."""
        return np.array([str(row.get("category", "cell")) for row in self.rows], dtype=object)

    @property
    def boxes(self) -> np.ndarray:
        """(A, 4) x0 y0 x1 y1 of the annotations, of points without extent."""
        return corners(self.rows)


def corners(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N, 4) x0 y0 x1 y1 of annotations; a point is both corners."""
    boxes = np.array([row.get("bbox") or [*row["point"], 0, 0] for row in rows], dtype=float)
    boxes = boxes.reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


class AnnotatedSplit:
    """The images of one split of a converted dataset, read one at a time.

    Args:
        folder: the dataset.
        split: its name, such as "train".
        first: number of its first image.

    Raises:
        FileNotFoundError, KeyError, ValueError: no such dataset or split, or it is broken.
    """

    def __init__(self, folder: str | Path, split: str, first: int = 0) -> None:
        self.folder, self.first = Path(folder), first
        description = read_description(folder)
        self.kind = description.get("annotations", "masks")
        self.complete = bool(description.get("complete", True))
        self.white = max_value(description)
        self.root = image_root(folder, description)
        self.images = read_coco(split_json(folder, split, description))

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, image: CocoImage) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        path = confined(self.root, image.entry["file_name"])
        return read_image(path, max_value=self.white)

    def diameter(self, model: Any) -> float:
        """px across the usual cell of its images, as the model sees a few of them.

        Raises:
            ValueError: no image shows it.
        """
        if model.diameter is None:
            return 0.0
        step = max(1, len(self.images) // SEEN_FOR_SIZE)
        seen = [self.pixels(image) for image in self.images[::step][:SEEN_FOR_SIZE]]
        found = common_diameter([estimate_diameter(model, one, model.diameter) for one in seen])
        if found.px is None:
            raise ValueError(f"{self.folder}: {found.how}; give another model with --weights")
        return found.px

    def annotated(self, index: int, diameter: float) -> Annotated:
        """One image with its annotations."""
        image = self.images[index]
        rows = [row for row in image.annotations if not row.get("iscrowd")]
        crowds = corners([row for row in image.annotations if row.get("iscrowd")])
        name = image.entry["file_name"]
        read = functools.partial(self.pixels, image)
        number = self.first + index
        return Annotated(number, name, read, diameter, self.kind, self.complete, rows, crowds)


def examples_of(
    image: Annotated, found: Cells, seen: np.ndarray, options: CropOptions, own: int | None = None
) -> tuple[Examples, np.ndarray]:
    """The found cells of an image as examples, and which annotations none of them fits.

    Args:
        seen: (h, w, 3) uint8 RGB, the image as the model looks at it.
        own: so many of the first cells the model found itself; None = all.

    Returns:
        The examples, and (A,) bool.
    """
    labels, counted, missed = LABELLERS[image.kind](image, found)
    if len(image.ignored) and len(found):
        near = box_iou(found.boxes, image.ignored).max(axis=1) >= NEARLY
        counted[near & (labels == "")] = -1
    crops, measures = look_at(seen, found, image.diameter or usual_diameter(found), options)
    number = np.full(len(found), image.number)
    added = np.arange(len(found)) >= (len(found) if own is None else own)
    return Examples(crops, measures, labels, counted, found.scores, number, added), missed


def _by_overlap(
    iou: np.ndarray, names: np.ndarray, complete: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N,), counted (N,) and missed (A,) from IoU (N, A)."""
    labels = np.full(len(iou), "", dtype=object)
    counted = np.full(len(iou), 0 if complete else -1)
    pairs = match(iou, LEAST_IOU)
    counted[iou.max(axis=1, initial=0) >= NEARLY] = -1
    labels[pairs.pred_index] = names[pairs.truth_index]
    counted[pairs.pred_index] = 1
    missed = np.ones(len(names), dtype=bool)
    missed[pairs.truth_index] = False
    return labels, counted, missed


def _from_masks(image: Annotated, found: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rles = [segmentation_to_rle(row["segmentation"], found.image_size) for row in image.rows]
    return _by_overlap(iou_matrix(found.rles, rles), image.names, image.complete)


def _from_boxes(image: Annotated, found: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    iou = box_iou(found.boxes.astype(float), image.boxes)
    return _by_overlap(iou, image.names, image.complete)


def _from_points(image: Annotated, found: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cell with several points is several cells; one without a point may be one all the same."""
    labels = np.full(len(found), "", dtype=object)
    counted = np.full(len(found), 0 if image.complete else -1)
    if not len(image.rows):
        return labels, counted, np.zeros(0, dtype=bool)
    label_map = found.to_label_map()
    x, y = image.boxes[:, :2].round().astype(int).T
    height, width = label_map.shape
    owner = label_map[y.clip(0, height - 1), x.clip(0, width - 1)]
    points = np.bincount(owner, minlength=len(found) + 1)[1:]
    counted[points > 1], counted[points == 1] = 0, 1
    alone = (owner > 0) & (np.append(0, points)[owner] == 1)
    labels[owner[alone] - 1] = image.names[alone]
    return labels, counted, owner == 0


LABELLERS: Mapping[str, Callable[[Annotated, Cells], tuple[np.ndarray, np.ndarray, np.ndarray]]]
LABELLERS = {"masks": _from_masks, "boxes": _from_boxes, "points": _from_points}
