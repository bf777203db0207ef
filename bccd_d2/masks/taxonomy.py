"""A tree of cell types: what the labels of different laboratories mean to one list of classes.

A label says as much as its place in the tree: "red" allows every class below red, "ring" allows a
model's class "infected" above it, and "cell" allows all. `Taxonomy.allowed` is that set; a loss
over the sum of its probabilities learns from a coarse label what it says and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.io.records import read_yaml
from bccd_d2.masks.classes import CELL, PALETTE, Classes

_REMEDY = "compare it with configs/taxonomies/blood.yaml"
_SHAPE = {"tree": {str: (dict, None)}, "aliases?": {str: [str]}, "colours?": {str: str}}


@dataclass(frozen=True)
class Taxonomy:
    """Names in a tree.

    A name that the tree does not hold, nor an alias, stands below the root as it is, so that any
    list of classes is a taxonomy.

    Attributes:
        parents: the name above each name; the root has none.
        aliases: what else names are called, in the form of `plain`.
        colours: "#rrggbb" of some names.
    """

    parents: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)

    def node(self, label: str) -> str:
        """The name in the tree that a label means; the label itself where there is none."""
        return self._known.get(plain(label), label)

    @cached_property
    def _known(self) -> dict[str, str]:
        """The name that each name and alias means, by the form of `plain`."""
        return {**self.aliases, **{plain(name): name for name in (CELL, *self.parents)}}

    def path(self, label: str) -> tuple[str, ...]:
        """The names from the root down to what a label means."""
        node = self.node(label)
        way = [node]
        while node in self.parents:
            node = self.parents[node]
            way.append(node)
        return tuple(reversed(way)) if way[-1] == CELL else (CELL, *reversed(way))

    def classes(self, names: Sequence[str], unsure_below: float = 0.0) -> Classes:
        """Classes of these names, with their parents and colours.

        What a name is an alias of stands right above it: "RBC" is a kind of "red", so that counts
        of red cells have it.

        Raises:
            ValueError: see `Classes`.
        """
        plain_colours = Classes(tuple(names)).colours
        parents = tuple(
            "/".join(step for step in self.path(name) if step != name) for name in names
        )
        given = [self.colours.get(self.node(name), "") for name in names]
        if any(given):
            plain_colours = tuple(_filled(given))
        return Classes(tuple(names), parents, plain_colours, unsure_below)

    def allowed(self, label: str, classes: Classes) -> np.ndarray:
        """(K,) bool: which classes a label leaves possible; none for a label beside all of them.

        That of its own name or meaning alone, where there is one; else those below it; else the
        nearest one above it.
        """
        names = classes.names
        if label in names:
            return np.array([name == label for name in names])
        here = self.path(label)
        ways = [self.path(name) for name in names]
        same = np.array([way == here for way in ways])
        below = np.array([way[: len(here)] == here for way in ways])
        above = np.array([len(way) if here[: len(way)] == way else 0 for way in ways])
        if same.any() or below.any():
            return same if same.any() else below
        return (above > 0) & (above == above.max())

    def beside(self, labels: Sequence[str], classes: Classes) -> list[str]:
        """The labels that are none of the classes, nor above or below one."""
        if len(classes) == 1:
            return []
        return [label for label in labels if not self.allowed(label, classes).any()]

    def table(self, labels: Sequence[str], classes: Classes) -> np.ndarray:
        """(L, K) bool: `allowed` of each label.

        A model of one class takes every label for it.

        Raises:
            ValueError: a label is beside all classes; the message says what to do.
        """
        if len(classes) == 1:
            return np.ones((len(labels), 1), dtype=bool)
        if strange := self.beside(labels, classes):
            raise ValueError(
                f"the label {strange[0]!r} is none of the classes {', '.join(classes.names)}, nor "
                "above or below one: add it to --classes, or let a taxonomy (--taxonomy, "
                "DATASETS.TAXONOMY) have it as an alias of one of them, or of "
                f"{CELL!r} to learn no type from it"
            )
        rows = [self.allowed(label, classes) for label in labels]
        return np.array(rows, dtype=bool).reshape(len(labels), len(classes))

    def class_ids(self, labels: Sequence[str], classes: Classes) -> np.ndarray:
        """(L,) int64: the class of each label; -1 where it leaves several possible.

        Raises:
            ValueError: see `table`.
        """
        table = self.table(labels, classes)
        return np.where(table.sum(axis=1) == 1, table.argmax(axis=1), -1).astype(np.int64)


@dataclass(frozen=True)
class Types:
    """What the categories of data mean to a model.

    Attributes:
        classes: K of the model.
        taxonomy: what a category leaves possible of them.
    """

    classes: Classes
    taxonomy: Taxonomy = field(default_factory=Taxonomy)

    def allowed(self, categories: Sequence[str]) -> np.ndarray:
        """(N, K) bool: which classes each of N cells may be of.

        Raises:
            ValueError: see `Taxonomy.table`.
        """
        names = sorted(set(categories))
        place = {name: row for row, name in enumerate(names)}
        table = self.taxonomy.table(names, self.classes)
        return table[np.array([place[name] for name in categories], dtype=np.int64)]


    def known(self, categories: Sequence[str]) -> list[str]:
        """The categories, "cell" in place of those beside all classes."""
        strange = set(self.taxonomy.beside(sorted(set(categories)), self.classes))
        return [CELL if name in strange else name for name in categories]


def plain(name: str) -> str:
    """A name in small letters, with single blanks for blanks, underscores and hyphens."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def read_taxonomy(path: str | Path) -> Taxonomy:
    """The taxonomy of a YAML file: "tree", nested from "cell" on, "aliases" and "colours".

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, a name stands twice, or an alias or colour is of no name in it.
    """
    content = read_yaml(path, _SHAPE, _REMEDY)
    try:
        return _taxonomy(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_REMEDY}") from error


def _taxonomy(content: Mapping[str, Any]) -> Taxonomy:
    tree = content["tree"]
    if list(tree) != [CELL]:
        raise ValueError(f"the tree must begin with {CELL!r} alone, got {', '.join(tree)}")
    parents: dict[str, str] = {}
    known = {plain(CELL)}
    for name, parent in _edges(tree[CELL], CELL):
        if plain(name) in known or "/" in name:
            raise ValueError(f"{name!r} must stand once in the tree, and without a slash")
        known.add(plain(name))
        parents[name] = parent
    aliases: dict[str, str] = {}
    for name, others in content.get("aliases", {}).items():
        for other in map(plain, others):
            if aliases.get(other, name) != name or other in known:
                raise ValueError(f"{other!r} cannot be called {name!r} too: it stands elsewhere")
            aliases[other] = name
    named = {*content.get("aliases", {}), *content.get("colours", {})}
    strange = sorted(named - {CELL, *parents})
    if strange:
        raise ValueError(f"{strange[0]!r} has aliases or a colour, but the tree does not hold it")
    colours = dict(content.get("colours", {}))
    Classes(tuple(colours) or (CELL,), (), tuple(colours.values()))
    return Taxonomy(parents, aliases, colours)


def _edges(tree: Any, parent: str) -> Iterator[tuple[str, str]]:
    """Each name below ``parent`` with the one right above it."""
    for name, below in (tree or {}).items():
        if not isinstance(name, str) or not isinstance(below, (dict, type(None))):
            raise ValueError(f"{name!r} below {parent!r} must be a name with names below it")
        yield name, parent
        yield from _edges(below, name)


def _filled(colours: Sequence[str]) -> Iterator[str]:
    """The colours, with unused ones of the palette for those that are missing or there twice."""
    left = [colour for colour in PALETTE if colour not in colours] or list(PALETTE)
    seen: set[str] = set()
    for colour in colours:
        if not colour or colour in seen:
            colour = left.pop(0) if len(left) > 1 else left[0]
        seen.add(colour)
        yield colour
