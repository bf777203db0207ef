"""Folders of synthetic smears in the dataset's own layout, the same whoever draws them."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bccd_d2.io.atomic import write_bytes_atomic, write_json_atomic, write_png_atomic
from bccd_d2.io.label_images import write_label_map
from bccd_d2.io.processes import cores, end_with_parent
from bccd_d2.synth.smear import Smear, check_arguments, draw_smear

MANIFEST = "smears.json"
FORMATS = ("png", "jpg", "mixed")
_DRAWING = 1  # raise when the same seed draws something else, so that old folders are drawn anew


@dataclass(frozen=True)
class _Job:
    root: str
    split: str
    number: int
    seed: int
    size: tuple[int, int]
    image_format: str
    n_cells: int | None

    @property
    def key(self) -> list[int]:
        return [self.seed, {"train": 0, "test": 1}[self.split], self.number]

    def files(self) -> list[str]:
        """Paths under the root: image, mask, label map."""
        rng = np.random.default_rng([*self.key, 7])
        stem = uuid.UUID(bytes=rng.bytes(16), version=4)
        mixed = "jpg" if rng.random() < 0.5 else "png"
        ending = mixed if self.image_format == "mixed" else self.image_format
        return [
            f"{self.split}/original/{stem}.{ending}",
            f"{self.split}/mask/{stem}.png",
            f"{self.split}/labels/{stem}.png",
        ]


def write_dataset(
    root: str | Path,
    *,
    n_train: int,
    n_test: int,
    seed: int,
    size: tuple[int, int] = (1200, 1600),
    image_format: str = "png",
    n_cells: int | None = None,
    workers: int | None = None,
) -> Path:
    """Draw a dataset; an existing one with the same arguments is kept as it is.

    ``ROOT/{train,test}/original/<uuid>.{png,jpg}`` are the images, ``.../mask/<uuid>.png`` RGB
    masks of 0 and 255, ``.../labels/<uuid>.png`` 16-bit label maps of the cells that the mask
    shows: cell by cell its 8-connected components. ``ROOT/smears.json`` records arguments and files
    and is written last. The files depend on the arguments, not on ``workers``, and each smear on
    the seed, its split and its number, not on how many others are drawn.

    Args:
        seed: not negative.
        size: height and width in pixels.
        image_format: "png", "jpg" (quality 92) or "mixed", either by chance.
        n_cells: cells to draw in each image; None varies them, see `draw_smear`.
        workers: processes; None takes one a CPU core available, at most one for four images.

    Returns:
        ``root``.

    Raises:
        ValueError: an argument out of range, or ``root`` holds a dataset drawn with others.
        OSError: ``root`` cannot be written.
    """
    root = Path(root)
    _check_counts(n_train, n_test, seed, image_format)
    size = check_arguments(size, n_cells)
    jobs = [
        _Job(str(root), split, number, seed, size, image_format, n_cells)
        for split, count in (("train", n_train), ("test", n_test))
        for number in range(count)
    ]
    manifest = _manifest(jobs, n_train=n_train, n_test=n_test, seed=seed)
    if _is_complete(root, manifest):
        return root
    _run(jobs, workers)
    write_json_atomic(root / MANIFEST, manifest, indent=1)
    return root


def _check_counts(n_train: int, n_test: int, seed: int, image_format: str) -> None:
    if image_format not in FORMATS:
        raise ValueError(f"image_format must be one of {', '.join(FORMATS)}, got {image_format!r}")
    if n_train < 0 or n_test < 0 or seed < 0:
        raise ValueError(
            f"n_train, n_test and seed must not be negative, got {n_train}, {n_test}, {seed}"
        )


def _manifest(jobs: list[_Job], **counts: int) -> dict:
    settings: dict[str, Any] = {"drawing": _DRAWING, **counts}
    if jobs:
        first = asdict(jobs[0])
        settings |= {name: first[name] for name in ("size", "image_format", "n_cells")}
        settings["size"] = list(settings["size"])
    return {"settings": settings, "files": [name for job in jobs for name in job.files()]}


def _is_complete(root: Path, manifest: dict) -> bool:
    """Whether ``root`` holds this very dataset.

    Raises:
        ValueError: it holds another one.
    """
    path = root / MANIFEST
    if not path.is_file():
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    if found != manifest:
        raise ValueError(
            f"root {root} holds smears drawn with other settings: wanted {manifest['settings']}, "
            f"got {found.get('settings')}; choose another folder or remove this one"
        )
    return all((root / name).is_file() for name in manifest["files"])


def _run(jobs: list[_Job], workers: int | None) -> None:
    if workers is None:
        workers = min(cores(), len(jobs) // 4)
    if workers <= 1:
        for job in jobs:
            _write(job)
        return
    # spawn: a fork of a process that runs OpenMP threads (torch, say) may hang.
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker) as pool:
        for _ in pool.map(_write, jobs, chunksize=2):
            pass


def _begin_worker() -> None:
    cv2.setNumThreads(1)
    end_with_parent()


def _write(job: _Job) -> None:
    smear = draw_smear(job.key, size=job.size, n_cells=job.n_cells)
    image, mask, label_map = (Path(job.root) / name for name in job.files())
    _write_image(image, smear)
    write_png_atomic(mask, np.repeat(smear.mask[..., None], 3, axis=2))
    write_label_map(label_map, smear.annotation)


def _write_image(path: Path, smear: Smear) -> None:
    if path.suffix == ".png":
        write_png_atomic(path, smear.image, compression=1)
        return
    done, buffer = cv2.imencode(".jpg", smear.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise ValueError(f"OpenCV could not encode {smear.image.shape} as JPEG for {path}")
    write_bytes_atomic(path, buffer.tobytes())
