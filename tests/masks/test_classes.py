"""Classes and taxonomies: names, colours, what a label leaves possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bccd_d2.config.files import TAXONOMIES
from bccd_d2.masks.classes import PALETTE, UNSURE_COLOUR, Classes
from bccd_d2.masks.taxonomy import Taxonomy, Types, read_taxonomy


def blood() -> Taxonomy:
    return read_taxonomy(TAXONOMIES.find("blood"))


def test_one_class_named_cell_is_no_type() -> None:
    assert not Classes().typed and len(Classes()) == 1
    assert Classes(("red", "white")).typed


def test_unsure_cells_are_grey_and_said_to_be_so() -> None:
    classes = Classes(("red", "white"), colours=("#ff0000", "#0000ff"), unsure_below=0.6)
    shown = classes.shown([0, 1, 1], np.array([0.9, 0.55, 0.6]))
    assert classes.named(shown) == ["red", "unsure", "white"]
    assert [classes.colour(k) for k in shown] == [(255, 0, 0), UNSURE_COLOUR, (0, 0, 255)]
    assert classes.named(classes.shown([0, 1], None)) == ["red", "white"]
    assert classes.named([5]) == ["class 5"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ()}, "need names"),
        ({"names": ("a", "a")}, "each once"),
        ({"names": ("a/b",)}, "slash"),
        ({"names": ("a", "b"), "parents": ("x",)}, "as many parents"),
        ({"names": ("a",), "colours": ("red",)}, "#rrggbb"),
        ({"names": ("a",), "unsure_below": 2}, "unsure_below"),
    ],
)
def test_what_is_no_list_of_classes(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        Classes(**given)


def test_parents_say_what_stands_under_a_name() -> None:
    named = blood().classes(["RBC", "WBC", "Platelets"])
    assert [named.under(n).tolist().index(True) for n in ("red", "white", "platelet")] == [0, 1, 2]
    assert named.path(0) == ("cell", "red", "RBC") and blood().classes(["red"]).parents == ("cell",)
    classes = blood().classes(["uninfected", "ring", "WBC"])
    assert classes.path(1) == ("cell", "red", "infected", "ring")
    assert classes.under("red").tolist() == [True, True, False]
    assert classes.under("infected").tolist() == [False, True, False]
    assert blood().path("WBC") == ("cell", "white")


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("red blood cell", [True, False, False, False]),  # BBBC041's: without a parasite
        ("RBC", [True, True, True, False]),  # BCCD's: nobody looked for parasites
        ("ring", [False, True, False, False]),
        ("schizont", [False, False, True, False]),  # finer than the model: the class above it
        ("White_Blood-Cell", [False, False, False, True]),
        ("difficult", [True, True, True, True]),
        ("Macrocyte", [True, False, False, False]),
    ],
)
def test_a_coarse_label_allows_what_is_below_it(label, wanted) -> None:
    classes = blood().classes(["uninfected", "ring", "infected", "white"])
    wide = blood().allowed(label, classes).tolist()
    assert wide == wanted


def test_the_own_name_of_a_class_is_that_class_alone() -> None:
    """A list that holds a name and one below it, as its makers wrote it, stays as they mean it."""
    classes = blood().classes(["red", "ring"])
    assert blood().class_ids(["red", "ring", "cell"], classes).tolist() == [0, 1, -1]
    assert Taxonomy().class_ids(["b", "a"], Classes(("a", "b"))).tolist() == [1, 0]


def test_a_label_beside_all_classes_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="'platelet' is none of the classes red, white.*alias"):
        blood().table(["red", "platelet"], Classes(("red", "white")))
    assert blood().table(["platelet"], Classes()).all()  # one class takes all
    types = Types(Classes(("red", "white")), blood())
    assert types.known(["platelet", "RBC", "platelet"]) == ["cell", "RBC", "cell"]
    assert types.allowed([]).shape == (0, 2)


def test_colours_are_the_trees_and_never_twice() -> None:
    classes = blood().classes(["uninfected", "red", "mine", "white"])
    assert classes.colours[0] == "#c80000" and classes.colours[3] == "#1f77ff"
    assert len(set(classes.colours)) == 4
    assert blood().classes(["mine", "yours"]).colours == ()
    assert len(set(PALETTE)) == len(PALETTE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tree: {blood: {a: {}}}", "must begin with 'cell'"),
        ("tree: {cell: {a: {b: {}}, b: {}}}", "'b' must stand once"),
        ("tree: {cell: {a: 3}}", "'a' below 'cell'"),
        ("tree: {cell: {a: {}}}\naliases: {z: [y]}", "'z' has aliases"),
        ("tree: {cell: {a: {}, b: {}}}\naliases: {a: [x], b: [X]}", "'x' cannot be called 'b'"),
        ("tree: {cell: {a: {}}}\ncolours: {a: blue}", "#rrggbb"),
        ("aliases: {a: [x]}", "tree"),
    ],
)
def test_broken_taxonomies_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_taxonomy(tmp_path / "mine.yaml")
