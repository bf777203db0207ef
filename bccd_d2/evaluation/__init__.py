"""Scores of predicted cells against true ones: COCO AP, instances, pixels, operating point."""
