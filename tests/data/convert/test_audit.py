"""Audit figures by hand; duplicates that are, and images that only look alike."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bccd_d2.data.convert.audit import percentiles, summarise
from bccd_d2.data.convert.hashing import groups_of_copies, near_duplicates, perceptual_hash
from bccd_d2.data.convert.run import ConvertOptions, convert

SIZE = (120, 160)


def picture(seed: int) -> np.ndarray:
    """A smooth random RGB image: unlike any other seed's."""
    noise = np.random.default_rng(seed).random((*SIZE, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (smooth * 255).astype(np.uint8)


def put(root: Path, split: str, stem: str, image: np.ndarray, mask: np.ndarray) -> None:
    for kind, array in (("original", image), ("mask", mask)):
        folder = root / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / f"{stem}.png")


def squares(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """RGB mask with white rectangles x0 y0 x1 y1."""
    mask = np.zeros((*SIZE, 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = 255
    return mask


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A dataset with one of each oddity, converted without validation."""
    root = tmp_path_factory.mktemp("audit") / "root"
    holed = squares((10, 10, 30, 30), (60, 40, 80, 60), (150, 100, 160, 120))
    holed[15:18, 15:18] = 0
    holed[90, 20:25] = 255
    put(root, "train", "a", picture(1), holed)
    put(root, "train", "b", picture(2), squares())
    put(root, "train", "c", picture(3), np.full((*SIZE, 3), 255, np.uint8))
    clump = squares(*[(5 + 25 * i, 5, 25 + 25 * i, 25) for i in range(6)], (10, 50, 60, 110))
    put(root, "train", "d", picture(4), clump)
    brighter = np.clip(picture(1).astype(int) + 12, 0, 255).astype(np.uint8)
    put(root, "test", "e", brighter, squares((10, 10, 30, 30)))
    out = root.parent / "out"
    convert(root, out, ConvertOptions(val_fraction=0, workers=1, invert=False))
    return out, json.loads((out / "audit.json").read_text())


def test_rows_hold_what_was_drawn(audited: tuple[Path, dict]) -> None:
    rows = {Path(row["file"]).stem: row for row in audited[1]["images"]}
    row = rows["a"]
    assert (row["width"], row["height"], row["split"], row["cells"]) == (160, 120, "train", 3)
    assert (row["specks"], row["speck_pixels"], row["holes"], row["hole_pixels"]) == (1, 5, 1, 9)
    assert row["border_cells"] == 1
    pixels = 400 - 9 + 400 + 200
    assert row["covered_percent"] == pytest.approx(100 * pixels / (120 * 160), abs=1e-3)
    assert row["mask_percent"] == pytest.approx(100 * (pixels + 5) / (120 * 160), abs=1e-3)
    sampled = picture(1)[::4, ::4].reshape(-1, 3)
    np.testing.assert_allclose(row["mean_rgb"], sampled.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(row["std_rgb"], sampled.std(axis=0), atol=1e-3)
    assert (row["grey_values"], row["mask_mode"]) == (2, "RGB")


def test_findings_name_each_oddity(audited: tuple[Path, dict]) -> None:
    findings = audited[1]["findings"]
    assert findings["images_without_cells"] == ["train/original/b.png"]
    assert findings["masks_of_one_cell_over_everything"] == ["train/original/c.png"]
    assert findings["suspected_clumps"] == [{"file": "train/original/d.png", "labels": [7]}]
    (twins,) = findings["near_duplicates"]
    assert twins["files"] == ["train/original/a.png", "test/original/e.png"]
    assert twins["across_splits"] is True
    assert findings["skipped"] == []


def test_summary_adds_up(audited: tuple[Path, dict]) -> None:
    summary = audited[1]["summary"]
    assert set(summary) == {"all", "train", "test"}
    assert summary["all"]["cells"] == 3 + 0 + 1 + 7 + 1
    assert summary["train"]["images"] == 4
    assert summary["train"]["max_cells"] == 7
    assert summary["train"]["cells_per_image"]["min"] == 0
    assert summary["test"]["cell_area"]["50"] == 400
    assert summary["test"]["cell_width"]["50"] == summary["test"]["cell_height"]["50"] == 20
    assert summary["train"]["image_sizes"] == {"160x120": 4}


def test_text_says_the_same(audited: tuple[Path, dict]) -> None:
    text = (audited[0] / "audit.txt").read_text()
    assert "different splits (leakage): 1" in text
    assert "train/original/a.png (train) ~ test/original/e.png (test)" in text
    assert "images without cells: 1\n  train/original/b.png" in text
    assert "skipped: none" in text


def test_hash_survives_compression_and_size_but_tells_images_apart() -> None:
    image = picture(5)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])
    changed = [
        cv2.imdecode(jpeg, cv2.IMREAD_COLOR),
        cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        np.clip(image * 1.1 + 4, 0, 255).astype(np.uint8),
    ]
    others = [picture(seed) for seed in range(6, 12)]
    hashes = np.array([perceptual_hash(i) for i in [image, *changed, *others]])
    found = {pair[:2] for pair in near_duplicates(hashes)}
    assert found == {(a, b) for a in range(4) for b in range(a + 1, 4)}


def test_duplicates_do_not_depend_on_the_block_size() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (50, 32)).astype(np.uint8)
    hashes[40], hashes[41] = hashes[3], hashes[3]
    hashes[41, 0] ^= 3
    whole = near_duplicates(hashes)
    assert whole == [(3, 40, 0), (3, 41, 2), (40, 41, 2)]
    assert near_duplicates(hashes, block=7) == whole
    assert near_duplicates(hashes[:0]) == []
    group = groups_of_copies(hashes)
    assert group[3] == group[40] == group[41] == 3 and group.max() == 47
    assert sorted(set(group.tolist())) == list(range(48)) and groups_of_copies(hashes[:0]).size == 0


def _with_copies(root: Path, pictures: int, copies: int) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 20:40] = 255
    for seed in range(pictures):
        for copy in range(copies):
            put(root, "train", f"s{seed}_{copy}", picture(seed), mask)


def test_drawn_splits_and_folds_keep_copies_of_an_image_together(tmp_path: Path) -> None:
    _with_copies(tmp_path / "root", pictures=6, copies=3)
    options = ConvertOptions(workers=1, val_fraction=0.3, test_fraction=0.2, folds=3)
    report = convert(tmp_path / "root", tmp_path / "out", options)
    assert {report.counts[s]["images"] % 3 for s in ("train", "val", "test")} == {0}
    assert [report.counts[f"fold{k}_val"]["images"] for k in range(3)].count(0) == 0
    found = report.audit["findings"]["near_duplicates"]
    assert len(found) == 18 and not any(pair["across_splits"] for pair in found)
    for fold in range(3):
        images = json.loads(report.files[f"fold{fold}_val"].read_text())["images"]
        seeds = [image["file_name"].split("/")[-1].split("_")[0] for image in images]
        assert all(seeds.count(seed) == 3 for seed in seeds)


def test_where_all_are_copies_each_is_drawn_and_the_audit_says_so(tmp_path: Path) -> None:
    _with_copies(tmp_path / "root", pictures=1, copies=4)
    report = convert(tmp_path / "root", tmp_path / "out", ConvertOptions(workers=1))
    assert {report.counts[split]["images"] for split in ("train", "val")} == {1, 3}
    assert any(pair["across_splits"] for pair in report.audit["findings"]["near_duplicates"])


def test_empty_group_has_zeros_not_nan() -> None:
    summary = summarise([])
    assert json.loads(json.dumps(summary, allow_nan=False))["cells"] == 0
    assert percentiles(np.zeros(0)) == {}
