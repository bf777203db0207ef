"""Which images a run is about, and under which names their results go."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd_d2.io.images import SUFFIXES, page_numbers


@dataclass(frozen=True)
class Job:
    """One page of one image file.

    Attributes:
        name: of its results, unique in a run and without a suffix.
        path: the file.
        page: its number in the file, from 0.
        problem: why it cannot be read, found out when the pages were counted; "" when it can.
    """

    name: str
    path: Path
    page: int = 0
    problem: str = ""


def find_images(inputs: Iterable[str | Path], leave_out: str | Path | None = None) -> list[Path]:
    """The image files that files, folders and globs stand for, each once, in the order given.

    Folders are searched with all below them, hidden files and folders left out, by the suffixes of
    `read.SUFFIXES`; a file named itself is taken whatever it is called.

    Args:
        leave_out: a folder not to search, such as that of the results.

    Raises:
        FileNotFoundError: something named is not there, or a folder or glob has no image.
    """
    found: dict[Path, None] = {}
    hidden = Path(leave_out).resolve() if leave_out is not None else None
    for given in inputs:
        for path in _expand(str(given), hidden):
            found.setdefault(path)
    if not found:
        raise FileNotFoundError("no input: name image files, folders or globs")
    return list(found)


def _expand(given: str, hidden: Path | None) -> list[Path]:
    path = Path(given)
    if path.is_file():
        return [path]
    if path.is_dir():
        images = _images_in(path, hidden)
    elif glob.has_magic(given):
        matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]
        images = [match for match in matches if match.is_file() and _is_image(match)]
        for folder in (match for match in matches if match.is_dir()):
            images += _images_in(folder, hidden)
    else:
        raise FileNotFoundError(f"input {given} does not exist")
    if not images:
        raise FileNotFoundError(f"input {given} has no image ({', '.join(SUFFIXES)})")
    return images


def _images_in(folder: Path, hidden: Path | None) -> list[Path]:
    images = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inner) or not _is_image(path):
            continue
        if hidden is not None and hidden in path.resolve().parents:
            continue
        if path.is_file():
            images.append(path)
    return images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def plan_jobs(paths: Sequence[Path]) -> list[Job]:
    """One job for every page of every file, with names that tell them apart.

    A name is the file's stem; where that is not enough its folders are put before it, as many as
    it takes, or else its suffix after it. Pages of a file with several are ``NAME.page001``, ...
    Names differ by more than case. A file whose pages cannot be counted is one job with a problem.
    """
    jobs: list[Job] = []
    taken: set[str] = set()
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            pages, problem = page_numbers(path), ""
        except (ValueError, OSError) as error:
            pages, problem = [0], str(error)
        for place, page in enumerate(pages, start=1):
            wanted = f"{name}.page{place:03d}" if len(pages) > 1 else name
            jobs.append(Job(_free(wanted, taken), path, page, problem))
    return jobs


def _names(paths: Sequence[Path]) -> list[str]:
    names = [path.stem for path in paths]
    full = [path.resolve() for path in paths]
    deepest = max((len(path.parts) for path in full), default=0)
    for depth in range(1, deepest):
        count = Counter(name.lower() for name in names)
        if max(count.values(), default=0) <= 1:
            return names
        for index, path in enumerate(full):
            folders = path.parts[1:-1]
            if count[names[index].lower()] > 1 and depth <= len(folders):
                names[index] = f"{folders[-depth]}_{names[index]}"
        if count == Counter(name.lower() for name in names):
            break
    # Files of one folder that differ by their suffix alone stay equal however many folders.
    count = Counter(path.with_suffix("").as_posix().lower() for path in full)
    for index, path in enumerate(full):
        if count[path.with_suffix("").as_posix().lower()] > 1:
            names[index] = f"{path.stem}_{path.suffix.lstrip('.')}"
    return names


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name.lower() in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name.lower())
    return name
