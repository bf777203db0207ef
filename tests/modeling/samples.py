"""Training samples that several tests feed to a model."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, Instances


def sample(cells: int) -> dict:
    """What the mapper gives a detector for one crop of 70 x 75 px with up to two square cells."""
    truth = Instances((70, 75))
    boxes = torch.tensor([[5, 5, 35, 40], [30, 20, 74, 69]], dtype=torch.float32)[:cells]
    masks = torch.zeros(cells, 70, 75, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    truth.gt_boxes, truth.gt_masks = Boxes(boxes.reshape(-1, 4)), BitMasks(masks)
    truth.gt_classes = torch.zeros(cells, dtype=torch.int64)
    image = torch.randint(0, 255, (3, 70, 75), dtype=torch.uint8)
    return {"image": image, "instances": truth, "height": 140, "width": 150}


def check_batches(model: torch.nn.Module, inputs: list[dict]) -> None:
    """Each input's answer is the same alone as beside the others."""
    with torch.no_grad():
        together = model(inputs)
        alone = [model([one])[0] for one in inputs]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one["instances"].scores, other["instances"].scores)
        assert one["instances"].pred_rles == other["instances"].pred_rles
