"""Mask R-CNN (He et al., ICCV 2017) that answers with RLEs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from detectron2.config import configurable
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import Boxes, Instances

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.cleanup import CleanupOptions, clean_with_index
from bccd_d2.masks.otsu import OtsuOptions, foreground_logit
from bccd_d2.modeling.options import options_of
from bccd_d2.modeling.rcnn.outline import OutlineHead
from bccd_d2.modeling.rcnn.paste import paste_masks
from bccd_d2.modeling.rcnn.redraw import Drawing, RedrawOptions, redraw


class CellRCNN(GeneralizedRCNN):
    """`GeneralizedRCNN` whose inference keeps each mask inside its box.

    A dense smear has 190 cells; as full-size bitmaps they take 365 MB, as RLEs 40 kB. Where
    detectron2 gives ``pred_masks`` (N, H, W), this gives ``pred_rles``, a list of N RLEs.

    Args:
        outline: a dense head on the pyramid that is trained with the rest; None = none.
        redraw: how its maps draw the detected masks anew.
        cleanup: what happens to the masks in the end.
        otsu: of the foreground where the redrawing takes it from there.

    Raises:
        ValueError: masks are to be drawn anew without a dense head.
    """

    @configurable
    def __init__(
        self,
        *,
        outline: OutlineHead | None = None,
        redraw: RedrawOptions | None = None,
        cleanup: CleanupOptions | None = None,
        otsu: OtsuOptions | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.outline = outline
        self.redraw = redraw or RedrawOptions()
        self.cleanup = cleanup or CleanupOptions()
        self.otsu = otsu
        if self.redraw.method and self.redraw.foreground == "dense" and outline is None:
            raise ValueError(
                f"MODEL.REDRAW.METHOD {self.redraw.method} needs MODEL.OUTLINE.ENABLED True"
            )

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        parts = super().from_config(cfg)
        parts["redraw"] = options_of(RedrawOptions, cfg.MODEL.REDRAW)
        parts["otsu"] = options_of(OtsuOptions, cfg.MODEL.OTSU)
        parts["cleanup"] = options_of(CleanupOptions, cfg.TEST.CLEANUP)
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

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
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

    def inference(
        self,
        batched_inputs: list[dict[str, Any]],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> Any:
        """As `GeneralizedRCNN.inference`; postprocessed answers carry RLEs in the input's frame."""
        if detected_instances is not None or not do_postprocess:
            return super().inference(batched_inputs, detected_instances, do_postprocess)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        proposals, _ = self.proposal_generator(images, features, None)
        results, _ = self.roi_heads(images, features, proposals, None)
        maps = self._maps(features, batched_inputs)
        answers = []
        for result, given, dense in zip(results, batched_inputs, maps, strict=True):
            height, width = result.image_size
            wanted = (given.get("height", height), given.get("width", width))
            dense = None if dense is None else dense[:, :height, :width]
            found = to_image(result, wanted, dense, self.redraw, self.cleanup)
            answers.append({"instances": found})
        return answers

    def _maps(
        self, features: dict[str, torch.Tensor], batched_inputs: list[dict[str, Any]]
    ) -> Sequence[np.ndarray | None]:
        """(4, h, w) of each image, which its masks are drawn anew with; None where they are not."""
        if self.redraw.method and self.redraw.foreground == "otsu":
            return [self._otsu_maps(given["image"]) for given in batched_inputs]
        if self.redraw.method and self.outline is not None:
            return list(self.outline(features).float().cpu().numpy())
        return [None] * len(batched_inputs)

    def _otsu_maps(self, image: torch.Tensor) -> np.ndarray:
        """(4, h, w) maps of which only the foreground says anything, from (3, h, w) uint8."""
        maps = np.zeros((4, *image.shape[1:]), dtype=np.float32)
        maps[0] = foreground_logit(image.cpu().numpy().transpose(1, 2, 0), self.otsu)
        return maps


def to_image(
    result: Instances,
    image_size: tuple[int, int],
    maps: np.ndarray | None = None,
    options: RedrawOptions | None = None,
    cleanup: CleanupOptions | None = None,
) -> Instances:
    """Predictions of the resized image in the frame of the original, masks as RLEs.

    Args:
        result: with ``pred_boxes``, ``scores``, ``pred_classes``, perhaps
            ``pred_class_probabilities`` and, from a mask head, ``pred_masks`` (N, 1, M, M)
            probabilities inside ``mask_boxes``, else inside the boxes.
        image_size: height and width of the original image.
        maps: (4, h, w) of the dense head for the resized image; None = none.
        options: whether and how masks are drawn anew with them.
        cleanup: of the finished masks.

    Returns:
        Instances on the CPU with ``pred_rles`` in place of ``pred_masks``, and the boxes again as
        ``detected_boxes`` (N, 4); cells whose box or mask is empty are left out.
    """
    options, cleanup = options or RedrawOptions(), cleanup or CleanupOptions()
    height, width = (int(n) for n in image_size)
    scale = torch.tensor([width / result.image_size[1], height / result.image_size[0]]).repeat(2)
    boxes = Boxes(result.pred_boxes.tensor.detach().float().cpu() * scale)
    boxes.clip((height, width))
    kept = np.flatnonzero(boxes.nonempty().numpy())
    scores = result.scores.detach().float().cpu().numpy()[kept]
    cells = None
    if result.has("pred_masks"):
        chosen, cells = _draw(_drawing(result, kept, maps), (height, width), options, cleanup)
        kept, scores = kept[chosen], cells.scores
    index = torch.from_numpy(kept)
    image = Instances((height, width))
    image.pred_boxes = boxes[index]
    image.scores = torch.from_numpy(scores)
    image.pred_classes = result.pred_classes.cpu()[index]
    if result.has("pred_class_probabilities"):
        image.pred_class_probabilities = result.pred_class_probabilities.float().cpu()[index]
    if cells is not None:
        image.pred_rles, image.detected_boxes = cells.rles, image.pred_boxes.tensor
    return image


def _draw(
    drawing: Drawing, image_size: tuple[int, int], options: RedrawOptions, cleanup: CleanupOptions
) -> tuple[np.ndarray, Cells]:
    """Which of the drawing's cells are left in the end, and those."""
    larger = image_size[0] * image_size[1] / (drawing.frame[0] * drawing.frame[1])
    cleanup = replace(cleanup, border_area=cleanup.border_area * larger)
    if options.method:
        kept, cells = redraw(drawing, image_size, options, cleanup)
        whole = cleanup.whole and options.method == "blend"  # the others' cells are whole already
        cleanup = replace(cleanup, nms=0.0, containment=0.0, decay="", whole=whole)
    else:
        scale = np.divide(image_size, drawing.frame)[[1, 0, 1, 0]]
        rles = paste_masks(drawing.masks, drawing.mask_boxes * scale, image_size)
        kept, cells = np.arange(len(rles)), Cells.from_rles(rles, image_size, drawing.scores)
    visible = np.flatnonzero(cells.areas > 0)
    cells, chosen = clean_with_index(cells[visible], cleanup)
    return kept[visible[chosen]], cells


def _drawing(result: Instances, kept: np.ndarray, maps: np.ndarray | None) -> Drawing:
    """The kept cells of a resized image as arrays."""
    boxes = result.pred_boxes.tensor.detach().float().cpu().numpy()[kept]
    drawn_in = boxes
    if result.has("mask_boxes"):
        drawn_in = result.mask_boxes.detach().float().cpu().numpy()[kept]
    return Drawing(
        masks=result.pred_masks[:, 0].detach().float().cpu().numpy()[kept],
        mask_boxes=drawn_in,
        boxes=boxes,
        scores=result.scores.detach().float().cpu().numpy()[kept],
        maps=maps,
        frame=(int(result.image_size[0]), int(result.image_size[1])),  # tensors while traced
    )
