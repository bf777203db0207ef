"""Mutated files: every reader answers or refuses by name, in ten seconds and two gigabytes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("detectron2")

import torch
from safetensors.torch import save_file

from bccd_d2.io.processes import resident_bytes
from bccd_d2.models.file import describe, write_model_file
from bccd_d2.synth.smear import draw_smear

from ..report.conftest import write_small_dataset, write_small_run

HERE = Path(__file__).resolve().parent
SECONDS, MEMORY = 10, 2e9
FAST = {  # reader: mutants in the fast run; ten thousand in all with --runslow
    "images": 60, "windows": 25, "labels": 40, "dataset": 45, "run": 40, "config": 15,
    "weights": 30, "scores": 15, "coco": 40, "boxes": 30, "points": 15, "geojson": 25, "seg": 15,
}  # fmt: skip


def _pictures(root: Path) -> None:
    """Every format that is read, and the kinds of TIFF that decoders differ on."""
    smear = draw_smear(seed=1, size=(96, 120), n_cells=4)
    image, labels = smear.image, smear.annotation.astype(np.uint16)
    for folder in ("images", "windows", "labels"):
        (root / folder).mkdir(parents=True)
    for suffix in (".png", ".jpg", ".bmp", ".webp"):
        Image.fromarray(image).save(root / "images" / f"a{suffix}")
    deep = image.astype(np.uint16) * 257
    plain = {"photometric": "rgb", "metadata": None}
    tifffile.imwrite(root / "images" / "plain.tif", image, **plain)
    tifffile.imwrite(root / "images" / "deep.tif", deep, **plain)
    tifffile.imwrite(root / "images" / "pages.tif", np.stack([image] * 3), photometric="rgb")
    tifffile.imwrite(root / "images" / "ome.ome.tif", np.moveaxis(image, 2, 0),
                     photometric="minisblack", metadata={"axes": "CYX"})  # fmt: skip
    Image.fromarray(image).convert("P").save(root / "images" / "palette.tif")
    Image.fromarray(image).save(root / "images" / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(image).convert("LAB").save(root / "images" / "lab.tif")
    Image.fromarray(image).convert("CMYK").save(root / "images" / "cmyk.tif")
    Image.fromarray(image).save(root / "images" / "jpeg.tif", compression="jpeg")
    packed = {"photometric": "rgb", "compression": "zlib"}
    tifffile.imwrite(root / "images" / "zlib.tif", image, **packed)
    tifffile.imwrite(root / "windows" / "tiles.tif", image, tile=(32, 32), **packed)
    tifffile.imwrite(root / "windows" / "strips.tif", deep, rowsperstrip=16, **packed)
    tifffile.imwrite(root / "labels" / "a.tif", labels)
    tifffile.imwrite(root / "labels" / "b.tif", labels.astype(np.uint32), compression="zlib")
    cv2.imwrite(str(root / "labels" / "a.png"), labels)
    np.save(root / "labels" / "a.npy", labels)


def _weights(root: Path) -> None:
    root.mkdir()
    tensors = {"a": torch.arange(6.0), "b": torch.zeros(2, 3, dtype=torch.int64)}
    torch.save({"model": tensors, "iteration": 3}, root / "a.pth")
    torch.save(tensors, root / "old.bin", _use_new_zipfile_serialization=False)
    save_file(tensors, root / "a.safetensors")
    from bccd_d2.config.load import load_config

    point = {"score_threshold": 0.5, "origin": "x"}
    says = describe("a", load_config("cpu_tiny_flows"), point, {})
    write_model_file(root / "model.safetensors", tensors, says)


def _annotations(root: Path, dataset: Path) -> None:
    for name in ("coco", "boxes", "points", "geojson", "seg", "config", "scores"):
        (root / name).mkdir()
    truth = json.loads((dataset / "annotations" / "instances_test.json").read_text())
    for one, polygon in zip(truth["annotations"], ([[1, 1, 9, 1, 9, 9]], None), strict=False):
        one["segmentation"] = polygon or one["segmentation"]
    (root / "coco" / "instances_train.json").write_text(json.dumps(truth))
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    (root / "boxes" / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>80</width><height>60</height></size>"
        f"<object><name>RBC</name><difficult>0</difficult>{box}</object></annotation>"
    )
    (root / "points" / "points.csv").write_text("image,x,y,class\na.png,22,8,RBC\nb.png,5,2,W\n")
    ring = [[1, 1], [20, 1], [20, 20], [1, 20], [1, 1]]
    cell = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": "RBC"}}}  # fmt: skip
    collection = {"type": "FeatureCollection", "features": [cell, cell]}
    (root / "geojson" / "a.geojson").write_text(json.dumps(collection))
    masks = np.zeros((20, 30), np.uint16)
    masks[2:9, 3:9] = 1
    np.save(root / "seg" / "a_seg.npy", {"masks": masks, "filename": "a.png"})
    (root / "config" / "own.yaml").write_text(
        "_BASE_: cpu_tiny_maskrcnn\nMODEL: {VIT: {DEPTH: 2}}\nSOLVER: {MAX_ITER: 3, STEPS: [1]}\n"
        "INPUT: {IMAGE_SCALE: 0.5}\nOUTPUT_DIR: out\n"
    )
    (root / "scores" / "scores.csv").write_text("image,label,score\na,1,0.5\na,2,0.25\nb,1,1\n")


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """A folder for each reader with files that it reads."""
    root = tmp_path_factory.mktemp("samples")
    _pictures(root)
    dataset = write_small_dataset(root / "dataset" / "squares")
    for kept in ("images", "labels"):
        if (dataset / kept).is_dir():
            (dataset / kept).rename(dataset / f"kept_{kept}")
    write_small_run(root / "run" / "one", write_small_dataset(root / "run" / "squares"))
    for other in (root / "run" / "squares").rglob("*.*"):
        if other.is_file() and other.suffix == ".png":
            other.unlink()
    _weights(root / "weights")
    _annotations(root, dataset)
    per_image = next((root / "run").rglob("per_image.csv"))
    (root / "scores" / "per_image.csv").write_text(per_image.read_text())
    return root


def watch(samples: Path, first: int, count: int, reader: str) -> list[str]:
    """Run mutants in another process; what went wrong, hangs and memory among it."""
    progress = samples / f"kept_progress_{reader}"
    call = [sys.executable, str(HERE / "mutant_runner.py"), str(samples), str(progress),
            str(first), str(count), reader]  # fmt: skip
    wrong = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(call, text=True, **pipes) as runner:
        case, since = "", time.monotonic()
        while runner.poll() is None:
            now = progress.read_text() if progress.is_file() else ""
            if now != case:
                case, since = now, time.monotonic()
            # Before the first case it imports, after the last it ends: neither is a reader's time.
            limit = 120 if case.strip() in ("", "finished") else SECONDS
            if time.monotonic() - since > limit:
                wrong.append(f"hangs: {case.strip()}")
            if resident_bytes(runner.pid) > MEMORY:
                wrong.append(f"swells: {case.strip()}")
            if wrong:
                runner.kill()
                break
            time.sleep(0.05)
        out, err = runner.communicate()
    if runner.returncode and not wrong:
        wrong.append(f"crashed ({runner.returncode}): {case.strip()}: {err[-800:]}")
    return wrong + out.splitlines()


@pytest.mark.parametrize("reader", FAST)
def test_a_few_hundred_mutants(reader: str, samples: Path) -> None:
    assert watch(samples, 0, FAST[reader], reader) == []


@pytest.mark.slow
@pytest.mark.parametrize("reader", FAST)
def test_ten_thousand_mutants(reader: str, samples: Path) -> None:
    count = 10_000 * FAST[reader] // sum(FAST.values()) + 1
    assert watch(samples, 10_000, count, reader) == []


def test_the_readers_read_what_is_not_mutated(samples: Path) -> None:
    """Else every refusal would pass."""
    sys.path.insert(0, str(HERE))
    try:
        import mutant_runner
    finally:
        sys.path.remove(str(HERE))
    for name, read in mutant_runner.READERS.items():
        files = [path for path in (samples / name).rglob("*") if mutant_runner._is_target(path)]
        assert files, name
        for file in files:
            read(file)
