"""Config files: found by path or by name, read with their bases."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccd_d2.io.packaged import PACKAGE, configs_folder
from bccd_d2.io.records import read_yaml

NO_MODELS = ("_base", "taxonomies")  # folders whose files make no model: no names to call


@dataclass(frozen=True)
class Shipped:
    """YAML files of one kind that come with the package and can be called by name.

    Attributes:
        kind: as messages call it, "config" for instance.
        folder: where they lie, in folders by family.
        shown: the folder, relative to a checkout, under which documents show or showed them. A
            file that has moved since is still found there by its name.
    """

    kind: str
    folder: Path
    shown: str

    def names(self) -> list[str]:
        """Names relative to the folder without the suffix, such as "dense/cpu_best", sorted."""
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*.yaml"))
        models = (file for file in files if file.parts[0] not in NO_MODELS)
        return sorted(file.with_suffix("").as_posix() for file in models)

    def find(self, name_or_path: str | Path) -> Path:
        """The file of that path, or else the shipped file of that name.

        A name is a stem ("cpu_best"), one with its family ("dense/cpu_best"), or a path below the
        folder where documents show or showed it ("configs/cpu_best.yaml"). A path elsewhere names
        that file and no other.

        Raises:
            FileNotFoundError: there is none; the message names the nearest.
            ValueError: several shipped files have that name.
        """
        path = Path(name_or_path).expanduser()
        if path.is_file():
            return path
        name = self._name(path)
        if name is None:
            raise FileNotFoundError(f"{self.kind} file {path} does not exist")
        if (self.folder / f"{name}.yaml").is_file():
            return self.folder / f"{name}.yaml"
        found = [known for known in self.names() if known.split("/")[-1] == name]
        if len(found) == 1:
            return self.folder / f"{found[0]}.yaml"
        if found:
            raise ValueError(f"{self.kind} {path} is ambiguous; name one of {', '.join(found)}")
        raise FileNotFoundError(
            f"{self.kind} {path} does not exist, neither as a file nor in the package; "
            + self._nearest(name)
        )

    def _name(self, path: Path) -> str | None:
        """The name below the folder that a path stands for, without suffix; None for elsewhere."""
        if path.suffix in (".yaml", ".yml"):
            path = path.with_suffix("")
        families = {Path(name).parts[0] for name in self.names() if "/" in name}
        if not path.is_absolute() and (len(path.parts) == 1 or path.parts[0] in families):
            return path.as_posix()
        checkout = configs_folder().parent
        for root in (self.folder, checkout / self.shown, Path(self.shown).absolute()):
            whole = path.resolve()
            if whole.is_relative_to(root.resolve()):
                return whole.relative_to(root.resolve()).as_posix()
        return None

    def _nearest(self, name: str) -> str:
        known = {each.split("/")[-1]: each for each in self.names()}
        stem = name.split("/")[-1]
        near = [each for each in known if stem in each]
        near += difflib.get_close_matches(stem, known, n=3, cutoff=0.6)
        if near:
            return f"did you mean {', '.join(dict.fromkeys(near))}?"
        return f"there are {', '.join(sorted(known))}"


CONFIGS = Shipped("config", configs_folder(), "configs")
SEARCH_SPACES = Shipped("search space", PACKAGE / "experiments" / "spaces", "configs/_search")
TAXONOMIES = Shipped("taxonomy", configs_folder() / "taxonomies", "configs/taxonomies")
SWITCHES = Shipped("switches", PACKAGE / "experiments" / "switches", "configs/ablations")


def find_config(name_or_path: str | Path) -> Path:
    """A config file by path, or a shipped one by name; see `Shipped.find`."""
    return CONFIGS.find(name_or_path)


def read_config(name_or_path: str | Path) -> dict[str, Any]:
    """The keys and values of a config file over those of its ``_BASE_`` (one, or a list of them).

    A base is a path relative to the file that names it, or the name of a shipped config.

    Raises:
        FileNotFoundError: a file or a base does not exist.
        ValueError: a file is no YAML mapping, or its bases lead back to it.
    """
    return _read_with_bases(find_config(name_or_path), ())


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ValueError: it is no YAML, no text, empty, or holds something else.
    """
    content = read_yaml(path, {str: object}, "compare it with a shipped one")
    odd = [key for key in content if not isinstance(key, str)]
    if odd or not content:
        held = f"the key {odd[0]!r}" if odd else "nothing"
        raise ValueError(f"{path} must map keys to values, but it holds {held}")
    return content


def _read_with_bases(path: Path, readers: Sequence[Path]) -> dict[str, Any]:
    whole = path.resolve()
    if whole in readers:
        way = " -> ".join(str(each) for each in [*readers[readers.index(whole) :], whole])
        raise ValueError(f"_BASE_ of {path} leads back to it: {way}")
    content = read_mapping(path)
    bases = content.pop("_BASE_", [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or not base:
            raise ValueError(f"{path}: _BASE_ must name a file, got {base!r}")
        _merge(merged, _read_with_bases(_find_base(path, base), (*readers, whole)), path)
    _merge(merged, content, path)
    return merged


def _find_base(path: Path, base: str) -> Path:
    beside = path.parent / Path(base).expanduser()
    if beside.is_file():
        return beside
    try:
        return find_config(base if len(Path(base).parts) == 1 else beside)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: _BASE_ {base}: {error}") from error


def _merge(below: dict[str, Any], above: dict[str, Any], path: Path) -> None:
    """Put the values of ``above`` over those of ``below``, section by section."""
    for key, value in above.items():
        if isinstance(below.get(key), dict) and isinstance(value, dict):
            _merge(below[key], value, path)
        elif key in below and isinstance(below[key], dict) != isinstance(value, dict):
            raise ValueError(f"{path}: {key} is a section in one file and a value in its base")
        else:
            below[key] = value
