"""The maps that a dense model learns from follow the image through every crop and turn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

import torch

from bccd_d2.data.augment.extras import ExtraOptions
from bccd_d2.data.augment.photometric import PhotometricOptions
from bccd_d2.data.catalog import load_split
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions
from bccd_d2.data.targets import DenseTargets
from bccd_d2.masks.encode import EncodeOptions, encode_flow

NAMES = ("cell", "boundary", "centre", "distance", "flow")
PLAIN = {
    "image_scale": 1.0,
    "scale_range": (1.0, 1.0),
    "crop_size": (128, 160),
    "photometric": PhotometricOptions.off(),
    "dense": DenseTargets(NAMES, EncodeOptions(boundary_width=1, centre="point")),
}


@pytest.fixture(scope="module")
def records(hand_made) -> list[dict]:
    """The crowded image and the empty one."""
    return load_split(hand_made, "train")


def test_cells_lie_where_the_image_is_coloured(records) -> None:
    mapper = LabelMapMapper(MapperOptions(**PLAIN), seed=0)
    ground = mapper(records[1])["image"][:, 0, 0]
    for _ in range(12):
        output = mapper(records[0])
        assert "instances" not in output and set(output["dense"]) == set(NAMES)
        maps = output["dense"]
        size = tuple(output["image"].shape[1:])
        for name, tensor in maps.items():
            assert tensor.dtype == torch.float32
            assert tuple(tensor.shape) == ((2, *size) if name == "flow" else size)
        coloured = (output["image"] != ground[:, None, None]).any(0)
        assert torch.equal(maps["cell"] > 0, coloured)
        assert float(maps["boundary"].max()) == float(maps["centre"].max()) == 1


def test_flows_are_those_of_the_turned_crop(records) -> None:
    """Flows are drawn after turning; each cell of the image has a colour of its own."""
    mapper = LabelMapMapper(MapperOptions(**PLAIN), seed=3)
    for _ in range(6):
        output = mapper(records[0])
        pixels = output["image"].permute(1, 2, 0).numpy().astype(np.int64)
        codes = pixels @ [1, 256, 65536]
        codes[output["dense"]["cell"].numpy() == 0] = 0
        _, labels = np.unique(codes, return_inverse=True)
        expected = encode_flow(labels.reshape(codes.shape).astype(np.int32) - int(codes.min() != 0))
        np.testing.assert_array_equal(output["dense"]["flow"].numpy(), expected)


def test_detectors_and_evaluation_see_no_maps(records) -> None:
    without = LabelMapMapper(MapperOptions(**{**PLAIN, "dense": None}), seed=0)(records[0])
    assert "dense" not in without and len(without["instances"]) > 0
    whole = LabelMapMapper(MapperOptions(**PLAIN), is_train=False)(records[0])
    assert "dense" not in whole


def test_the_image_is_the_same_with_and_without_maps(records) -> None:
    extras = ExtraOptions(elastic=4.0, erase=0.5)
    pair = []
    for dense in (None, PLAIN["dense"]):
        mapper = LabelMapMapper(
            MapperOptions(**{**PLAIN, "dense": dense, "extras": extras}), seed=5
        )
        pair.append([mapper(records[0])["image"] for _ in range(4)])
    assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))
