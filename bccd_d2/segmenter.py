"""The model in three lines: load it by name, folder or file, and ask it for the cells of images.

This module stands above the rooms, as `bccd_d2.api` does.

Example:
    from bccd_d2 import load_pretrained
    model = load_pretrained()
    cells = model.predict(image)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2._detectron2 import require_detectron2
from bccd_d2.api import PredictedCells
from bccd_d2.inference.diameter import DiameterEstimate, estimate_diameter
from bccd_d2.inference.predictor import PredictOptions, predict_cells
from bccd_d2.inference.tta import parse_views

AUTO = "auto"  # for a diameter: estimated from the image


class Segmenter:
    """One trained model, or several whose answers are merged on masks.

    Attributes:
        models: each an `inference.predictor.Answer` with name and score_threshold, such as
            `models.load.TrainedModel`.
        name: of the model; of several joined by " + ".
        score_threshold: the operating point, in [0, 1]; of several models the mean of theirs.
        diameter: px of the cells that the (first) model was trained on; None where it says nothing.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        if not models:
            raise ValueError("models must hold at least one")
        self.models = list(models)
        self.name = " + ".join(model.name for model in self.models)
        self.score_threshold = float(np.mean([model.score_threshold for model in self.models]))
        self.diameter: float | None = self.models[0].diameter

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
        """The cells of one image.

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
        if scale is None:
            known = None if diameter == AUTO else float(diameter)
            estimate = self.estimate_diameter(image) if diameter == AUTO else None
            scale = self.scale_for(estimate.px if estimate else known)
        options = self.options(score_threshold, tile=tile, overlap=overlap, tta=tta, scale=scale,
                               batch=batch)  # fmt: skip
        return self.predict_with(image, options)

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
        return PredictedCells.of(predict_cells(self.models, image, options, progress))


def load_pretrained(
    name_or_path: str | Path | Sequence[str | Path] = "",
    *,
    config_file: str | Path = "",
    device: str = "auto",
    precision: str = "fp32",
) -> Segmenter:
    """A trained model, ready to predict; it needs no network and no configs folder.

    Args:
        name_or_path: "" = the model that ships with the package; else the name of one that does, a
            run's folder, a .pth or a .safetensors file. Several make an ensemble.
        config_file: a YAML file, or a shipped config by name, in place of the model's own config.
            Alone it stands for the best checkpoint of its ``OUTPUT_DIR``, or for a model without
            weights.
        device: "auto" takes a GPU where there is one; "cpu", "cuda", "cuda:1", ...
        precision: "bf16" computes the network in bfloat16: faster on a GPU and on a CPU that has
            it (avx512_bf16 or amx in its flags), slower on others; scores move in the third digit.

    Raises:
        ImportError: detectron2 is not installed; the message says how to.
        FileNotFoundError: no such file, no config beside it, or nothing ships.
        KeyError: a name that is none of the shipped models.
        ValueError: a file that is damaged, or does not fit its config, or no such precision.
    """
    require_detectron2()
    from bccd_d2.models.load import load_model

    several = not isinstance(name_or_path, (str, Path))
    given = list(name_or_path) if several else [name_or_path]
    how = (str(config_file), device, precision)
    return Segmenter([load_model(str(one), *how) for one in given or [""]])
