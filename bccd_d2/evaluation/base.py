"""What all evaluators share: truth read once, predictions gathered, results written."""

from __future__ import annotations

import abc
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bccd_d2.evaluation.table import format_scores
from bccd_d2.evaluation.thresholds import THRESHOLDS, SweepTable
from bccd_d2.evaluation.truth import TrueImage
from bccd_d2.evaluation.typed import mistakes, typed_details, typed_groups
from bccd_d2.evaluation.types import TypedImage
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.tables import write_table
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import rle_to_json
from bccd_d2.masks.taxonomy import Types

logger = logging.getLogger(__name__)

VERDICTS = "verdicts.json"
Results = OrderedDict[str, dict[str, Any]]


def metadata_of(name: str, given: Mapping[str, Any] | None = None) -> Any:
    """What is known of a dataset, by attribute: what is given, else what detectron2 has of it."""
    if given is not None:
        return SimpleNamespace(**given)
    from detectron2.data import MetadataCatalog

    return MetadataCatalog.get(name)


class Evaluator(abc.ABC):
    """Scores predictions on one dataset; what they are is the subclass's.

    detectron2's loops drive it as one of theirs; `add` and ``metadata`` need no detectron2.

    Each process scores the images it is given; the main one gathers them and answers. All cells are
    of one class; scores of types stand apart. All scores lie in [0, 1] (not 0 to 100), count errors
    are in cells. Where only some of the cells are annotated (``complete`` in the metadata is False)
    only recall is scored.

    Args:
        dataset_name: registered with detectron2, or any name beside ``metadata``.
        max_detections: cells per image that count in COCO AP and AR, the best-scored first; the
            number that the model is capped at.
        output_dir: where scores.json, per_image.csv and coco_instances_results.json go, and with
            masks verdicts.json; None writes nothing.
        score_threshold: predicted cells below it do not count, except in COCO AP.
        types: what the dataset's categories mean to the model's classes. Then scores of types
            stand beside the others, where the dataset has some and every cell is annotated: the
            groups "types" and "type NAME", see `typed.typed_groups`.

    Raises:
        ValueError: ``max_detections`` is below 1 or ``score_threshold`` is outside [0, 1].
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        max_detections: int,
        output_dir: str | Path | None = None,
        score_threshold: float = 0.5,
        types: Types | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if max_detections < 1:
            raise ValueError(f"max_detections must be at least 1, got {max_detections}")
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold must be in [0, 1], got {score_threshold}")
        self._name, self._given = dataset_name, metadata
        self._max_detections = max_detections
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._score_threshold = float(score_threshold)
        self._types = types
        self._truth: Mapping[int, TrueImage] = {}
        self._truth_state: tuple | None = None
        self._found: dict[int, Any] = {}
        self.curves: dict[str, np.ndarray] = {}

    # -- what a subclass says --------------------------------------------------------------------

    @abc.abstractmethod
    def _read_truth(self, path: Path) -> Mapping[int, TrueImage]:
        """The true cells of the dataset."""

    @abc.abstractmethod
    def _score(self, true: TrueImage, cells: Cells) -> Any:
        """What one image's prediction leaves behind; has ``cells``."""

    @abc.abstractmethod
    def _results(self, found: Sequence[Any]) -> Results:
        """Groups of scores from what all images left behind."""

    @abc.abstractmethod
    def _row(self, found: Any) -> dict[str, Any]:
        """One image's line in per_image.csv, without its id and name."""

    @abc.abstractmethod
    def _typed(self, true: TrueImage, found: Any, allowed: np.ndarray) -> TypedImage:
        """One image's types; ``allowed`` is that of `TypedImage`."""

    def _precisions(self, images: Sequence[TypedImage]) -> list[dict[str, float | None]] | None:
        """AP and its like of each class; None where the annotations have none."""
        return None

    def _details(self) -> tuple[dict[str, Any], dict[int, dict[str, Any]] | None]:
        """What scores.json says beyond the scores, and by image id what became of the cells."""
        return {}, None

    # -- what loops call --------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget all predictions; read the ground truth again if its file has changed."""
        path = Path(self._metadata().json_file)
        status = path.stat() if path.is_file() else None
        state = (path, status.st_size, status.st_mtime_ns) if status else None
        if state is None or state != self._truth_state:
            self._truth, self._truth_state = self._read_truth(path), state
        self._found = {}
        self.curves = {}

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        """Take the predictions of some images.

        Args:
            inputs: dataset dicts; only ``image_id`` is read.
            outputs: each with ``instances``: see `Cells.from_instances`; its ``pred_boxes``, where
                it has them, are what box scores look at, else the masks' tight boxes.

        Raises:
            KeyError: an image is not in the ground truth.
            ValueError: a prediction is not of its image's size.
        """
        for given, output in zip(inputs, outputs, strict=True):
            instances = output["instances"]
            cells = Cells.from_instances(instances)
            if instances.has("pred_boxes"):
                boxes = np.asarray(instances.pred_boxes.tensor.detach().cpu().float())
                cells = replace(cells, detected_boxes=boxes)
            self.add(given["image_id"], cells)

    def add(self, image_id: int, cells: Cells) -> None:
        """Take the prediction of one image; box scores look at its ``scored_boxes``.

        Raises:
            KeyError: the image is not in the ground truth.
            ValueError: the prediction is not of its image's size.
        """
        if image_id not in self._truth:
            raise KeyError(
                f"image {image_id} is not in the ground truth of {self._name}; call reset() "
                f"first and use that dataset's loader"
            )
        true = self._truth[image_id]
        try:
            self._found[image_id] = self._score(true, cells)
        except ValueError as error:
            raise ValueError(f"{true.file_name}: {error}") from error

    def evaluate(self) -> Results:
        """All scores on the main process, {} on the others.

        Raises:
            ValueError: an image of the dataset was never predicted.
        """
        gathered = self._gathered()
        if not gathered:
            return OrderedDict()
        found = {image_id: item for part in gathered for image_id, item in part.items()}
        missing = [image_id for image_id in self._truth if image_id not in found]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(self._truth)} images of {self._name} have no prediction, "
                f"the first is {self._truth[missing[0]].file_name}; run over the whole dataset"
            )
        self._found = {image_id: found[image_id] for image_id in self._truth}
        results = self._results(list(self._found.values()))
        self._warn_about_labels()
        typed = self._typed_images()
        if typed and self._types is not None:
            groups = typed_groups(
                typed, self._precisions(typed), self._score_threshold, self._types.classes
            )
            results.update(groups)
        if self._output_dir is not None:
            self._write(self._output_dir, results)
        logger.info("scores on %s:\n%s", self._name, format_scores(results))
        return results

    def _gathered(self) -> list[dict[int, Any]]:
        """What all processes found, on the main one; [] on the others."""
        if self._given is not None:
            return [self._found]
        from detectron2.utils import comm

        found: list[dict[int, Any]] = comm.gather(self._found, dst=0)
        return found if comm.is_main_process() else []

    def _metadata(self) -> Any:
        return metadata_of(self._name, self._given)

    def _typed_images(self) -> list[TypedImage]:
        """The types of all images; [] where nothing is to be said of them."""
        if self._types is None or not self.complete:
            return []
        return [
            self._typed(true, self._found[image_id], self._types.allowed(known))
            for image_id, true in self._truth.items()
            for known in [self._types.known(true.categories)]
        ]

    def _warn_about_labels(self) -> None:
        """Say which labels mean nothing to the model: their cells are of unknown type."""
        if self._types is None:
            return
        labels = sorted({name for true in self._truth.values() for name in true.categories})
        for label in self._types.taxonomy.beside(labels, self._types.classes):
            logger.warning(
                "%s: the label %r is none of the model's classes (%s): its cells count in no score "
                "of types", self._name, label, ", ".join(self._types.classes.names),
            )  # fmt: skip

    # -- what is known afterwards ----------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether every cell of the dataset is annotated."""
        return bool(getattr(self._metadata(), "complete", True))

    def predictions(self) -> list[Cells]:
        """Predicted cells in the order of image ids, all scores; after `evaluate`, main process."""
        return [item.cells for item in self._found.values()]

    @property
    def kind(self) -> str:
        """What the dataset's true cells are: "masks", "boxes" or "points"."""
        return getattr(self._metadata(), "annotations", "masks")

    def images(self) -> Mapping[int, TrueImage]:
        """The true images by their ids; after `reset`."""
        return self._truth

    def file_names(self) -> dict[int, str]:
        """The images' names, relative to the image root, by their ids, in order; after `reset`."""
        return {image_id: image.file_name for image_id, image in self._truth.items()}

    def sweep(self, thresholds: Sequence[float] = THRESHOLDS) -> SweepTable | None:
        """Scores at each score threshold, where a threshold can be chosen on the dataset."""
        return None

    # -- files -----------------------------------------------------------------------------------

    def _write(self, folder: Path, results: Results) -> None:
        details, images = self._details()
        typed = self._typed_images()
        if "types" in results and self._types is not None:
            names = [true.file_name for true in self._truth.values()]
            given = (typed, names, self._score_threshold, self._types.classes)
            details = details | {"types": typed_details(*given)}
            for image_id, one in zip(self._truth, typed, strict=True):
                if images is not None:
                    images[image_id]["mistakes"] = mistakes(one, self._score_threshold)
        summary = {
            "dataset": self._name,
            "annotations": self.kind,
            "complete": self.complete,
            "images": len(self._truth),
            "max_detections": self._max_detections,
            "score_threshold": self._score_threshold,
            "scores": results,
            "precision_curves": {k: np.round(v, 5).tolist() for k, v in self.curves.items()},
            **details,
        }
        (folder / VERDICTS).unlink(missing_ok=True)
        if images is not None:
            write_json_atomic(folder / VERDICTS, self._with_places(images))
        write_json_atomic(folder / "scores.json", summary)
        write_table(folder / "per_image.csv", self._per_image_rows())
        write_json_atomic(folder / "coco_instances_results.json", self._coco_results())

    def _with_places(self, images: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """What became of the cells of each image, and where the images lie."""
        metadata = self._metadata()
        return {
            "image_root": getattr(metadata, "image_root", ""),
            "max_value": getattr(metadata, "max_value", None),
            "images": [
                {"image_id": image_id, "file_name": self._truth[image_id].file_name} | found
                for image_id, found in images.items()
            ],
        }

    def _per_image_rows(self) -> list[dict[str, Any]]:
        return [
            {"image_id": image_id, "file_name": self._truth[image_id].file_name} | self._row(item)
            for image_id, item in self._found.items()
        ]

    def _coco_results(self) -> list[dict[str, Any]]:
        results = []
        for image_id, item in self._found.items():
            for rle, score, (x0, y0, x1, y1), class_id in zip(
                item.cells.rles,
                item.cells.scores.tolist(),
                item.cells.scored_boxes.tolist(),
                item.cells.class_ids.tolist(),
                strict=True,
            ):
                results.append(
                    {
                        "image_id": image_id,
                        "category_id": class_id + 1,
                        "segmentation": rle_to_json(rle),
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "score": score,
                    }
                )
        return results
