"""Masks whose values or colours are classes: each class's components are its cells.

A file of codes says which value stands for which class::

    red: 1
    white: [2, 3]          # several values, one class
    platelet: "#00ff00"    # a colour
    ignore: 255            # pixels of no cell, no class
    background: 0          # 0 and black need not be named
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert.mask_files import MaskError, MaskFile
from bccd_d2.io.label_images import Values, read_values
from bccd_d2.io.records import read_yaml
from bccd_d2.io.text import printable
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.colours import over_black, packed_colours
from bccd_d2.masks.components import Labelled

NOT_CLASSES = ("background", "ignore")
_REMEDY = "write a line 'NAME: VALUE' for each class, such as 'red: 1' or 'red: \"#ff0000\"'"
_LISTED = 5  # values that a message names


@dataclass(frozen=True)
class ClassCodes:
    """What the values of class-coded masks stand for.

    Attributes:
        names: of the classes, in the order of the file.
        codes: value, or colour as 0xRRGGBB -> place in ``names``; -1 background, -2 ignored.
        colours: the codes are colours.
        file: where they stand.
    """

    names: tuple[str, ...]
    codes: Mapping[int, int]
    colours: bool
    file: str

    def recorded(self) -> dict[str, Any]:
        """What decides the result, as dataset.json holds it; no folder of this machine."""
        return {"names": list(self.names), "codes": {str(k): v for k, v in self.codes.items()}}


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassMask(MaskFile):
    """A class-coded mask; ``mask`` holds the pixels of any class.

    Attributes:
        class_map: (H, W) int16, -1 where there is no class.
        names: of the classes.
    """

    class_map: np.ndarray
    names: tuple[str, ...]

    def cells(self, label: Callable[[np.ndarray], Labelled]) -> tuple[Labelled, list[str]]:
        """The cells of each class in turn, and the name of each cell's.

        Args:
            label: gives the cells of a mask (H, W) bool.
        """
        label_map = np.zeros(self.class_map.shape, dtype=np.int32)
        parts: list[Labelled] = []
        categories: list[str] = []
        for place in np.unique(self.class_map[self.class_map >= 0]).tolist():
            part = label(self.class_map == place)
            here = part.label_map > 0
            label_map[here] = part.label_map[here] + len(categories)
            parts.append(part)
            categories += [self.names[place]] * len(part.is_split)
        split = [part.is_split for part in parts] or [np.zeros(0, dtype=bool)]
        sums = (
            sum(getattr(part, name) for part in parts)
            for name in ("specks", "speck_pixels", "holes", "hole_pixels")
        )
        return Labelled(label_map, np.concatenate(split), *sums), categories


def read_class_codes(path: str | Path) -> ClassCodes:
    """The codes of a YAML file, see the top of this module.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, has no class, a code twice, or numbers beside colours.
    """
    value = (int, str)
    content = read_yaml(path, {str: (*value, [value])}, _REMEDY)
    names = tuple(name for name in content if name not in NOT_CLASSES)
    codes: dict[int, int] = {}
    kinds = set()
    try:
        Classes(names)
        for name, given in content.items():
            place = names.index(name) if name in names else -1 - NOT_CLASSES.index(name)
            for one in given if isinstance(given, list) else [given]:
                code = _code(one)
                kinds.add(type(one))
                if codes.setdefault(code, place) != place:
                    raise ValueError(f"{one!r} stands for two classes")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_REMEDY}") from error
    if len(kinds) > 1:
        raise ValueError(f"{path}: values beside colours; give one kind of them")
    codes.setdefault(0, -1)
    return ClassCodes(names, codes, str in kinds, Path(path).name)


def _code(given: int | str) -> int:
    if isinstance(given, int):
        return given
    red, green, blue = Classes(("a",), colours=(given,)).colour(0)
    return (red << 16) | (green << 8) | blue


def read_class_mask(path: str | Path, codes: ClassCodes) -> ClassMask:
    """A mask whose values, palette colours or colours are classes.

    Raises:
        FileNotFoundError: no such file.
        MaskError: it holds what the codes do not name, or values where they are colours.
        ValueError: unreadable.
    """
    file = read_values(path, "mask")
    values = _coded(Path(path), file, codes)
    known = np.array(sorted(codes.codes), dtype=np.int64)
    found, inverse = np.unique(values, return_inverse=True)
    strange = ~np.isin(found, known)
    if strange.any():
        pixels = np.bincount(inverse.ravel(), minlength=len(found))
        listed = ", ".join(
            f"{_shown(code, codes)} ({pixels[place]:,} px)"
            for place, code in list(zip(np.flatnonzero(strange), found[strange], strict=True))[
                :_LISTED
            ]
        )
        raise MaskError(
            "unknown class",
            f"mask {printable(path)} holds {listed}, which {codes.file} does not name: add them "
            "there, under 'ignore' if they are no class. Many such values are soft edges of a "
            "resized or JPEG mask: export it again without smoothing",
        )
    places = np.array([codes.codes[int(code)] for code in found], dtype=np.int16)
    raw = places[inverse].reshape(values.shape)
    class_map = np.maximum(raw, -1)
    return ClassMask(
        mask=class_map >= 0,
        label_map=None,
        reading="classes",
        grey_values=len(found),
        mode=file.mode,
        ignored=int((raw == -2).sum()),
        class_map=class_map,
        names=codes.names,
    )


def _coded(path: Path, file: Values, codes: ClassCodes) -> np.ndarray:
    """(H, W) int64 of what the codes are about: values, or colours as 0xRRGGBB."""
    values = file.values
    if codes.colours:
        if values.ndim == 3:
            return packed_colours(over_black(values))
        if file.palette is not None:
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(file.palette)] = file.palette[:256]
            return packed_colours(palette[values])
        return packed_colours(np.repeat(values.astype(np.uint8)[..., None], 3, axis=2))
    if values.ndim == 3:
        values = over_black(values)
        if (values != values[..., :1]).any():
            raise MaskError(
                "unknown class",
                f"mask {printable(path)} is in colour and {codes.file} names values: name the "
                'colours there, such as red: "#ff0000"',
            )
        values = values[..., 0]
    whole = np.asarray(np.rint(values))
    if values.dtype.kind == "f" and not np.array_equal(whole, values):
        raise MaskError(
            "unknown class",
            f"mask {printable(path)} holds fractions, which stand for no class: save whole numbers",
        )
    return whole.astype(np.int64)


def _shown(code: int, codes: ClassCodes) -> str:
    return f"#{int(code):06x}" if codes.colours else str(int(code))
