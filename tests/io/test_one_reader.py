"""The same file is the same array for every part of the package, or refused by all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from bccd_d2.app.upload import Limits, take_in
from bccd_d2.data.convert.run import ConvertOptions, convert
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions
from bccd_d2.data.stain import fit_reference, measure, pool
from bccd_d2.inference.batch.sources import find_images, plan_jobs
from bccd_d2.io.images import read_image
from bccd_d2.io.tiff_windows import open_image
from bccd_d2.report.dataset.files import read_dataset

SIZE = (60, 80)


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    """Cells of two colours on a bright ground, (H, W, 3) uint8; black and white are in it."""
    picture = np.full((*SIZE, 3), (235, 225, 230), np.uint8)
    for x, y, colour in ((20, 20, (200, 120, 140)), (55, 35, (120, 60, 150)), (30, 45, (0, 0, 0))):
        cv2.circle(picture, (x, y), 11, colour, -1)
    noise = np.random.default_rng(1).integers(-20, 20, picture.shape)
    picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    picture[0, 0], picture[0, 1] = 255, 0
    return picture


def grey_of(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(rgb[..., 1:2], 3, axis=2)


def by_pillow(mode: str, name: str, **options) -> Callable:
    def write(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
        picture = Image.fromarray(rgb).convert(mode)
        picture.save(folder / name, **options)
        return folder / name, np.asarray(picture.convert("RGB"))

    return write


def lossy(mode: str, name: str, **options) -> Callable:
    """The expected pixels are those that Pillow decodes."""

    def write(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
        Image.fromarray(rgb).convert(mode).save(folder / name, **options)
        with Image.open(folder / name) as picture:
            return folder / name, np.asarray(picture.convert("RGB"))

    return write


def tiff(make: Callable = lambda rgb: rgb, want: Callable = lambda rgb: rgb, **options) -> Callable:
    def write(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
        tifffile.imwrite(folder / "a.tif", make(rgb), **{"photometric": "rgb", **options})
        return folder / "a.tif", want(rgb)

    return write


def palette(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    picture = Image.fromarray(rgb).quantize(32)
    picture.save(folder / "a.png")
    return folder / "a.png", np.asarray(picture.convert("RGB"))


def deep_png(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    cv2.imwrite(str(folder / "a.png"), rgb[..., ::-1].astype(np.uint16) * 257)
    return folder / "a.png", rgb


def rotated(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(rgb).copy()).save(folder / "a.jpg", exif=exif, quality=95)
    with Image.open(folder / "a.jpg") as picture:
        return folder / "a.jpg", np.rot90(np.asarray(picture), -1)


def lzw_deep(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    deep = rgb[..., ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(folder / "a.tif"), deep, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    return folder / "a.tif", rgb


def lab(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    picture = ImageCms.profileToProfile(Image.fromarray(rgb), *profiles, outputMode="LAB")
    picture.save(folder / "a.tif")
    want = np.asarray(picture.convert("RGB"))
    assert np.abs(want.astype(int) - rgb).mean() < 3
    return folder / "a.tif", want


def film(kind: str) -> Callable:
    def write(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
        frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
        frames[0].save(folder / f"a.{kind}", save_all=True, append_images=frames[1:])
        return folder / f"a.{kind}", rgb

    return write


def channels_first(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    planes = rgb.transpose(2, 0, 1)
    tifffile.imwrite(folder / "a.ome.tif", planes, photometric="minisblack",
                     metadata={"axes": "CYX"})  # fmt: skip
    return folder / "a.ome.tif", rgb


def wrong_name(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    tifffile.imwrite(folder / "a.tif", rgb, photometric="rgb")
    (folder / "a.tif").rename(folder / "a.png")
    return folder / "a.png", rgb


def pyramid(folder: Path, rgb: np.ndarray) -> tuple[Path, np.ndarray]:
    with tifffile.TiffWriter(folder / "a.tif") as writer:
        large = np.repeat(np.repeat(rgb, 4, axis=0), 4, axis=1)
        for step in (1, 2, 4):
            writer.write(large[::step, ::step], tile=(16, 16), photometric="rgb", metadata=None)
    return folder / "a.tif", large


def deep(factor: int, dtype: type = np.uint16) -> Callable:
    return lambda rgb: rgb.astype(dtype) * dtype(factor)


def scaled(top: float, factor: float) -> Callable:
    """What values times ``factor`` become when ``top`` is white."""
    return lambda rgb: np.rint(rgb * np.float32(factor * 255 / top)).astype(np.uint8)


GREY = {"photometric": "minisblack"}
GOOD = {
    "PNG": by_pillow("RGB", "a.png"),
    "PNG grey": by_pillow("L", "a.png"),
    "PNG RGBA": by_pillow("RGBA", "a.png"),
    "PNG 1 bit": by_pillow("1", "a.png"),
    "PNG palette": palette,
    "PNG 16 bits": deep_png,
    "PNG that is a TIFF": wrong_name,
    "JPEG": lossy("RGB", "a.jpg", quality=90),
    "JPEG grey": lossy("L", "a.JPEG", quality=90),
    "JPEG CMYK": lossy("CMYK", "a.jpg", quality=90),
    "JPEG turned": rotated,
    "BMP": by_pillow("RGB", "a.bmp"),
    "WebP": by_pillow("RGB", "a.webp", lossless=True),
    "TIFF": tiff(),
    "TIFF big-endian": tiff(deep(16), scaled(4095, 16), byteorder=">"),
    "TIFF 12 in 16 bits": tiff(deep(16), scaled(4095, 16)),
    "TIFF 16 bits": tiff(deep(257)),
    "TIFF 12 bits declared": tiff(deep(3), scaled(4095, 3), extratags=[(281, "H", 1, 4095, True)]),
    "TIFF float 0-1": tiff(lambda rgb: rgb.astype(np.float32) / 255),
    "TIFF float 0-255": tiff(lambda rgb: rgb.astype(np.float32)),
    "TIFF tiled zlib": tiff(tile=(16, 16), compression="zlib"),
    "TIFF planar": tiff(lambda rgb: rgb.transpose(2, 0, 1), planarconfig="separate"),
    "TIFF planar 16 zlib": tiff(lambda rgb: deep(257)(rgb).transpose(2, 0, 1),
                                planarconfig="separate", compression="zlib"),
    "TIFF grey": tiff(lambda rgb: rgb[..., 1], grey_of, **GREY),
    "TIFF white is 0": tiff(lambda rgb: rgb[..., 1], lambda rgb: 255 - grey_of(rgb),
                            photometric="miniswhite"),
    "TIFF white is 0, 12 in 16": tiff(lambda rgb: deep(16)(rgb)[..., 1],
                                      lambda rgb: 255 - scaled(4095, 16)(grey_of(rgb)),
                                      photometric="miniswhite"),
    "TIFF LZW": by_pillow("RGB", "a.tif", compression="tiff_lzw"),
    "TIFF LZW 16 bits": lzw_deep,
    "TIFF JPEG": lossy("RGB", "a.tif", compression="jpeg"),
    "TIFF CMYK": by_pillow("CMYK", "a.tif"),
    "TIFF YCbCr": by_pillow("YCbCr", "a.tif"),
    "TIFF LAB": lab,
    "TIFF fax": by_pillow("1", "a.tif", compression="group4"),
    "OME-TIFF CYX": channels_first,
    "ImageJ CYX": tiff(lambda rgb: rgb.transpose(2, 0, 1), imagej=True, photometric="minisblack",
                       metadata={"axes": "CYX"}),
    "pyramid": pyramid,
}  # fmt: skip
PAGES = tiff(lambda rgb: np.stack([rgb, rgb]))
BAD = {
    "animated PNG": (film("png"), "a film of 2 pictures: save each"),
    "animated WebP": (film("webp"), "a film of 2 pictures: save each"),
    "two channels": (tiff(lambda rgb: rgb[..., :2], planarconfig="contig", **GREY), "grey, RGB"),
    "float to 4000": (tiff(lambda rgb: rgb.astype(np.float32) * 16), "--max-value 4095"),
    "float to 1.02": (tiff(lambda rgb: rgb.astype(np.float32) / 250), "neither 0 to 1 nor"),
    "negative": (tiff(lambda rgb: rgb.astype(np.int16) - 5), "must be in 0 to 65535"),
    "three grey pages": (tiff(lambda rgb: rgb.transpose(2, 0, 1), metadata=None, **GREY),
                         "red, green and blue of one image, or three"),
    "fluorescence": (tiff(lambda rgb: rgb.transpose(2, 0, 1)[:2], metadata={"axes": "CYX"}, **GREY),
                     "2 channels, neither grey nor RGB"),
    "complex": (tiff(lambda rgb: rgb[..., 0].astype(np.complex64), **GREY), "are not read"),
}  # fmt: skip


def everyone_reads(path: Path, tmp_path: Path, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What each part of the package sees of an image; the same exceptions where it cannot."""
    masks = tmp_path / "masks"
    masks.mkdir(exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[10:30, 10:30] = 255
    Image.fromarray(mask).save(masks / f"{path.stem}.png")
    out = tmp_path / "out"
    convert(None, out, ConvertOptions(val_fraction=0, workers=1), path.parent, masks)
    content = json.loads((out / "annotations/instances_train.json").read_text())["images"][0]
    assert (content["height"], content["width"]) == size
    record = {
        "file_name": str(path),
        "label_file": str(out / content["label_file"]),
        "image_id": 1,
        "height": size[0],
        "width": size[1],
        "annotations": [],
    }
    whole = MapperOptions(image_scale=1.0)
    testing = LabelMapMapper(whole, is_train=False)
    training = LabelMapMapper(whole, is_train=False, with_instances=True)
    (job,) = plan_jobs(find_images([path]))
    shown = read_dataset(out).images[content["file_name"]]
    seen = {
        "train": training(record)["image"].numpy().transpose(1, 2, 0),
        "evaluate": testing(record)["image"].numpy().transpose(1, 2, 0),
        "predict": open_image(job.path, job.plane)[0],
        "report": shown.read(),
        "page": take_in(path, Limits()).image,
    }
    with_stain = measure(seen["predict"], "reinhard")
    if with_stain is not None:
        assert fit_reference([path], "reinhard") == pool([with_stain])
    return seen


@pytest.mark.parametrize("kind", GOOD)
def test_everyone_sees_the_same_array(kind, rgb, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    path, wanted = GOOD[kind](folder, rgb)
    np.testing.assert_array_equal(read_image(path), wanted)
    for who, seen in everyone_reads(path, tmp_path, wanted.shape[:2]).items():
        np.testing.assert_array_equal(seen, wanted, err_msg=who)


@pytest.mark.parametrize("kind", BAD)
def test_everyone_refuses_for_the_same_reason(kind, rgb, tmp_path):
    write, reason = BAD[kind]
    folder = tmp_path / "images"
    folder.mkdir()
    path, _ = write(folder, rgb)
    with pytest.raises(ValueError, match=reason) as refused:
        read_image(path)
    said = str(refused.value)
    assert str(path) in said
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(rgb[..., 0] // 255 * 255).save(masks / f"{path.stem}.png")
    with pytest.raises(ValueError) as skipped:  # noqa: PT011 - the text is compared
        convert(None, tmp_path / "out", ConvertOptions(val_fraction=0, workers=1), folder, masks)
    assert said in str(skipped.value)
    with pytest.raises(ValueError) as page:  # noqa: PT011
        take_in(path, Limits())
    here = said.replace(str(path), path.name).replace("--max", "bccd predict --max")
    assert str(page.value) == f"the {here}"
    (job,) = plan_jobs(find_images([path]))
    if not job.problem:
        with pytest.raises(ValueError, match=reason) as predicted:
            open_image(job.path, job.plane)
        assert str(predicted.value) == said
    else:
        assert job.problem == said


def test_what_is_white_can_be_said(rgb, tmp_path):
    path, _ = tiff(lambda rgb: rgb.astype(np.float32) * 16)(tmp_path, rgb)
    np.testing.assert_array_equal(read_image(path, max_value=4095), scaled(4095, 16)(rgb))
    dark, _ = tiff(deep(2))(tmp_path, rgb)
    np.testing.assert_array_equal(read_image(dark, max_value=4095), scaled(4095, 2)(rgb))
    with pytest.raises(ValueError, match=r"must be in 0 to 200 \(--max-value\), got 0 to 510"):
        read_image(dark, max_value=200)


def test_a_dataset_records_its_ranges_and_warns_where_they_differ(rgb, tmp_path):
    for name, factor in (("a", 16), ("b", 16), ("dark", 2)):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        path, _ = tiff(deep(factor))(tmp_path, rgb)
        path.rename(tmp_path / "images" / f"{name}.tif")
        mask = np.zeros(SIZE, np.uint8)
        mask[10:30, 10:30] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    places = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    options = {"val_fraction": 0, "workers": 1}
    report = convert(None, tmp_path / "out", ConvertOptions(**options), **places)
    description = json.loads(report.files["dataset"].read_text())
    assert description["value_ranges"] == {"uint16 0 to 4095": 2, "uint16 0 to 1023": 1}
    assert "such as --max-value 4095" in report.text
    images = json.loads(report.files["train"].read_text())["images"]
    assert [image["value_range"]["top"] for image in images] == [4095, 4095, 1023]
    given = ConvertOptions(**options, max_value=4095)
    report = convert(None, tmp_path / "out", given, **places)
    assert "warning" not in report.text
    seen = read_dataset(tmp_path / "out").images["dark.tif"].read()
    np.testing.assert_array_equal(seen, scaled(4095, 2)(rgb))
    from bccd_d2.data.catalog import load_split

    assert {record["max_value"] for record in load_split(tmp_path / "out", "train")} == {4095}


def test_several_images_in_a_file_are_refused_where_one_is_wanted(rgb, tmp_path):
    path, _ = PAGES(tmp_path, rgb)
    (tmp_path / "masks").mkdir()
    Image.fromarray(rgb[..., 0]).save(tmp_path / "masks/a.png")
    with pytest.raises(ValueError, match="several pages.*holds 2 images"):
        convert(None, tmp_path / "out", ConvertOptions(), tmp_path, tmp_path / "masks")
    assert len(plan_jobs(find_images([path]))) == 2
