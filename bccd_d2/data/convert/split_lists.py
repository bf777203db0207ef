"""Lists of image names by split: VOC's ``ImageSets/Main``, YOLO's ``train.txt``, or one table."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd_d2.data.convert.formats.files import SPLITS, FormatError, files_of, read_text
from bccd_d2.data.convert.pairing import Skip, Sources, relative_posix
from bccd_d2.io.images import SUFFIXES as IMAGE_SUFFIXES

REST = {"train": "val", "val": "train", "test": "train"}  # of images that one list leaves over


@dataclass(frozen=True)
class SplitLists:
    """Which split an image belongs to.

    Attributes:
        path: file or folder that they were read from.
        splits: split by name, without an ending.
        rest: the split of all other images; None where each must be listed.
    """

    path: Path
    splits: Mapping[str, str]
    rest: str | None = None

    def split_of(self, stem: str) -> str | None:
        """The split of an image by its path without an ending, or by the path's last part."""
        return self._listed(stem) or self.rest

    def unknown(self, stems: Sequence[str]) -> list[Skip]:
        """Names on the lists that none of the images, given without endings, has."""
        found = {name for stem in stems for name in _names(stem)}
        return [
            Skip(self.path.as_posix(), "missing image", f"lists {name} ({split}), which has no "
                 f"image with annotations; add it or remove the line")
            for name, split in self.splits.items()
            if not found & set(_names(name))
        ]  # fmt: skip

    def _listed(self, stem: str) -> str | None:
        whole, last = _names(stem)
        return self.splits.get(whole) or self._by_last_part.get(last)

    @functools.cached_property
    def _by_last_part(self) -> dict[str, str | None]:
        """Split by the last part of each listed path; None where lists do not agree on it."""
        found: dict[str, str | None] = {}
        for name, split in self.splits.items():
            last = _names(name)[1]
            found[last] = split if found.get(last, split) == split else None
        return found


def read_split_lists(path: str | Path) -> SplitLists:
    """The lists of a folder, one list, or a table ``name split``.

    A folder holds ``train.txt``, ``val.txt``, ``test.txt``, one name a line (of VOC's lists with a
    second column, names with -1 are not of the class and count all the same); ``trainval.txt`` and
    other files are passed over. A single file of such a name leaves the other images over: to
    training, or for ``train.txt`` to validation. Any other file must give the split after each
    name.

    Raises:
        FileNotFoundError: nothing is there.
        FormatError: a line names no split, or an image stands in two splits.
    """
    path = Path(path)
    lists = {
        file: SPLITS[file.stem.lower()]
        for file in files_of(path, ".txt", ".csv")
        if file.stem.lower() in SPLITS
    }
    found: dict[str, str] = {}
    for file, split in lists.items():
        for line in read_text(file).splitlines():
            _add(found, line.split(",")[0], split, file)
    if path.is_dir():
        if not lists:
            raise FormatError(path, "", "holds no train.txt, val.txt or test.txt", "add them")
        return SplitLists(path, found)
    if lists:
        return SplitLists(path, found, REST[lists[path]])
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, said = _row(line)
        if said is None and number > 1 and name:
            raise FormatError(
                path, f"line {number}", f"names no split: {line[:60]!r}",
                "write 'name train', 'name val' or 'name test', or name the file train.txt",
            )
        if said is not None:
            _add(found, name, said, path)
    return SplitLists(path, found)


def with_split_lists(sources: Sources, path: str | Path) -> Sources:
    """The same images, each in the split that the lists at ``path`` say; others are left out.

    Raises:
        FileNotFoundError, FormatError: see `read_split_lists`.
        ValueError: the lists name none of the images.
    """
    lists = read_split_lists(path)
    pairs, skips, stems = [], list(sources.skips), []
    for pair in sources.pairs:
        name = Path(relative_posix(pair.image, sources.image_root))
        stems.append(name.with_suffix("").as_posix())
        split = lists.split_of(stems[-1])
        if split is None:
            reason = f"none of the lists of {path} names it; add it to one or remove it"
            skips.append(Skip(pair.image.as_posix(), "no split", reason))
        else:
            pairs.append(dataclasses.replace(pair, source=split))
    if sources.pairs and not pairs:
        raise ValueError(f"the lists of {path} name none of the images, such as {stems[0]}")
    return dataclasses.replace(sources, pairs=pairs, skips=skips + lists.unknown(stems))


_LISTS = (".txt", ".csv", ".xml", ".json")


def digest(path: str | Path | None) -> str | None:
    """A hash of the content of a file, or of a folder's text, csv, xml and json; None for None."""
    if path is None:
        return None
    folder = Path(path)
    found = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    files = [file for file in found if file == folder or file.suffix.lower() in _LISTS]
    content = hashlib.sha256()
    for file in files:
        content.update(file.name.encode() + (file.read_bytes() if file.is_file() else b""))
    return content.hexdigest()[:16]


def _row(line: str) -> tuple[str, str | None]:
    for separator in (",", "\t", ";", None):
        fields = line.rsplit(separator, 1) if separator is None or separator in line else []
        if len(fields) == 2:
            return fields[0].strip(), SPLITS.get(fields[1].strip().lower())
    return line.strip(), None


def _add(found: dict[str, str], line: str, split: str, file: Path) -> None:
    name = line.strip()
    if name.endswith((" 1", " -1", " 0")):  # VOC's lists of one class
        name = name.rsplit(None, 1)[0]
    if not name:
        return
    key = _plain(name)
    if found.setdefault(key, split) != split:
        raise FormatError(
            file, "", f"puts {name} into {split}, but it is in {found[key]} too", "keep one"
        )


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")
    ending = next((e for e in IMAGE_SUFFIXES if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def _names(stem: str) -> tuple[str, str]:
    """A path without an ending, and its last part."""
    plain = _plain(stem)
    return plain, plain.rpartition("/")[2]
