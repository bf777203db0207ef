"""The tools above the picture, as HTML; ``correct.js`` makes them work."""

from __future__ import annotations

from html import escape

from bccd_d2.app.results import Corrections, Findings

TOOLS = (  # what, key, label, hint
    ("select", "Esc", "Select", "click cells to select them, click beside them to let go"),
    ("add", "A", "Add", "click the middle of a cell that was missed"),
    ("draw", "F", "Draw", "draw around a cell that was missed"),
    ("box", "B", "Box", "drag a box over a cell that was missed"),
    ("split", "S", "Split", "draw a stroke right across cells that are one outline"),
    ("redraw", "R", "Redraw", "select one cell, then draw around it anew"),
)
ACTS = (
    ("merge", "M", "Merge", "the selected cells are one"),
    ("delete", "D", "Delete", "the selected cells are none"),
    ("undo", "Z", "Undo", "take the last correction back"),
    ("redo", "Y", "Redo", "do it again after all"),
)
TYPES = ("red", "white", "platelet", "ring", "trophozoite", "schizont", "gametocyte")


def toolbar_html(findings: Findings) -> str:
    """Tools, actions, the type to give, and the state of the corrections."""
    kept = findings.corrections
    tools = "".join(
        f'<button type="button" data-tool="{what}" title="{hint} ({key})" '
        f'aria-pressed="false">{label} <kbd>{key}</kbd></button>'
        for what, key, label, hint in TOOLS
    )
    acts = "".join(
        f'<button type="button" data-act="{what}" title="{hint} ({key})"'
        f"{_grey(what, kept)}>{label} <kbd>{key}</kbd></button>"
        for what, key, label, hint in ACTS
    )
    given = dict.fromkeys((*findings.cells.classes.names, *TYPES))
    names = "".join(f'<option value="{escape(name)}"></option>' for name in given if name != "cell")
    state = kept.state if kept else "unchanged"
    return f"""<div class="bccd-tools" role="toolbar" aria-label="Correct the outlines">
<span>{tools}</span><span>{acts}</span>
<span><input list="bccd-names" class="bccd-given" maxlength="40" placeholder="type"
 aria-label="Type for the selected cells"/><datalist id="bccd-names">{names}</datalist>
<button type="button" data-act="retype" title="give the selected cells this type (T)">Set type
<kbd>T</kbd></button></span>
<span class="bccd-state" role="status">{escape(state)}</span></div>"""


def _grey(what: str, kept: Corrections | None) -> str:
    steps = {"undo": kept.past, "redo": kept.future} if kept else {"undo": (), "redo": ()}
    return ' disabled=""' if what in steps and not steps[what] else ""
