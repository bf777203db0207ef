"""Config, trainer, hooks and launching: how a model comes to be."""

from bccd_d2._detectron2 import require_detectron2

require_detectron2()
