"""Several methods on several datasets, each scored by what its annotations are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd_d2.data.catalog import find_dataset, read_description
from bccd_d2.evaluation.entries import DatasetEntries, ScoredSplit
from bccd_d2.experiments.benchmark import LabelFolder, Model, run_benchmark

logger = logging.getLogger(__name__)

SPLITS = ("test", "val", "train")


@dataclass(frozen=True)
class Chosen(ScoredSplit):
    """A split to compare on.

    Attributes:
        folder: the converted dataset; "" for the one of the config.
    """

    folder: str

    @property
    def scorable(self) -> bool:
        """Whether all its scores exist: every cell is annotated, and there are some."""
        return self.complete and self.cells > 0

    def options(self, given: Sequence[str]) -> list[str]:
        """Config keys and values in turn that lead a run to this dataset and split."""
        root = ["DATASETS.ROOT", self.folder] if self.folder else []
        test = ["DATASETS.TEST", f'("bccd_{self.split}",)'] if _named_split(given) is None else []
        return [*root, *test, *given]


def _named_split(options: Sequence[str]) -> str | None:
    """The first of DATASETS.TEST in config keys and values in turn; None where it is not there."""
    pairs = dict(zip(options[::2], options[1::2], strict=False))
    if "DATASETS.TEST" not in pairs:
        return None
    name = pairs["DATASETS.TEST"].strip("()[] ,").split(",")[0].strip("\"' ")
    return name.partition("_")[2] or name


def choose_split(folder: str, options: Sequence[str]) -> Chosen:
    """The split of a converted dataset to compare on: that of the options, else test, val or train.

    Args:
        folder: "" takes DATASETS.ROOT of the options, else the dataset that `find_dataset` finds.

    Raises:
        FileNotFoundError: no converted dataset.
        ValueError: it has no such split.
    """
    pairs = dict(zip(options[::2], options[1::2], strict=False))
    path = Path(folder or pairs.get("DATASETS.ROOT") or find_dataset())
    description = read_description(path)
    splits = description["splits"]
    split = _named_split(options) or next((s for s in SPLITS if s in splits), "")
    if split not in splits:
        raise ValueError(f"{path} has no split {split!r} to compare on; it has {', '.join(splits)}")
    if split != "test" and _named_split(options) is None:
        logger.warning("%s has no test images: its %s images are compared on", path, split)
    counts = description.get("counts", {}).get(split, {})
    return Chosen(
        folder=str(folder),
        name=path.resolve().name,
        split=split,
        kind=description.get("annotations", "masks"),
        complete=description.get("complete", True),
        images=int(counts.get("images", 0)),
        cells=int(counts.get("cells", 1)),
    )


def run_across(
    methods: Sequence[Model | LabelFolder],
    out: str | Path,
    datasets: Sequence[Chosen],
    options: Sequence[str] = (),
    train_minutes: float = 0,
) -> list[DatasetEntries]:
    """Score every method on every dataset; what the evaluators write goes to ``out/<dataset>``.

    Args:
        options, train_minutes: see `run_benchmark`; models are trained on the first dataset.

    Raises:
        ValueError: two datasets of one name, or see `run_benchmark`.
        FileNotFoundError: see `run_benchmark`.
    """
    names = Counter(one.name for one in datasets)
    if len(names) < len(datasets):
        double = [name for name, count in names.items() if count > 1]
        raise ValueError(f"datasets need folders of different names, got {', '.join(double)} twice")
    found = []
    for number, one in enumerate(datasets):
        logger.info("dataset %s, split %s, of %s", one.name, one.split, one.kind)
        minutes = 0 if number else train_minutes
        place = Path(out) / one.name
        entries = run_benchmark(methods, out, one.options(options), minutes, place)
        found.append(
            DatasetEntries(
                one.name, one.split, one.kind, one.complete, one.images, one.cells, entries
            )
        )
    return found
