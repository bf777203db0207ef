"""Runs readers on mutated files, in a process that the test watches for time and memory.

python mutant_runner.py SAMPLES PROGRESS FIRST COUNT TARGET...

Every case is written to PROGRESS before it begins. What goes wrong is printed, a line each.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutated


def _images(path: Path) -> None:
    from bccd_d2.io import images

    for read in (images.image_size, images.planes, images.read_image):
        read(path)


def _windows(path: Path) -> None:
    from bccd_d2.io.tiff_windows import open_image

    image, _ = open_image(path, large=100)
    np.asarray(image[0:20, 0:30])


def _labels(path: Path) -> None:
    from bccd_d2.io.label_images import read_label_file, read_values

    read_label_file(path)
    if path.suffix != ".npy":
        read_values(path)


def _dataset(path: Path) -> None:
    from bccd_d2.data.anchors import load_boxes
    from bccd_d2.data.catalog import load_split
    from bccd_d2.evaluation.truth import read_truth
    from bccd_d2.io.dataset_file import split_json
    from bccd_d2.report.dataset.files import read_dataset

    folder = path.parent if path.name != "instances_test.json" else path.parents[1]
    for image in read_truth(split_json(folder, "test")).values():
        assert image.cells.areas.sum() >= 0 and image.cells.union() is not None
    load_split(folder, "test")
    load_boxes(folder, "test")
    read_dataset(folder)


def _run(path: Path) -> None:
    from bccd_d2.report.run.files import read_run
    from bccd_d2.report.run.page import glance, metrics, setup
    from bccd_d2.report.run.pictures import cells_of

    folder = next(parent for parent in path.parents if parent.name == "run")
    run = read_run(folder / "one", folder / "squares")
    for part in (glance, setup, metrics):
        part(run)
    for image in run.evaluated.images.values() if run.evaluated else ():
        cells_of(image, "truth"), cells_of(image, "prediction")


def _config(path: Path) -> None:
    from bccd_d2.config.load import finalize, load_config

    finalize(load_config(path))


def _weights(path: Path) -> None:
    from bccd_d2.models.checkpoint import read_checkpoint
    from bccd_d2.models.file import config_of, read_description

    if path.name == "model.safetensors":
        config_of(read_description(path), path)
    read_checkpoint(path)


def _annotations(option: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from bccd_d2.data.convert.formats.detect import read_annotations

        for image in read_annotations(option, path)[0]:
            if getattr(image, "labels", None) is not None:
                image.labels()

    return read


def _scores(path: Path) -> None:
    from bccd_d2.evaluation.entries import read_per_image
    from bccd_d2.io.label_images import read_label_scores

    (read_per_image if path.name == "per_image.csv" else read_label_scores)(path)


FINISHED = "finished"  # in PROGRESS: nothing is read any more
READERS: dict[str, Callable[[Path], None]] = {
    "images": _images,
    "windows": _windows,
    "labels": _labels,
    "dataset": _dataset,
    "run": _run,
    "config": _config,
    "weights": _weights,
    "scores": _scores,
    **{option: _annotations(option) for option in ("coco", "boxes", "points", "geojson", "seg")},
}


def attempt(name: str, file: Path, content: bytes) -> str:
    """What is wrong with how a reader took a mutated file; "" for nothing."""
    file.write_bytes(content)
    try:
        READERS[name](file)
    except (ValueError, OSError, KeyError) as error:
        text = str(error)
        if isinstance(error, KeyError) and " " not in text:
            return f"KeyError {text}"
        near = {file.name, file.stem, file.parent.name, *(p.name for p in file.parents[:2])}
        if not any(part and part in text for part in near):
            return f"names no file: {type(error).__name__}: {text[:200]}"
        if len(text) > 3000 or "\x1b" in text:
            return f"unfit message: {text[:200]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def main(samples: Path, progress: Path, first: int, count: int, targets: list[str]) -> None:
    """Try ``count`` mutants of the files of every target."""
    warnings.simplefilter("ignore")
    with progress.open("w") as told:
        for name in targets:
            root = samples / name
            files = [path for path in sorted(root.rglob("*")) if _is_target(path)]
            originals = {path: path.read_bytes() for path in files}
            READERS[name](files[0])  # imports what is heavy before the clock runs
            for seed in range(first, first + count):
                rng = np.random.default_rng((seed, sum(name.encode())))
                file = files[rng.integers(len(files))]
                is_json = file.suffix in (".json", ".geojson")
                content = mutated(originals[file], rng, is_json)
                told.seek(0)
                told.write(f"{name} {seed} {file.name}".ljust(200) + "\n")
                told.flush()
                wrong = attempt(name, file, content)
                if wrong:
                    report(name, seed, file, content, wrong)
                if file.is_dir():
                    shutil.rmtree(file)
                file.write_bytes(originals[file])
        told.seek(0)
        told.write(FINISHED.ljust(200) + "\n")


def report(name: str, seed: int, file: Path, content: bytes, wrong: str) -> None:
    """Print one failure, and keep the mutant beside the samples."""
    kept: Any = file.parent / f"failed_{name}_{seed}{file.suffix}.bin"
    kept.write_bytes(content)
    said = {"reader": name, "seed": seed, "file": file.name, "wrong": wrong}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _is_target(path: Path) -> bool:
    """Files that are mutated; a name of "kept" stays as it is."""
    return path.is_file() and "kept" not in path.as_posix() and not path.name.endswith(".bin")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
