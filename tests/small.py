"""A Mask R-CNN on a ViT so small that a test trains it in seconds, as options over any config."""

SMALL_DETECTOR = ["MODEL.DEVICE", "cpu", "MODEL.VIT.DIM", "32", "MODEL.VIT.HEADS", "2",
                  "MODEL.VIT.DEPTH", "2", "MODEL.VIT.GLOBAL_BLOCKS", "(1,)",
                  "MODEL.PYRAMID.CHANNELS", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
                  "MODEL.ROI_MASK_HEAD.CONV_DIM", "16"]  # fmt: skip
