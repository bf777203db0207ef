"""COCO json as the tools write it, each with its quirks, and our own back without loss."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from bccd_d2.data.convert.formats.coco import plain_name, read_coco
from bccd_d2.data.convert.formats.files import FormatError
from bccd_d2.evaluation.truth import read_truth
from bccd_d2.export.coco import write_coco
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.cells import Cells

from .conftest import HEIGHT, WIDTH, write_image, write_json

SQUARE = [10, 5, 30, 5, 30, 25, 10, 25]
HOLE = [15, 10, 20, 10, 20, 15, 15, 15]


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def runs_of(mask: np.ndarray) -> list[int]:
    """Uncompressed counts, as CVAT and labelme write them."""
    flat = np.concatenate([[False], mask.T.ravel()])
    places = np.flatnonzero(np.diff(flat.astype(int)))
    return np.diff(np.concatenate([[0], places, [mask.size]])).tolist()


def entry(identity, name, **more):
    return {"id": identity, "file_name": name, "width": WIDTH, "height": HEIGHT, **more}


def test_cvat_brush_masks_are_cells_and_boxes_are_told_apart(run, tmp_path):
    """Datumaro, CVAT's exporter, writes iscrowd 1 for each mask of the brush."""
    common = {"attributes": {"occluded": False}, "image_id": 1}
    content = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "version": ""},
        "categories": [{"id": 1, "name": "rbc", "supercategory": ""},
                       {"id": 2, "name": "wbc", "supercategory": ""}],
        "images": [entry(1, "a.png", license=0, flickr_url="", coco_url="", date_captured=0)],
        "annotations": [
            {**common, "id": 1, "category_id": 2, "iscrowd": 1, "area": 1.0,
             "bbox": [0, 0, 1, 1],
             "segmentation": {"counts": runs_of(disc(30, 50, 9)), "size": [HEIGHT, WIDTH]}},
            {**common, "id": 2, "category_id": 1, "iscrowd": 0, "area": 400.0,
             "bbox": [10.0, 5.0, 20.0, 20.0], "segmentation": [[float(v) for v in SQUARE]]},
        ],
    }  # fmt: skip
    path = write_json(tmp_path / "annotations" / "instances_default.json", content)
    found = run("coco", path)
    assert found.description["annotations"] == "masks" and found.description["complete"]
    brush, square = found.cells["a.png"]
    assert brush["area"] == disc(30, 50, 9).sum() and brush["name"] == "wbc"
    assert square["area"] == 400 and square["bbox"] == [10, 5, 20, 20]
    assert found.notes["brush masks that CVAT marks as crowds, taken as cells"] == 1
    content["annotations"].append({**common, "id": 3, "category_id": 1, "iscrowd": 0,
                                   "area": 50, "bbox": [40, 40, 10, 5], "segmentation": []})
    found = run("coco", write_json(path, content))
    assert found.description["annotations"] == "boxes"
    assert found.boxes("a.png")[1:] == [[10, 5, 20, 20], [40, 40, 10, 5]]
    assert found.notes["masks taken as boxes, for other cells have boxes only"] == 2


def test_a_crowd_is_ignored_where_crowd_means_crowd(run, tmp_path):
    rle = {"counts": runs_of(disc(30, 50, 9)), "size": [HEIGHT, WIDTH]}
    content = {
        "images": [entry(1, "a.png")], "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": rle},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]},
        ],
    }  # fmt: skip
    found = run("coco", write_json(tmp_path / "x.json", content))
    square, crowd = found.cells["a.png"]  # cells come first: label k is annotation k
    assert square["label"] == 1 and square["iscrowd"] == 0
    assert crowd["iscrowd"] == 1 and "label" not in crowd
    assert found.report.counts["train"]["cells"] == 1
    label_map = read_label_file(found.report.out / found.images["a.png"]["label_file"])
    assert label_map.max() == 1 and (label_map > 0).sum() == 400
    assert len({one["id"] for one in found.cells["a.png"]}) == 2


def test_label_studio_names_and_ids_from_zero(run, images, tmp_path):
    content = {
        "images": [
            {"width": WIDTH, "height": HEIGHT, "id": 0, "file_name": "images\\3f9ab4c1-a.png"},
            {"width": WIDTH, "height": HEIGHT, "id": 1,
             "file_name": "/data/local-files/?d=smears/b%20b.png"},
        ],
        "categories": [{"id": 0, "name": "RBC"}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 0, "segmentation": [SQUARE], "ignore": 0,
             "bbox": [10, 5, 20, 20], "iscrowd": 0, "area": 400},
            {"id": 1, "image_id": 1, "category_id": 0, "segmentation": [SQUARE], "ignore": 0,
             "bbox": [10, 5, 20, 20], "iscrowd": 0, "area": 400},
        ],
        "info": {"year": 2026, "version": "1.0", "contributor": "Label Studio"},
    }  # fmt: skip
    write_image(images / "b b.png", 9)
    found = run("coco", write_json(tmp_path / "result.json", content))
    assert [len(found.cells[name]) for name in ("a.png", "b b.png")] == [1, 1]
    assert found.cells["a.png"][0]["name"] == "RBC"
    assert {kind for kind, _ in found.skips} == {"missing annotations"}  # b.png and c.jpg
    assert plain_name("images\\x.png") == "images/x.png"


def test_roboflow_export_with_its_splits(run, tmp_path):
    """Folders train and valid, each with images and one json; category 0 is a heading."""
    root = tmp_path / "roboflow"
    for seed, split in enumerate(("train", "valid")):
        name = f"smear_png.rf.0a1b2c{seed}.jpg"
        write_image(root / split / name, seed + 20)
        content = {
            "info": {"description": "Exported from roboflow.com"},
            "licenses": [{"id": 1, "url": "https://x", "name": "CC BY 4.0"}],
            "categories": [{"id": 0, "name": "cells", "supercategory": "none"},
                           {"id": 1, "name": "RBC", "supercategory": "cells"}],
            "images": [entry(0, name, license=1, extra={"name": "smear.png"})],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "area": 400,
                             "bbox": [10, 5, 20, 20], "segmentation": [], "iscrowd": 0}],
        }  # fmt: skip
        write_json(root / split / "_annotations.coco.json", content)
    found = run("coco", root, images=root)
    assert found.report.counts["train"]["images"] == found.report.counts["val"]["images"] == 1
    assert found.description["annotations"] == "boxes" and not found.skips
    assert found.description["categories"] == ["RBC"]
    # the same annotations on the originals, which have their old names
    originals = tmp_path / "originals"
    write_image(originals / "smear.png", 20)
    again = run("coco", root / "train" / "_annotations.coco.json", images=originals)
    assert again.boxes("smear.png") == [[10, 5, 20, 20]]


def test_fiftyone_leaves_fields_out(run, tmp_path):
    content = {
        "info": {"year": "", "version": "", "description": "Exported from FiftyOne"},
        "licenses": [], "categories": [{"id": 7, "name": "cell", "supercategory": None}],
        "images": [entry(1, "a.png", license=None, coco_url=None)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 5, 20, 20],
                         "segmentation": [SQUARE]}],
    }  # fmt: skip
    found = run("coco", write_json(tmp_path / "labels.json", content))
    assert found.cells["a.png"][0]["area"] == 400
    del content["annotations"][0]["segmentation"], content["categories"]
    for image in content["images"]:
        del image["width"], image["height"]
    found = run("coco", write_json(tmp_path / "labels.json", content))
    assert found.description["annotations"] == "boxes"
    assert found.cells["a.png"][0]["name"] == "category 7"
    assert found.notes["cells whose category has no name in the file"] == 1


@pytest.mark.parametrize(
    ("area", "pixels"), [(None, 375), (375, 375), (376.5, 375), (400, 400), (399, 400)]
)
def test_a_ring_inside_a_ring_is_a_hole_unless_the_area_says_otherwise(
    run, tmp_path, area, pixels
):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE, HOLE]}
    annotation |= {} if area is None else {"area": area}
    content = {"images": [entry(1, "a.png")], "categories": [], "annotations": [annotation]}
    found = run("coco", write_json(tmp_path / "x.json", content))
    assert found.cells["a.png"][0]["area"] == pixels
    assert found.notes.get("rings inside another ring, taken as its holes", 0) == (pixels == 375)


def test_parts_compressed_rle_and_odd_spellings(run, tmp_path):
    mask = disc(30, 40, 12)
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": rle["size"], "counts": rle["counts"].decode()}
    far = [50, 40, 60, 40, 60, 50, 50, 50]
    segmentations = [text, [SQUARE, far], SQUARE, [[10, 30], [20, 30], [20, 40], [10, 40]],
                     [[1, 2, 3, 4], [70, 2, 75, 2, 75, 6, 70, 6]], [[1, 1, 2, 2]]]  # fmt: skip
    annotations = [
        {"id": str(n), "image_id": "7", "category_id": "3", "segmentation": one}
        for n, one in enumerate(segmentations)
    ]
    content = {"images": [entry(7, "a.png")], "annotations": annotations,
               "categories": [{"id": 3, "name": "RBC"}]}  # fmt: skip
    found = run("coco", write_json(tmp_path / "x.json", content))
    areas = [one["area"] for one in found.cells["a.png"]]
    assert areas == [mask.sum(), 500, 400, 100, 20]
    assert found.notes["cells without extent, dropped"] == 1
    assert {one["name"] for one in found.cells["a.png"]} == {"RBC"}


def test_our_own_files_come_back_without_loss(run, images, tmp_path):
    """Overlapping masks, the export of predictions, then a converted dataset once more."""
    size = (HEIGHT, WIDTH)
    masks = [disc(20, 20, 12), disc(22, 34, 9), disc(40, 60, 10) & ~disc(40, 60, 3)]
    rles = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
    cells = {"a.png": Cells.from_rles(rles, size), "b.png": Cells.from_rles(rles[1:], size),
             "c.jpg": Cells.empty(size)}  # fmt: skip
    first = run("coco", write_coco(tmp_path / "own.json", list(cells.items())))
    assert first.notes["cells that overlap others; the smaller lies on top in the label map"] == 1
    second = run("coco", first.report.out / "annotations", val_fraction=0.3)
    for found in (first, second):
        files = [found.report.files[split] for split in found.description["splits"]]
        images_of = [image for file in files for image in read_truth(file).values()]
        truth = {image.file_name: image.cells for image in images_of}
        assert {name: c.rles for name, c in truth.items()} == {n: c.rles for n, c in cells.items()}
        COCO(str(found.report.files["train"]))  # plain pycocotools opens it
    label_map = read_label_file(first.report.out / first.images["a.png"]["label_file"])
    assert label_map[22, 30] == 2  # the smaller disc lies on top
    assert (label_map == 3).sum() == masks[2].sum()


def test_cut_empty_double_and_outside_are_counted(run, tmp_path):
    def box(number, *values):
        return {"id": number, "image_id": 1, "category_id": 1, "bbox": list(values)}

    boxes = [box(1, -5, 10, 20, 20), box(2, 5, 5, 0, 9), box(3, 200, 5, 9, 9),
             box(4, 30, 30, 9, 9), box(5, 30, 30, 9, 9), box(6, -0.2, 40, 9, 9)]  # fmt: skip
    content = {"images": [entry(1, "a.png"), entry(2, "gone.png")], "annotations": boxes,
               "categories": [{"id": 1, "name": "cell"}]}  # fmt: skip
    found = run("coco", write_json(tmp_path / "x.json", content))
    assert found.boxes("a.png") == [[0, 10, 15, 20], [30, 30, 9, 9], [0, 40, 8.8, 9]]
    assert found.notes == {
        "cells cut off at the image's edge": 1, "cells without extent, dropped": 1,
        "cells outside the image, dropped": 1, "the same cell twice, one kept": 1,
    }  # fmt: skip
    kinds = [kind for kind, _ in found.skips]
    assert kinds == ["missing annotations", "missing annotations", "missing image"]
    assert "gone.png" in found.skips[-1][1]
    assert "cells outside the image, dropped: 1" in found.report.text


BAD = {
    "annotations[0].bbox": {"bbox": [1, 2, 3]},
    "annotations[0].bbox must be 4 finite": {"bbox": [1, 2, 3, float("nan")]},
    "annotations[0] has neither": {},
    "annotations[0].segmentation is a broken RLE": {
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": [1, 2]}
    },
    "broken RLE (a size of": {"segmentation": {"size": [0, 9], "counts": "0"}},
    "broken RLE": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "xyz\u00e4"}},
    "annotations[0].segmentation must be an outline": {"segmentation": [["a", "b"] * 3]},
    "annotations[0].segmentation holds an odd": {"segmentation": [[1, 2, 3, 4, 5, 6, 7]]},
    "annotations[0].segmentation is neither": {"segmentation": "polygon"},
}


@pytest.mark.parametrize("message", BAD)
def test_a_broken_annotation_costs_its_image_only(run, tmp_path, message):
    good = {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]}
    bad = {"id": 1, "image_id": 1, "category_id": 1, **BAD[message]}
    content = {"images": [entry(1, "a.png"), entry(2, "b.png")], "annotations": [bad, good],
               "categories": []}  # fmt: skip
    found = run("coco", write_json(tmp_path / "x.json", content))
    assert list(found.cells) == ["b.png"]
    (reason,) = (why for kind, why in found.skips if kind == "unreadable annotations")
    assert message in reason and "x.json" in reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', "is no json"),
        ("[" * 100_000, "is no json"),
        ('{"images": {}, "annotations": []}', "x.json: images is no list"),
        ('[{"image_id": 1, "bbox": []}]', "list of results"),
        ('[{"image": {}, "objects": []}]', "--boxes"),
        ('{"images": [{"id": 1}, {"id": 1}], "annotations": []}', r"images\[1\].id"),
    ],
)
def test_a_file_that_is_no_coco_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(FormatError, match=message):
        read_coco(tmp_path / "x.json")


def test_annotations_of_another_image_size_are_refused(run, tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 80},
                   entry(2, "b.png"), entry(3, "c.jpg")],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [500, 1, 9, 9]}
                        for n in (1, 2)],
        "categories": [],
    }  # fmt: skip
    found = run("coco", write_json(tmp_path / "x.json", content))
    assert list(found.cells) == ["c.jpg"]  # listed without cells: an image without cells
    reasons = " ".join(why for _, why in found.skips)
    assert "says that a.png has 60x80 px, the image has 80x60; one of them lies on" in reasons
    assert "1 of 1 cells lie outside b.png" in reasons


def test_several_files_of_one_image_are_joined(run, tmp_path):
    for number, box in enumerate(([1, 2, 30, 40], [40, 5, 9, 9])):
        content = {"images": [entry(5, "a.png")], "categories": [{"id": 1, "name": f"k{number}"}],
                   "annotations": [{"id": 1, "image_id": 5, "category_id": 1, "bbox": box}]}
        write_json(tmp_path / "parts" / f"{number}.json", content)  # fmt: skip
    found = run("coco", tmp_path / "parts")
    assert [one["name"] for one in found.cells["a.png"]] == ["k0", "k1"]
    assert found.notes["images whose annotations lie in several files"] == 1
    content = json.loads((tmp_path / "parts" / "0.json").read_text())
    assert content["images"][0]["id"] == 5
