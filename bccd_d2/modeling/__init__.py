"""Pathology ViTs, the simple feature pyramid, and the detectors on top of them."""

from bccd_d2._detectron2 import require_detectron2

require_detectron2()
