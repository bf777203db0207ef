"""Which scores a run's report shows, in which order, and what they mean."""

from __future__ import annotations

SCORES = (  # title, group, score, what it is
    ("mask AP", "segm", "AP", "COCO average precision, mean over IoU .50 to .95"),
    ("mask AP50", "segm", "AP50", "the same at IoU .50"),
    ("mask AP75", "segm", "AP75", "the same at IoU .75"),
    ("box AP", "bbox", "AP", "COCO average precision of bounding boxes"),
    ("box AP50", "bbox", "AP50", "the same at IoU .50"),
    ("mean recall of boxes", "bbox", "AR", "share of true boxes found, mean over IoU .50 to .95"),
    ("box F1", "boxes", "F1@.5", "boxes found at IoU .50, precision and recall in one"),
    ("box precision", "boxes", "precision@.5", "share of predicted boxes that are true"),
    ("box recall", "boxes", "recall@.5", "share of true boxes that were found"),
    ("count error", "boxes", "count_mae", "mean |predicted - true|, boxes an image"),
    ("count bias", "boxes", "count_bias", "mean predicted - true, boxes an image"),
    ("points found", "points", "recall", "share of points that lie in an outline"),
    ("points alone", "points", "alone", "share of points in one outline that holds no other"),
    ("points merged", "points", "merged", "share of points in an outline with several"),
    ("points split", "points", "split", "share of points that lie in several outlines"),
    ("points missed", "points", "missed", "share of points that lie in none"),
    ("outlines without a point", "points", "spurious", "share of all outlines"),
    ("count error", "points", "count_mae", "mean |outlines - points| an image"),
    ("count bias", "points", "count_bias", "mean outlines - points an image"),
    ("F1", "instances", "F1@.5", "cells found at IoU .50, precision and recall in one"),
    ("precision", "instances", "precision@.5", "share of predicted cells that are true"),
    ("recall", "instances", "recall@.5", "share of true cells that were found"),
    ("PQ", "instances", "PQ", "panoptic quality: F1 times the mean IoU of found cells"),
    ("mean IoU", "instances", "SQ", "of found cells with the true ones"),
    ("F1 at IoU .75", "instances", "F1@.75", "as F1, with stricter outlines"),
    ("interior F1", "interior", "F1@.5", "without cells at the image's border"),
    ("interior PQ", "interior", "PQ", "without cells at the image's border"),
    ("count error", "instances", "count_mae", "mean |predicted - true|, cells per image"),
    ("count bias", "instances", "count_bias", "mean predicted - true, cells per image"),
    ("relative count error", "instances", "count_relative_error", "mean error / true count"),
    ("pixel Dice", "pixels", "Dice", "of cell pixels against background; blind to merged cells"),
    ("pixel IoU", "pixels", "IoU", "of cell pixels against background"),
)
GLANCE = (
    ("mask AP", "segm", "AP"),
    ("mask AP50", "segm", "AP50"),
    ("F1 at IoU .5", "instances", "F1@.5"),
    ("PQ", "instances", "PQ"),
    ("count error", "instances", "count_mae"),
    ("pixel Dice", "pixels", "Dice"),
)
GLANCE_BY_KIND = {
    "masks": GLANCE,
    "some masks": (  # where not every cell is annotated
        ("mean recall of masks", "segm", "AR"),
        ("recall at IoU .5", "instances", "recall@.5"),
        ("recall at IoU .75", "instances", "recall@.75"),
        ("pixel recall", "pixels", "recall"),
    ),
    "boxes": (
        ("box F1 at IoU .5", "boxes", "F1@.5"),
        ("box recall", "boxes", "recall@.5"),
        ("box AP50", "bbox", "AP50"),
        ("count error", "boxes", "count_mae"),
    ),
    "points": (
        ("points alone", "points", "alone"),
        ("points merged", "points", "merged"),
        ("points missed", "points", "missed"),
    ),
}
NO_BOX_NUMBERS = ("AP50", "AR")  # of boxes, which masks make superfluous
IN_CELLS = ("count_mae", "count_bias")
