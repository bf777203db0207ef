"""Pascal VOC xml, one file an image: boxes with names.

Corners are taken as points between pixels, half-open, as labelImg, CVAT and Roboflow write them.
The original VOC counted pixels from 1, both ends included: half a pixel aside.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bccd_d2.data.convert.formats.common import DEFAULT_CATEGORY, ImageShapes, Shape
from bccd_d2.data.convert.formats.files import FormatError, files_of, numbers, read_text, split_of
from bccd_d2.data.convert.pairing import Skip

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """What a VOC xml, or each of a folder, says about the image of its name.

    The xml's own name counts, then the ``filename`` in it, which often is of another computer.
    Objects marked as difficult are ignored in training and scoring.

    Raises:
        FileNotFoundError: no such file.
    """
    several = Path(path).is_dir()
    images = []
    for file in files_of(path, ".xml"):
        split = split_of(file.relative_to(path)) if several else None
        try:
            images.append(_read_file(file, split))
        except FormatError as error:
            images.append(ImageShapes(file.stem, file, split=split, error=str(error)))
    return images, []


def _read_file(file: Path, split: str | None) -> ImageShapes:
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FormatError(file, "", "defines entities of its own", "remove the DOCTYPE from it")
    try:
        root = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(
            file, "", f"is no xml ({error})", "it may be cut short: export it again"
        ) from error
    if root.tag != "annotation":
        raise FormatError(
            file, "", f"is <{root.tag}>, Pascal VOC's is <annotation>", "export it as Pascal VOC"
        )
    size = None
    if root.find("size") is not None:
        texts = [root.findtext(f"size/{side}", "0") for side in ("height", "width")]
        height, width = numbers(texts, 2, file, "size, height and width,")
        size = (int(height), int(width))
    shapes = [_shape(one, file, n) for n, one in enumerate(root.findall("object"))]
    filename = (root.findtext("filename") or "").strip()
    return ImageShapes(
        name=file.stem,
        file=file,
        shapes=tuple(shapes),
        image_size=size,
        aliases=(filename.replace("\\", "/"),) if filename else (),
        split=split,
    )


def _shape(found: ElementTree.Element, file: Path, number: int) -> Shape:
    box = found.find("bndbox")
    if box is None:
        raise FormatError(file, f"object[{number}]", "has no bndbox", "add it or remove the object")
    texts = [box.findtext(corner, "missing") for corner in CORNERS]
    x0, y0, x1, y1 = numbers(texts, 4, file, f"object[{number}].bndbox")
    return Shape(
        category=(found.findtext("name") or "").strip() or DEFAULT_CATEGORY,
        box=(x0, y0, x1, y1),
        ignored=(found.findtext("difficult") or "0").strip() == "1",
    )
