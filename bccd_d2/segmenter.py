"""The model in three lines: load it by name, folder or file, and ask it for the cells of images.

This module stands above the rooms, as `bccd_d2.api` does.

Example:
    from bccd_d2 import load_pretrained
    model = load_pretrained()
    cells = model.predict(image)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.api import PredictedCells
from bccd_d2.inference.diameter import DiameterEstimate, estimate_diameter
from bccd_d2.inference.predictor import PredictOptions, check_image, predict_cells
from bccd_d2.inference.trust import Trust, assess
from bccd_d2.inference.tta import parse_views
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.labels import disc_diameter

AUTO = "auto"  # for a diameter: estimated from the image
CANDIDATES = 0.2  # score from which an outline counts as a candidate where trust is asked


class Segmenter:
    """One trained model, or several whose answers are merged on masks.

    Attributes:
        models: each an `inference.predictor.Answer` with name and score_threshold, such as
            `models.load.TrainedModel`.
        name: of the model; of several joined by " + ".
        score_threshold: the operating point, in [0, 1]; of several models the mean of theirs.
        diameter: px of the cells that the (first) model was trained on; None where it says nothing.
        classes: what a cell may be.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        if not models:
            raise ValueError("models must hold at least one")
        self.models = list(models)
        self.name = " + ".join(model.name for model in self.models)
        self.score_threshold = float(np.mean([model.score_threshold for model in self.models]))
        self.diameter: float | None = self.models[0].diameter
        self.classes = _common_classes(self.models)

    def predict(
        self,
        image: np.ndarray,
        score_threshold: float | None = None,
        *,
        tile: int | None = None,
        overlap: int | None = None,
        tta: str | float | Sequence[str | float] = (),
        diameter: str | float = AUTO,
        scale: float | None = None,
        batch: int = 1,
    ) -> PredictedCells:
        """The cells of one image; their ``diameter`` and ``trust`` say how it was looked at.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            score_threshold: cells below it are left out. None = the model's own operating point;
                0.05 gives all candidates, for the model keeps none below its config's
                ``MODEL.ROI_HEADS.SCORE_THRESH_TEST``.
            tile: px of a window; None cuts images above 3 megapixels, 0 none.
            overlap: px that windows share; it should exceed the largest cell.
            tta: "flip", "turn" and scales such as 0.8, in a list or joined by commas; the views
                are merged, and `uncertainty` says how far they disagree on each cell. Merged
                scores are means over the views, a little below those of one view.
            diameter: px across a typical cell of the image; "auto" estimates it.
            scale: in place of a diameter: 0.5 where cells appear twice as large as in the images of
                the training.
            batch: windows that go through the model together.

        Raises:
            ValueError: another shape or type, or options out of range.
        """
        px, estimate = None, None
        if scale is None:
            estimate = self.estimate_diameter(image) if diameter == AUTO else None
            px = estimate.px if estimate else float(diameter)
            scale = self.scale_for(px)
        options = self.options(score_threshold, tile=tile, overlap=overlap, tta=tta, scale=scale,
                               batch=batch)  # fmt: skip
        candidates = self.candidates(image, options)
        trust = self.assess(image, candidates, options, estimate)
        return replace(candidates.above(options.score_threshold), diameter=px, trust=trust)

    def candidates(
        self,
        image: Any,
        options: PredictOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> PredictedCells:
        """`predict_with` from a score of `CANDIDATES`, of which those above the threshold of the
        options are the answer.

        An image that is looked at in windows has no others: stitching asks for the answer.
        """
        one = len(options.tiles(check_image(image))) == 1
        lowest = min(CANDIDATES, options.score_threshold) if one else options.score_threshold
        return self.predict_with(image, replace(options, score_threshold=lowest), progress)

    def assess(
        self,
        image: np.ndarray,
        candidates: Cells,
        options: PredictOptions,
        estimate: DiameterEstimate | None = None,
    ) -> Trust:
        """Whether an image's outlines are to be trusted; see `inference.trust.assess`.

        Platelets are not asked: how large cells are, and how that differs, is said of the others.

        Args:
            candidates: of `candidates`.
            options: that they were found with. A threshold up to `CANDIDATES` asks for all there
                is, so then trust is in those above the model's own.
            estimate: of the cells' size; None = a person gave it.
        """
        threshold = options.score_threshold
        if threshold <= CANDIDATES:
            threshold = self.score_threshold
        seen = candidates.above(min(CANDIDATES, threshold))
        seen = seen[~self.classes.under("platelet")[seen.class_ids]]
        if self.diameter is not None:
            return assess(image, seen, threshold, self.diameter / options.scale, estimate)
        # It knows one size only, so what it finds is all there is to go by.
        areas = seen.above(threshold).areas
        diameter = float(disc_diameter(np.median(areas))) if areas.any() else 1.0
        return assess(image, seen, threshold, max(diameter, 1.0))

    def estimate_diameter(self, image: Any) -> DiameterEstimate:
        """The size of an image's cells, from the image alone; without one, the reason why.

        Raises:
            ValueError: see `inference.diameter.estimate_diameter`.
        """
        if self.diameter is None:
            return DiameterEstimate(None, 0.0, 0, f"model {self.name} knows cells of one size only")
        return estimate_diameter(self.models[0], image, self.diameter)

    def scale_for(self, diameter: float | None) -> float:
        """The scale at which the model looks at cells of ``diameter`` px; 1 for None.

        Raises:
            ValueError: no such diameter, or a model that says nothing of its own.
        """
        if diameter is None:
            return 1.0
        if not 1 <= diameter <= 10_000:
            raise ValueError(f"diameter must be 1 to 10,000 px, got {diameter:g}")
        if self.diameter is None:
            raise ValueError(f"model {self.name} knows cells of one size only: give a scale")
        return self.diameter / diameter

    def options(
        self,
        score_threshold: float | None = None,
        *,
        tta: str | float | Sequence[str | float] = (),
        **rest: Any,
    ) -> PredictOptions:
        """The arguments of `predict` checked and in one piece; ``rest`` as there."""
        threshold = self.score_threshold if score_threshold is None else float(score_threshold)
        return PredictOptions(threshold, views=parse_views(tta), **rest)

    def predict_with(
        self,
        image: Any,
        options: PredictOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> PredictedCells:
        """`predict` with options in one piece; see `inference.predictor.predict_cells`."""
        cells = predict_cells(self.models, image, options, progress)
        return PredictedCells.of(cells, self.classes)


def _common_classes(models: Sequence[Any]) -> Classes:
    """The classes of several models, which must be the same; one that names none has "cell"."""
    given = [getattr(model, "classes", Classes()) for model in models]
    other = [classes for classes in given if classes.names != given[0].names]
    if other:
        lists = " and ".join(", ".join(classes.names) for classes in (given[0], other[0]))
        raise ValueError(f"models of an ensemble must know the same classes, got {lists}")
    return given[0]


def load_pretrained(
    name_or_path: str | Path | Sequence[str | Path] = "",
    *,
    config_file: str | Path = "",
    device: str = "auto",
    precision: str = "fp32",
    backend: str = "auto",
) -> Segmenter:
    """A trained model, ready to predict; it needs no connection and no configs folder.

    Args:
        name_or_path: "" = the model that ships with the package; else the name of one that does, a
            run's folder, a .pth, a .safetensors or an .onnx file. Several make an ensemble.
        config_file: a YAML file, or a shipped config by name, in place of the model's own config.
            Alone it stands for the best checkpoint of its ``OUTPUT_DIR``, or for a model without
            weights.
        device: "auto" takes a GPU where there is one; "cpu", "cuda", "cuda:1", ...
        precision: "bf16" computes the network in bfloat16: faster on a GPU and on a CPU that has
            it (avx512_bf16 or amx in its flags), slower on others; scores move in the third digit.
        backend: what computes the network: "onnx" (ONNX Runtime), "openvino" or "torch"; "auto"
            takes PyTorch for a GPU, for runs and for models that have no graph, ONNX Runtime else.

    Raises:
        ImportError: PyTorch, detectron2 or the backend is not installed; the message says how to.
        FileNotFoundError: no such file, no config beside it, or nothing ships.
        KeyError: a name that is none of the shipped models.
        ValueError: a file that is damaged, or does not fit its config, or no such precision.
    """
    from bccd_d2.models.backend import load_with

    given = [name_or_path] if isinstance(name_or_path, (str, Path)) else list(name_or_path)
    how = (str(config_file), device, precision, backend)
    return Segmenter([load_with(str(one), *how) for one in given or [""]])
