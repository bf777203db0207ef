"""How a model miscounts: what it made of the cells of annotated images, image by image.

Counts alone, in the counting frame, so that what is measured is what `bccd count` does. It is kept
image by image because errors come in images: intervals need their spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.counting import Channel, Share, in_counting_frame
from bccd_d2.io.records import read_json
from bccd_d2.masks.overlap import box_iou, iou_matrix, match
from bccd_d2.masks.rle import Rle

LEAST_TRUE = 10  # true cells of a kind, below which nothing is said of what the model makes of it
_COUNT = range(1 << 31)
SHAPE = {
    "types": [str],
    "model_sha256": [str],
    "measured_on": str,
    "images": [
        {"truth": [_COUNT], "found_as": [[_COUNT]], "invented": [_COUNT], "told?": [bool]}
    ],
}


@dataclass(frozen=True, eq=False)
class TypedCells:
    """Cells of one image with their types.

    Attributes:
        rles: N masks of one size; None where annotators drew boxes alone.
        boxes: (N, 4) half-open x0 y0 x1 y1.
        types: N places in a list of types; -1 = nobody said, or none of them.
        image_size: height, width.
    """

    rles: Sequence[Rle] | None
    boxes: np.ndarray
    types: np.ndarray
    image_size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Miscounts:
    """What a model made of the K types of cells in I images.

    Attributes:
        types: K names.
        truth: (I, K) true cells.
        found_as: (I, K, K) true cells of one type found as another.
        invented: (I, K) cells found where there is none.
        models: SHA-256 of the models that it holds for.
        measured_on: in words, on which images.
        told: (I, K) bool, the types that an image's annotators mark; of others nothing can be said
            to be invented there. None = all of them.
    """

    types: tuple[str, ...]
    truth: np.ndarray
    found_as: np.ndarray
    invented: np.ndarray
    models: tuple[str, ...] = ()
    measured_on: str = ""
    told: np.ndarray | None = None

    def found(self, of: np.ndarray) -> np.ndarray:
        """(I,) cells found as one of the types ``of``, (K,) bool, true or not."""
        return (self.found_as.sum(axis=1) + self.invented)[:, of].sum(axis=1)

    def true(self, of: np.ndarray) -> np.ndarray:
        """(I,) true cells of the types ``of``, (K,) bool."""
        return self.truth[:, of].sum(axis=1)

    def rates(self) -> np.ndarray:
        """(K, K) cells found as each type for a true cell of each type, inventions included.

        A type of fewer true cells than `LEAST_TRUE` is taken to be found as itself: one white cell
        that was taken for a red one would make every red cell a white one that was mistaken.
        """
        truth, invented = self.truth.sum(axis=0), self.invented.sum(axis=0)
        found = self.found_as.sum(axis=0) / np.maximum(truth, 1)[:, None]
        few = truth < LEAST_TRUE
        found[few] = np.eye(len(truth))[few]
        told = np.ones_like(self.truth, dtype=bool) if self.told is None else self.told
        among = (told * self.truth.sum(axis=1, keepdims=True)).sum(axis=0)  # (K,) true cells
        return found + invented / np.maximum(among, 1)

    def unmixed(self, counts: np.ndarray) -> np.ndarray:
        """(K,) the true cells that (K,) found ones stand for, none below 0 (least squares)."""
        from scipy.optimize import nnls

        return nnls(self.rates().T, np.asarray(counts, dtype=float))[0]

    def channel(self, one: np.ndarray, other: np.ndarray, counts: np.ndarray) -> Channel | None:
        """What the model makes of two kinds; None where it was shown too few cells of one of them.

        Args:
            one, other: (K,) bool, the types of each kind.
            counts: (K,) cells found on the slide, whose mix of types decides.
        """
        if min(self.true(one).sum(), self.true(other).sum()) < LEAST_TRUE:
            return None
        rates, mix = self.rates(), self.unmixed(counts)

        def mixed(of: np.ndarray) -> np.ndarray:
            weights = mix[of] if mix[of].sum() else self.truth.sum(axis=0)[of]
            return np.average(rates[of], axis=0, weights=weights)

        strangers = ~(one | other)
        lost = mix[strangers] @ rates[strangers] / max(mix[one | other].sum(), 1e-12)
        return Channel(
            hits=self._share(one, one, other, mixed(one)),
            alarms=self._share(other, one, other, mixed(other)),
            found=(mixed(one)[one | other].sum(), mixed(other)[one | other].sum()),
            strangers=(float(lost[one].sum()), float(lost[other].sum())),
        )

    def _share(
        self, of: np.ndarray, one: np.ndarray, other: np.ndarray, mixed: np.ndarray
    ) -> Share:
        """Of true cells of some types, how many are found as the one kind among both.

        The rate is that of the slide's mix of types, its spread that of the images. Cells invented
        are in both: each image's, by the share of its true cells that is of these types.
        """
        truth = np.maximum(self.truth.sum(axis=1), 1)
        invented = self.invented * (self.true(of) / truth)[:, None]
        called = self.found_as[:, of].sum(axis=1) + invented
        seen = Share.of(called[:, one].sum(axis=1), called[:, other].sum(axis=1))
        rate = mixed[one].sum() / max(mixed[one | other].sum(), 1e-12)
        return Share(rate * seen.n, seen.n, seen.design, seen.freedom)

    def to_json(self) -> dict[str, Any]:
        """For `read_miscounts`."""
        told = np.ones_like(self.truth, dtype=bool) if self.told is None else self.told
        images = zip(self.truth, self.found_as, self.invented, told, strict=True)
        return {
            "types": list(self.types),
            "model_sha256": list(self.models),
            "measured_on": self.measured_on,
            "images": [
                {"truth": t.tolist(), "found_as": f.tolist(), "invented": i.tolist()}
                | ({} if said.all() else {"told": said.tolist()})
                for t, f, i, said in images
            ],
        }


def compare_counts(
    truth: TypedCells, found: TypedCells, told: np.ndarray, iou: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image's (K,) truth, (K, K) found as and (K,) invented, of K types.

    Cells are matched by their masks, or by their boxes where the truth has no masks; each side is
    counted by its own counting frame, so a true cell whose outline leaves the frame is missed, as
    it is in a count. A found cell of no type (unsure) is in no count either: the true one is
    missed. A true cell of no type says nothing of types: it is left out with what was found for it,
    and so is, by chance, its share of the cells invented.

    Args:
        told: (K,) bool, the types that the annotators mark; a cell found as another one, where
            there is no true cell, may well be one, so it is left out.

    Raises:
        ValueError: the two are of different image sizes.
    """
    types = len(told)
    if truth.rles is None or found.rles is None:
        overlap = box_iou(found.boxes, truth.boxes)
    else:
        overlap = iou_matrix(found.rles, truth.rles)
    pairs = match(overlap, iou)
    counted = in_counting_frame(truth.boxes, truth.image_size)
    reported = in_counting_frame(found.boxes, found.image_size) & (found.types >= 0)
    known = truth.types >= 0
    share = float(known[counted].mean()) if counted.any() else 1.0
    reported[pairs.pred_index[~known[pairs.truth_index]]] = False
    counted &= known
    both = counted[pairs.truth_index] & reported[pairs.pred_index]
    rows, columns = pairs.truth_index[both], pairs.pred_index[both]
    found_as = np.zeros((types, types), dtype=np.int64)
    np.add.at(found_as, (truth.types[rows], found.types[columns]), 1)
    reported[columns] = False
    reported[np.flatnonzero(reported)[~told[found.types[reported]]]] = False
    invented = np.bincount(found.types[reported], minlength=types)
    if share < 1:
        invented = np.random.default_rng(len(known)).binomial(invented, share)
    return np.bincount(truth.types[counted], minlength=types), found_as, invented


def read_miscounts(path: str | Path) -> Miscounts:
    """The file that `bccd tune counts` wrote.

    Raises:
        FileNotFoundError, ValueError: no such file, or a broken one.
    """
    remedy = "measure again: bccd tune counts"
    read: Mapping[str, Any] = read_json(path, SHAPE, remedy)
    count = len(read["types"])
    whole = all(
        len(i["truth"]) == len(i["invented"]) == len(i["found_as"]) == count
        and all(len(row) == count for row in (*i["found_as"], i.get("told", i["truth"])))
        for i in read["images"]
    )
    if not read["images"] or not count or not whole:
        raise ValueError(f"{path}: an image has not one row for each of {count} types; {remedy}")
    truth, found_as, invented = (
        np.array([i[key] for i in read["images"]]) for key in ("truth", "found_as", "invented")
    )
    told = np.array([i.get("told", [True] * count) for i in read["images"]])
    models, about = tuple(read["model_sha256"]), read["measured_on"]
    return Miscounts(tuple(read["types"]), truth, found_as, invented, models, about, told)
