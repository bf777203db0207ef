"""Boxes whose cells may be of K classes: one cell has one place and K probabilities.

detectron2's own head asks each class for its boxes, so a cell of which two classes are likely comes
out twice. Here the chance that there is a cell at all ranks and thins out the boxes, whatever their
class; the classes share it out.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.layers import cat
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers, fast_rcnn_inference
from detectron2.structures import Instances


class TypedBoxPredictor(FastRCNNOutputLayers):
    """`FastRCNNOutputLayers` for K classes with boxes that do not depend on the class."""

    def losses(self, predictions: Any, proposals: list[Instances]) -> dict[str, torch.Tensor]:
        """As detectron2's; where ``gt_allowed`` leaves several classes possible, any of them is
        right."""
        found = super().losses(predictions, proposals)
        if any(one.has("gt_allowed") for one in proposals):
            classes = cat([one.gt_classes for one in proposals])
            loss = coarse_cross_entropy(predictions[0], classes, self._allowed(proposals))
            found["loss_cls"] = loss * self.loss_weight.get("loss_cls", 1.0)
        return found

    def _allowed(self, proposals: list[Instances]) -> torch.Tensor:
        """(R, K) bool; an image without cells has none, for all of it is background."""
        return cat([
            one.gt_allowed if one.has("gt_allowed")
            else torch.zeros((len(one), self.num_classes), dtype=torch.bool,
                             device=one.gt_classes.device)
            for one in proposals
        ])  # fmt: skip

    def inference(
        self, predictions: Any, proposals: list[Instances]
    ) -> tuple[list[Instances], list[torch.Tensor]]:
        """As detectron2's, with ``pred_class_probabilities`` (N, K) that sum to 1."""
        boxes = self.predict_boxes(predictions, proposals)
        probabilities = self.predict_probs(predictions, proposals)
        finite = [
            torch.isfinite(b).all(1) & torch.isfinite(p).all(1)
            for b, p in zip(boxes, probabilities, strict=True)
        ]
        boxes = [b[good] for b, good in zip(boxes, finite, strict=True)]
        typed = [p[good][:, :-1] for p, good in zip(probabilities, finite, strict=True)]
        there = [p.sum(1, keepdim=True) for p in typed]
        results, kept = fast_rcnn_inference(
            boxes,
            [torch.cat([p, 1 - p], 1) for p in there],
            [one.image_size for one in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )
        for result, index, p, whole in zip(results, kept, typed, there, strict=True):
            shares = p[index] / whole[index].clamp(min=1e-12)
            result.pred_class_probabilities = shares
            result.pred_classes = shares.argmax(1)
        places = [good.nonzero()[:, 0] for good in finite]
        return results, [place[index] for place, index in zip(places, kept, strict=True)]


def coarse_cross_entropy(
    logits: torch.Tensor, classes: torch.Tensor, allowed: torch.Tensor
) -> torch.Tensor:
    """Mean of -log of the summed probability of the classes that a label leaves possible.

    With one class each it is the cross-entropy.

    Args:
        logits: (R, K + 1), the background last.
        classes: (R,) in [0, K]; K = background, whose row of ``allowed`` says nothing.
        allowed: (R, K) bool, one at least in each other row.

    Returns:
        A scalar; 0 without rows.
    """
    if not len(logits):
        return logits.sum() * 0
    background = (classes == logits.shape[1] - 1)[:, None]
    right = torch.cat([allowed & ~background, background], dim=1)
    kept = logits.masked_fill(~right, -torch.inf).logsumexp(1)
    return (logits.logsumexp(1) - kept).mean()
