"""A model that finds cells, and annotated datasets, to a model that also says what they are.

The model looks at every image once. What its outlines match teaches the types; what annotators
marked and no outline fits, if it is small, is learned by a second network; a part of the images is
held out, and says how far the answers are to be believed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bccd_d2.config.files import TAXONOMIES
from bccd_d2.data.preprocess import resize_image, scaled_size
from bccd_d2.experiments.types.examples import (
    LABELLERS,
    Annotated,
    AnnotatedSplit,
    Examples,
    examples_of,
)
from bccd_d2.experiments.types.fit import LARGER, FitOptions, fit_types
from bccd_d2.experiments.types.looked import look_at_split
from bccd_d2.experiments.types.small import Shown, fit_small, shown_of
from bccd_d2.masks.cell_crops import MEASURES, CropOptions
from bccd_d2.masks.cell_types import (
    TypeOptions,
    small_cells,
    together,
    usual_diameter,
    without_copies,
)
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import CELL, Classes
from bccd_d2.masks.habits import colours
from bccd_d2.masks.taxonomy import Taxonomy, read_taxonomy
from bccd_d2.modeling.types.network import TypeNetwork
from bccd_d2.modeling.types.small import SmallCellNetwork, small_map

logger = logging.getLogger(__name__)

FEW_SMALL = 20  # missed small annotations from which a second network is worth while


@dataclass(frozen=True)
class TypingOptions:
    """How types are learned.

    Attributes:
        names: of the classes; () = those of the annotations that stand above none of the others.
        taxonomy: what labels mean to classes, a shipped name or a file.
        split: of the datasets.
        held_out: share of the images, drawn from each dataset alike.
        keep_scores: what annotators mark decides of small cells only; the others' scores stay,
            on images like those of the datasets too.
        types: crops, channels and the second network's; () there = 16, 32, 48, 64 where needed.
        fit: of the type network; the second takes a third of its time.
        seed: of the held-out choice and the training.
    """

    names: tuple[str, ...] = ()
    taxonomy: str = "blood"
    split: str = "train"
    held_out: float = 0.2
    keep_scores: bool = False
    types: TypeOptions = field(default_factory=TypeOptions)
    fit: FitOptions = field(default_factory=FitOptions)
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """What training gives.

    Attributes:
        network, small: trained; ``small`` None where no small cells were missed.
        classes: what the network knows.
        held_out: the examples kept back, with their labels in ``allowed``.
        missed: held-out annotations of each dataset that nothing fits.
        colours: (I, 6) of all images, in turn; see `masks.habits.colours`.
        naming: the datasets whose annotators mark small cells.
    """

    network: TypeNetwork
    small: SmallCellNetwork | None
    classes: Classes
    held_out: Examples
    allowed: np.ndarray
    missed: dict[int, int]
    colours: np.ndarray
    naming: tuple[int, ...]


@dataclass(frozen=True)
class _Seen:
    """An image as far as it is kept between looking and learning."""

    dataset: int
    index: int
    diameter: float
    found: Cells
    missed: np.ndarray


class Learner:
    """The datasets that a model learns types from.

    Args:
        model: a `models.load.TrainedModel`.
        folders: converted datasets.
        keep: folder in which what the model found is kept; None = nowhere.
        progress: show progress bars where the terminal can.

    Raises:
        FileNotFoundError, KeyError, ValueError: see `AnnotatedSplit`; or no image is annotated.
    """

    def __init__(
        self,
        model: Any,
        folders: Sequence[str | Path],
        options: TypingOptions,
        keep: Path | None = None,
        progress: bool = False,
    ) -> None:
        self.model, self.options, self.keep, self.progress = model, options, keep, progress
        self.splits: list[AnnotatedSplit] = []
        for folder in folders:
            first = sum(len(split) for split in self.splits)
            self.splits.append(AnnotatedSplit(folder, options.split, first))
        names = {row.get("category", CELL) for s in self.splits for i in s.images
                 for row in i.annotations if not row.get("iscrowd")}  # fmt: skip
        if not names:
            raise ValueError(f"no image of the split {options.split!r} has annotations")
        if names == {CELL}:
            raise ValueError(
                f"all cells of {', '.join(map(str, folders))} are named {CELL!r}, so there is no "
                "type to learn: convert boxes or points that name them, or masks with --types, "
                "--classes or --folders"
            )
        self.taxonomy = read_taxonomy(TAXONOMIES.find(options.taxonomy))
        self.classes = self.taxonomy.classes(options.names or lowest(sorted(names), self.taxonomy))
        self.taxonomy.table(sorted(names), self.classes)  # refuses a name beside all classes
        self.held_out = self._choose_held_out()

    def learn(self) -> Learned:
        """Look at every image, and train."""
        seen = [one for number in range(len(self.splits)) for one in self._look(number)]
        naming, small = self._small(seen)
        side = self.options.types.crop.size
        larger = replace(self.options.types.crop, size=round(side * LARGER / 2) * 2)
        parts: dict[bool, list[Examples]] = {True: [], False: []}
        missed: dict[int, int] = {}
        looks = []
        for one in self._bar(seen, "cutting out"):
            kept_back = self._number(one) in self.held_out
            crop = self.options.types.crop if kept_back else larger
            image = self._annotated(one)
            pixels = resize_image(image.pixels, self._frame(image))
            looks.append(colours(pixels, one.found))
            examples, lost = self._examples(image, pixels, one.found, small, crop)
            parts[kept_back].append(examples)
            if kept_back:
                missed[one.dataset] = missed.get(one.dataset, 0) + int(lost.sum())
        torch.manual_seed(self.options.seed)
        channels = self.options.types.channels
        network = TypeNetwork(len(self.classes), len(MEASURES), channels)
        training = Examples.joined(parts[False])
        fit_types(network, training, self._allowed(training), side, self.options.fit)
        held_out = Examples.joined(parts[True] or [training[:0]])
        allowed = self._allowed(held_out)
        return Learned(
            network, small, self.classes, held_out, allowed, missed, np.array(looks), naming
        )

    def _look(self, number: int) -> list[_Seen]:
        """What the model finds on each image of a dataset."""
        split, seen = self.splits[number], []
        text = f"looking at {split.folder.name}"
        file = self.keep and self.keep / f"found-{number + 1}-{split.folder.name}.json"
        diameter, every = look_at_split(self.model, split, file, lambda w: self._bar(w, text))
        for index, found in enumerate(every):
            image = split.annotated(index, diameter)
            missed = LABELLERS[image.kind](image, found)[2]
            seen.append(_Seen(number, index, diameter, found, missed))
        return seen

    def _small(self, seen: Sequence[_Seen]) -> tuple[tuple[int, ...], SmallCellNetwork | None]:
        """The datasets that mark small cells, and the second network.

        () and None where the model finds all kinds of cells itself.
        """
        names = self._small_names(seen)
        if not names:
            return (), None
        logger.info("a second network learns: %s", ", ".join(sorted(names)))
        having = {one.dataset for one in seen if names & set(self._labels(one))}
        shown: list[Shown] = []
        for one in seen:
            if self._number(one) not in self.held_out:
                image = self._annotated(one)
                size = self._frame(image)
                shown.append(shown_of(image, one.found, size, names, one.dataset in having))
        torch.manual_seed(self.options.seed)
        network = SmallCellNetwork(self.options.types.small.channels or (16, 32, 48, 64))
        fit_options = replace(self.options.fit, minutes=self.options.fit.minutes / 3)
        return tuple(sorted(having)), fit_small(network, shown, fit_options)

    def _small_names(self, seen: Sequence[_Seen]) -> set[str]:
        """Names of annotations most of which nothing fits, less than half as wide as is usual."""
        missed: dict[str, list[tuple[bool, float]]] = {}
        for one in seen:
            rows = self._rows(one)
            usual = one.diameter or usual_diameter(one.found)
            for row, lost in zip(rows, one.missed, strict=True):
                if "bbox" in row:
                    wide = float(np.sqrt(row["bbox"][2] * row["bbox"][3])) / usual
                    missed.setdefault(str(row.get("category", CELL)), []).append((lost, wide))
        return {
            name
            for name, known in missed.items()
            if np.mean([lost for lost, _ in known]) > 0.5
            and np.median([wide for _, wide in known]) < 0.6
            and sum(lost for lost, _ in known) >= FEW_SMALL
        }

    def _examples(
        self,
        image: Annotated,
        pixels: np.ndarray,
        found: Cells,
        small: SmallCellNetwork | None,
        crop: CropOptions,
    ) -> tuple[Examples, np.ndarray]:
        own = len(found)
        if small is not None:
            usual = image.diameter or usual_diameter(found)
            usual *= pixels.shape[0] / image.pixels.shape[0]
            options = replace(self.options.types.small, channels=(1,))
            least = options.least * np.pi / 4 * usual**2
            added = small_cells(small_map(small, pixels), found.image_size, least, options)
            found = together(*without_copies(found, added))  # all found ones stay
        return examples_of(image, found, pixels, crop, own)

    def _allowed(self, examples: Examples) -> np.ndarray:
        """(N, K) bool; a cell without a label leaves nothing possible."""
        names, place = np.unique(examples.labels.astype(str), return_inverse=True)
        table = np.zeros((len(names), len(self.classes)), dtype=bool)
        for row, name in enumerate(names):
            if name:
                table[row] = self.taxonomy.allowed(name, self.classes)
        return table[place] if len(examples) else np.zeros((0, len(self.classes)), bool)

    def _choose_held_out(self) -> set[int]:
        random = np.random.default_rng(self.options.seed)
        chosen: set[int] = set()
        for split in self.splits:
            count = round(len(split) * self.options.held_out)
            chosen |= set((split.first + random.permutation(len(split))[:count]).tolist())
        return chosen

    def _annotated(self, one: _Seen) -> Annotated:
        return self.splits[one.dataset].annotated(one.index, one.diameter)

    def _rows(self, one: _Seen) -> list[Any]:
        image = self.splits[one.dataset].images[one.index]
        return [row for row in image.annotations if not row.get("iscrowd")]

    def _labels(self, one: _Seen) -> list[str]:
        return [str(row.get("category", CELL)) for row in self._rows(one)]

    def _number(self, one: _Seen) -> int:
        return self.splits[one.dataset].first + one.index

    def _frame(self, image: Annotated) -> tuple[int, int]:
        """Height and width of an image as the model looks at it."""
        zoom = self.model.diameter / image.diameter if image.diameter else 1.0
        return scaled_size(image.pixels.shape[:2], self.model.config.INPUT.IMAGE_SCALE * zoom)

    def _bar(self, what: Any, text: str) -> Any:
        return tqdm(what, unit="image", desc=text, disable=not self.progress or None)


def lowest(names: Sequence[str], taxonomy: Taxonomy) -> tuple[str, ...]:
    """What the names mean, without what stands above another of them."""
    nodes = list(dict.fromkeys(taxonomy.node(name) for name in names))
    above = {name for node in nodes for name in taxonomy.path(node)[:-1]}
    return tuple(node for node in nodes if node not in above and node != CELL) or (CELL,)
