"""Label images where label images are expected, and what is given in their place by mistake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bccd_d2.data.convert.mask_files import (
    MaskError,
    MaskFile,
    MaskOptions,
    is_own_labels,
    read_mask_file,
)
from bccd_d2.io.text import printable
from bccd_d2.masks.components import label_cells
from bccd_d2.masks.structure import no_labels, sizeable_pieces


def read_tool_labels(path: str | Path, components: bool = False) -> np.ndarray:
    """(H, W) int32 label map 1..N of a label image of any integer type.

    Args:
        components: the file is a binary mask, each of its components is a cell.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unreadable, or a mask where a label image is wanted, or the other way round; the
            message says which.
    """
    name = f"label image {printable(path)}"
    if components:
        try:
            found = read_mask_file(path, MaskOptions(kind="binary"))
            return label_cells(found.foreground).label_map
        except MaskError as error:
            raise ValueError(
                f"{name} is no mask of two values, bright on dark, which --components takes: "
                "leave --components out if it has one value a cell"
            ) from error
    try:
        found = read_mask_file(path, MaskOptions(kind="labels"))
    except MaskError as error:
        raise ValueError(
            f"{name} is not one value a cell: save whole numbers from 0, with 0 for what is no cell"
        ) from error
    label_map = found.label_map
    assert label_map is not None  # as asked for
    if doubt := no_labels(label_map):
        raise ValueError(f"{name} {doubt} --components makes each piece of a mask a cell")
    return label_map


def read_single(path: str | Path, options: MaskOptions) -> MaskFile:
    """A file of one value in a folder of label images: one cell, or an error where it is several.

    Raises:
        MaskError: its value lies in several pieces, so that it may be a binary mask.
    """
    found = read_mask_file(path, replace(options, kind="labels"))
    alone = found.label_map is not None and found.label_map.max(initial=0) == 1
    pieces = sizeable_pieces(found.foreground) if alone else 0
    if pieces > 1 and not is_own_labels(Path(path)):
        raise MaskError(
            "label image",
            f"mask {printable(path)} has one value in {pieces} pieces, while others of its folder "
            "are label images: say what they are with --mask-kind binary or --mask-kind labels, or "
            "move it",
        )
    return found

