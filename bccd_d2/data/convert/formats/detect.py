"""Which reader a file or folder needs, by the option that it was given with and what it holds."""

from __future__ import annotations

from pathlib import Path

from bccd_d2.data.convert.formats.bbbc041 import is_bbbc041, read_bbbc041
from bccd_d2.data.convert.formats.cellpose import read_seg
from bccd_d2.data.convert.formats.coco import read_coco
from bccd_d2.data.convert.formats.common import ImageShapes
from bccd_d2.data.convert.formats.files import read_json
from bccd_d2.data.convert.formats.folders import read_folders
from bccd_d2.data.convert.formats.geojson import read_geojson
from bccd_d2.data.convert.formats.points import read_points
from bccd_d2.data.convert.formats.voc import read_voc
from bccd_d2.data.convert.formats.yolo import NO_LABELS, read_yolo
from bccd_d2.data.convert.pairing import Skip

READERS = ("coco", "boxes", "points", "geojson", "seg", "folders")


def read_annotations(
    option: str, path: str | Path, classes: str | Path | None = None
) -> tuple[list[ImageShapes], list[Skip]]:
    """What the annotations at ``path`` say about each image, and what of them is unusable.

    Args:
        option: one of `READERS`, the command line's option; "boxes" tells Pascal VOC, YOLO and
            BBBC041's json apart by what is there.
        classes: a file of class names, for YOLO and points.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an unknown option, a format that cannot be told, or a broken file.
    """
    if option == "boxes":
        return _read_boxes(Path(path), classes)
    if option == "points":
        return read_points(path, classes)
    readers = {"coco": read_coco, "geojson": read_geojson, "seg": read_seg, "folders": read_folders}
    if option not in readers:
        raise ValueError(f"option must be one of {', '.join(READERS)}, got {option!r}")
    return readers[option](path)


def _read_boxes(
    path: Path, classes: str | Path | None
) -> tuple[list[ImageShapes], list[Skip]]:
    if not path.exists():
        raise FileNotFoundError(f"boxes {path} do not exist")
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    endings = {p.suffix.lower() for p in files if p.name.lower() not in NO_LABELS}
    found = [ending for ending in (".xml", ".txt", ".json") if ending in endings]
    if len(found) != 1:
        held = " and ".join(found) or "none of these"
        raise ValueError(
            f"boxes {path}: Pascal VOC is .xml, YOLO .txt, BBBC041 or COCO .json, and it holds "
            f"{held}; name the file or folder of one format"
        )
    if found == [".xml"]:
        return read_voc(path)
    if found == [".txt"]:
        return read_yolo(path, classes)
    if path.is_file() and is_bbbc041(read_json(path)):
        return read_bbbc041(path)
    return read_coco(path)
