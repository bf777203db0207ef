"""Registration, lookup and the dicts that detectron2 gets."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from bccd_d2.data.catalog import find_dataset, load_split, register_dataset
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.rle import rle_from_json, rle_to_mask


@pytest.fixture(autouse=True)
def clean_catalog():
    """Forget what a test registered."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_names_and_metadata(hand_made):
    names = register_dataset(hand_made, prefix="t")
    assert names == {"train": "t_train", "val": "t_val", "fold0_train": "t_fold0_train"}
    metadata = MetadataCatalog.get("t_train")
    assert metadata.thing_classes == ["cell"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0}
    assert metadata.evaluator_type == "bccd_cells"
    assert metadata.max_cells == 49
    assert metadata.area_percentiles == {33: 300.0, 67: 400.0}
    assert metadata.json_file == str(hand_made / "annotations/instances_train.json")
    assert metadata.image_root == str(hand_made.parent / "images")
    assert metadata.label_root == str(hand_made)
    assert len(metadata.thing_colors) == 1
    assert MetadataCatalog.get("t_val").max_cells == 2


def test_only_the_splits_asked_for(hand_made):
    assert register_dataset(hand_made, prefix="t", splits=["val"]) == {"val": "t_val"}
    assert "t_train" not in DatasetCatalog.list()


def test_no_name_is_left_of_another_folder(hand_made, tiny_dataset):
    """tiny_dataset has a test split, hand_made none: "t_test" must not go on meaning tiny's."""
    register_dataset(tiny_dataset, prefix="t")
    register_dataset(tiny_dataset, prefix="t_other")
    register_dataset(hand_made, prefix="t")
    assert "t_test" not in DatasetCatalog.list()
    assert "t_other_test" in DatasetCatalog.list() and "t_fold0_train" in DatasetCatalog.list()
    assert MetadataCatalog.get("t_train").dataset_root == str(hand_made)


def test_dicts_agree_with_label_maps(hand_made):
    register_dataset(hand_made, prefix="t")
    crowded, empty = DatasetCatalog.get("t_train")
    assert empty["annotations"] == []
    label_map = read_label_file(crowded["label_file"])
    assert (crowded["height"], crowded["width"]) == label_map.shape
    assert len(crowded["annotations"]) == label_map.max()
    for annotation in crowded["annotations"]:
        mask = rle_to_mask(rle_from_json(annotation["segmentation"]))
        assert np.array_equal(mask, label_map == annotation["label"])
        x, y, w, h = annotation["bbox"]
        assert annotation["bbox_mode"] == BoxMode.XYWH_ABS
        rows, columns = np.nonzero(mask)
        assert (x, y, x + w, y + h) == (
            columns.min(), rows.min(), columns.max() + 1, rows.max() + 1,
        )  # fmt: skip
        assert annotation["category_id"] == 0
        assert annotation["touches_border"] is False


def test_the_json_is_read_when_asked_for(hand_made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(hand_made, folder)
    register_dataset(folder, prefix="t")
    (folder / "annotations/instances_val.json").write_text("{broken")
    with pytest.raises(ValueError, match="instances_val.json is not valid json"):
        DatasetCatalog.get("t_val")
    assert len(DatasetCatalog.get("t_train")) == 2


def test_registering_again_is_a_no_op_and_reconversion_replaces(hand_made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(hand_made, folder)
    register_dataset(folder, prefix="t")
    first = MetadataCatalog.get("t_train")
    register_dataset(folder, prefix="t")
    assert MetadataCatalog.get("t_train") is first

    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    description["counts"]["train"]["max_cells"] = 7
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    register_dataset(folder, prefix="t")
    assert MetadataCatalog.get("t_train").max_cells == 7

    register_dataset(hand_made, prefix="t")
    assert MetadataCatalog.get("t_train").label_root == str(hand_made)
    assert DatasetCatalog.get("t_train")[0]["label_file"].startswith(str(hand_made))


def test_a_foreign_dataset_is_not_replaced(hand_made):
    DatasetCatalog.register("other_val", list)
    with pytest.raises(ValueError, match="other_val is taken"):
        register_dataset(hand_made, prefix="other")


def test_moving_both_folders_keeps_working(hand_made, tmp_path):
    shutil.copytree(hand_made.parent, tmp_path / "moved")
    record = load_split(tmp_path / "moved" / "converted", "val")[0]
    assert record["file_name"].startswith(str(tmp_path / "moved" / "images"))
    assert read_label_file(record["label_file"]).max() == 2


def test_wrong_split_and_wrong_folder(hand_made, tmp_path):
    with pytest.raises(KeyError, match="no split 'tset'; it has fold0_train, train, val"):
        register_dataset(hand_made, prefix="t", splits=["tset"])
    with pytest.raises(FileNotFoundError, match="bccd convert"):
        register_dataset(tmp_path, prefix="t")
    (tmp_path / "dataset.json").write_text('{"format_version": 99}')
    with pytest.raises(ValueError, match="format_version 1 wanted, got 99"):
        register_dataset(tmp_path, prefix="t")


def test_a_folder_that_is_not_converted_yet_is_told_how_to(tmp_path):
    (tmp_path / "raw data" / "train" / "original").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"--root '.*/raw data' --out OUT, and name OUT"):
        register_dataset(tmp_path / "raw data")
    with pytest.raises(FileNotFoundError, match="--root ROOT --out OUT, and name OUT"):
        register_dataset(tmp_path)


def test_find_dataset_order(hand_made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BCCD_DATASET", raising=False)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    with pytest.raises(FileNotFoundError, match=r"datasets.bccd.*bccd convert --root"):
        find_dataset()
    shutil.copytree(hand_made, tmp_path / "datasets" / "bccd")
    assert find_dataset().resolve() == tmp_path / "datasets" / "bccd"
    shutil.copytree(hand_made, tmp_path / "all" / "bccd")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "all"))
    assert find_dataset() == tmp_path / "all" / "bccd"
    monkeypatch.setenv("BCCD_DATASET", str(hand_made))
    assert find_dataset() == hand_made
    # Once set it is the only place: a typo must not train on another dataset.
    monkeypatch.setenv("BCCD_DATASET", str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match="typo"):
        find_dataset()


def test_the_converters_own_output_registers(tiny_dataset):
    names = register_dataset(tiny_dataset, prefix="t")
    assert {"train", "val", "test"} <= set(names)
    for name in names.values():
        records, metadata = DatasetCatalog.get(name), MetadataCatalog.get(name)
        assert metadata.max_cells == max(len(record["annotations"]) for record in records)
        assert {33, 67} <= set(metadata.area_percentiles)


def test_categories_are_the_metadatas_classes(tmp_path, hand_made):
    """Ids of the json need not be those of detectron2; a missing list is one class."""
    folder = tmp_path / "typed"
    shutil.copytree(hand_made, folder)
    path = folder / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 1, "name": "ring"}, {"id": 2, "name": "RBC"}]
    content["annotations"][0]["category_id"] = 2
    path.write_text(json.dumps(content))
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(description | {"categories": ["ring", "RBC"]}))
    register_dataset(folder, prefix="t")
    metadata = MetadataCatalog.get("t_val")
    assert metadata.thing_classes == ["ring", "RBC"] and len(metadata.thing_colors) == 2
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0, 2: 1}
    first, *others = DatasetCatalog.get("t_val")[0]["annotations"]
    assert (first["category_id"], first["category"]) == (1, "RBC")
    assert {(a["category_id"], a["category"]) for a in others} == {(0, "ring")}
    content["categories"][1]["id"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="a category stands twice; convert"):
        DatasetCatalog.get("t_val")
