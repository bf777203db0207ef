"""Mask R-CNN (He et al., ICCV 2017) that answers with RLEs, and its heads with "LN"."""

from __future__ import annotations

import torch
from detectron2.modeling import META_ARCH_REGISTRY, ROI_BOX_HEAD_REGISTRY, GeneralizedRCNN
from detectron2.modeling.roi_heads import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads.box_head import FastRCNNConvFCHead
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.structures import Boxes, Instances

from bccd_d2.masks.convert import rle_areas
from bccd_d2.modeling.paste import paste_masks
from bccd_d2.modeling.pyramid import ChannelNorm


@META_ARCH_REGISTRY.register()
class CellRCNN(GeneralizedRCNN):
    """`GeneralizedRCNN` whose inference keeps each mask inside its box.

    A dense smear has 190 cells; as full-size bitmaps they take 365 MB, as RLEs 40 kB. Where
    detectron2 gives ``pred_masks`` (N, H, W), this gives ``pred_rles``, a list of N RLEs.
    """

    def inference(self, batched_inputs, detected_instances=None, do_postprocess=True):
        """As `GeneralizedRCNN.inference`; postprocessed answers carry RLEs in the input's frame."""
        results = super().inference(batched_inputs, detected_instances, do_postprocess=False)
        if not do_postprocess:
            return results
        answers = []
        for result, given in zip(results, batched_inputs, strict=True):
            height, width = result.image_size
            wanted = (given.get("height", height), given.get("width", width))
            answers.append({"instances": to_image(result, wanted)})
        return answers


def to_image(result: Instances, image_size: tuple[int, int]) -> Instances:
    """Predictions of the resized image in the frame of the original, masks as RLEs.

    Args:
        result: with ``pred_boxes``, ``scores``, ``pred_classes`` and, from a mask head,
            ``pred_masks`` (N, 1, M, M) probabilities inside the boxes.
        image_size: height and width of the original image.

    Returns:
        Instances on the CPU with ``pred_rles`` in place of ``pred_masks``; cells whose box or mask
        is empty are left out.
    """
    height, width = (int(n) for n in image_size)
    scale = torch.tensor([width / result.image_size[1], height / result.image_size[0]]).repeat(2)
    boxes = Boxes(result.pred_boxes.tensor.detach().float().cpu() * scale)
    boxes.clip((height, width))
    keep = boxes.nonempty()
    rles = None
    if result.has("pred_masks"):
        masks = result.pred_masks[:, 0].detach().float().cpu().numpy()
        rles = paste_masks(masks, boxes.tensor.numpy(), (height, width))
        keep &= torch.as_tensor(rle_areas(rles) > 0)
    image = Instances((height, width))
    image.pred_boxes = boxes[keep]
    image.scores = result.scores.detach().float().cpu()[keep]
    image.pred_classes = result.pred_classes.cpu()[keep]
    if rles is not None:
        image.pred_rles = [rle for rle, kept in zip(rles, keep.tolist(), strict=True) if kept]
    return image


class _TakesLayerNorm:
    """Before a detectron2 head: also takes ``NORM: "LN"``, which 0.6 does not know."""

    @classmethod
    def from_config(cls, cfg, input_shape):
        parts = super().from_config(cfg, input_shape)
        return parts | {"conv_norm": ChannelNorm} if parts["conv_norm"] == "LN" else parts


@ROI_BOX_HEAD_REGISTRY.register()
class CellBoxHead(_TakesLayerNorm, FastRCNNConvFCHead):
    """`FastRCNNConvFCHead` with "LN"."""


@ROI_MASK_HEAD_REGISTRY.register()
class CellMaskHead(_TakesLayerNorm, MaskRCNNConvUpsampleHead):
    """`MaskRCNNConvUpsampleHead` with "LN"."""
