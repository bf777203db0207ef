"""The exported network says what the model says, for any number of cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.config.load import finalize
from bccd_d2.modeling.build import build_model
from bccd_d2.models import torchscript as portable
from bccd_d2.models.checkpoint import OperatingPoint
from bccd_d2.models.load import TrainedModel, load_model
from bccd_d2.synth.smear import draw_smear

SIZE = (150, 210)


@pytest.fixture
def model(small_config, tmp_path) -> TrainedModel:
    """Untrained, with a threshold at which the number of its detections varies."""
    torch.manual_seed(1)
    config = finalize(small_config(tmp_path, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.3"))
    net = build_model(config).eval()
    images = [draw_smear(seed=seed, size=SIZE).image for seed in range(3)]
    model = TrainedModel("small", config, net, OperatingPoint(0.4))
    scores = np.sort(np.concatenate([cells.scores for cells in model(images)]))
    # Between two scores: the export pools as torchvision does, in another order of additions.
    net.roi_heads.box_predictor.test_score_thresh = float(scores[-25:-23].mean())
    return model


def test_the_export_answers_as_the_model(model, tmp_path):
    images = [draw_smear(seed=seed, size=SIZE).image for seed in range(3)]
    counts = {len(cells) for cells in model([*images, np.full_like(images[0], 230)])}
    assert len(counts) > 1
    path = portable.export_torchscript(model, tmp_path / "a.pt", SIZE)
    worst, compared = portable.largest_difference(path, model, images)
    assert worst <= portable.TOLERANCE and compared >= 20
    says = portable.read_export(path)
    assert says["outputs"] == ["pred_boxes", "scores", "pred_classes", "pred_masks", "mask_boxes"]
    assert says["network_size"] == [75, 105] and says["score_threshold"] == 0.4


def test_another_model_is_told_apart(model, small_config, tmp_path):
    path = portable.export_torchscript(model, tmp_path / "a.pt", SIZE)
    for parameter in model.net.roi_heads.mask_head.parameters():
        parameter.data.mul_(1.5)
    image = draw_smear(seed=0, size=SIZE).image
    assert portable.largest_difference(path, model, [image])[0] > portable.TOLERANCE


def test_a_model_without_a_network_is_refused(repo_root, tmp_path):
    otsu = load_model("", str(repo_root / "configs" / "otsu_watershed.yaml"), "cpu")
    with pytest.raises(ValueError, match="OtsuWatershed is no network"):
        portable.export_torchscript(otsu, tmp_path / "a.pt", SIZE)
