"""The size of an image's cells, from the image alone, by a model that bears cells of many sizes.

A network trained on widely zoomed cells outlines those from about .4 to 2.2 times its own size.
So a few looks at small windows, each as if cells had another size, find and measure cells between
them from 10 to 400 px. What is no cell (texture of a far too large one, a clump of far too small
ones) gives outlines that agree badly with their own flows, differ from look to look, and weigh
little. The diameter is that of the disc of the median outline's area.

Cellpose (Stringer et al., Nature Methods 2021) regresses it from the network's style instead and
then refines it on the outlines; here the outlines alone are asked, so any `Answer` will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.inference.predictor import Answer, check_image
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import disc_diameter
from bccd_d2.masks.stain import from_background

FIRST = (46.0, 95.0)  # px that a cell may have; each look sees about half to twice of it
AGAINST = 200.0  # px; granules of a large cell convince the first looks, the cell itself this one
LOOKS = (16.0, 46.0, 95.0, 200.0)
BEARS = (0.42, 2.3)  # measured over assumed size within which a look is believed
SIDE = 8.0  # windows are this many assumed diameters wide
NEAR = 1.25  # diameters within this factor agree
LEAST_SCORE = 0.6
WEAK_SCORE = 0.4  # of outlines that are asked too where the evidence is thin, and with less regard
THIN = 1.0  # weight of some eight outlines that fit well
FAR_LOOK = 380.0  # px; a last look where nothing was found
BLANK = 5.0  # grey levels between an outline's mean colour and the background's, below which it
# holds nothing: of four laboratories' cells 99% have 8 or more, outlines of noise 2 at most
_SMALL = 512  # px of the longer side at which that is measured


@dataclass(frozen=True)
class DiameterOptions:
    """How the size of cells is looked for.

    Attributes:
        first: assumed diameters in px of the image that are tried in one window each; their
            answer stands where it is convincing.
        looks: all that are tried else.
        side: width of a look's windows in assumed diameters.
        windows: of each look, where most happens in the image.
        least_score: outlines below it are asked only where better ones are few.
        least_agreement: below it no diameter is given.
        convincing: cells and agreement from which the first looks suffice.
    """

    first: tuple[float, ...] = FIRST
    looks: tuple[float, ...] = LOOKS
    side: float = SIDE
    windows: int = 2
    least_score: float = LEAST_SCORE
    least_agreement: float = 0.25
    convincing: tuple[int, float] = (8, 0.7)

    def __post_init__(self) -> None:
        if not self.looks or min(self.looks) <= 0:
            raise ValueError(f"looks must be diameters above 0 px, got {self.looks}")
        if self.side <= 1 or self.windows < 1:
            raise ValueError(f"side must be above 1, windows at least 1, got {self}")


@dataclass(frozen=True)
class DiameterEstimate:
    """The size of an image's cells.

    Attributes:
        px: median diameter in px of the image; None where no cell was found, or none that the
            looks agree on.
        agreement: share of the evidence within a factor of 1.25 of ``px``, in [0, 1].
        cells: outlines that this evidence is made of; the same cell may be seen by several looks.
        how: one sentence for people.
    """

    px: float | None
    agreement: float
    cells: int
    how: str


def estimate_diameter(
    answer: Answer,
    image: np.ndarray,
    model_diameter: float,
    options: DiameterOptions | None = None,
) -> DiameterEstimate:
    """The median diameter of the cells in an image.

    Args:
        answer: a model; its scores must tell outlines that fit from others. Where it has a second
            answer without types, ``outlines``, that is asked.
        image: (H, W, 3) uint8 RGB, or windows of a large one.
        model_diameter: px of the image, at zoom 1, of the cells that the model was trained on.
        options: see `DiameterOptions`.

    Raises:
        ValueError: no such image, or ``model_diameter`` is not above 0.
    """
    options = options or DiameterOptions()
    answer = getattr(answer, "outlines", answer)
    check_image(image)
    if not model_diameter > 0:
        raise ValueError(f"model_diameter must be above 0 px, got {model_diameter}")
    away = from_background(image, min(1.0, _SMALL / max(image.shape[:2])))
    pictures = image, cv2.resize(away, image.shape[1::-1])

    def looks(sizes: Sequence[float], windows: int) -> _Seen:
        return _joined(
            [_look(answer, pictures, x, model_diameter, windows, options) for x in sizes]
        )

    if options.first:
        first = looks(options.first, 1)
        estimate = vote(*_weighed(first, options.least_score), options.least_agreement)
        if _convinces(estimate, options):
            more = _joined([first, looks((AGAINST,), 1)])
            if _stands(estimate, vote(*_weighed(more, options.least_score)).px):
                return estimate
    seen = looks(options.looks, options.windows)
    sizes, weights = _weighed(seen, options.least_score)
    if weights.sum() < THIN:
        sizes, weights = _weighed(seen, min(options.least_score, WEAK_SCORE), power=3)
    if not len(sizes):
        sizes, weights = _weighed(looks((FAR_LOOK,), 1), options.least_score)
    return vote(sizes, weights, options.least_agreement)


def _convinces(estimate: DiameterEstimate, options: DiameterOptions) -> bool:
    """Many cells that agree, of a size that the first looks see well."""
    cells, agreement = options.convincing
    if estimate.px is None or estimate.cells < cells or estimate.agreement < agreement:
        return False
    return 0.65 * min(options.first) <= estimate.px <= 1.5 * max(options.first)


def _stands(estimate: DiameterEstimate, px: float | None) -> bool:
    """Whether more evidence, which says ``px``, leaves the estimate of the first looks there."""
    return px is not None and estimate.px is not None and 1 / NEAR <= px / estimate.px <= NEAR


def vote(sizes: np.ndarray, weights: np.ndarray, least: float = 0.25) -> DiameterEstimate:
    """The size that most of the evidence agrees on.

    Args:
        sizes: (N,) diameters in px.
        weights: (N,) > 0.
        least: share of the weight within a factor of 1.25 below which nothing is said.

    Returns:
        The weighted median of the sizes round the densest one.
    """
    if not len(sizes):
        return DiameterEstimate(None, 0.0, 0, "no cell was found at any size")
    logs, total = np.log(sizes), weights.sum()
    reach = np.log(NEAR)
    near = np.abs(logs[:, None] - logs[None]) <= reach
    dense = int((near @ weights).argmax())
    middle = logs[dense]
    for _ in range(3):  # towards the median of what lies round it
        close = np.abs(logs - middle) <= 1.5 * reach
        middle = _weighted_median(logs[close], weights[close])
    agree = np.abs(logs - middle) <= reach
    share, count = float(weights[agree].sum() / total), int(agree.sum())
    if share < least:
        text = f"outlines of all sizes, {share:.0%} of them near {np.exp(middle):.0f} px"
        return DiameterEstimate(None, share, count, text)
    text = f"{count} outlines, {share:.0%} of the evidence within a quarter of the median"
    return DiameterEstimate(float(np.exp(middle)), share, count, text)


def common_diameter(estimates: Sequence[DiameterEstimate]) -> DiameterEstimate:
    """One size for the images of one microscope: the median of those that have one.

    Raises:
        ValueError: no estimates at all.
    """
    if not estimates:
        raise ValueError("estimates must hold at least one")
    known = [estimate for estimate in estimates if estimate.px is not None]
    if not known:
        return DiameterEstimate(None, 0.0, 0, f"none of {len(estimates)} images shows its size")
    sizes = np.array([estimate.px for estimate in known])
    middle = float(np.median(sizes))
    agree = np.abs(np.log(sizes / middle)) <= np.log(NEAR)
    text = f"median of {len(known)} of {len(estimates)} images, {agree.mean():.0%} of them near it"
    return DiameterEstimate(middle, float(agree.mean()), sum(e.cells for e in known), text)


_Seen = tuple[np.ndarray, np.ndarray, np.ndarray]  # (N,) each, see `_evidence`


def _joined(seen: Sequence[_Seen]) -> _Seen:
    diameters, weights, scores = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    return diameters, weights, scores


def _look(
    answer: Answer,
    pictures: tuple[np.ndarray, np.ndarray],
    size: float,
    model_diameter: float,
    windows: int,
    options: DiameterOptions,
) -> _Seen:
    """The outlines seen as if cells were ``size`` px wide; the image, and as `_evidence` has it."""
    image, away = pictures
    side = round(options.side * size)
    seen = []
    for y0, x0 in busiest_windows(image, side, windows):
        part = np.s_[y0 : y0 + side, x0 : x0 + side]
        window = np.ascontiguousarray(image[part])
        cells = answer([window], zoom=model_diameter / size, whole=None)[0]
        seen.append(_evidence(cells, size, away[part]))
    return _joined(seen)


def _evidence(cells: Cells, size: float, away: np.ndarray) -> _Seen:
    """Diameters of a window's whole cells, how much each says if it fits, and how well it fits.

    Seen as if cells were ``size`` px wide; ``away`` is each pixel's distance from the background.

    An outline weighs by its diameter as a share of the window's side. Weights that grow with its
    area would let one large white cell outvote the red ones round it; without any growth the many
    specks of a look at far too small a size would win. A fit near the assumed size is believed more
    than one at the edge of what the model bears.
    """
    diameters = disc_diameter(cells.areas)
    kept = ~cells.touches_border(2)
    kept &= (diameters >= BEARS[0] * size) & (diameters <= BEARS[1] * size)
    labels = cells.to_label_map().ravel()
    sums = np.bincount(labels, away.ravel(), len(cells) + 1)[1:]
    kept &= sums >= BLANK * np.bincount(labels, minlength=len(cells) + 1)[1:]
    diameters = diameters[kept]
    off = np.log(np.maximum(diameters, 1) / size) / np.log(2)
    share = diameters / np.sqrt(max(cells.image_size[0] * cells.image_size[1], 1))
    return diameters, share * np.exp(-0.5 * (off / 0.8) ** 2), cells.scores[kept]


def _weighed(seen: _Seen, least: float, power: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Diameters and weights of the outlines that fit at least so well; the fit to ``power``."""
    diameters, weights, scores = seen
    kept = scores >= least
    return diameters[kept], weights[kept] * scores[kept] ** power


def busiest_windows(image: np.ndarray, side: int, count: int) -> list[tuple[int, int]]:
    """Top left corners (y0, x0) of up to ``count`` windows with most detail, apart from each other.

    One window where the image is not larger. Detail is the deviation of grey within a window.
    """
    height, width = image.shape[:2]
    if side >= height and side >= width:
        return [(0, 0)]
    factor = max(1, side // 32)
    grey = np.asarray(image[::factor, ::factor]).astype(np.float32).mean(axis=2)
    reach = (min(max(side // factor, 1), grey.shape[1]), min(max(side // factor, 1), grey.shape[0]))
    spread = _deviation(grey, reach)
    corners = []
    for _ in range(count):
        y, x = np.unravel_index(int(spread.argmax()), spread.shape)
        if spread[y, x] < 0:
            break
        corners.append((min(int(y) * factor, max(height - side, 0)),
                        min(int(x) * factor, max(width - side, 0))))  # fmt: skip
        rows = slice(max(0, y - reach[1] + 1), y + reach[1])
        columns = slice(max(0, x - reach[0] + 1), x + reach[0])
        spread[rows, columns] = -1
    return corners


def _deviation(grey: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    """Standard deviation in the window that begins at a pixel; smaller than the image by one."""
    wide, high = reach
    mean = cv2.boxFilter(grey, -1, reach, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    square = cv2.sqrBoxFilter(grey, -1, reach, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    inside = np.s_[: grey.shape[0] - high + 1, : grey.shape[1] - wide + 1]
    return np.sqrt(np.maximum(square - mean**2, 0))[inside]


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    heap = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(heap, heap[-1] / 2)])
