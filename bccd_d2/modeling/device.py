"""Where a model computes."""

from __future__ import annotations

import torch


def chosen_device(name: str) -> str:
    """The device that ``MODEL.DEVICE`` means: "auto" takes a GPU where there is one.

    Raises:
        ValueError: no such device here, or a name that torch does not know.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device {name!r} is none: give auto, cpu, cuda or cuda:0 (MODEL.DEVICE, --device)"
        ) from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(
            f"device {name!r}: PyTorch {torch.__version__} sees {count} GPUs here; give auto or "
            "cpu (MODEL.DEVICE, --device), or install a PyTorch built for your GPU"
        )
    return name
