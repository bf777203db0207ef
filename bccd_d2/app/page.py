"""The page's widgets and what happens when they are used; Gradio 6.

Only an upload or another cell diameter asks the server for cells. The threshold and the pixel size
act in the browser (``page.js``), and a download is made when its button is pressed and handed over
in memory.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from bccd_d2.app.correcting import Images, connect, correcting_widgets, free_name, remember
from bccd_d2.app.guard import plain_name
from bccd_d2.app.overlay import empty_html, error_html
from bccd_d2.app.results import (
    KINDS,
    Findings,
    check_diameter,
    check_pixel_size,
    lowest_threshold,
)
from bccd_d2.app.teach import Bench
from bccd_d2.app.upload import Limits
from bccd_d2.app.worker import Finder, Job
from bccd_d2.models.file import file_sha256

LOG = logging.getLogger(__name__)
HERE = Path(__file__).parent
KEPT_SECONDS = 3600  # findings and image of a tab that stays open without use
BUTTONS = {"csv": "Table (CSV)", "geojson": "GeoJSON", "coco": "COCO json", "labels": "Label image"}
STRAY_SECONDS = 600  # age of an upload without content that nobody waits for any more
MEANING = """
<details class="bccd-meaning"><summary>What the numbers mean</summary><dl>
<dt>Score</dt><dd>How sure the model is of a cell, 0 to 1. A higher threshold keeps fewer and surer
cells; the slider starts where the model did best on images it was not trained on.</dd>
<dt>Cell diameter</dt><dd>How large the model takes the cells to be before it looks: estimated from
the image unless you say it. Change it where cells are missed, merged or cut into pieces.</dd>
<dt>Check this image</dt><dd>Shown where the outlines may be wrong, with the reason: stain without
outline, outlines that fit badly, cells of unexpected sizes. Its absence is no guarantee.</dd>
<dt>Interior cells</dt><dd>Cells that do not touch the image's border. Only they are whole, so use
them for sizes and shapes.</dd>
<dt>Density</dt><dd>Cells in a million pixels of image; in a square millimetre once you give the
pixel size.</dd>
<dt>Median diameter</dt><dd>Of interior cells, each as the disc with its area.</dd>
<dt>Circularity</dt><dd>4π area / perimeter²: 1 is a disc, less is longer or rougher.</dd>
<dt>Eccentricity</dt><dd>Of the fitting ellipse: 0 is a disc, near 1 a line.</dd>
<dt>Solidity</dt><dd>Area by that of the convex hull: 1 has no dents. Two cells taken for one have
less.</dd>
<dt>Intensity</dt><dd>Mean brightness of the cell's pixels, 0 to 255.</dd>
<dt>Downloads</dt><dd>Hold the cells above the threshold. Cell 12 here is id 12 in the table, value
12 in the label image, label 12 in COCO json and name 12 in GeoJSON, which QuPath opens.</dd>
</dl></details>"""


def page_options() -> dict[str, Any]:
    """What `gradio.Blocks.launch` needs to dress the page; no font or script of another host."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
    mono = ["ui-monospace", "Consolas", "monospace"]
    theme = gr.themes.Base(
        primary_hue="emerald", secondary_hue="emerald", neutral_hue="slate", font=fonts,
        font_mono=mono,
    )  # fmt: skip
    names = ("page.js", "correct.js")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return {"theme": theme, "css": style, "head": f"<script>{script}</script>"}


def build_page(
    finder: Finder, limits: Limits | None = None, bench: Bench | None = None
) -> gr.Blocks:
    """The page for one model, not yet served.

    Args:
        finder: has the model, and looks at one image at a time.
        limits: of uploads; the defaults of `Limits` when None.
        bench: where corrections go; None = nowhere.
    """
    limits, bench = limits or Limits(), bench or Bench()
    with gr.Blocks(
        title="Cells of a blood smear",
        analytics_enabled=False,
        delete_cache=(60, 120),
        fill_width=True,
    ) as page:
        kept = gr.State(None, time_to_live=KEPT_SECONDS)
        payload = gr.Textbox(visible="hidden")
        gr.HTML(_head(finder.name, bench.folder))
        with gr.Row():
            with gr.Column(scale=1, min_width=280, elem_classes="bccd-side"):
                upload, example, settings = _inputs(finder)
                widgets = correcting_widgets(bench, KEPT_SECONDS)
                diameter, again = _size_inputs(finder)
                buttons = _download_buttons()
            with gr.Column(scale=3, min_width=420):
                view = gr.HTML(empty_html(limits), elem_id="bccd-view")
                gr.HTML(MEANING)
        shown, asked = [kept, view, diameter, *buttons.values()], [*settings, diameter]
        act, listing = partial(_answer_uploads, finder), [widgets.images, widgets.listing]
        quiet: dict[str, Any] = {"api_visibility": "private"}
        upload.upload(act, [upload, *asked, widgets.images], [upload, *shown, *listing],
                      show_progress_on=view, **quiet)  # fmt: skip
        draw = partial(_answer_example, finder)
        drawn = example.click(draw, asked, shown, show_progress_on=view, **quiet)
        drawn.then(remember, [kept, widgets.images], listing, **quiet)
        look = partial(_answer_again, finder)
        for event in (again.click, diameter.submit):
            seen = event(look, [kept, *asked], shown, show_progress_on=view, **quiet)
            seen.then(remember, [kept, widgets.images], listing, **quiet)
        connect(widgets, bench, finder, kept, shown, settings, payload)
        diameter.change(None, diameter, js="(d) => window.bccd.diameter(d)", **quiet)
        for setting in settings:
            setting.change(None, settings, js="(t, p) => window.bccd.apply(t, p)", **quiet)
        for kind, button in buttons.items():
            make, given = partial(_answer_download, kind), [kept, *settings]
            made = button.click(make, given, payload, show_progress="hidden", **quiet)
            made.success(None, payload, js="(text) => window.bccd.download(text)", **quiet)
    return page


def _inputs(finder: Finder) -> tuple[gr.File, gr.Button, list[Any]]:
    """The field for images, the button for an example, and the threshold and pixel size."""
    # With file types, Gradio would refuse a whole drop for one file, and not say which.
    upload = gr.File(label="Images", file_count="multiple", height=150, elem_id="bccd-upload")
    example = gr.Button("Try a drawn example", size="sm", elem_id="bccd-example")
    threshold = gr.Slider(
        lowest_threshold(finder),
        0.99,
        float(finder.score_threshold),
        step=0.01,
        label="Score threshold",
        info="Higher: fewer, surer cells",
        elem_id="bccd-threshold",
    )
    pixel_size = gr.Textbox(
        "",
        label="Pixel size in µm (optional)",
        placeholder="such as 0.1",
        max_lines=1,
        info="For micrometres and cells per mm²",
        elem_id="bccd-pixel",
    )
    return upload, example, [threshold, pixel_size]


def _size_inputs(finder: Finder) -> tuple[gr.Textbox, gr.Button]:
    """The cells' diameter and the button that asks anew; hidden for a model of one size only."""
    sizes = finder.diameter is not None
    diameter = gr.Textbox(
        "",
        label="Cell diameter in px",
        placeholder="estimated",
        max_lines=1,
        info="Empty: estimated from the image. Press Enter to look again",
        elem_id="bccd-diameter",
        visible=sizes,
    )
    return diameter, gr.Button("Look again", size="sm", elem_id="bccd-again", visible=sizes)


def _download_buttons() -> dict[str, gr.Button]:
    """One for each of `KINDS`, grey until there is a result."""
    gr.HTML("<h2>Download what is shown</h2>")
    with gr.Row():
        return {
            kind: gr.Button(
                BUTTONS[kind], size="sm", min_width=110, interactive=False, elem_id=f"bccd-{kind}"
            )
            for kind in KINDS
        }


def _head(name: str, folder: Path | None) -> str:
    kept = "no file is kept, only the images in the list, in memory, for an hour"
    if folder is not None:
        kept = f"what you save goes to {folder}, all else is forgotten after an hour"
    return (
        '<div class="bccd-head"><h1>Cells of a blood smear</h1><p>Outlines, counts and '
        f"measurements by the model “{escape(name)}”. Images stay on this computer; {escape(kept)}."
        "</p></div>"
    )


def _answer_uploads(
    finder: Finder, paths: list[str] | None, threshold: float, pixel_size: str, diameter: str,
    images: Images,
) -> Iterator[list[Any]]:  # fmt: skip
    """What `_answer_upload` gives for one file after the other, and the list of images.

    The last image that could be read stays in view, below why others could not.
    """
    refused, read = "", None
    for path in paths or []:
        answer = _answer_upload(finder, path, threshold, pixel_size, diameter, images)
        refused += answer[2] if answer[1] is None else ""
        read = answer if answer[1] is not None else read
        images, listing = remember(read[1] if read else None, images)
        shown = read or answer
        yield [*shown[:2], refused + (read[2] if read else ""), *shown[3:], images, listing]


def _answer_upload(
    finder: Finder, path: str | None, threshold: float, pixel_size: str, diameter: str,
    images: Images | None = None,
) -> list[Any]:  # fmt: skip
    """What `_answer` gives for an uploaded file, after an empty field for the next one."""
    if not path:
        return [gr.skip()] * (4 + len(KINDS))
    source = file_sha256(path) if Path(path).is_file() else ""
    name = free_name(plain_name(Path(path).name), images or Images(), source)
    try:
        found = _answer(finder, Job(str(path), name, threshold, pixel_size, diameter))
        return [None, found[0] and replace(found[0], source=source), *found[1:]]
    finally:
        _forget(Path(path))


def _answer_example(
    finder: Finder, threshold: float, pixel_size: str, diameter: str
) -> list[Any]:
    return _answer(finder, Job("", "", threshold, pixel_size, diameter))


def _answer_again(
    finder: Finder, kept: Findings | None, threshold: float, pixel_size: str, diameter: str
) -> list[Any]:
    """Another look at the last image, whose findings stay where it fails."""
    if kept is None:
        raise gr.Error("There is no image to look at: drop one. After an hour it is let go.")
    if kept.corrections is not None and kept.corrections.past:
        raise gr.Error("Not looked: your corrections would be lost. Undo them first.")
    try:
        check_diameter(diameter)
    except ValueError as error:
        raise gr.Error(f"Not looked: {error}") from error
    job = Job("", kept.name, threshold, pixel_size, diameter, kept)
    answer = _answer(finder, job)
    return answer if answer[0] is not None else [kept, *answer[1:]]


def _answer(finder: Finder, job: Job) -> list[Any]:
    """Findings, view, diameter and buttons; where it fails no findings and the reason."""
    try:
        findings, view = finder.find(job)
    except Exception as error:  # the page must say it, whatever it is
        if not isinstance(error, (ValueError, RuntimeError)):
            LOG.exception("could not find the cells of an image")
        text = str(error) or type(error).__name__
        return [None, error_html(text), gr.skip(), *[gr.update(interactive=False)] * len(KINDS)]
    px = findings.estimated
    hint = gr.skip() if px is None else gr.update(placeholder=f"{px:.0f}, estimated")
    return [findings, view, hint, *[gr.update(interactive=True)] * len(KINDS)]


def _answer_download(
    kind: str, findings: Findings | None, threshold: float, pixel_size: str
) -> str:
    """The file as JSON with its name, type and base64 content."""
    if findings is None:
        raise gr.Error("The findings were let go after an hour. Drop the image again.")
    try:
        name, content = findings.file(kind, threshold, check_pixel_size(pixel_size))
    except ValueError as error:
        raise gr.Error(f"No file: {error}") from error
    text = base64.b64encode(content).decode("ascii")
    return json.dumps({"name": name, "type": KINDS[kind][1], "base64": text})


def _forget(path: Path) -> None:
    """Delete an upload, and the folder that Gradio made for its content, unless others are in it.

    With it go files without content that uploads leave beside the folder, once they are old: a
    younger one may be another's that has just begun.
    """
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
    for stray in path.parent.parent.glob("tmp*"):
        with contextlib.suppress(OSError):
            state = stray.stat()
            if state.st_size == 0 and time.time() - state.st_mtime > STRAY_SECONDS:
                stray.unlink()
