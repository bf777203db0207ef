"""The console command ``bccd``: a module here for each of its words.

    bccd predict --images smears/ --out results
    bccd tune otsu --help

Only the module that is asked for is imported, and none imports torch before it has parsed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

GROUPS = {  # what for: word: what it does
    "data": {
        "smears": "draw synthetic blood smears with masks",
        "convert": "images and masks to COCO json and label maps",
        "pseudo": "boxes or points to outlines for training, by a model",
        "types": "what a found cell is, learned from annotated images",
        "explore": "one page about a converted dataset",
        "anchors": "fit anchors to the sizes of its cells",
        "preview augmentations": "draw training samples as the model sees them",
        "preview stain": "draw images before and after stain normalisation",
    },
    "training": {
        "train": "train a model, or evaluate it with --eval-only",
        "finetune": "teach the shipped model a microscope of yours",
        "crossval": "cross-validate a config",
        "ablate": "train with each switch of a list alone",
        "tune search": "search hyper-parameters of training",
        "tune otsu": "tune the baseline without learning",
        "tune dense": "tune how a dense model's maps become cells",
        "tune threshold": "choose a trained model's score threshold anew",
        "tune counts": "measure how a model miscounts, for bccd count",
    },
    "models": {
        "predict": "find the cells in images and write results",
        "count": "the numbers of a sample of many fields, with intervals",
        "app": "a local page to drop images on",
        "export weights": "make a model file of a finished run",
        "export network": "write a dense model as one ONNX file",
        "export int8": "half the time on a CPU: add 8-bit graphs to a model file",
        "parameters": "count parameters of configs and backbones",
        "preview features": "draw what a backbone sees of an image",
    },
    "results": {
        "evaluate": "score predictions in files against a split",
        "report": "one page about a finished run",
        "compare": "benchmark methods on one test split",
        "demo": "cells of a drawn smear on a page, in a minute",
        "walkthrough": "all of it, from nothing to trained and scored cells",
    },
}
WORDS = {word: text for group in GROUPS.values() for word, text in group.items()}
ALIASES = {"cross-validate": "crossval"}


def usage(first: str = "") -> str:
    """What ``bccd --help`` says; with the first of two words only those that begin with it."""
    lines = [f"usage: bccd {first or 'WORD'} ...", ""]
    for title, group in GROUPS.items():
        chosen = [word for word in group if not first or word.split()[0] == first]
        lines += [f"{title}:"] if chosen and not first else []
        lines += [f"  {word:23s}{group[word]}" for word in chosen]
    return "\n".join([*lines, "", "bccd WORD --help names the options."])


def load_main(word: str) -> Callable[[Sequence[str]], int]:
    """The ``main`` function of a word's module."""
    return importlib.import_module(f"bccd_d2.cli.{word.replace(' ', '.')}").main


def split_word(given: Sequence[str]) -> tuple[str, list[str]]:
    """The word, "" where it is none of `WORDS`, and what follows it."""
    named = [ALIASES.get(word, word) for word in given[:1]] + list(given[1:])
    for length in (2, 1):
        word = " ".join(named[:length])
        if word in WORDS:
            return word, named[length:]
    return "", named


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the word's exit code, 2 for a word that does not exist."""
    word, rest = split_word(sys.argv[1:] if argv is None else argv)
    if word:
        return load_main(word)(rest)
    if rest == ["--version"]:
        from bccd_d2 import __version__

        print(__version__)
        return 0
    first = rest[0] if rest and any(word.startswith(rest[0] + " ") for word in WORDS) else ""
    rest = rest[1:] if first else rest
    if rest[:1] in (["-h"], ["--help"]):
        print(usage(first))
        return 0
    if rest:
        print(f"bccd: {_unknown(first, rest[0])}", file=sys.stderr)
    print(usage(first), file=sys.stderr)
    return 2


def _unknown(first: str, word: str) -> str:
    import difflib  # here, as it takes a tenth of the time that --help does

    whole = f"{first} {word}".strip()
    known = {name if first else name.split()[0]: None for name in [*WORDS, *ALIASES]}
    near = difflib.get_close_matches(whole, known, n=1)
    return f"{whole!r} is no command" + (f"; did you mean {near[0]!r}?" if near else "")
