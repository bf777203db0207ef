"""What a laboratory counts a typed cell as, by the name of its type.

Names of data sets and models differ ("RBC", "red blood cell", "erythrocyte"); where they stand in
the shipped tree of names (configs/taxonomies/blood.yaml) decides. Case, blanks, hyphens,
underscores and a plural's "s" do not matter. A name that is not known counts as nothing and is
said.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from bccd_d2.io.packaged import configs_folder
from bccd_d2.masks.classes import CELL, UNSURE
from bccd_d2.masks.taxonomy import Taxonomy, plain, read_taxonomy

RED, INFECTED, GAMETOCYTE = "red cell", "infected red cell", "gametocyte"
WHITE, PLATELET, NORMOBLAST = "white cell", "platelet", "nucleated red cell"
OTHER = "other"
ALL_RED = (RED, INFECTED, GAMETOCYTE)  # a red cell with a parasite is one red cell
_KINDS = {  # names of the tree; the deepest one on a type's way decides
    "red": RED,
    "infected": INFECTED,
    "gametocyte": GAMETOCYTE,
    "white": WHITE,
    "platelet": PLATELET,
    "erythroblast": NORMOBLAST,
}


@cache  # asked of every cell, of a handful of names
def kind_of(name: str) -> str:
    """The kind of a type's name; `OTHER` for one that is not known."""
    if plain(name) == UNSURE:
        return UNSURE
    tree = _tree()
    way = tree.path(name)
    if len(way) == 2 and way[-1] not in tree.parents:
        way = tree.path(plain(name).removesuffix("s"))
    if way == (CELL,):
        return CELL if plain(name).removesuffix("s") == CELL else UNSURE
    return next((_KINDS[node] for node in reversed(way) if node in _KINDS), OTHER)


def are_typed(names: Iterable[str]) -> bool:
    """Whether cells have types: any name that is not just "cell"."""
    return any(kind_of(name) != CELL for name in names)


@cache
def _tree() -> Taxonomy:
    return read_taxonomy(configs_folder() / "taxonomies" / "blood.yaml")
