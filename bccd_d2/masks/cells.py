"""`Cells`: the instances of one image, whichever model or annotator made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.masks import labels
from bccd_d2.masks import rle as convert
from bccd_d2.masks.polygons import segmentation_to_rle
from bccd_d2.masks.rle import Rle

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class Cells:
    """N cells of one image, each a full-image RLE with a score and a class.

    Attributes:
        image_size: height and width in pixels.
        rles: N compressed RLEs of that size; masks may overlap.
        scores: (N,) float32 in [0, 1]; 1 for ground truth.
        class_ids: (N,) int64, each cell's best class; see `masks.classes.Classes` for names.
        uncertainty: (N,) float32 in [0, 1], how far several views disagree on each cell; None where
            there was one view only.
        class_probabilities: (N, K) float32 in [0, 1], of each of K classes; rows sum to 1. None
            where nobody asked, as where there is one class only.
        detected_boxes: (N, 4) float32 x0 y0 x1 y1, each cell's box as a detector gave it, which its
            mask need not fill; None where cells are masks alone.

    Raises:
        ValueError: the lengths differ or an RLE is of another size.
    """

    image_size: tuple[int, int]
    rles: list[Rle]
    scores: np.ndarray
    class_ids: np.ndarray
    uncertainty: np.ndarray | None = None
    class_probabilities: np.ndarray | None = None
    detected_boxes: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.rles)
        size = tuple(int(n) for n in self.image_size)
        scores = np.asarray(self.scores, dtype=np.float32).reshape(-1)
        class_ids = np.asarray(self.class_ids, dtype=np.int64).reshape(-1)
        if len(scores) != count or len(class_ids) != count:
            raise ValueError(
                f"{count} masks need as many scores and class_ids, got {len(scores)} and "
                f"{len(class_ids)}"
            )
        if self.uncertainty is not None:
            uncertainty = np.asarray(self.uncertainty, dtype=np.float32).reshape(-1)
            if len(uncertainty) != count:
                raise ValueError(f"{count} masks cannot have {len(uncertainty)} uncertainties")
            object.__setattr__(self, "uncertainty", uncertainty)
        if self.class_probabilities is not None:
            probabilities = np.asarray(self.class_probabilities, dtype=np.float32)
            if probabilities.ndim != 2 or len(probabilities) != count:
                raise ValueError(
                    f"{count} masks need a row of class probabilities each, got an array of "
                    f"{probabilities.shape}"
                )
            object.__setattr__(self, "class_probabilities", probabilities)
        if self.detected_boxes is not None:
            boxes = np.asarray(self.detected_boxes, dtype=np.float32)
            if boxes.shape != (count, 4):
                raise ValueError(f"{count} masks need a box each, got an array of {boxes.shape}")
            object.__setattr__(self, "detected_boxes", boxes)
        for rle in self.rles:
            if tuple(rle["size"]) != size:
                raise ValueError(f"mask of size {tuple(rle['size'])} in an image of size {size}")
        object.__setattr__(self, "image_size", size)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "class_ids", class_ids)

    # -- making --------------------------------------------------------------------------------

    @classmethod
    def from_rles(
        cls, rles: Sequence[Rle], image_size: tuple[int, int], scores: Any = None
    ) -> Cells:
        """Cells of class 0 from RLEs; ``scores`` default to 1."""
        rles = list(rles)
        scores = np.ones(len(rles)) if scores is None else scores
        return cls(image_size, rles, scores, np.zeros(len(rles)))

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> Cells:
        """No cells in an image of ``image_size`` (height, width)."""
        return cls.from_rles([], image_size)

    @classmethod
    def from_label_map(cls, label_map: np.ndarray, scores: Any = None) -> Cells:
        """Cells 1..N of a label map (gaps closed), in label order."""
        label_map = labels.relabel(label_map)
        return cls.from_rles(convert.label_map_to_rles(label_map), label_map.shape, scores)

    @classmethod
    def from_coco(
        cls,
        annotations: Sequence[Mapping[str, Any]],
        image_size: tuple[int, int],
        classes: Mapping[int, int] | None = None,
    ) -> Cells:
        """Cells of COCO annotations or results, of RLEs or polygons; crowds are left out.

        A missing ``score`` counts as 1. Results that carry ``class_probabilities`` or a
        ``detected_bbox`` (x, y, w, h) keep them.

        Args:
            classes: the class id of each category id; None = every cell is of class 0.

        Raises:
            KeyError: a category that ``classes`` does not name.
        """
        kept = [a for a in annotations if not a.get("iscrowd", 0)]
        rles = [segmentation_to_rle(a["segmentation"], image_size) for a in kept]
        cells = cls.from_rles(rles, image_size, [a.get("score", 1.0) for a in kept])
        boxes = _of_all(kept, "detected_bbox")
        if boxes is not None:
            boxes[:, 2:] += boxes[:, :2]
            cells = replace(cells, detected_boxes=boxes)
        if classes is None:
            return cells
        ids = np.array([classes[a["category_id"]] for a in kept], dtype=np.int64)
        return replace(
            cells, class_ids=ids, class_probabilities=_of_all(kept, "class_probabilities")
        )

    @classmethod
    def from_instances(cls, instances: Any) -> Cells:
        """Cells of a detectron2 ``Instances`` on any device.

        It needs ``image_size``, ``scores``, ``pred_classes`` and the masks either as ``pred_rles``
        (a list of RLEs) or as ``pred_masks`` (N, H, W) bool; ``pred_class_probabilities`` (N, K)
        and ``detected_boxes`` (N, 4) may be there.
        """
        size = tuple(instances.image_size)
        if instances.has("pred_rles"):
            rles = list(instances.pred_rles)
        else:
            masks = np.asarray(instances.pred_masks.cpu()).astype(np.uint8).transpose(1, 2, 0)
            rles = coco_mask.encode(np.asfortranarray(masks))
        scores = np.asarray(instances.scores.detach().cpu().float())
        beside = {
            name: np.asarray(instances.get(field).detach().cpu().float())
            for name, field in (
                ("class_probabilities", "pred_class_probabilities"),
                ("detected_boxes", "detected_boxes"),
            )
            if instances.has(field)
        }
        return cls(size, rles, scores, np.asarray(instances.pred_classes.cpu()), **beside)

    # -- choosing ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: Any) -> Self:
        """The cells at a slice, a bool mask (N,) or an array of indices."""
        chosen = np.arange(len(self))[index].reshape(-1)
        rles = [self.rles[i] for i in chosen]
        beside: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else values[chosen]
            for name in ("uncertainty", "class_probabilities", "detected_boxes")
        }
        return replace(
            self,
            rles=rles,
            scores=self.scores[chosen],
            class_ids=self.class_ids[chosen],
            **beside,
        )

    def above(self, threshold: float) -> Self:
        """The cells whose score is at least ``threshold``."""
        return self[self.scores >= threshold]

    def with_classes(self, class_probabilities: np.ndarray) -> Self:
        """The same cells, each of its most probable class; (N, K) probabilities."""
        best = np.asarray(class_probabilities).argmax(axis=1) if len(self) else np.zeros(0)
        return replace(self, class_ids=best, class_probabilities=class_probabilities)

    # -- measuring -----------------------------------------------------------------------------

    @property
    def class_confidence(self) -> np.ndarray | None:
        """(N,) float32: the probability of each cell's own class; None where nobody asked."""
        if self.class_probabilities is None:
            return None
        return self.class_probabilities[np.arange(len(self)), self.class_ids]

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32 tight half-open boxes x0 y0 x1 y1; zeros for an empty mask."""
        if not self.rles:
            return np.zeros((0, 4), dtype=np.float32)
        boxes = np.asarray(coco_mask.toBbox(self.rles), dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @property
    def scored_boxes(self) -> np.ndarray:
        """(N, 4) float32, what scores of boxes look at: the detector's own, else the tight ones."""
        return self.boxes if self.detected_boxes is None else self.detected_boxes

    @property
    def areas(self) -> np.ndarray:
        """(N,) int64 pixels."""
        return convert.rle_areas(self.rles)

    def touches_border(self, margin: int = 1) -> np.ndarray:
        """(N,) bool: the cell comes within ``margin`` px of the image's edge."""
        return labels.touches_border(self.boxes, self.image_size, margin)

    # -- turning into something else -----------------------------------------------------------

    def crops(self) -> Iterator[tuple[np.ndarray, int, int]]:
        """For each cell its mask (h, w) bool inside the tight box, the box's row y0, column x0."""
        return (convert.decode_crop(rle) for rle in self.rles)

    def to_label_map(self) -> np.ndarray:
        """(H, W) int32 with cell i as label i + 1; the higher score wins where masks overlap.

        A cell wholly covered by better ones keeps its number but has no pixel.
        """
        label_map = np.zeros(self.image_size, dtype=np.int32)
        for index in np.argsort(self.scores, kind="stable"):
            crop, y0, x0 = convert.decode_crop(self.rles[index])
            window = label_map[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]]
            window[crop] = index + 1
        return label_map

    def union(self) -> np.ndarray:
        """(H, W) bool: pixels inside any cell."""
        if not self.rles:
            return np.zeros(self.image_size, dtype=bool)
        return convert.rle_to_mask(coco_mask.merge(self.rles))


def _of_all(annotations: Sequence[Mapping[str, Any]], key: str) -> np.ndarray | None:
    """(N, ...) float32 of a field that each of the annotations has; None where one lacks it."""
    known = [a[key] for a in annotations if key in a]
    whole = bool(known) and len(known) == len(annotations)
    return np.array(known, dtype=np.float32) if whole else None
