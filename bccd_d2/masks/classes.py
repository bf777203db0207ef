"""What the cells of a model or a data set may be: names, where they stand in a tree, colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

CELL = "cell"
UNSURE = "unsure"  # what outputs call a cell whose best probability is too low
UNSURE_COLOUR = (150, 150, 150)
# Far apart for the usual kinds of colour blindness, and from pink and violet stains.
PALETTE = ("#c80000", "#1f77ff", "#ffb000", "#00a05a", "#00c8d2", "#ff6a00", "#7d4bd2", "#8c5a2b",
           "#b4d200", "#ff5fb4", "#005a78", "#5f6e00", "#d28cff", "#3c3c3c")  # fmt: skip


@dataclass(frozen=True)
class Classes:
    """K classes; class id k is ``names[k]``.

    Attributes:
        names: of the classes, each once.
        parents: for each class the names above it, the root first, joined by "/", such as
            "cell/red/infected"; () = none has any.
        colours: of each as "#rrggbb"; () = of `PALETTE`.
        unsure_below: outputs call a cell `UNSURE` whose best probability is below it, in [0, 1].

    Raises:
        ValueError: no names, a name twice or with "/", or parents or colours that do not fit.
    """

    names: tuple[str, ...] = (CELL,)
    parents: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    unsure_below: float = 0.0

    def __post_init__(self) -> None:
        for name in ("names", "parents", "colours"):
            object.__setattr__(self, name, tuple(str(text) for text in getattr(self, name)))
        names = self.names
        if not names or len(set(names)) < len(names) or any(not n or "/" in n for n in names):
            raise ValueError(
                f"classes need names, each once and without a slash, got {', '.join(names)}"
            )
        for field, given in (("parents", self.parents), ("colours", self.colours)):
            if given and len(given) != len(names):
                raise ValueError(f"{len(names)} classes need as many {field}, got {len(given)}")
        for colour in self.colours:
            _rgb(colour)
        if not 0 <= self.unsure_below <= 1:
            raise ValueError(f"unsure_below must lie in [0, 1], got {self.unsure_below}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def typed(self) -> bool:
        """Whether there is more to say of a cell than that it is one."""
        return self.names != (CELL,)

    def index(self, name: str) -> int:
        """The class id of a name.

        Raises:
            KeyError: no such class.
        """
        if name not in self.names:
            raise KeyError(f"no class {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def path(self, class_id: int) -> tuple[str, ...]:
        """The names from the root down to a class, itself included."""
        above = self.parents[class_id].split("/") if self.parents else []
        return (*(name for name in above if name), self.names[class_id])

    def under(self, name: str) -> np.ndarray:
        """(K,) bool: the class is ``name`` or stands below it."""
        return np.array([name in self.path(k) for k in range(len(self))], dtype=bool)

    def colour(self, class_id: int) -> tuple[int, int, int]:
        """Red, green and blue of a class, 0 to 255; grey for -1, a cell that is `UNSURE`."""
        if class_id < 0:
            return UNSURE_COLOUR
        return _rgb(self.colours[class_id]) if self.colours else palette_colour(class_id)

    def shown(self, class_ids: Sequence[int] | np.ndarray, best: np.ndarray | None) -> np.ndarray:
        """(N,) int64: the class ids, -1 where outputs say `UNSURE`.

        Args:
            best: (N,) probability of each cell's class; None = nobody doubts them.
        """
        ids = np.array(class_ids, dtype=np.int64).reshape(-1)
        if best is not None:
            ids[np.asarray(best) < self.unsure_below] = -1
        return ids

    def named(self, class_ids: Iterable[int]) -> list[str]:
        """The names of class ids; `UNSURE` for -1, "class 7" for one that there is not."""
        known = dict(enumerate(self.names)) | {-1: UNSURE}
        return [known.get(int(k), f"class {int(k)}") for k in class_ids]


def palette_colour(place: int) -> tuple[int, int, int]:
    """Red, green and blue of the class at ``place`` in a list without colours of its own."""
    return _rgb(PALETTE[place % len(PALETTE)])


def _rgb(colour: str) -> tuple[int, int, int]:
    digits = colour.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        number = int(digits, 16)
    except ValueError:
        raise ValueError(f"a colour must be written as #rrggbb, got {colour!r}") from None
    return number >> 16, (number >> 8) & 255, number & 255
