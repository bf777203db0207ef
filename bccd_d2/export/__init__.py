"""Cells as files other programs open: label images, COCO json, GeoJSON for QuPath, CSV.

Cell number k, from 1 in the order of the `Cells`, is the same cell in all of them: value k in the
label image, ``id`` k in the CSV, ``label`` k in COCO json, ``name`` k in GeoJSON.
"""
