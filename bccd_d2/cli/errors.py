"""An expected error as one line: the whole message, with the file or the remedy it is about."""

from __future__ import annotations

# What a mistake of the user raises; anything else is a fault of the program, with its traceback.
EXPECTED = (KeyError, ValueError, OSError, ImportError)
EXTRAS = {  # library: the extra of setup.py that brings it
    "gradio": "app",
    "imagecodecs": "tiff",
    "jinja2": "report",
    "matplotlib": "report",
    "optuna": "tune",
    "pandas": "table",
}


def explain(error: BaseException) -> str:
    """The message of an error, never only a number or a quoted key."""
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f"{error.name} is missing: pip install 'bccd_d2[{EXTRAS[error.name]}]'"
    if isinstance(error, OSError) and error.strerror:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return f"{error.strerror}: {' -> '.join(files)}" if files else error.strerror
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() would quote it
    return str(error) or type(error).__name__
