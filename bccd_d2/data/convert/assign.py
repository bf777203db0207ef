"""Which converted image belongs to which split and fold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from bccd_d2.data.convert import splits
from bccd_d2.data.convert.hashing import groups_of_copies
from bccd_d2.data.convert.options import ConvertOptions
from bccd_d2.data.convert.record import ImageRecord


def assign_splits(records: Sequence[ImageRecord], options: ConvertOptions) -> list[str]:
    """ "train", "val" or "test" for each image; those that come as val or test stay so."""
    assigned = np.array([record.pair.source for record in records], dtype=object)
    val_fraction = 0.0 if (assigned == "val").any() else options.val_fraction
    for name, fraction in (("test", options.test_fraction), ("val", val_fraction)):
        members = np.flatnonzero(assigned == "train")
        if name == "val" and options.test_fraction:
            fraction = fraction / (1 - options.test_fraction)
        draw = functools.partial(splits.choose_fraction, fraction=fraction, seed=options.seed)
        assigned[members[_drawn([records[i] for i in members.tolist()], draw)]] = name
    return assigned.tolist()


def split_indices(
    records: Sequence[ImageRecord], assigned: Sequence[str], options: ConvertOptions
) -> dict[str, list[int]]:
    """The images of each split that has some, then of ``fold<k>_train`` and ``fold<k>_val``."""
    found = np.array(assigned, dtype=object)
    chosen = {name: np.flatnonzero(found == name).tolist() for name in ("train", "val", "test")}
    chosen = {name: indices for name, indices in chosen.items() if indices}
    if options.folds:
        members = np.flatnonzero(found != "test")
        draw = functools.partial(splits.choose_folds, folds=options.folds, seed=options.seed)
        fold_of = _drawn([records[i] for i in members.tolist()], draw, options.folds)
        for fold in range(options.folds):
            chosen[f"fold{fold}_train"] = members[fold_of != fold].tolist()
            chosen[f"fold{fold}_val"] = members[fold_of == fold].tolist()
    return chosen


def _drawn(
    records: Sequence[ImageRecord], draw: Callable[[np.ndarray], np.ndarray], least: int = 2
) -> np.ndarray:
    """(N,): what ``draw`` makes of the strata of images, copies of one image being one.

    Where fewer than ``least`` would be left each image is drawn for itself; the audit lists copies
    in different splits.
    """
    group = groups_of_copies(np.array([record.image_hash for record in records]))
    _, first = np.unique(group, return_index=True)
    if len(first) < least:
        first = group = np.arange(len(records))
    kept = [records[i] for i in first.tolist()]
    return draw(splits.strata([r.image_size for r in kept], [r.cells for r in kept]))[group]
