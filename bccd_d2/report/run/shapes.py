"""What the files of a run must look like to be reported, as `bccd_d2.io.records` writes shapes."""

from __future__ import annotations

from typing import Any

from bccd_d2.evaluation.analysis import IOU_BINS
from bccd_d2.evaluation.failures import KINDS

_COUNT = range(1 << 40)
_NUMBER = (float, None)  # None: there are no cells to score on
_GROUP: dict[Any, Any] = {str: (float, None, bool)}
_CURVES = [[float] * 101] * 10  # by IoU threshold, over recall
_POINT = {"score_threshold": float, "origin": str}
SWEEP_COLUMNS = ("thresholds", "f1", "precision", "recall", "pq", "count_mae", "count_bias")
_MASKS = {
    "segm": {"AP": _NUMBER, "AP50": _NUMBER, str: _NUMBER},
    "bbox?": _GROUP,
    "instances": {"F1@.5": _NUMBER, "PQ": _NUMBER, "count_mae": float, "truth": float,
                  str: _NUMBER},
    "interior?": _GROUP,
    "pixels": {"Dice": _NUMBER, str: _NUMBER},
}  # fmt: skip
_SOME_MASKS = {"segm": {"complete": bool, **_GROUP}, "instances": {"truth": float, **_GROUP},
               str: _GROUP}  # fmt: skip
_BOXES = {"boxes": {"recall@.5": _NUMBER, "truth": float, **_GROUP}, "bbox": _GROUP}
_POINTS = {"points": {"alone": _NUMBER, "points": float, **_GROUP}}
ANALYSIS = {  # what `evaluation.analysis.analyse` adds to it
    "intervals_95?": {str: {str: [float, float]}},
    "calibration?": {"edges": [float] * 11, "counts": [_COUNT] * 10, "confidence": [float] * 10,
                     "matched": [float] * 10, "error": float},
    "matched_iou?": {"counts": [_COUNT] * IOU_BINS, "median": (float, None)},
    "failures?": dict.fromkeys(
        KINDS, dict.fromkeys(("events", "true_cells", "predicted_cells"), _COUNT)
    ),
}  # fmt: skip
TYPES = {  # what `evaluation.typed.typed_details` adds
    "names": [str],
    "colours": [str],
    "confusion": [[_COUNT]],
    "counts": [{"file_name": str, str: (float, None, str)}],
}
_MISTAKE = dict.fromkeys(("truth", "prediction", "was", "called"), _COUNT)
_SIDE = {"masks": [str], "verdicts": [str]}
VERDICTS = {  # evaluation/<dataset>/verdicts.json
    "image_root": str,
    "max_value": (float, None),
    "images": [
        {"image_id": int, "file_name": str, "size": [_COUNT, _COUNT], "truth": _SIDE,
         "prediction": _SIDE, "events": [{"kind": str, "truth": [_COUNT], "prediction": [_COUNT]}],
         "mistakes?": [_MISTAKE]}
    ],
}  # fmt: skip
KIND = {"annotations?": str, "complete?": bool}  # of scores.json; what else it holds depends on it
SCORES = {  # evaluation/<dataset>/scores.json, by what the annotations are
    kind: {
        "images": _COUNT,
        "score_threshold": float,
        "scores": groups,
        "precision_curves?": {str: _CURVES},
        "types?": TYPES,
        **KIND,
        **ANALYSIS,
    }
    for kind, groups in {"masks": _MASKS, "some masks": _SOME_MASKS, "boxes": _BOXES,
                         "points": _POINTS}.items()
}  # fmt: skip
SUMMARY = {  # evaluation/metrics.json
    "weights?": str,
    "datasets?": [str],
    "root?": str,
    "operating_point?": _POINT,
    "scores?": {str: _GROUP},
}
SWEEP = {"chosen": float, "origin": str, **{name: [float] for name in SWEEP_COLUMNS}}
SESSIONS = {  # run.json
    "sessions": [
        {"what": str, "finished": str, "seconds": float, "processes": _COUNT, "machine": str,
         "versions": {str: str},
         "dataset?": {"name": str, "counts": {str: {"images?": _COUNT, "cells?": _COUNT,
                                                    str: object}}}}
    ]
}  # fmt: skip
CONFIG = {  # config.yaml, as far as the report reads it
    "DATASETS?": {"ROOT?": str, "TRAIN?": [str], "VALIDATION?": [str]},
    "MODEL?": {"META_ARCHITECTURE?": str, "BACKBONE?": {"NAME?": str}, "VIT?": dict},
    "SOLVER?": {"MAX_ITER?": _COUNT},
}
PER_IMAGE: dict[str, Any] = {"image_id": int, "file_name": str}
MASK_COLUMNS = ("truth", "predicted", "PQ", "SQ", "F1@.5", "pixel_Dice")  # of per_image.csv
