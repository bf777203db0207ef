"""From a dense model's maps to scored cells, whatever computed the maps: numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.decode import DecodeOptions, cell_scores, decode
from bccd_d2.masks.encode import encode_distance
from bccd_d2.masks.flows import flow_errors
from bccd_d2.masks.habits import Look, colours
from bccd_d2.masks.labels import cell_areas, cell_touches_border, relabel, share_left
from bccd_d2.masks.resize import refine_outlines, resize_label_map
from bccd_d2.masks.rle import numbered_rles
from bccd_d2.modeling.options import options_of

SCORES = ("probability", "agreement")
OUTLINES = ("image", "model")


@dataclass(frozen=True)
class AnswerOptions:
    """How maps become scored cells.

    Attributes:
        decode: from maps to a label map, in pixels of the maps.
        score: "probability", the mean of the cell map inside a cell; "agreement", that times what
            the cell's outline earns with the other maps, see `agreement`.
        outlines: "image" draws them on the cell map enlarged to the image's size, "model" in the
            maps' own pixels.
        border_area: px of the maps; the score of a cell that the image's edge cuts is multiplied
            by its area over this where that is less than 1, see `completeness`; 0 = never.
        border_field: px of the maps; that discount is for images whose shorter side has at least
            so many: in a large field slivers at the edge add nothing and annotators leave them out,
            in a crop of a few cells all that shows is wanted.
        sliver_area: px of the maps; least area of cells that the edge cuts, in place of
            ``decode.min_area``, which is that of whole cells; 0 = no exception.
        counted: the power of the mean of the "counted" map inside a cell that its score is
            multiplied by; 0 = every cell counts. It is what annotators of such images leave out:
            slivers at the border, cells hidden by others.
        counted_where: the row of the `masks.habits.Look` of the images to which that applies;
            () = to all.
        max_cells: the best-scored are kept.

    Raises:
        ValueError: an unknown word.
    """

    decode: DecodeOptions = field(default_factory=DecodeOptions)
    score: str = "probability"
    outlines: str = "image"
    border_area: float = 0.0
    border_field: float = 0.0
    sliver_area: int = 0
    counted: float = 0.0
    counted_where: tuple[float, ...] = ()
    max_cells: int = 300

    def __post_init__(self) -> None:
        for name, known in (("score", SCORES), ("outlines", OUTLINES)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"MODEL.DENSE.{name.upper()} must be of {known}, got {value!r}")
        for name in ("border_area", "border_field", "sliver_area", "counted"):
            if getattr(self, name) < 0:
                value = getattr(self, name)
                raise ValueError(f"MODEL.DENSE.{name.upper()} must be at least 0, got {value}")
        if self.counted_where:
            Look.of(self.counted_where)


def answer_options(config: Mapping[str, Any]) -> AnswerOptions:
    """How ``MODEL.DENSE`` of a config, or of nested dicts, turns maps into cells."""
    options = options_of(AnswerOptions, config["MODEL"]["DENSE"])
    return replace(options, max_cells=config["TEST"]["DETECTIONS_PER_IMAGE"])


def to_cells(
    maps: Mapping[str, np.ndarray],
    image_size: tuple[int, int],
    options: AnswerOptions,
    image: np.ndarray | None = None,
) -> Cells:
    """Cells of one image in its own frame, the best-scored first; equal scores keep their order.

    Args:
        maps: (channels, h, w) float32 by head; see `heads`.
        image_size: height and width of the answer.
        image: (h, w, 3) uint8 RGB that the maps are of, which ``counted_where`` asks for; without
            it no image is known to be alike.
    """
    maps = {name: x if name == "flow" else x[0] for name, x in maps.items()}
    label_map = here = _cells(maps, options)
    scores = cell_scores(label_map, maps["cell"])
    if options.score == "agreement":
        scores = scores * agreement(label_map, maps)
    if min(label_map.shape) >= options.border_field:
        scores = scores * completeness(label_map, options.border_area)
    size = int(image_size[0]), int(image_size[1])
    label_map = _in_frame(label_map, maps["cell"], size, options)
    numbers, rles = numbered_rles(label_map)
    cells = Cells.from_rles(rles, size, scores[numbers - 1].clip(0, 1))
    if options.counted and "counted" in maps and _alike(image, cells, options.counted_where):
        factor = cell_scores(here, maps["counted"])[numbers - 1] ** options.counted
        cells = replace(cells, scores=cells.scores * factor)
    return cells[np.argsort(-cells.scores, kind="stable")[: options.max_cells]]


def _alike(image: np.ndarray | None, cells: Cells, look: tuple[float, ...]) -> bool:
    if not look:
        return True
    return image is not None and Look.of(look).holds(colours(image, cells))


def _cells(maps: Mapping[str, np.ndarray], options: AnswerOptions) -> np.ndarray:
    """The label map (h, w) of whole cells and of slivers at the edge, each above its least area."""
    whole = options.decode.min_area
    if not 0 < options.sliver_area < whole:
        return decode(maps, options.decode)
    label_map = decode(maps, replace(options.decode, min_area=options.sliver_area))
    small = (cell_areas(label_map) < whole) & ~cell_touches_border(label_map)
    return relabel(np.where(np.concatenate(([False], small))[label_map], 0, label_map))


def _in_frame(
    label_map: np.ndarray, probability: np.ndarray, size: tuple[int, int], options: AnswerOptions
) -> np.ndarray:
    grows = size[0] >= label_map.shape[0] and size[1] >= label_map.shape[1]
    if size == label_map.shape or options.outlines == "model" or not grows:
        return resize_label_map(label_map, size)
    enlarged = cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR)
    return refine_outlines(label_map, enlarged >= options.decode.cell_threshold)


def agreement(label_map: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) float32 in [0, 1]: how well each cell's outline fits the maps of what lies within.

    The product, over the maps there are, of

    * flow: 1 minus half of the mean squared difference between the predicted vectors and those that
      the outline asks for (`masks.flows.flow_errors`);
    * distance: 1 minus twice the mean difference between the predicted distances and those of the
      outline (`masks.encode.encode_distance`).

    Torn cells lose by both, merged ones by the flow above all (two discs deepen as their union
    does), whatever the cell map says of their pixels; 1 without such a map.
    """
    factor = np.ones(int(label_map.max(initial=0)), dtype=np.float32)
    if "flow" in maps:
        factor *= (1 - flow_errors(label_map, maps["flow"]) / 2).clip(0, 1)
    if "distance" in maps:
        wrong = np.abs(encode_distance(label_map) - maps["distance"])
        factor *= (1 - 2 * cell_scores(label_map, wrong)).clip(0, 1)
    return factor


def completeness(label_map: np.ndarray, whole: float) -> np.ndarray:
    """(N,) float32 in [0, 1]: how much there is of each cell that the image's edge cuts.

    Its area over ``whole``, at most 1; 1 for cells away from the edge. Annotators leave many
    slivers at the edge out, and what is left of a cell there says little about it.
    """
    if whole <= 0:
        return np.ones(int(label_map.max(initial=0)), dtype=np.float32)
    share = share_left(cell_areas(label_map), cell_touches_border(label_map), whole)
    return share.astype(np.float32)
