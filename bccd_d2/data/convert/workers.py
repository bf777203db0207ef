"""Many images at once: a bounded number of tasks in worker processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import cv2
from tqdm import tqdm

from bccd_d2.data.convert.annotated import convert_annotated
from bccd_d2.data.convert.annotated_pairs import AnnotatedPair
from bccd_d2.data.convert.image import LabelOptions, convert_pair
from bccd_d2.data.convert.pairing import Pair, Skip
from bccd_d2.data.convert.record import ImageRecord
from bccd_d2.io.processes import cores, end_with_parent


def convert_pairs(
    pairs: Sequence[Pair],
    options: LabelOptions,
    folder: Path,
    workers: int | None = None,
    progress: bool = False,
) -> tuple[list[ImageRecord], list[Skip]]:
    """Records in the order of the pairs, and what was skipped.

    Args:
        pairs: images with their masks.
        options: how masks become annotations.
        folder: where label PNGs and annotations are written.
        workers: processes; None = one a core. Fewer than eight pairs stay in this process.
        progress: show a progress bar where the terminal can.

    Raises:
        OSError: ``folder`` cannot be written, or a worker was killed.
    """
    results: dict[int, ImageRecord | Skip] = {}
    bar = tqdm(
        total=len(pairs), unit="image", desc="converting", disable=None if progress else True
    )
    with bar:
        for index, result in _each(pairs, options, folder, workers):
            results[index] = result
            bar.update()
    ordered = [results[index] for index in range(len(pairs))]
    records = [result for result in ordered if isinstance(result, ImageRecord)]
    return records, [result for result in ordered if isinstance(result, Skip)]


def _each(
    pairs: Sequence[Pair], options: LabelOptions, folder: Path, workers: int | None
) -> Iterator[tuple[int, ImageRecord | Skip]]:
    """Results as they come; no more than four tasks a worker are under way at a time."""
    workers = min(workers or cores(), max(len(pairs) // 4, 1))
    if workers == 1:
        for index, pair in enumerate(pairs):
            yield index, _convert(pair, options, folder)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker)
    waiting: dict[Future, int] = {}
    try:
        for index, pair in enumerate(pairs):
            waiting[pool.submit(_convert, pair, options, folder)] = index
            if len(waiting) >= 4 * workers:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    except BrokenProcessPool as error:
        raise OSError("a worker process was killed (out of memory?); try --workers 1") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _convert(pair: Pair, options: LabelOptions, folder: Path) -> ImageRecord | Skip:
    if isinstance(pair, AnnotatedPair):
        return convert_annotated(pair, options, folder)
    return convert_pair(pair, options, folder)


def _finished(waiting: dict[Future, int]) -> list[tuple[int, ImageRecord | Skip]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    return [(waiting.pop(future), future.result()) for future in done]


def _begin_worker() -> None:
    cv2.setNumThreads(1)
    end_with_parent()
