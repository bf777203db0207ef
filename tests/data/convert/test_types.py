"""Types of cells from masks of classes, a folder a class, and boxes or points of elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bccd_d2.cli.convert import main
from bccd_d2.io.label_images import read_label_file

COLOURS = {1: (200, 0, 0), 2: (0, 120, 255), 3: (255, 176, 0)}
NAMES = {1: "red", 2: "white", 3: "platelet"}
# value, x, y, radius; the red and the white cell touch
DISCS = ((1, 30, 30, 15), (2, 60, 30, 15), (1, 30, 90, 14), (3, 100, 100, 6))


def draw(folder: Path) -> np.ndarray:
    """Two images, the second without cells; the first's class values."""
    (folder / "images").mkdir(parents=True)
    values = np.zeros((128, 140), np.uint8)
    for value, x, y, radius in DISCS:
        cv2.circle(values, (x, y), radius, value, -1)
    rng = np.random.default_rng(0)
    for name in "ab":
        image = rng.integers(0, 255, (*values.shape, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
    return values


def write_masks(folder: Path, values: np.ndarray, kind: str) -> str:
    """Masks of both images in one of three forms; the text of their codes."""
    folder.mkdir()
    for name, given in (("a", values), ("b", np.zeros_like(values))):
        picture = Image.fromarray(given)
        if kind == "palette":
            palette = np.zeros((256, 3), np.uint8)
            for value, colour in COLOURS.items():
                palette[value] = colour
            picture.putpalette(palette.ravel().tolist())
        if kind == "colours":
            table = np.array([(0, 0, 0), *COLOURS.values()], np.uint8)
            picture = Image.fromarray(table[given])
        picture.save(folder / f"{name}.png")
    if kind == "grey":
        return "".join(f"{name}: {value}\n" for value, name in NAMES.items())
    return "".join(
        "{}: '#{:02x}{:02x}{:02x}'\n".format(NAMES[v], *colour) for v, colour in COLOURS.items()
    )


def rows(out: Path) -> list[tuple[str, int]]:
    """Category and area of each cell of a converted dataset."""
    found = []
    for file in sorted((out / "annotations").glob("*.json")):
        content = json.loads(file.read_text())
        names = {c["id"]: c["name"] for c in content["categories"]}
        found += [(names[a["category_id"]], a["area"]) for a in content["annotations"]]
    return sorted(found)


@pytest.mark.parametrize("kind", ["grey", "palette", "colours"])
def test_masks_of_classes(tmp_path: Path, kind: str) -> None:
    values = draw(tmp_path)
    (tmp_path / "codes.yaml").write_text(write_masks(tmp_path / "masks", values, kind))
    out = tmp_path / "out"
    given = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    assert main([*given, "--classes", str(tmp_path / "codes.yaml"), "--out", str(out)]) == 0
    white = int((values == 2).sum())
    assert ("white", white) in rows(out)  # it touches a red cell, and is one of its own
    assert Counter(name for name, _ in rows(out)) == {"red": 2, "white": 1, "platelet": 1}
    description = json.loads((out / "dataset.json").read_text())
    assert description["categories"] == ["platelet", "red", "white"]
    label_map = read_label_file(next(out.rglob("labels/train/a.png")), compact=False)
    assert len(np.unique(label_map)) == 5


def test_values_that_nobody_named_are_refused_and_can_be_ignored(tmp_path: Path, capsys) -> None:
    values = draw(tmp_path)
    codes = tmp_path / "codes.yaml"
    codes.write_text(write_masks(tmp_path / "masks", values, "grey").replace("platelet: 3\n", ""))
    given = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"),
             "--classes", str(codes), "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(given) == 1  # the other image has no cells and no odd values
    said = capsys.readouterr().out
    assert f"holds 3 ({int((values == 3).sum())} px), which codes.yaml does not name" in said
    codes.write_text(codes.read_text() + "ignore: 3\n")
    assert main(given) == 0
    assert Counter(name for name, _ in rows(tmp_path / "out")) == {"red": 2, "white": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red: 1\nwhite: 1\n", "stands for two classes"),
        ("red: 1\nwhite: '#ff0000'\n", "values beside colours"),
        ("background: 0\n", "need names"),
        ("red: blue\n", "#rrggbb"),
        ("- red\n", "must be an object"),
    ],
)
def test_broken_codes(tmp_path: Path, capsys, text: str, message: str) -> None:
    write_masks(tmp_path / "masks", draw(tmp_path), "grey")
    (tmp_path / "codes.yaml").write_text(text)
    given = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    more = ["--classes", str(tmp_path / "codes.yaml"), "--out", str(tmp_path / "out")]
    assert main([*given, *more]) == 2
    error = capsys.readouterr().err
    assert message in error and "NAME: VALUE" in error or message == "values beside colours"


def test_colours_are_asked_for_where_values_are_given(tmp_path: Path, capsys) -> None:
    write_masks(tmp_path / "masks", draw(tmp_path), "colours")
    (tmp_path / "codes.yaml").write_text("red: 1\n")
    given = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    main([*given, "--classes", str(tmp_path / "codes.yaml"), "--out", str(tmp_path / "out")])
    assert "is in colour and codes.yaml names values" in capsys.readouterr().out


def test_a_folder_of_masks_a_class(tmp_path: Path) -> None:
    """A platelet on a red cell: the masks overlap, and both stay."""
    values = draw(tmp_path)
    for value, name in NAMES.items():
        folder = tmp_path / "classes" / name
        folder.mkdir(parents=True)
        mask = np.where(values == value, 255, 0).astype(np.uint8)
        if name == "platelet":
            cv2.circle(mask, (30, 90), 5, 255, -1)
        cv2.imwrite(str(folder / "a_mask.png"), mask)
    cv2.imwrite(str(tmp_path / "classes" / "red" / "b.png"), np.zeros_like(values))
    out = tmp_path / "out"
    given = ["--images", str(tmp_path / "images"), "--folders", str(tmp_path / "classes")]
    assert main([*given, "--out", str(out)]) == 0
    assert Counter(name for name, _ in rows(out)) == {"red": 2, "white": 1, "platelet": 2}


def joined(tmp_path: Path, option: str, types: str) -> tuple[list[tuple[str, int]], dict]:
    """Binary masks with types: the cells, and the audit's findings."""
    values = draw(tmp_path)
    cv2.line(values, (45, 0), (45, 60), 0, 2)  # the touching two are cut apart
    (tmp_path / "masks").mkdir()
    for name, mask in (("a", values > 0), ("b", values < 0)):
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask.astype(np.uint8) * 255)
    (tmp_path / "types.json" if types[0] == "[" else tmp_path / "types.csv").write_text(types)
    file = next(tmp_path.glob("types.*"))
    given = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    assert main([*given, option, str(file), "--out", str(tmp_path / "out")]) == 0
    findings = json.loads((tmp_path / "out" / "audit.json").read_text())["findings"]
    return rows(tmp_path / "out"), findings


def bbbc041(*objects: tuple[str, int, int, int, int]) -> str:
    return json.dumps([
        {
            "image": {"pathname": "/images/a.png", "shape": {"r": 128, "c": 140, "channels": 3}},
            "objects": [
                {
                    "category": name,
                    "bounding_box": {"minimum": {"c": x0, "r": y0}, "maximum": {"c": x1, "r": y1}},
                }
                for name, x0, y0, x1, y1 in objects
            ],
        }
    ])  # fmt: skip


def test_typed_boxes_are_joined_to_mask_components(tmp_path: Path, capsys) -> None:
    boxes = bbbc041(
        ("ring", 15, 15, 46, 46),
        ("difficult", 15, 75, 46, 106),
        ("leukocyte", 100, 10, 130, 40),  # where no mask is
        ("leukocyte", 44, 14, 77, 46),
    )
    cells, findings = joined(tmp_path, "--types", boxes)
    named = Counter(name for name, _ in cells)
    assert named == {"ring": 1, "leukocyte": 1, "difficult": 1, "cell": 1}  # no crowd among them
    assert findings["typed_objects_without_a_cell"] == [
        {"file": "a.png", "category": "leukocyte", "box": [100.0, 10.0, 130.0, 40.0]}
    ]
    assert findings["cells_without_a_type"] == [{"file": "a.png", "labels": [4]}]
    said = capsys.readouterr().out
    assert "cells with a type: 3 of 4" in said
    assert "a.png: leukocyte at 100, 10, 130, 40" in said
    assert "1 images without types in" in said


def test_typed_points_are_joined_to_the_cell_they_lie_in(tmp_path: Path) -> None:
    """Two points of one category in a cell agree; of two categories they say nothing."""
    points = "image,x,y,class\na.png,30,30,red\na.png,31,33,red\na.png,60,30,white\n"
    points += "a.png,30,90,red\na.png,33,90,white\na.png,5,120,red\n"
    cells, findings = joined(tmp_path, "--type-points", points)
    assert Counter(name for name, _ in cells) == {"red": 1, "white": 1, "cell": 2}
    assert [o["category"] for o in findings["typed_objects_without_a_cell"]] == [
        "red", "white", "red",
    ]  # fmt: skip


def test_types_of_other_images_are_refused(tmp_path: Path, capsys) -> None:
    values = draw(tmp_path)
    write_masks(tmp_path / "masks", np.minimum(values, 1), "grey")
    (tmp_path / "types.json").write_text(bbbc041(("ring", 1, 1, 9, 9)).replace("a.png", "z.png"))
    given = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    more = ["--types", str(tmp_path / "types.json"), "--out", str(tmp_path / "out")]
    assert main([*given, *more]) == 2
    assert "are of none of the 2 images" in capsys.readouterr().err
