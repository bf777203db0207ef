"""A dataset of boxes that the tests of types and of habits share."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def boxed_discs(tmp_path):
    """Eight images with red discs, blue discs and small purple dots, which are boxed."""
    import cv2

    random = np.random.default_rng(0)
    images, notes = [], []
    names = ["RBC", "WBC", "Platelets"]
    (tmp_path / "images").mkdir()
    for number in range(8):
        pixels = np.full((160, 200, 3), 230, np.uint8)
        for place in range(9):
            kind = place % 3
            x, y = 30 + 65 * (place % 3) + random.integers(-5, 5), 30 + 50 * (place // 3)
            radius = (14, 20, 5)[kind]
            colour = ((210, 110, 110), (120, 100, 200), (140, 90, 190))[kind]
            cv2.circle(pixels, (int(x), int(y)), radius, colour, -1)
            box = [int(x) - radius, int(y) - radius, 2 * radius + 1, 2 * radius + 1]
            notes.append({"id": len(notes) + 1, "image_id": number + 1, "category_id": kind + 1,
                          "category": names[kind], "bbox": box, "area": box[2] * box[3],
                          "iscrowd": 0})  # fmt: skip
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number + 1, "file_name": f"{number}.png", "height": 160, "width": 200})
    content = {"images": images, "annotations": notes,
               "categories": [{"id": k + 1, "name": n} for k, n in enumerate(names)]}  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps(content))
    description = {"format_version": 1, "image_root": "images", "annotations": "boxes",
                   "complete": True, "splits": {"train": {"json": "train.json"}}}  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    return tmp_path
