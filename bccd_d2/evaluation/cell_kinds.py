"""What a laboratory counts a typed cell as, by the name of its type.

Names of data sets and models differ ("RBC", "red blood cell", "erythrocyte"); case, hyphens and
underscores do not matter. A name that is not known counts as nothing and is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CELL, RED, INFECTED, GAMETOCYTE = "cell", "red cell", "infected red cell", "gametocyte"
WHITE, PLATELET, NORMOBLAST, UNSURE = "white cell", "platelet", "nucleated red cell", "unsure"
OTHER = "other"
ALL_RED = (RED, INFECTED, GAMETOCYTE)  # a red cell with a parasite is one red cell
_NAMES = {
    CELL: "cell",
    RED: (
        "red cell, red blood cell, rbc, erythrocyte, red, uninfected, uninfected red "
        "cell, healthy, normal, normal cell, normal red cell, normocyte, discocyte, "
        "target, target cell, codocyte, sickle, sickle cell, drepanocyte, spherocyte, "
        "schistocyte, fragmented red cell, elliptocyte, ovalocyte, teardrop, teardrop "
        "cell, dacrocyte, dacryocyte, stomatocyte, echinocyte, burr, burr cell, "
        "acanthocyte, macrocyte, microcyte, hypochromia, hypochromic, hypochromic cell, "
        "uncategorised, uncategorised cell, uncategorised red cell"
    ),
    INFECTED: (
        "infected, infected red cell, infected red blood cell, parasite, ring, "
        "trophozoite, early trophozoite, schizont, ring stage, parasitized, parasitised, "
        "malaria"
    ),
    GAMETOCYTE: "gametocyte",
    WHITE: (
        "white, white cell, white blood cell, wbc, leukocyte, leucocyte, neutrophil, "
        "eosinophil, basophil, lymphocyte, monocyte, band, band neutrophil, segmented "
        "neutrophil, immature granulocyte, promyelocyte, myelocyte, metamyelocyte, blast, "
        "myeloblast, lymphoblast, monoblast, plasma cell, atypical lymphocyte, reactive "
        "lymphocyte, ig"
    ),
    PLATELET: "platelet, plt, thrombocyte, giant platelet",
    NORMOBLAST: "erythroblast, normoblast, nrbc, nucleated red cell, nucleated red blood cell",
    UNSURE: "unsure, difficult, unknown, undecided",
}
_KINDS = {name.strip(): kind for kind, names in _NAMES.items() for name in names.split(",")}


def kind_of(name: str) -> str:
    """The kind of a type's name; `OTHER` for one that is not known."""
    plain = " ".join(re.split(r"[\s_\-]+", name.strip().lower()))
    return _KINDS.get(plain) or _KINDS.get(plain.removesuffix("s"), OTHER)


def are_typed(names: Iterable[str]) -> bool:
    """Whether cells have types: any name that is not just "cell"."""
    return any(kind_of(name) != CELL for name in names)
