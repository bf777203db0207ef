"""The mapper: exact crops, honest boxes, legal empties, reproducible streams."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

import torch
from detectron2.structures import BitMasks

from bccd_d2.data.augment.photometric import PhotometricOptions
from bccd_d2.data.cache import PairReader
from bccd_d2.data.catalog import load_split
from bccd_d2.data.instances import make_instances
from bccd_d2.data.mapper import (
    LabelMapMapper,
    MapperOptions,
    choose_window,
    resize_image,
    resize_labels,
)

PLAIN = {
    "image_scale": 1.0,
    "scale_range": (1.0, 1.0),
    "crop_size": (64, 96),
    "photometric": PhotometricOptions.off(),
}


@pytest.fixture(scope="module")
def records(hand_made) -> list[dict]:
    """The crowded image and the empty one."""
    return load_split(hand_made, "train")


def colours_of(output) -> list[set]:
    """For each cell the colours under its mask: one, when mask and image stay together."""
    image = output["image"].permute(1, 2, 0).numpy()
    return [
        {tuple(colour) for colour in image[mask.numpy()].tolist()}
        for mask in output["instances"].gt_masks.tensor
    ]


def test_masks_follow_the_image_through_flips_and_turns(records):
    mapper = LabelMapMapper(MapperOptions(**PLAIN), seed=0)
    shapes, numbers = set(), []
    for _ in range(40):
        output = mapper(records[0])
        colours = colours_of(output)
        assert all(len(found) == 1 for found in colours)
        assert len(set().union(*colours)) == len(colours)
        shapes.add(tuple(output["image"].shape))
        numbers.append(len(colours))
    assert shapes == {(3, 64, 96)}
    assert max(numbers) >= 8


def test_output_has_what_detectron2_wants(records):
    output = LabelMapMapper(MapperOptions(**PLAIN), seed=0)(records[0])
    assert output["image"].dtype == torch.uint8
    assert (output["height"], output["width"]) == (200, 300)
    assert output["image_id"] == 1 and output["file_name"].endswith("é.png")
    instances = output["instances"]
    assert instances.image_size == (64, 96)
    assert isinstance(instances.gt_masks, BitMasks)
    assert instances.gt_masks.tensor.dtype == torch.bool
    assert instances.gt_classes.dtype == torch.int64 and not instances.gt_classes.any()
    # Boxes are tight and half-open, as detectron2 derives them from the masks.
    expected = instances.gt_masks.get_bounding_boxes().tensor
    assert torch.equal(instances.gt_boxes.tensor, expected)
    assert "annotations" not in output and len(records[0]["annotations"]) == 49


def test_crops_without_cells_are_legal(records):
    output = LabelMapMapper(MapperOptions(**PLAIN), seed=0)(records[1])
    instances = output["instances"]
    assert len(instances) == 0
    assert instances.has("gt_masks") and instances.gt_masks.tensor.shape == (0, 64, 96)
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.shape == (0,)


def test_scale_makes_cells_larger(records):
    sizes = {}
    for scale in (0.5, 1.0, 2.0):
        options = MapperOptions(**{**PLAIN, "image_scale": scale, "min_visible": 0.99})
        mapper = LabelMapMapper(options, seed=3)
        boxes = torch.cat([mapper(records[0])["instances"].gt_boxes.tensor for _ in range(20)])
        sizes[scale] = float((boxes[:, 2:] - boxes[:, :2]).median())
    assert sizes == {0.5: pytest.approx(10.5, abs=0.6), 1.0: 21, 2.0: 42}


def test_random_scale_stays_in_range(records):
    options = MapperOptions(**{**PLAIN, "scale_range": (0.5, 2.0), "min_visible": 0.99})
    mapper = LabelMapMapper(options, seed=3)
    boxes = torch.cat([mapper(records[0])["instances"].gt_boxes.tensor for _ in range(60)])
    widths = (boxes[:, 2] - boxes[:, 0]).numpy()
    assert 10 <= widths.min() < 14 and 30 < widths.max() <= 43


def test_a_crop_larger_than_the_image_is_the_image(records):
    options = MapperOptions(**{**PLAIN, "crop_size": (640, 640), "rotate90": False})
    output = LabelMapMapper(options, seed=0)(records[0])
    assert output["image"].shape == (3, 200, 300)
    assert len(output["instances"]) == 49


def test_slivers_are_left_out_but_border_cells_stay():
    # Label 1: 10 of 100 px in the crop; 2: 60 of 100; 3: all of its 12 px, cut by the image's edge.
    crop = np.zeros((20, 20), dtype=np.uint16)
    crop[0, :10], crop[4:10, :10], crop[15:18, :4] = 1, 2, 3
    whole = np.array([0, 100, 100, 12], dtype=float)
    kept = make_instances(crop, whole, min_visible=0.15, min_pixels=10)
    assert kept.gt_boxes.tensor.tolist() == [[0, 4, 10, 10], [0, 15, 4, 18]]
    assert kept.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [60, 12]
    assert len(make_instances(crop, whole, 0.0, 0)) == 3
    assert len(make_instances(crop, whole, 0.0, 13)) == 1


def test_crowded_places_are_preferred():
    rng = np.random.default_rng(0)
    lonely = np.array([[20.0, 20.0], [20.0, 180.0], [150.0, 20.0]])
    crowd = np.stack([rng.uniform(300, 380, 40), rng.uniform(100, 180, 40)], axis=1)
    centres = np.vstack([lonely, crowd])

    def mean_count(**options) -> float:
        counts = []
        for _ in range(300):
            y0, x0 = choose_window((200, 400), (64, 64), centres, MapperOptions(**options), rng)
            assert 0 <= y0 <= 136 and 0 <= x0 <= 336
            inside = (centres >= (x0, y0)) & (centres < (x0 + 64, y0 + 64))
            counts.append(inside.all(axis=1).sum())
        return float(np.mean(counts))

    anywhere = mean_count(uniform_probability=1.0)
    on_cells = mean_count(uniform_probability=0.0, crowd_candidates=1)
    crowded = mean_count(uniform_probability=0.0, crowd_candidates=4)
    assert anywhere < 5 and on_cells > 2 * anywhere and crowded > 1.3 * on_cells


def test_every_corner_can_be_cropped():
    rng = np.random.default_rng(0)
    options = MapperOptions(uniform_probability=1.0)
    corners = {choose_window((6, 7), (4, 4), np.zeros((0, 2)), options, rng) for _ in range(500)}
    assert corners == {(y, x) for y in range(3) for x in range(4)}


def test_same_seed_same_stream(records):
    options = MapperOptions(image_scale=1.0, crop_size=(48, 48))
    first, second, other = (LabelMapMapper(options, seed=s) for s in (5, 5, 6))
    runs = [[mapper(records[0])["image"] for _ in range(4)] for mapper in (first, second, other)]
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(runs[0], runs[2], strict=True))
    assert not torch.equal(runs[0][0], runs[0][1])


def test_without_a_seed_it_follows_torch(records):
    options = MapperOptions(image_scale=1.0, crop_size=(48, 48))
    images = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        images.append(LabelMapMapper(options)(records[0])["image"])
    assert torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])


def test_workers_draw_different_crops(records):
    mapper = LabelMapMapper(MapperOptions(image_scale=1.0, crop_size=(48, 48)), seed=0)
    mapper(records[0])  # the parent's stream has begun before the workers fork

    class Same(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return mapper(records[0])["image"]

    def stream():
        loader = torch.utils.data.DataLoader(Same(), batch_size=None, num_workers=2)
        return list(loader)

    first, second = stream(), stream()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    distinct = {image.numpy().tobytes() for image in first}
    assert len(distinct) == 4


def test_it_survives_pickling(records):
    mapper = LabelMapMapper(MapperOptions(image_scale=1.0, cache_mb=50), seed=0)
    mapper(records[0])
    copy = pickle.loads(pickle.dumps(mapper))
    assert copy._reader.cached_bytes == 0 and copy.options == mapper.options
    fresh = LabelMapMapper(MapperOptions(image_scale=1.0), seed=0)
    assert torch.equal(copy(records[0])["image"], fresh(records[0])["image"])


def test_evaluation_sees_the_whole_image(records):
    mapper = LabelMapMapper(MapperOptions(image_scale=0.5), is_train=False)
    output = mapper(records[0])
    assert output["image"].shape == (3, 100, 150)
    assert (output["height"], output["width"]) == (200, 300)
    assert "instances" not in output
    assert torch.equal(output["image"], mapper(records[0])["image"])
    only_file = {key: records[0][key] for key in ("file_name", "height", "width")}
    assert torch.equal(mapper(only_file)["image"], output["image"])


def test_evaluation_with_instances_keeps_every_cell(records):
    options = MapperOptions(image_scale=0.5, min_visible=0.9)
    output = LabelMapMapper(options, is_train=False, with_instances=True)(records[0])
    instances = output["instances"]
    assert len(instances) == 49 and instances.image_size == (100, 150)
    boxes = instances.gt_boxes.tensor.numpy() * 2
    for annotation, box in zip(records[0]["annotations"], boxes, strict=True):
        x, y, w, h = annotation["bbox"]
        assert np.abs(box - (x, y, x + w, y + h)).max() <= 2


def test_short_edge_instead_of_scale(records):
    mapper = LabelMapMapper(MapperOptions(short_edge=50), is_train=False)
    assert mapper(records[0])["image"].shape == (3, 50, 75)


def test_resized_labels_and_image_stay_aligned():
    label_map = np.zeros((90, 120), dtype=np.uint16)
    label_map[30:60, 40:80] = 7
    image = np.where(label_map[..., None] > 0, 250, 0).astype(np.uint8).repeat(3, axis=2)
    for size in ((45, 60), (57, 76), (180, 240)):
        labels = resize_labels(label_map, size)
        assert set(np.unique(labels)) == {0, 7}
        bright = resize_image(image, size)[..., 0] > 125
        assert (bright != (labels == 7)).mean() < 0.02
        rows, columns = np.nonzero(labels)
        scale = size[0] / 90
        assert abs(rows.mean() + 0.5 - 45 * scale) <= 0.5
        assert abs(columns.mean() + 0.5 - 60 * scale) <= 0.5


def test_touching_cells_keep_their_numbers_when_the_cut_vanishes():
    label_map = np.zeros((40, 41), dtype=np.uint16)
    label_map[:, :20], label_map[:, 21:] = 1, 2
    small = resize_labels(label_map, (10, 10))
    assert set(np.unique(small)) == {1, 2} or set(np.unique(small)) == {0, 1, 2}
    assert (small[:, :4] == 1).all() and (small[:, -4:] == 2).all()


def test_stale_annotations_are_refused(records):
    mapper = LabelMapMapper(MapperOptions(**PLAIN), seed=0)
    stale = {**records[0], "annotations": records[0]["annotations"][:-1]}
    with pytest.raises(ValueError, match="one of the two is stale"):
        mapper(stale)
    mixed = {**records[0], "label_file": records[1]["label_file"]}
    with pytest.raises(ValueError, match="is 300x200, its label map .* 220x180"):
        mapper(mixed)


def test_missing_and_broken_files_are_named(records, tmp_path):
    mapper = LabelMapMapper(MapperOptions(**PLAIN), seed=0)
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist"):
        mapper({**records[0], "file_name": str(tmp_path / "gone.png")})
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png is unreadable"):
        mapper({**records[0], "file_name": str(broken)})
    with pytest.raises(KeyError, match="lacks height and width"):
        LabelMapMapper(is_train=False)({"file_name": records[0]["file_name"]})


def test_the_cache_is_bounded_and_drops_the_oldest(records):
    pairs = [(r["file_name"], r["label_file"]) for r in records]
    size = 200 * 300 * 5
    reader = PairReader(cache_mb=1.2 * size / 1e6)
    first = reader.read(*pairs[0])
    assert reader.read(*pairs[0])[0] is first[0] and reader.cached_bytes == size
    reader.read(*pairs[1])
    assert reader.cached_bytes == 180 * 220 * 5
    assert reader.read(*pairs[0])[0] is not first[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0, 0] = 0
    nothing = PairReader()
    nothing.read(*pairs[0])
    assert nothing.cached_bytes == 0


def test_cached_and_uncached_give_the_same(records):
    outputs = []
    for cache_mb in (0, 100):
        mapper = LabelMapMapper(MapperOptions(image_scale=1.0, cache_mb=cache_mb), seed=2)
        outputs.append([mapper(records[0]) for _ in range(3)][-1])
    assert torch.equal(outputs[0]["image"], outputs[1]["image"])
    masks = [output["instances"].gt_masks.tensor for output in outputs]
    assert torch.equal(*masks)


@pytest.mark.parametrize(
    "values",
    [
        {"image_scale": 0},
        {"scale_range": (1.2, 0.8)},
        {"crop_size": (0, 64)},
        {"crowd_candidates": 0},
        {"uniform_probability": 2},
        {"min_visible": -0.1},
        {"short_edge": 0},
    ],
)
def test_impossible_options_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        MapperOptions(**values)


def test_detectron2s_train_loader_takes_it(records):
    from detectron2.data import build_detection_train_loader

    mapper = LabelMapMapper(MapperOptions(image_scale=1.0, crop_size=(64, 64)), seed=0)
    loader = build_detection_train_loader(
        dataset=list(records), mapper=mapper, total_batch_size=4, num_workers=0,
        aspect_ratio_grouping=False,
    )  # fmt: skip
    batch = next(iter(loader))
    assert len(batch) == 4 and all(item["image"].shape == (3, 64, 64) for item in batch)


def test_a_converted_dataset_maps_without_loss(tiny_dataset):
    from bccd_d2.masks.cells import Cells

    options = MapperOptions(image_scale=1.0, min_pixels=1)
    whole = LabelMapMapper(options, is_train=False, with_instances=True)
    crop = LabelMapMapper(MapperOptions(image_scale=0.5, crop_size=(96, 96)), seed=0)
    for record in load_split(tiny_dataset, "train"):
        instances = whole(record)["instances"]
        cells = Cells.from_coco(record["annotations"], instances.image_size)
        assert instances.gt_masks.tensor.sum(dim=(1, 2)).tolist() == cells.areas.tolist()
        assert np.array_equal(instances.gt_boxes.tensor.numpy(), cells.boxes)
        assert crop(record)["image"].shape == (3, 96, 96)
