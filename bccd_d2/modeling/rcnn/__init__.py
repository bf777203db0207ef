"""Mask R-CNN for cells: heads, pooling, masks drawn and redrawn."""
