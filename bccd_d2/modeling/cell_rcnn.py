"""Mask R-CNN (He et al., ICCV 2017) that answers with RLEs."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import Boxes, Instances

from bccd_d2.masks.convert import rle_areas
from bccd_d2.modeling.outline import OutlineHead
from bccd_d2.modeling.paste import paste_masks


@META_ARCH_REGISTRY.register()
class CellRCNN(GeneralizedRCNN):
    """`GeneralizedRCNN` whose inference keeps each mask inside its box.

    A dense smear has 190 cells; as full-size bitmaps they take 365 MB, as RLEs 40 kB. Where
    detectron2 gives ``pred_masks`` (N, H, W), this gives ``pred_rles``, a list of N RLEs.

    Args:
        outline: a dense head on the pyramid that is trained with the rest; None = none.
    """

    @configurable
    def __init__(self, *, outline: OutlineHead | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.outline = outline

    @classmethod
    def from_config(cls, cfg):
        parts = super().from_config(cfg)
        options = cfg.MODEL.OUTLINE
        if options.ENABLED:
            shapes = parts["backbone"].output_shape()
            parts["outline"] = OutlineHead(
                shapes["p1"].channels,
                shapes["p2"].channels,
                channels=options.CHANNELS,
                loss_weight=options.LOSS_WEIGHT,
            )
        return parts

    def forward(self, batched_inputs):
        """As `GeneralizedRCNN.forward`, with the dense head's losses beside the others."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        truth = [x["instances"].to(self.device) for x in batched_inputs]
        features = self.backbone(images.tensor)
        proposals, losses = self.proposal_generator(images, features, truth)
        losses |= self.roi_heads(images, features, proposals, truth)[1]
        if self.outline is not None:
            masks = [one.gt_masks.tensor for one in truth]
            boxes = [one.gt_boxes.tensor for one in truth]
            losses |= self.outline.losses(self.outline(features), masks, boxes)
        return losses

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
        drawn_in = result.mask_boxes if result.has("mask_boxes") else result.pred_boxes.tensor
        drawn_in = (drawn_in.detach().float().cpu() * scale).numpy()
        rles = paste_masks(masks, drawn_in, (height, width))
        keep &= torch.as_tensor(rle_areas(rles) > 0)
    image = Instances((height, width))
    image.pred_boxes = boxes[keep]
    image.scores = result.scores.detach().float().cpu()[keep]
    image.pred_classes = result.pred_classes.cpu()[keep]
    if rles is not None:
        image.pred_rles = [rle for rle, kept in zip(rles, keep.tolist(), strict=True) if kept]
    return image
