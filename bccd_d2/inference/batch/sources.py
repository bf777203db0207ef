"""Which images a run is about, what is none of its inputs, and names for the results.

Nothing is passed over in silence: what is no image, what an earlier run wrote, and what looks like
a mask of another image is left out and listed; what should be an image and is not becomes a job
with a problem.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bccd_d2.inference.batch.own_files import OwnFolders
from bccd_d2.io.files import is_utf8
from bccd_d2.io.images import SUFFIXES, UNREAD_SUFFIXES, planes
from bccd_d2.io.label_images import image_stem, names_masks, plain_stem
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_pages import Plane


@dataclass(frozen=True)
class Job:
    """One page of one image file.

    Attributes:
        name: of its results, unique in a run and without a suffix.
        path: the file.
        plane: which of the file's images.
        problem: why it cannot be read, found out when the pages were counted; "" when it can.
    """

    name: str
    path: Path
    plane: Plane = Plane()
    problem: str = ""

    @property
    def page(self) -> int:
        """The number of its first page in the file, from 0."""
        return self.plane.page


@dataclass
class Inputs:
    """What files, folders and globs stand for.

    Attributes:
        images: each once, in the order given.
        problems: why an image of these cannot be read, where its name or place says so already.
        left_out: a sentence for each file or kind of file that is no input.
    """

    images: list[Path] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def find_images(inputs: Iterable[str | Path], leave_out: str | Path | None = None) -> Inputs:
    """The image files that files, folders and globs stand for.

    Folders are searched with all below them, links to folders too, by the suffixes of
    `io.images.SUFFIXES`; a file named itself is taken whatever it is called. Left out are hidden
    files, results of earlier runs, and files and folders whose names say that they are masks of
    other files found beside them.

    Args:
        leave_out: the folder of the results; nothing in it is an input.

    Raises:
        FileNotFoundError: something named is not there, or a folder or glob has no image.
    """
    search = _Search(Path(leave_out).resolve() if leave_out is not None else None)
    for given in inputs:
        search.expand(str(given))
        if not search.seen:
            reasons = "; ".join(search.listed()[:3])
            raise FileNotFoundError(
                f"input {printable(given)} has no image ({', '.join(SUFFIXES)})"
                + (f"; left out: {reasons}" if reasons else "")
            )
    if not search.found:
        raise FileNotFoundError("no input: name image files, folders or globs")
    search.inputs.images = list(search.found)
    search.inputs.left_out = search.listed()
    return search.inputs


class _Search:
    """Collects files; each is looked at once."""

    def __init__(self, results: Path | None) -> None:
        self.inputs = Inputs()
        self.found: dict[Path, None] = {}
        self.seen: list[Path] = []  # images of what is being expanded, new or not
        self._results, self._own = results, OwnFolders(results)
        self._folders: set[Path] = set()  # real ones, so that links cannot lead in circles
        self._others: Counter[str] = Counter()

    def listed(self) -> list[str]:
        """What was left out: files by name, kinds of files by number."""
        counted = [f"{number} {kind}" for kind, number in sorted(self._others.items())]
        return [*self.inputs.left_out, *counted]

    def expand(self, given: str) -> None:
        """Take in what a file, a folder or a glob stands for."""
        path, self.seen, self._folders = Path(given), [], set()
        if path.is_file():
            self._take(path)
        elif path.is_dir():
            self._walk(path)
        elif glob.has_magic(given):
            matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]
            self._sort_out([match for match in matches if not match.is_dir()])
            for folder in (match for match in matches if match.is_dir()):
                self._walk(folder)
        else:
            kind = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
            raise FileNotFoundError(f"input {printable(given)} {kind}")

    def _take(self, path: Path) -> None:
        self.seen.append(path)
        if not is_utf8(path):
            self.inputs.problems[path] = "its name is no UTF-8, as results need: rename it"
        self.found.setdefault(path)

    def _leave_out(self, path: Path, reason: str) -> None:
        text = f"{printable(path)}: {reason}"
        if text not in self.inputs.left_out:
            self.inputs.left_out.append(text)

    def _walk(self, folder: Path) -> None:
        real = folder.resolve()
        if real in self._folders:
            self._leave_out(folder, f"is {printable(real)}, which was searched already")
            return
        self._folders.add(real)
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self._leave_out(folder, f"cannot be listed ({error.strerror})")
            return
        files = [path for path in entries if not path.is_dir()]
        taken = iter(self._kept(files))
        current = next(taken, None)
        for path in entries:
            if path == current:
                self._take(path)
                current = next(taken, None)
            elif path.is_dir():
                self._enter(path)

    def _enter(self, folder: Path) -> None:
        if folder.name.startswith("."):
            self._others["hidden files or folders"] += 1
        elif folder.resolve() == self._results:
            self._leave_out(folder, "the folder of these results")
        elif self._own.holds(folder):
            self._leave_out(folder, "results of an earlier run")
        elif (images := _masked_by(folder)) is not None:
            self._leave_out(folder, f"by its name and its files' the masks of {printable(images)}")
        else:
            self._walk(folder)

    def _sort_out(self, files: Sequence[Path]) -> None:
        for path in self._kept(files):
            self._take(path)

    def _kept(self, files: Sequence[Path]) -> Iterator[Path]:
        """Those of the files of a folder that are images, in their order; the rest is noted."""
        stems = {path.stem for path in files if path.suffix.lower() in SUFFIXES}
        stems |= {plain_stem(stem) for stem in stems}
        for path in files:
            suffix, of = path.suffix.lower(), image_stem(path.stem)
            if path.name.startswith("."):
                self._others["hidden files or folders"] += 1
            elif suffix in UNREAD_SUFFIXES:
                self._leave_out(path, "files of this type are not read; save it as PNG or TIFF")
            elif suffix not in SUFFIXES:
                kind = f"{printable(suffix)} files" if suffix else "files without a suffix"
                self._others[kind] += 1
            elif self._own.holds(path.parent):
                self._leave_out(path, "a result of an earlier run")
            elif of and of in stems:
                self._leave_out(path, f"by its name a mask of {printable(of)}")
            elif not path.exists():
                self.inputs.problems[path] = f"a link to {printable(os.readlink(path))}, which " \
                    "does not exist: mend or remove it"  # fmt: skip
                yield path
            else:
                yield path


def _masked_by(folder: Path) -> Path | None:
    """Where the images lie whose masks a folder's files are, by all names; None = it has images."""
    if not names_masks(folder.name):
        return None
    beside = [path for path in sorted(folder.parent.iterdir()) if path.is_dir()]
    stems = _stems(folder.rglob("*"))
    places = [(folder.parent, folder.parent.glob("*"))]
    places += [(path, path.rglob("*")) for path in beside if not names_masks(path.name)]
    return next((path for path, files in places if stems & _stems(files)), None)


def _stems(files: Iterable[Path]) -> set[str]:
    """Of pictures, without what says that they are images or masks."""
    stems = {path.stem for path in files if path.suffix.lower() in SUFFIXES}
    return {image_stem(stem) or plain_stem(stem) for stem in stems}


def plan_jobs(inputs: Inputs) -> list[Job]:
    """One job for every image in every file, with names that tell them apart.

    A name is the file's stem; where that is not enough its folders are put before it, as many as
    it takes, or else its suffix after it. Pages of a file with several are ``NAME.page001``, ...
    Names differ by more than case. A file whose pages cannot be counted is one job with a problem;
    pages that are no images are added to what was left out.
    """
    jobs: list[Job] = []
    taken: set[str] = set()
    for path, name in zip(inputs.images, _names(inputs.images), strict=True):
        found, problem = [Plane()], inputs.problems.get(path, "")
        if not problem:
            try:
                inside = planes(path)
                found = inside.images
                inputs.left_out += [
                    f"{printable(path)}, page {page + 1}: {reason}"
                    for page, reason in inside.left_out.items()
                ]
            except (ValueError, OSError) as error:
                problem = str(error)
        for place, plane in enumerate(found, start=1):
            wanted = f"{name}.page{place:03d}" if len(found) > 1 else name
            jobs.append(Job(_free(printable(wanted), taken), path, plane, problem))
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
