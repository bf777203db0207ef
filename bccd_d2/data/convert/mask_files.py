"""What a mask file says about the cells of its image: a binary mask, or one value a cell.

Binary masks in any pixel format, label images of any integer type, and coloured masks come in one
by one and leave as a mask or a label map with the facts of how they were read. What can be meant in
two ways is an error that names the ways out; each of them is tried before it is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bccd_d2.io.files import lossy_labels
from bccd_d2.io.label_images import Values, compact_labels, read_values
from bccd_d2.io.text import printable
from bccd_d2.masks.colours import (
    background_colour,
    is_grey,
    over_black,
    packed_colours,
    towards_brighter,
)
from bccd_d2.masks.structure import (
    Structure,
    looks_inverted,
    structure_of,
)

KINDS = ("auto", "binary", "labels")
_LISTED = 5  # values that a message names


class MaskError(ValueError):
    """A mask file that can be meant in several ways, or in none.

    Attributes:
        kind: of a skip: "not binary", "inverted mask", "all foreground", "label image".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class MaskOptions:
    """How mask files are read.

    Attributes:
        kind: "binary", "labels" (each value a cell), or "auto": found out by their structure.
        threshold: a binary mask's foreground from this grey value on, in the file's own scale.
        ignore_values: of pixels that belong to no cell, whatever else is there.
        invert: True: dark is cell; False: bright is cell, for sure; None: bright, and a mask that
            looks as if it were the other way round is an error.
        min_area: px of a component that may be a cell.
    """

    kind: str = "auto"
    threshold: float | None = None
    ignore_values: tuple[int, ...] = ()
    invert: bool | None = None
    min_area: int = 16


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask file, read: either ``mask`` or ``label_map`` is there.

    Attributes:
        mask: (H, W) bool, True = cell; its components are cells.
        label_map: (H, W) int32 with cells 1..N.
        reading: "binary", "labels", "colours" (a value or colour each cell).
        grey_values: distinct values or colours of the file.
        mode: its pixel format.
        ignored: pixels of ignored values.
    """

    mask: np.ndarray | None
    label_map: np.ndarray | None
    reading: str
    grey_values: int
    mode: str
    ignored: int = 0

    @property
    def foreground(self) -> np.ndarray:
        """(H, W) bool."""
        if self.label_map is not None:
            return self.label_map > 0
        assert self.mask is not None  # one of the two is there
        return self.mask


def read_mask_file(path: str | Path, options: MaskOptions | None = None) -> MaskFile:
    """The cells of a mask file.

    Raises:
        FileNotFoundError: no such file.
        MaskError: it is ambiguous; the message names what helps (a ValueError).
        ValueError: unreadable.
    """
    options = MaskOptions() if options is None else options
    path = Path(path)
    file, colour = read_values(path, "mask"), None
    if file.values.ndim == 3:
        colour = over_black(file.values)
        if is_grey(colour):
            file, colour = replace(file, values=colour.max(axis=2)), None
    return _Reading(path, file, colour, options).truth()


def is_own_labels(path: Path) -> bool:
    """Whether a file is a label image that a prediction or a conversion of ours wrote."""
    folders = [folder for folder in path.resolve().parents[:3] if folder.name == "labels"]
    names = ("run.json", "dataset.json")
    return any((folder.parent / name).is_file() for folder in folders for name in names)


@dataclass(frozen=True, eq=False)
class _Reading:
    path: Path
    file: Values
    colour: np.ndarray | None  # (H, W, 3) uint8 of a file in colour; a palette is none
    options: MaskOptions

    def truth(self) -> MaskFile:
        kind, colour = self.options.kind, self.colour
        if kind == "auto" and is_own_labels(self.path):
            kind = "labels"
        if self.options.threshold is not None:
            self._check_threshold(kind)
        wants_mask = kind == "binary" or self.options.threshold is not None
        if colour is not None and not wants_mask:
            return self._coloured(colour, kind)
        if colour is None and not wants_mask and self._are_whole():
            labels, ignored = self._labels()
            if kind == "labels":
                return self._as_labels(labels, ignored)
            if labels.max(initial=0) >= 2:
                found = structure_of(labels)
                self._refuse_odd(labels, found)
                if found.are_cells:
                    return self._as_labels(labels, ignored)
        elif kind == "labels" and not wants_mask:
            raise self._error("label image", "holds fractions, no label image has: is it a "
                              "probability map? Give --threshold")  # fmt: skip
        return self._as_mask(self._grey())

    # -- values ---------------------------------------------------------------------------------

    def _error(self, kind: str, text: str) -> MaskError:
        return MaskError(kind, f"mask {printable(self.path)} {text}")

    def _are_whole(self) -> bool:
        values = self.file.values
        if values.dtype.kind != "f":
            return True
        return bool(np.isfinite(values).all() and np.array_equal(values, np.rint(values)))

    def _ignored(self) -> np.ndarray:
        if self.file.values.ndim == 3 or not self.options.ignore_values:
            return np.zeros(self.file.values.shape[:2], bool)
        return np.isin(self.file.values, self.options.ignore_values)

    def _labels(self) -> tuple[np.ndarray, int]:
        """(H, W) int32 without gaps, and the number of ignored pixels."""
        ignored = self._ignored()
        values = np.where(ignored, 0, self.file.values) if ignored.any() else self.file.values
        if (low := values.min(initial=0)) < 0:
            raise self._error("label image", f"holds values down to {low:g}: if these pixels "
                              f"belong to no cell, --ignore-value {low:g}")  # fmt: skip
        try:
            return compact_labels(values), int(ignored.sum())
        except ValueError as error:
            raise self._error("label image", str(error)) from error

    def _check_threshold(self, kind: str) -> None:
        """Raise for a label image: some of its cells would be foreground, and touching ones one."""
        if kind == "auto" and self.colour is None and self._are_whole():
            labels, _ = self._labels()
            if labels.max(initial=0) >= 2 and structure_of(labels).are_cells:
                kind = "labels"
        if kind == "labels":
            raise self._error(
                "label image",
                "is a label image, one value per cell: leave --threshold "
                f"{self.options.threshold:g} out, or say --mask-kind binary if it is none",
            )

    def _as_labels(self, labels: np.ndarray, ignored: int, reading: str = "labels") -> MaskFile:
        if reason := lossy_labels(self.path):
            raise self._error("label image", reason)
        count = int(labels.max(initial=0)) + 1
        return MaskFile(None, labels, reading, count, self.file.mode, ignored)

    def _refuse_odd(self, labels: np.ndarray, found: Structure) -> None:
        """Raise where all values but a few are cells, as with outlines between cells."""
        odd = found.odd_values()
        if not 0 < 2 * len(odd) < len(found.areas) - 1:
            return
        rest = compact_labels(np.where(np.isin(labels, odd), 0, labels))
        if not structure_of(rest).are_cells:
            return
        places = [np.flatnonzero(labels.ravel() == label)[0] for label in odd[:_LISTED]]
        names = [f"{self.file.values.ravel()[place]:g}" for place in places]
        more = f" and {len(odd) - _LISTED} more" if len(odd) > _LISTED else ""
        option = " ".join(f"--ignore-value {name}" for name in names)
        raise self._error(
            "label image",
            f"is a label image, but its value {', '.join(names)}{more} forms lines or many pieces: "
            f"if it marks pixels to ignore, {option}; if it is a cell, --mask-kind labels",
        )

    # -- colours --------------------------------------------------------------------------------

    def _coloured(self, colour: np.ndarray, kind: str) -> MaskFile:
        """Cells by colour; two colours are a binary mask."""
        packed = packed_colours(colour)
        count = len(np.unique(packed))
        if count <= 2:
            return self._as_mask(self._grey())
        background = background_colour(packed)
        if self.options.ignore_values:
            raise self._error("label image", "is in colour, so --ignore-value says nothing about "
                              "it: save one value a cell")  # fmt: skip
        labels = compact_labels(np.where(packed == background, 0, packed + 1))
        if kind == "labels":
            return self._as_labels(labels, 0, "colours")
        found = structure_of(labels)
        if found.are_cells:
            return self._as_labels(labels, 0, "colours")
        if found.are_regions:
            sizes = np.bincount(found.regions.ravel())
            large = sizes[found.regions] >= self.options.min_area
            return self._as_labels(compact_labels(found.regions * large), 0, "colours")
        return self._as_mask(self._grey(), count)

    def _grey(self) -> np.ndarray:
        """(H, W) grey values, bright = foreground, in the file's own scale or 0 to 255."""
        if self.colour is not None:
            return towards_brighter(self.colour)
        values = self.file.values
        if self.file.palette is not None:
            # Unused numbers may lie beyond the palette's end.
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(self.file.palette)] = self.file.palette[:256]
            shown = palette[values]
            return shown.max(axis=2) if is_grey(shown) else towards_brighter(shown)
        if not np.isfinite(values).all():
            raise self._error("not binary", "holds values that are no numbers: save it anew")
        if self.file.white_is_zero:
            return values.max(initial=0) - values
        return values

    # -- binary masks ---------------------------------------------------------------------------

    def _as_mask(self, grey: np.ndarray, colours: int = 0) -> MaskFile:
        ignored = self._ignored()
        kept = grey[~ignored]
        values = np.unique(kept)
        mask = self._divided(grey, values) & ~ignored
        if self.options.invert:
            mask = ~mask & ~ignored
        self._check_polarity(mask, len(values))
        count = colours or len(values)
        return MaskFile(mask, None, "binary", count, self.file.mode, int(ignored.sum()))

    def _divided(self, grey: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(H, W) bool, the bright pixels."""
        threshold = self.options.threshold
        highest = values[-1] if len(values) else 0
        if threshold is not None:
            if highest and threshold > highest:
                without = self._has_cells(replace(self.options, threshold=None))
                raise self._error(
                    "not binary",
                    f"reaches up to {highest:g} only, so --threshold {threshold:g} leaves no cell"
                    + ("; leave it out" if without else self._ways_out(grey, values)),
                )
            return grey >= threshold
        if len(values) > 2:
            raise self._error(
                "not binary",
                f"has {len(values)} grey values ({values[0]:g} to {highest:g}), a binary mask has "
                f"two, and they are not one value a cell{self._ways_out(grey, values)}",
            )
        return grey == highest if highest != 0 else np.zeros(grey.shape, bool)

    def _check_polarity(self, mask: np.ndarray, values: int) -> None:
        if self.options.invert is False or not mask.size:
            return
        given = bool(self.options.invert)
        remedy = "leave --invert out" if given else "--invert"
        if mask.all():
            raise self._error(
                "all foreground",
                f"has no background, all of it would be one cell: {remedy} if it shows no cell, or "
                "--no-invert if it is one",
            )
        if looks_inverted(mask, self.options.min_area):
            seen = "bright on dark" if given else "black on white"
            raise self._error(
                "inverted mask",
                f"looks {seen}, round regions in a background that would become cells: {remedy}, "
                "or --no-invert if bright is cell for sure",
            )

    def _ways_out(self, grey: np.ndarray, values: np.ndarray) -> str:
        """Options that make cells of this very file, as the end of a sentence."""
        whole = self.colour is None and self._are_whole()
        ways = []
        if whole and len(values) == 3:
            last = int(self.file.values.max())
            ignored = (*self.options.ignore_values, last)
            if self._has_cells(replace(self.options, threshold=None, ignore_values=ignored)):
                ways.append(f"if {last} marks pixels to ignore: --ignore-value {last}")
        if whole and values[0] > 0 and len(values) > 2:
            ignored = (*self.options.ignore_values, int(values[0]))
            if self._has_cells(replace(self.options, threshold=None, ignore_values=ignored)):
                ways.append(f"if {ignored[-1]} is the background: --ignore-value {ignored[-1]}")
        threshold = _likely_threshold(values, whole)
        for extra, invert in (("", self.options.invert), (" --invert", True)):
            if self._has_cells(replace(self.options, threshold=threshold, invert=invert)):
                option = f"--threshold {threshold:g}{extra}"
                ways.append(f"say from which value on a pixel is cell: {option}")
                break
        one_each = whole and self.file.values.min() <= 0
        if one_each and structure_of(self._labels()[0]).solid.mean() >= 0.5:
            ways.append("if each value is one cell: --mask-kind labels")
        return "; " + ", or ".join(ways) if ways else ": export it with two values, or one a cell"

    def _has_cells(self, options: MaskOptions) -> bool:
        try:
            found = replace(self, options=options).truth()
        except ValueError:
            return False
        cells = found.foreground
        return bool(cells.sum() >= self.options.min_area and not cells.all())


def _likely_threshold(values: np.ndarray, whole: bool) -> float:
    """Where bright pixels may begin: at the first of few classes, else halfway."""
    low, high = float(values[0]), float(values[-1])
    if whole and (high <= 20 or len(values) == 3):
        return float(values[1])
    if not whole and high <= 1:
        return (low + high) / 2
    return 128.0 if 129 <= high <= 255 and low < 128 else float(int(low + high + 1) // 2)
