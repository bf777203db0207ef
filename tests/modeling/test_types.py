"""The networks of types, and how a model's answers get them."""

import numpy as np
import pytest
import torch
from torch import nn

from bccd_d2.masks.cell_types import SmallOptions, TypeOptions
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.instances import instances_of
from bccd_d2.modeling.types.head import UNTYPED, CellTypes, add_types, look_with
from bccd_d2.modeling.types.network import TypeNetwork
from bccd_d2.modeling.types.small import SmallCellNetwork, small_map

OPTIONS = TypeOptions(channels=(4, 8), small=SmallOptions(channels=(4, 8), threshold=0.999))


def cells():
    label_map = np.zeros((60, 80), np.int32)
    label_map[5:25, 5:25], label_map[30:50, 40:60] = 1, 2
    return Cells.from_label_map(label_map, [0.6, 0.9])


class Detector(nn.Module):
    """Answers the same cells, whatever it sees."""

    def forward(self, inputs):
        return (
            {"loss": torch.zeros(())}
            if self.training
            else [{"instances": instances_of(cells())} for _ in inputs]
        )


def test_a_type_network_gives_a_logit_a_class_and_one_for_being_counted():
    network = TypeNetwork(3, 5, (4, 8)).eval()
    logits = look_with(network, np.zeros((2, 4, 64, 64), np.uint8), np.zeros((2, 5), np.float32))
    assert logits.shape == (2, 4) and logits.dtype == np.float32
    none = look_with(network, np.zeros((0, 4, 64, 64), np.uint8), np.zeros((0, 5), np.float32))
    assert none.shape == (0, 4)
    with pytest.raises(ValueError, match="classes and levels"):
        TypeNetwork(0, 5)


def test_the_map_of_small_cells_has_the_image_s_size_whatever_that_is():
    network = SmallCellNetwork((4, 8)).eval()
    shown = small_map(network, np.zeros((37, 51, 3), np.uint8))
    assert shown.shape == (37, 51) and 0 <= shown.min() <= shown.max() <= 1


def test_answers_get_types_and_outlines_alone_do_not():
    model = add_types(Detector(), CellTypes(3, OPTIONS, diameter=20)).eval()
    image = torch.zeros(3, 30, 40, dtype=torch.uint8)  # half the resolution of the answer
    typed, plain = model([{"image": image}, {"image": image, UNTYPED: True}])
    found = Cells.from_instances(typed["instances"])
    assert found.class_probabilities.shape == (2, 3)
    assert found.scores == pytest.approx([0.9, 0.6])
    assert (found.class_ids == found.class_probabilities.argmax(axis=1)).all()
    assert not plain["instances"].has("pred_class_probabilities")


def test_training_goes_on_without_types_and_leaves_them_as_they_are():
    model = add_types(Detector(), CellTypes(3, OPTIONS)).train()
    assert set(model([{}])) == {"loss"}
    assert not any(weight.requires_grad for weight in model.types.parameters())
    assert any(name.startswith("types.network.") for name in model.state_dict())


def test_no_more_cells_than_the_cap_and_none_is_no_error():
    types = CellTypes(2, OPTIONS, max_cells=1).eval()
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    assert len(types(image, instances_of(cells()))) == 1
    nothing = types(image, instances_of(Cells.empty((60, 80))))
    assert len(nothing) == 0


def test_platelets_do_not_shake_the_trust_in_the_other_outlines():
    from bccd_d2.inference.predictor import PredictOptions
    from bccd_d2.masks.classes import Classes
    from bccd_d2.segmenter import Segmenter
    from bccd_d2.synth.smear import draw_smear

    class Model:
        name, score_threshold, diameter = "model", 0.5, 60.0
        classes = Classes(("red", "platelet"))

    smear = draw_smear(seed=1, size=(300, 400))
    red = Cells.from_label_map(smear.label_map)
    dots = np.zeros((300, 400), np.int32)
    for number in range(12):
        dots[10 + 20 * number : 16 + 20 * number, 10:16] = number + 1
    small = Cells.from_label_map(dots)
    both = Cells.from_rles([*red.rles, *small.rles], (300, 400))
    kinds = np.eye(2)[[0] * len(red) + [1] * len(small)]
    segmenter = Segmenter([Model()])
    plain, typed = (
        segmenter.assess(smear.image, cells, PredictOptions(0.5)).measures
        for cells in (red, both.with_classes(kinds))
    )
    assert typed == plain
