"""The console command ``bccd``: each of its words is a script of ``tools/``, the same code.

    bccd predict --input smears/ --output results
    bccd train --help

The scripts lie beside this file in an installation (as ``bccd_d2/tools``) and beside the package in
a checkout. They are loaded when they are asked for, and only the one that is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

COMMANDS = {  # word: script, what it does
    "convert": ("convert_to_coco", "image and mask folders to COCO json and label maps"),
    "train": ("train_net", "train or evaluate a model"),
    "predict": ("predict", "find the cells in images and write results"),
    "report": ("report", "one HTML page about a finished run"),
    "explore": ("explore", "look at a dataset"),
    "compare": ("compare", "compare methods on one test split"),
    "app": ("app", "a local page to drop images on"),
}


def find_script(name: str) -> Path:
    """The file of a script, in an installation or in a checkout.

    Raises:
        FileNotFoundError: this version has none of that name.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "tools", package.parent / "tools"):
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    raise FileNotFoundError(f"this version of bccd_d2 has no script {name}.py")


def load_main(name: str) -> Callable[[Sequence[str]], int]:
    """The ``main`` function of a script of ``tools/``.

    Raises:
        FileNotFoundError: see `find_script`.
    """
    spec = importlib.util.spec_from_file_location(f"bccd_d2_script_{name}", find_script(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def usage() -> str:
    """What ``bccd --help`` says."""
    lines = [f"  {word:10s}{says}" for word, (_, says) in COMMANDS.items()]
    return "\n".join(["usage: bccd COMMAND ...", "", "commands (each has --help):", *lines])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the script's exit code, 2 for a word that is no command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["-h"], ["--help"]):
        sys.stdout.write(usage() + "\n")
        return 0
    if not words or words[0] not in COMMANDS:
        said = f"bccd: {words[0]!r} is no command\n" if words else ""
        sys.stderr.write(said + usage() + "\n")
        return 2
    try:
        run = load_main(COMMANDS[words[0]][0])
    except FileNotFoundError as error:
        sys.stderr.write(f"bccd {words[0]}: {error}\n")
        return 2
    sys.argv[0] = f"bccd {words[0]}"  # the name in the script's own usage
    return run(words[1:])


if __name__ == "__main__":
    sys.exit(main())
