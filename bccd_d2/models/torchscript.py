"""A trained model's network as TorchScript, for programs without this package or detectron2.

What is exported goes from the pixels of one image, already at the model's scale, to what the
network says: boxes, scores and masks inside their boxes of a detector, maps of a dense model. What
follows is no network and stays with the user: pasting masks, or the watershed on maps.

The image size is fixed when the export is made, for windows and position embeddings depend on it;
the number of detections is not. Loading needs torch and torchvision (for its NMS and ROIAlign).
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.modeling.poolers import ROIPooler
from torch import nn
from torch.overrides import TorchFunctionMode

from bccd_d2.data.preprocess import resize_image, scaled_size
from bccd_d2.io.atomic import atomic_file
from bccd_d2.models.load import TrainedModel

FIELDS = ("pred_boxes", "scores", "pred_classes", "pred_masks", "mask_boxes")
TOLERANCE = 1e-3


class Network(nn.Module):
    """The part of a model that is a network: (3, h, w) uint8 RGB in, a tuple of tensors out.

    Attributes:
        names: of the tensors, known after the first call.

    Raises:
        ValueError: the model has no such part.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net
        self.names: list[str] = []
        if not (hasattr(net, "roi_heads") or hasattr(net, "maps")):
            raise ValueError(f"{type(net).__name__} is no network that can be exported")

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self._detections(image) if hasattr(self.net, "roi_heads") else self.net.maps(image)
        self.names = list(found)
        return tuple(found.values())

    def _detections(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        net = self.net
        images = net.preprocess_image([{"image": image}])
        features = net.backbone(images.tensor)
        proposals, _ = net.proposal_generator(images, features, None)
        result = net.roi_heads(images, features, proposals, None)[0][0]
        fields = result.get_fields()
        found = {name: fields[name] for name in FIELDS if name in fields}
        found["pred_boxes"] = found["pred_boxes"].tensor
        if getattr(net, "outline", None) is not None:
            found["maps"] = net.outline(features)[0, :, : image.shape[1], : image.shape[2]]
        return found


class _OneImage(TorchFunctionMode):
    """Leaves a tensor whole where it is split into one part.

    detectron2 splits what a batch's images found by how much each found. With one image that does
    nothing, but the tracer would take down the number of the example for good.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in (torch.Tensor.split, torch.split) and len(args) > 1:
            if isinstance(args[1], (list, tuple)) and len(args[1]) == 1:
                return (args[0],)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _torchvision_pooling(net: nn.Module) -> Iterator[None]:
    """Our poolers work as torchvision's do, of which the export needs no Python.

    Those that pool faster on a CPU have the number of ``samples`` for it, of which 0 turns it off.
    """
    poolers = [m for m in net.modules() if isinstance(m, ROIPooler) and hasattr(m, "samples")]
    before = [pooler.samples for pooler in poolers]
    try:
        for pooler in poolers:
            pooler.samples = 0
        yield
    finally:
        for pooler, samples in zip(poolers, before, strict=True):
            pooler.samples = samples


def export_torchscript(model: TrainedModel, path: str | Path, image_size: tuple[int, int]) -> Path:
    """Write the model's network for images of (height, width) px, whole or not at all.

    Beside the graph the file holds ``bccd_d2.json``: name, image size, scale, the size that the
    network takes, the names of what it gives, and the score threshold.

    Raises:
        ValueError: the model has no network, or depends on the colours of the whole image.
    """
    if model.looks_at_whole:
        raise ValueError("a model with stain normalisation needs it done before: not exported")
    network = Network(model.net)
    size = scaled_size(image_size, model.config.INPUT.IMAGE_SCALE)
    example = torch.full((3, *size), 127, dtype=torch.uint8, device=model.device)
    example[:, size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 60
    with torch.no_grad(), warnings.catch_warnings(), _OneImage(), _torchvision_pooling(model.net):
        # The tracer warns of every constant it takes; `largest_difference` tells which matter.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(network, (example,), check_trace=False)
    says = {
        "name": model.name,
        "image_size": list(image_size),
        "scale": model.config.INPUT.IMAGE_SCALE,
        "network_size": list(size),
        "outputs": network.names,
        "score_threshold": model.score_threshold,
    }
    with atomic_file(path) as stream:
        torch.jit.save(traced, stream, _extra_files={"bccd_d2.json": json.dumps(says)})
    return Path(path)


def largest_difference(
    path: str | Path, model: TrainedModel, images: Iterable[np.ndarray]
) -> tuple[float, int]:
    """How far the exported network and the model differ, and how many detections were compared.

    Boxes count in pixels, all else as it is; where the number of detections differs the answer is
    infinite. For a dense model the second number is that of the images.

    Args:
        images: (H, W, 3) uint8 RGB of the size of the export.
    """
    network = Network(model.net)
    exported = torch.jit.load(str(path), map_location=model.device)
    worst, compared = 0.0, 0
    for image in images:
        pixels = _pixels(model, image)
        with torch.no_grad():
            eager, other = network(pixels), exported(pixels)
        if [x.shape for x in eager] != [x.shape for x in other]:
            return float("inf"), compared
        pairs = zip(eager, other, strict=True)
        gaps = [float((a.float() - b.float()).abs().max()) for a, b in pairs if a.numel()]
        worst = max([worst, *gaps])
        compared += len(eager[0]) if "scores" in network.names else 1
    return worst, compared


def read_export(path: str | Path) -> dict[str, Any]:
    """What `export_torchscript` noted in a file."""
    extra = {"bccd_d2.json": ""}
    torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    return json.loads(extra["bccd_d2.json"])


def _pixels(model: TrainedModel, image: np.ndarray) -> torch.Tensor:
    size = scaled_size(image.shape[:2], model.config.INPUT.IMAGE_SCALE)
    resized = resize_image(image, size).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(resized)).to(model.device)
