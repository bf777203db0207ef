"""A report as the last step of training or evaluation, which must never spoil what came before."""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

HINT = "no report page: {0} is not installed; pip install {0}, then bccd report {1}"


def report_line(folder: str | Path) -> str:
    """Write the report of a finished run; one line that names the page, or says why there is none.

    "" where there is nothing to say: without an evaluation, and off the first process under
    torchrun. The line is a hint where a library of the core is missing. No exception
    leaves this function: the run itself went well.
    """
    folder = Path(folder)
    first = os.environ.get("RANK", "0") == "0"
    if not first or not (folder / "evaluation" / "metrics.json").is_file():
        return ""
    try:
        from bccd_d2.report.run.page import write_report

        return f"report:   {write_report(folder)[0]}"
    except ModuleNotFoundError as error:
        return HINT.format(error.name, folder)
    except Exception as error:
        logger.exception("no report of %s", folder)
        return f"no report page: {error}. Try again with: bccd report {folder}"
