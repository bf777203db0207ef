"""Which converted image belongs to which split and fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bccd_d2.data.convert import splits
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
        groups = _strata([records[i] for i in members.tolist()])
        taken = splits.choose_fraction(groups, fraction, options.seed)
        assigned[members[taken]] = name
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
        groups = _strata([records[i] for i in members.tolist()])
        fold_of = splits.choose_folds(groups, options.folds, options.seed)
        for fold in range(options.folds):
            chosen[f"fold{fold}_train"] = members[fold_of != fold].tolist()
            chosen[f"fold{fold}_val"] = members[fold_of == fold].tolist()
    return chosen


def _strata(records: Sequence[ImageRecord]) -> np.ndarray:
    return splits.strata([r.image_size for r in records], [r.cells for r in records])
