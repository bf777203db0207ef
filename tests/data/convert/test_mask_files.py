"""Masks, label images and coloured masks of one smear: the same cells, or a remedy that works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.data.convert.mask_files import MaskError, MaskOptions, read_mask_file
from bccd_d2.data.convert.run import ConvertOptions, convert
from bccd_d2.data.convert.tool_labels import read_tool_labels
from bccd_d2.export.labels import write_label_tiff
from bccd_d2.io.label_images import compact_labels, read_label_file
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.components import label_cells
from bccd_d2.synth.smear import draw_smear


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """(H, W) int32 of a smear with touching cells: more cells than components."""
    label_map = draw_smear(seed=3, size=(480, 640)).label_map
    assert label_map.max() > label_cells(label_map > 0).label_map.max() > 5
    return label_map


def save(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def shuffled(labels: np.ndarray) -> np.ndarray:
    values = np.random.default_rng(0).permutation(60_000)[: labels.max()] + 1
    return np.concatenate([[0], values])[labels].astype(np.uint16)


def coloured(labels: np.ndarray, ground: int = 0, colours: int = 1000) -> np.ndarray:
    table = np.random.default_rng(0).integers(30, 225, (colours, 3))
    cells = table[np.arange(labels.max()) % colours]
    return np.concatenate([np.full((1, 3), ground), cells]).astype(np.uint8)[labels]


LABELS = {
    "8 bits": (".png", lambda m: m.astype(np.uint8)),
    "16 bits": (".png", lambda m: m.astype(np.uint16)),
    "RGB": (".png", lambda m: np.repeat(m.astype(np.uint8)[..., None], 3, axis=2)),
    "spread": (".png", shuffled),
    "steps of 17": (".png", lambda m: (m * 17).astype(np.uint8)),
    "32 bits": (".tif", lambda m: m.astype(np.uint32) * 70_001),
    "largest": (".tif", lambda m: np.where(m == 1, 2**31 - 1, m).astype(np.int32)),
    "64 bits": (".npy", lambda m: m.astype(np.uint64) * 2**40),
    "float": (".tif", lambda m: m.astype(np.float32)),
    "one layer": (".tif", lambda m: m.astype(np.uint16)[None]),
    "colours": (".png", coloured),
    "colours on white": (".png", lambda m: coloured(m, 255)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_label_images_are_known_as_such(kind, labels, tmp_path):
    suffix, make = LABELS[kind]
    path = save(tmp_path / f"a{suffix}", make(labels))
    found = read_mask_file(path)
    assert found.mask is None and found.label_map.max() == labels.max()
    same = np.unique(np.stack([labels.ravel(), found.label_map.ravel()]), axis=1)
    assert same.shape[1] == labels.max() + 1  # one to one
    if "colours" not in kind:
        np.testing.assert_array_equal(read_tool_labels(path), compact_labels(make(labels).squeeze()
                                      if make(labels).ndim == 2 or kind == "one layer"
                                      else make(labels)[..., 0]))  # fmt: skip


def test_colours_that_come_again_are_cells_by_region(labels, tmp_path):
    found = read_mask_file(save(tmp_path / "a.png", coloured(labels, colours=5)))
    assert found.reading == "colours"
    np.testing.assert_array_equal(found.foreground, labels > 0)


def two(dark: tuple[int, ...], bright: tuple[int, ...]) -> Callable:
    return lambda m: np.array([dark, bright], np.uint8)[(m > 0).astype(int)]


MASKS = {
    "grey": two((0,), (255,)),
    "0 and 1": two((0,), (1,)),
    "two greys": two((40,), (90,)),
    "green": two((0, 0, 0), (0, 255, 0)),
    "red on blue": two((0, 0, 255), (255, 0, 0)),
    "alpha": two((0, 0, 0, 0), (0, 0, 0, 255)),
}


@pytest.mark.parametrize("kind", MASKS)
def test_binary_masks_are_binary(kind, labels, tmp_path):
    array = MASKS[kind](labels)
    array = array[..., 0] if array.shape[2] == 1 else array
    found = read_mask_file(save(tmp_path / "a.png", array))
    np.testing.assert_array_equal(found.mask, labels > 0)


def test_palettes(labels, tmp_path):
    picture = Image.fromarray((labels > 0).astype(np.uint8))
    picture.putpalette([0, 0, 0, 128, 0, 0])
    picture.save(tmp_path / "two.png")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "two.png").mask, labels > 0)
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(tmp_path / "many.png")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "many.png").label_map, labels)


def ignored(labels: np.ndarray) -> np.ndarray:
    mask = (labels > 0).astype(np.uint8)
    mask[:, 300:304] = 255
    return mask


def outlined(labels: np.ndarray) -> np.ndarray:
    mask = (labels > 0).astype(np.uint8)
    edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return np.where(edges, 255, labels).astype(np.uint8)


def soft(labels: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur((labels > 0).astype(np.uint8) * 255, (0, 0), 1.0)


ODD = {  # kind of mask: its pixels, the kind of error, the first option that is named
    "inverted": (lambda m: 255 - MASKS["grey"](m)[..., 0], "inverted mask", "--invert"),
    "red on white": (two((255, 255, 255), (200, 0, 0)), "inverted mask", "--invert"),
    "blue on red": (two((255, 0, 0), (0, 0, 255)), "inverted mask", "--invert"),
    "soft": (soft, "not binary", "--threshold 128"),
    "soft inverted": (lambda m: 255 - soft(m), "not binary", "--threshold 128 --invert"),
    "probabilities": (lambda m: soft(m).astype(np.float32) / 255, "not binary", "--threshold 0.5"),
    "1 and ignored": (ignored, "not binary", "--ignore-value 255"),
    "outlined": (outlined, "label image", "--ignore-value 255"),
    "negative": (lambda m: np.where(m > 0, m, -1), "label image", "--ignore-value -1"),
    "background of 1": (lambda m: (m + 1).astype(np.uint8), "not binary", "--ignore-value 1"),
    "classes": (lambda m: ((m > 0) * (1 + m % 2)).astype(np.uint8), "not binary",
                "--ignore-value 2"),
    "soft colours": (lambda m: cv2.GaussianBlur(two((0, 0, 200), (250, 0, 0))(m), (0, 0), 1),
                     "not binary", "--threshold 128"),
    "white": (lambda m: np.full(m.shape, 255, np.uint8), "all foreground", "--invert"),
}  # fmt: skip


def options_of(text: str) -> list[MaskOptions]:
    """Each remedy that a message names."""
    found = []
    for words in re.findall(r"--(?:[a-z-]+(?: -?[\d.]+\d|\s-?\d)?(?: --invert)?)", text):
        given = {}
        for option, value in re.findall(r"--([a-z-]+)(?: (-?[\d.]*\d|labels|binary))?", words):
            if option == "threshold":
                given["threshold"] = float(value)
            elif option == "ignore-value":
                given["ignore_values"] = (int(value),)
            elif option == "mask-kind":
                given["kind"] = "labels"
            else:
                given["invert"] = option == "invert"
        found.append(MaskOptions(**given))
    return found


@pytest.mark.parametrize("kind", ODD)
def test_every_remedy_that_is_named_works_on_that_very_file(kind, labels, tmp_path):
    make, error, option = ODD[kind]
    array = make(labels)
    path = save(tmp_path / ("a.npy" if array.dtype.kind in "fi" else "a.png"), array)
    with pytest.raises(MaskError) as refused:
        read_mask_file(path)
    assert refused.value.kind == error and str(path) in str(refused.value)
    remedies = options_of(str(refused.value))
    assert option in str(refused.value) and remedies
    for remedy in remedies:
        found = read_mask_file(path, remedy)
        if kind != "white":
            assert found.foreground.any() and not found.foreground.all()
    first = read_mask_file(path, remedies[0]).foreground
    if kind not in ("white", "classes", "outlined", "1 and ignored"):
        overlap = (first & (labels > 0)).sum() / (first | (labels > 0)).sum()
        assert overlap > 0.95


@pytest.mark.parametrize("threshold", [1, 5, 128])
def test_a_threshold_for_a_label_image_is_refused(threshold, labels, tmp_path):
    path = save(tmp_path / "a.png", labels.astype(np.uint8))
    for kind in ("auto", "labels"):
        with pytest.raises(MaskError, match="is a label image.*leave --threshold .* out"):
            read_mask_file(path, MaskOptions(kind=kind, threshold=threshold))
    np.testing.assert_array_equal(read_mask_file(path).label_map, labels)


def test_a_threshold_above_all_values_is_named_not_applied(labels, tmp_path):
    path = save(tmp_path / "a.png", (labels > 0).astype(np.uint8))
    with pytest.raises(MaskError, match="reaches up to 1 only, so --threshold 128 leaves no cell; "
                                        "leave it out"):  # fmt: skip
        read_mask_file(path, MaskOptions(threshold=128))
    np.testing.assert_array_equal(read_mask_file(path).mask, labels > 0)


def test_a_right_mask_given_as_inverted_is_named(labels, tmp_path):
    path = save(tmp_path / "a.png", (labels > 0).astype(np.uint8) * 255)
    with pytest.raises(MaskError, match="leave --invert out"):
        read_mask_file(path, MaskOptions(invert=True))
    assert not read_mask_file(path, MaskOptions(invert=False)).mask.all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_respected_for_masks_and_not_for_labels(dtype, labels, tmp_path):
    white = np.iinfo(dtype).max
    dark_cells = np.where(labels > 0, 0, white).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", dark_cells, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "a.tif").mask, labels > 0)
    tifffile.imwrite(tmp_path / "b.tif", white - dark_cells, photometric="miniswhite")
    with pytest.raises(MaskError, match="--invert"):
        read_mask_file(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", labels.astype(dtype), photometric="miniswhite")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "c.tif").label_map, labels)


def test_crowded_cells_that_grew_together_are_not_taken_for_background(labels, tmp_path):
    crowded = cv2.dilate((labels > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) * 255
    assert (crowded > 0).mean() > 0.5
    assert read_mask_file(save(tmp_path / "a.png", crowded)).mask.sum() == (crowded > 0).sum()


# -- through the converter ------------------------------------------------------------------------


def dataset(tmp_path: Path, maps: list[np.ndarray], write: Callable) -> dict[str, Path]:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir(exist_ok=True)
    for number, label_map in enumerate(maps):
        noise = np.random.default_rng(number).integers(0, 256, (*label_map.shape, 3))
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"images/{number}.png")
        write(tmp_path / "masks", number, label_map)
    return {"images": tmp_path / "images", "masks": tmp_path / "masks"}


def small(labels: np.ndarray) -> list[np.ndarray]:
    """Label maps of many cells, of one with a speck, of one pixel, and of none."""
    one = np.zeros((40, 50), np.int32)
    one[5:20, 5:20] = 1
    one[30, 30:33] = 1
    pixel = np.zeros((40, 50), np.int32)
    pixel[8, 9] = 1
    return [labels, one, pixel, np.zeros((40, 50), np.int32)]


@pytest.mark.parametrize("own", [True, False])
def test_label_images_come_through_without_loss(own, labels, tmp_path):
    def write(folder: Path, number: int, label_map: np.ndarray) -> None:
        write_label_tiff(folder / f"{number}_cp_masks.tif", Cells.from_label_map(label_map))

    maps = small(labels)
    places = dataset(tmp_path, maps, write)
    if own:  # as a prediction leaves them
        (tmp_path / "masks").rename(tmp_path / "labels")
        (tmp_path / "run.json").write_text("{}")
        places["masks"] = tmp_path / "labels"
    options = ConvertOptions(val_fraction=0, workers=1)
    report = convert(None, tmp_path / "out", options, **places)
    assert report.skips == []
    for number, label_map in enumerate(maps):
        written = read_label_file(tmp_path / f"out/labels/train/{number}.png", compact=False)
        np.testing.assert_array_equal(written, label_map)
    # What was converted comes back, too.
    again = convert(None, tmp_path / "again", options, places["images"],
                    tmp_path / "out/labels/train")  # fmt: skip
    assert again.counts == report.counts


def test_a_mask_of_many_pieces_among_label_images_is_named(labels, tmp_path):
    def write(folder: Path, number: int, label_map: np.ndarray) -> None:
        array = (labels > 0).astype(np.uint16) if number == 1 else label_map.astype(np.uint16)
        tifffile.imwrite(folder / f"{number}.tif", array)

    places = dataset(tmp_path, [labels, labels], write)
    options = ConvertOptions(val_fraction=0, workers=1)
    report = convert(None, tmp_path / "out", options, **places)
    (skip,) = report.skips
    assert skip.kind == "label image" and "has one value in" in skip.reason
    fixed = ConvertOptions(val_fraction=0, workers=1, mask_kind="labels")
    assert convert(None, tmp_path / "out", fixed, **places).counts["train"]["images"] == 2


def test_options_for_binary_masks_are_refused_for_labels(labels, tmp_path):
    def write(folder: Path, number: int, label_map: np.ndarray) -> None:
        tifffile.imwrite(folder / f"{number}.tif", label_map.astype(np.uint16))

    places = dataset(tmp_path, [labels], write)
    options = ConvertOptions(val_fraction=0, workers=1, split_clumps=True)
    with pytest.raises(ValueError, match="--split-clumps is for binary masks"):
        convert(None, tmp_path / "out", options, **places)


# -- label images of other tools --------------------------------------------------------------


def test_masks_among_tool_labels_are_refused_by_name_or_taken_as_components(labels, tmp_path):
    path = save(tmp_path / "a.png", (labels > 0).astype(np.uint8) * 255)
    with pytest.raises(ValueError, match="a.png has a single value, in .* --components"):
        read_tool_labels(path)
    np.testing.assert_array_equal(read_tool_labels(path, True), label_cells(labels > 0).label_map)
    with pytest.raises(ValueError, match="b.png has .* values, most of them scattered"):
        read_tool_labels(save(tmp_path / "b.png", soft(labels)))
    with pytest.raises(ValueError, match="c.npy is not one value a cell: save whole numbers"):
        read_tool_labels(save(tmp_path / "c.npy", np.where(labels > 0, labels, -3)))
    with pytest.raises(ValueError, match="d.png.*leave --components out"):
        read_tool_labels(save(tmp_path / "d.png", labels.astype(np.uint8)), components=True)
