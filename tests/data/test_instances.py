"""Types of cells in training crops: they follow the cells through crops, turns and copies."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

from bccd_d2.config.files import TAXONOMIES
from bccd_d2.data.augment.extras import ExtraOptions
from bccd_d2.data.augment.photometric import PhotometricOptions
from bccd_d2.data.catalog import load_split
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.taxonomy import Types, read_taxonomy

PLAIN = {
    "image_scale": 1.0,
    "scale_range": (1.0, 1.0),
    "crop_size": (64, 96),
    "photometric": PhotometricOptions.off(),
}


def types(*names: str) -> Types:
    return Types(Classes(names), read_taxonomy(TAXONOMIES.find("blood")))


@pytest.fixture(scope="module")
def records(hand_made) -> list[dict]:
    """The crowded image and the empty one."""
    return load_split(hand_made, "train")


def colours_of(output) -> list[tuple]:
    """The colour under each cell's mask."""
    image = output["image"].permute(1, 2, 0).numpy()
    return [tuple(image[m.numpy()][0].tolist()) for m in output["instances"].gt_masks.tensor]


def typed(record: dict) -> dict:
    """The record with cells of category "red" and "white" in turn, the last "difficult"."""
    rows = [a | {"category": ("red", "white")[a["label"] % 2]} for a in record["annotations"]]
    return record | {"annotations": [*rows[:-1], rows[-1] | {"category": "difficult"}]}


@pytest.mark.parametrize("pasted", [0, 6])
def test_types_follow_the_cells_and_their_copies(records, pasted):
    """A cell's colour says which it is; a copy has the colour and the type of what it shows."""
    record, red_white = typed(records[0]), types("red", "white")
    options = MapperOptions(
        **PLAIN | {"crop_size": (200, 300)},
        types=red_white,
        extras=ExtraOptions(copy_paste=pasted),
    )
    whole = LabelMapMapper(MapperOptions(**PLAIN), is_train=False, with_instances=True)(record)
    wanted = {
        colour: {"red": [True, False], "white": [False, True]}.get(row["category"], [True, True])
        for colour, row in zip(colours_of(whole), record["annotations"], strict=True)
    }
    mapper, seen, cells = LabelMapMapper(options, seed=0), 0, 0
    for _ in range(4):
        output = mapper(record)
        image = output["image"].permute(1, 2, 0).numpy()
        found = output["instances"]
        cells += len(found)
        for mask, allowed, one in zip(
            found.gt_masks.tensor, found.gt_allowed.tolist(), found.gt_classes, strict=True
        ):
            colour = tuple(np.median(image[mask.numpy()], axis=0).astype(int).tolist())
            if colour in wanted:  # a crescent left of a covered cell may have no clear colour
                assert allowed == wanted[colour] and allowed[int(one)]
                seen += 1
    assert seen > 0.8 * cells and cells >= 4 * 8


def test_a_category_beside_the_classes_is_refused(records):
    mapper = LabelMapMapper(MapperOptions(**PLAIN, types=types("white", "platelet")), seed=0)
    with pytest.raises(ValueError, match="'red' is none of the classes"):
        mapper(typed(records[0]))
