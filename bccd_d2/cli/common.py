"""What the words of ``bccd`` share: one flag for one thing, and one way to run and to fail."""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bccd_d2._detectron2 import hush_detectron2, require_detectron2
from bccd_d2.io.errors import expected, explain
from bccd_d2.io.text import clean_logs

CONFIG_FLAGS = {  # flag: the config key it stands for, what its value is called, help
    "dataset": (
        "DATASETS.ROOT",
        "FOLDER",
        "converted dataset (default: the config's, else BCCD_DATASET)",
    ),
    "out": ("OUTPUT_DIR", "FOLDER", "folder of the run (default: the config's OUTPUT_DIR)"),
    "weights": (
        "MODEL.WEIGHTS",
        "FILE",
        "a .pth or .safetensors file, a run's folder or the name of a shipped model",
    ),
    "device": ("MODEL.DEVICE", "NAME", "cpu, cuda, cuda:1 or auto (default: the config's)"),
}


def make_parser(word: str, doc: str) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring."""
    return argparse.ArgumentParser(
        prog=f"bccd {word}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config(parser: argparse.ArgumentParser, *flags: str, default: str | None = None) -> None:
    """``--config-file``, required without a default, and some of `CONFIG_FLAGS`."""
    text = "a config by path, or a shipped one by name, such as cpu_tiny_flows"
    text += f" (default: {default})" if default else ""
    parser.add_argument(
        "--config-file", required=default is None, default=default, metavar="CONFIG", help=text
    )
    add_config_flags(parser, *flags)


def add_config_flags(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Some of `CONFIG_FLAGS`; `config_options` turns them into keys and values."""
    for flag in flags:
        _, metavar, help_text = CONFIG_FLAGS[flag]
        parser.add_argument(f"--{flag}", metavar=metavar, help=help_text)
    parser.set_defaults(config_flags=flags)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Trailing ``KEY VALUE`` pairs; add them last."""
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change"
    )


def add_out(
    parser: argparse.ArgumentParser, text: str, *old: str, metavar: str = "FOLDER", **how: Any
) -> None:
    """``--out``, and what it was called before; required without a default."""
    how.setdefault("required", "default" not in how)
    parser.add_argument("--out", *old, metavar=metavar, help=text, **how)


def add_dataset(parser: argparse.ArgumentParser, **how: Any) -> None:
    """``--dataset`` for words that read no config."""
    text = "folder that `bccd convert` wrote"
    text += "" if how.get("required") else " (default: BCCD_DATASET, datasets/bccd)"
    parser.add_argument("--dataset", metavar="FOLDER", help=text, **how)


def add_processes(parser: argparse.ArgumentParser, default: int | None, *old: str) -> None:
    """``--processes``, and what it was called before; None stands for all cores."""
    said = "all cores" if default is None else default
    parser.add_argument(
        "--processes",
        *old,
        type=int,
        default=default,
        metavar="N",
        help=f"processes that work at once (default: {said})",
    )


def add_max_images(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    """``--max-images``, how many images to use at most; ``--images`` once."""
    parser.add_argument(
        "--max-images",
        "--images",
        type=int,
        default=default,
        metavar="N",
        dest="max_images",
        help=f"{what}; 0 = all (default {default})",
    )


def add_model(parser: argparse.ArgumentParser, device: str = "auto", **how: Any) -> None:
    """``--weights``, ``--config-file`` and ``--device`` of a finished model."""
    text = "a run's folder, a .pth or .safetensors file (default: the shipped model)"
    how = {"default": "", "metavar": "MODEL", "help": text} | how
    parser.add_argument("--weights", **how)
    parser.add_argument(
        "--config-file", default="", metavar="CONFIG", help="in place of the model's own config"
    )
    said = "a GPU where there is one" if device == "auto" else device
    parser.add_argument(
        "--device", default=device, metavar="NAME", help=f"cpu, cuda, cuda:1 (default: {said})"
    )


def config_options(args: argparse.Namespace) -> list[str]:
    """Config keys and values in turn: those that flags stand for, then the trailing pairs.

    Raises:
        ValueError: a flag among the pairs, or a flag and a pair that contradict each other.
    """
    late = [word for word in args.options[::2] if word.startswith("-")]
    if late:
        raise ValueError(f"{late[0]} must stand before the KEY VALUE pairs")
    pairs = dict(zip(args.options[::2], args.options[1::2], strict=False))
    given = []
    for flag in args.config_flags:
        value, key = getattr(args, flag), CONFIG_FLAGS[flag][0]
        if value is None:
            continue
        if pairs.get(key, value) != value:
            raise ValueError(f"--{flag} {value} contradicts {key} {pairs[key]}: leave one out")
        given += [key, str(value)]
    return [*given, *args.options]


def configured(args: argparse.Namespace) -> Any:
    """The config that the flags of `add_config` and the trailing pairs describe, not yet frozen."""
    from bccd_d2.config.load import load_config
    from bccd_d2.models.load import meant_weights

    config = load_config(args.config_file, config_options(args))
    config.MODEL.WEIGHTS = meant_weights(config, config.MODEL.WEIGHTS)
    return config


@contextlib.contextmanager
def writing(folder: Path | None, what: str) -> Iterator[None]:
    """Find out before the work that a folder can be written; None = one of the work's own.

    Raises:
        OSError: it cannot, or another process writes there.
    """
    if folder is None:
        yield
        return
    from bccd_d2.io.lock import hold_folder

    with hold_folder(folder, what):
        yield


def show_logs(level: int = logging.WARNING) -> None:
    """Let the terminal show what is logged, of the scorer of COCO warnings alone."""
    logging.basicConfig(level=level, format="%(message)s")
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)


class Main(Protocol):
    """What runs a word of ``bccd``."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


def command(
    get_parser: Callable[[], argparse.ArgumentParser], detectron2: bool = True
) -> Callable[[Callable[[argparse.Namespace], int | None]], Main]:
    """A decorator that makes the work of a word its ``main``, which `run` parses for and runs."""

    def made(work: Callable[[argparse.Namespace], int | None]) -> Main:
        @functools.wraps(work)
        def main(argv: Sequence[str] | None = None) -> int:
            return run(get_parser(), work, argv, detectron2)

        return main

    return made


def run(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None,
    detectron2: bool = True,
) -> int:
    """Parse and do the work: its exit code, 2 for what cannot work, 130 when stopped by Ctrl-C.

    A reader that goes away, as in ``bccd ... | head``, ends it silently.

    Args:
        work: imports what is heavy itself, so that ``--help`` answers at once; None counts as 0.
        detectron2: the work needs it.
    """
    args = parser.parse_args(argv)
    clean_logs()
    for stream in (sys.stdout, sys.stderr):  # a name that is no UTF-8 must not end a command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        hush_detectron2()  # a model may need it, whatever the word
        if detectron2:
            require_detectron2()
        return work(args) or 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if not expected(error):
            raise
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
