"""Options of a dataclass as config keys, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("detectron2")

from bccd_d2.config.load import load_config
from bccd_d2.data.mapper import MapperOptions
from bccd_d2.masks.cleanup import CleanupOptions
from bccd_d2.masks.decode import DecodeOptions
from bccd_d2.masks.encode import EncodeOptions
from bccd_d2.masks.flows import FlowOptions
from bccd_d2.masks.otsu import OtsuOptions
from bccd_d2.modeling.dense.answer import AnswerOptions, answer_options
from bccd_d2.modeling.dense.blend import Tiles
from bccd_d2.modeling.options import keys_of, options_of
from bccd_d2.modeling.rcnn.redraw import RedrawOptions
from bccd_d2.training.loaders import mapper_options


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions(),
        DecodeOptions("flow", cell_high=0.7, flow=FlowOptions(sink_radius=3), fill_holes=False),
        OtsuOptions(channel="grey", min_area=7),
        CleanupOptions(nms=0.4, decay="linear"),
    ],
)
def test_options_survive_as_keys(options):
    keys = keys_of(options)
    assert options_of(type(options), keys) == options
    assert options_of(type(options), {**keys, "ANOTHER": 1}) == options


def test_none_is_zero_in_a_config():
    assert keys_of(DecodeOptions())["CELL_HIGH"] == 0.0
    assert options_of(DecodeOptions, {"CELL_HIGH": 0.0}).cell_high is None


def test_a_default_stands_once():
    config = load_config()
    groups = [
        (DecodeOptions, config.MODEL.DENSE.DECODE),
        (EncodeOptions, config.MODEL.DENSE.TARGET),
        (OtsuOptions, config.MODEL.OTSU),
        (RedrawOptions, config.MODEL.REDRAW),
        (CleanupOptions, config.TEST.CLEANUP),
    ]
    for kind, group in groups:
        assert options_of(kind, group) == kind()
    most = config.TEST.DETECTIONS_PER_IMAGE
    assert answer_options(config) == replace(AnswerOptions(), max_cells=most)
    dense = config.MODEL.DENSE
    assert Tiles(dense.TILE, dense.OVERLAP, dense.TILE_BATCH) == Tiles()
    assert mapper_options(config) == MapperOptions()


def test_a_wrong_value_is_refused_by_the_dataclass():
    with pytest.raises(ValueError, match="decay must be one of"):
        options_of(CleanupOptions, {"DECAY": "cubic"})
