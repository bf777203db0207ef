"""The page's list of images, its corrections and its lessons: widgets and what happens to them."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from bccd_d2.app.corrections import Store, correct
from bccd_d2.app.overlay import picture_uri, result_html
from bccd_d2.app.results import KINDS, Findings, check_pixel_size
from bccd_d2.app.sample import count_images, sample_html
from bccd_d2.app.teach import Bench, Progress, Teacher, next_field
from bccd_d2.app.worker import Finder, Job
from bccd_d2.report.draw import draw_outlines
from bccd_d2.report.page import render_html
from bccd_d2.slide.page import make_page

LOG = logging.getLogger(__name__)
MOST = 24  # images in the list; the oldest that nobody corrected goes first
MOST_BYTES = 256_000_000  # of their pictures
LONGEST_ACTION = 1_000_000  # letters of what a browser may send
QUIET: dict[str, Any] = {"api_visibility": "private"}


class Images(dict[str, Findings]):
    """The images that are kept, by name; ``let_go`` more had to make room for them."""

    let_go = 0


@dataclass(frozen=True)
class Widgets:
    """What the page has for it, made in its place.

    Attributes:
        images: every image that is kept, by name.
        listing: their names and states.
        edit, patch: an action from the browser, and the answer to it.
        count: makes one sample of the images.
        save, minutes, teach: there is nothing to see of them without a folder.
        lesson: what came of counting or teaching.
    """

    images: gr.State
    listing: gr.Radio
    count: gr.Button
    edit: gr.Textbox
    patch: gr.Textbox
    save: gr.Button
    minutes: gr.Number
    teach: gr.Button
    lesson: gr.HTML


def correcting_widgets(bench: Bench, seconds: int) -> Widgets:
    """The widgets, in the column that is open.

    Args:
        seconds: that images of an idle tab are kept.
    """
    can = bench.folder is not None
    listing = gr.Radio([], label="Images", visible=False, elem_id="bccd-images")
    count = gr.Button("Count as one sample", size="sm", visible=False, elem_id="bccd-count")
    with gr.Row(visible=can):
        save = gr.Button("Save corrections", size="sm", elem_id="bccd-save", visible=can)
        teach = gr.Button("Teach", size="sm", elem_id="bccd-teach",
                          visible=can and bench.teacher is not None)  # fmt: skip
    minutes = gr.Number(5, label="Minutes of training", minimum=0.1, maximum=600,
                        elem_id="bccd-minutes",
                        visible=can and bench.teacher is not None)  # fmt: skip
    lesson = gr.HTML("", elem_id="bccd-lesson")
    hidden: dict[str, Any] = {"visible": "hidden"}
    return Widgets(
        gr.State(Images(), time_to_live=seconds), listing, count,
        gr.Textbox(elem_id="bccd-edit", **hidden), gr.Textbox(elem_id="bccd-patch", **hidden),
        save, minutes, teach, lesson,
    )  # fmt: skip


def connect(
    widgets: Widgets, bench: Bench, finder: Finder, kept: gr.State, shown: list[Any],
    settings: list[Any], payload: gr.Textbox,
) -> None:  # fmt: skip
    """Have the widgets act.

    Args:
        payload: takes a file for the browser.
        kept: the findings in view.
        shown: what an image changes, ``kept`` and the view first.
        settings: threshold and pixel size.
    """
    told = [kept, widgets.images, widgets.listing, widgets.patch]
    patch: dict[str, Any] = {"js": "(text) => window.bccdCorrect.patch(text)", **QUIET}
    edited = widgets.edit.change(
        answer_edit, [widgets.edit, kept, widgets.images, *settings], told,
        show_progress="hidden", **QUIET,
    )  # fmt: skip
    edited.then(None, widgets.patch, **patch)
    choose = [widgets.listing, widgets.images, *settings]
    widgets.listing.input(answer_choice, choose, shown, show_progress="hidden", **QUIET)
    counted = widgets.count.click(
        partial(answer_count, finder), [widgets.images, *settings], [widgets.lesson, payload],
        show_progress_on=widgets.lesson, **QUIET,
    )  # fmt: skip
    counted.success(None, payload, js="(text) => window.bccd.download(text)", **QUIET)
    widgets.listing.change(_countable, widgets.images, widgets.count, **QUIET)
    if bench.folder is None:
        return
    store = Store(bench.folder)
    save = partial(answer_save, store, finder)
    saved = widgets.save.click(save, [kept, widgets.images, *settings], told, **QUIET)
    saved.then(None, widgets.patch, **patch)
    if bench.teacher is not None:
        teach = partial(answer_lesson, bench.folder, bench.teacher, finder)
        widgets.teach.click(
            teach, [widgets.minutes, widgets.images, *settings],
            [widgets.lesson, widgets.images, widgets.listing, *shown],
            show_progress="hidden", **QUIET,
        )  # fmt: skip


def remember(findings: Findings | None, images: Images) -> list[Any]:
    """The images with this one among them, and the list that shows them."""
    if findings is None:
        return [images, listed(images, "")]
    let_go = images.let_go
    images = Images({name: one for name, one in images.items() if name != findings.name})
    images[findings.name], images.let_go = findings, let_go
    spare = [name for name, one in images.items() if one.corrections is None]
    for name in spare[:-1] if spare[-1:] == [findings.name] else spare:
        held = sum(len(one.picture) for one in images.values())
        if len(images) > MOST or held > MOST_BYTES:
            del images[name]
            images.let_go += 1
    return [images, listed(images, findings.name)]


def listed(images: Images, current: str) -> Any:
    """The list: every image with its state; hidden where there is one alone."""
    rows = [(f"{name} · {_state(one)}", name) for name, one in sorted(images.items())]
    label = f"Images ({images.let_go} let go: {MOST} fit)" if images.let_go else "Images"
    return gr.update(choices=rows, value=current or None, visible=len(rows) > 1, label=label)


def _countable(images: Images) -> Any:
    return gr.update(visible=len(images) > 1)


def answer_count(
    finder: Finder, images: Images, threshold: float, pixel_size: str
) -> list[str]:
    """The images as one sample: its numbers, and its report as a download."""
    if not images:
        raise gr.Error("There is no image to count: drop some.")
    model = (finder.name, finder.digest)
    counted = count_images(images, threshold, model, _typed(pixel_size), finder.score_threshold)
    if images.let_go:
        left = (f"{images.let_go} more images were dropped than the page keeps ({MOST}), and are "
                "not in these numbers: bccd count takes any number")  # fmt: skip
        counted = replace(counted, warnings=[left, *counted.warnings])
    report = base64.b64encode(render_html(make_page(counted)).encode()).decode("ascii")
    file = {"name": "sample_report.html", "type": "text/html", "base64": report}
    return [sample_html(counted), json.dumps(file)]


def _state(one: Findings) -> str:
    return one.corrections.state if one.corrections else "unchanged"


def free_name(name: str, images: Images, source: str = "") -> str:
    """The name, or another where that of an image that would be lost: corrected, or another one.

    Args:
        source: SHA-256 of the file.
    """
    wanted, number = Path(name), 2
    while name in images and (images[name].corrections or images[name].source != source):
        name, number = f"{wanted.stem}_{number}{wanted.suffix}", number + 1
    return name


def shown_again(findings: Findings, threshold: float, pixel_size: str) -> list[Any]:
    """What `page._answer` gives, for findings that are known."""
    size = _typed(pixel_size)
    view = result_html(findings, findings.image(), threshold, size)
    return [findings, view, gr.skip(), *[gr.update(interactive=True)] * len(KINDS)]


def _typed(pixel_size: str) -> float | None:
    try:
        return check_pixel_size(pixel_size)
    except ValueError:
        return None


def answer_choice(name: str, images: Images, threshold: float, pixel_size: str) -> list[Any]:
    """Another image of the list."""
    if name not in images:
        raise gr.Error("This image was let go after an hour. Drop it again.")
    return shown_again(images[name], threshold, pixel_size)


def answer_edit(
    text: str, findings: Findings | None, images: Images, threshold: float, pixel_size: str
) -> list[Any]:
    """An action of the browser: findings, list and what changes in the picture, or why not."""
    try:
        if findings is None:
            raise ValueError("the image was let go after an hour: drop it again")
        if len(text) > LONGEST_ACTION:
            raise ValueError("that is too long a line: draw it in fewer points")
        action = json.loads(text)
        if not isinstance(action, dict):
            raise ValueError("an action must be an object")
        action.pop("time", None)
        findings = correct(findings, action, threshold)
    except ValueError as error:
        return [gr.skip(), gr.skip(), gr.skip(), json.dumps({"error": str(error)})]
    except Exception as error:  # the page must hear of it, or it waits for ever
        LOG.exception("could not correct an image")
        return [gr.skip(), gr.skip(), gr.skip(), json.dumps({"error": f"not done: {error}"})]
    return _told(findings, images, threshold, pixel_size)


def _told(findings: Findings, images: Images, threshold: float, pixel_size: str) -> list[Any]:
    html = result_html(findings, None, threshold, _typed(pixel_size))
    return [findings, *remember(findings, images), json.dumps({"html": html, "error": ""})]


def answer_save(
    store: Store, finder: Finder, findings: Findings | None, images: Images, threshold: float,
    pixel_size: str,
) -> list[Any]:  # fmt: skip
    """The image in view on the disk; also where nothing had to be corrected in it."""
    if findings is None:
        raise gr.Error("There is no image to save: drop one.")
    if findings.corrections is None:
        cells, table = findings.above(threshold)
        findings = replace(findings, cells=cells, table=table)
    try:
        findings, _, aside = store.save(findings, finder.name)
    except (OSError, ValueError) as error:
        raise gr.Error(f"Not saved: {error}") from error
    stem = Path(findings.name).stem
    if aside is not None:
        gr.Warning(f"Earlier corrections of {stem}, which these do not go on from, are in {aside}.")
    gr.Info(f"Saved {stem} in {store.folder}.")
    return _told(findings, images, threshold, pixel_size)


def answer_lesson(
    folder: Path, teacher: Teacher, finder: Finder, minutes: float, images: Images,
    threshold: float, pixel_size: str,
) -> Iterator[list[Any]]:  # fmt: skip
    """Teach, and show what it changes on the next image to correct."""
    still = [gr.skip()] * (5 + len(KINDS))
    if not list((folder / "labels").glob("*.png")):
        yield [_lesson("Save a corrected image first: there is nothing to learn from."), *still]
        return
    try:
        taught = None
        for word in teacher.teach(folder, float(minutes or 5)):
            if isinstance(word, Progress):
                yield [_lesson(f"Teaching: {word.text}", word.share), *still]
            else:
                taught = word
        if taught is None:
            raise ValueError("the training ended without a model")
        if not taught.kept:
            yield [_lesson(f"Taught: {taught.text}."), *still]
            return
        yield [_lesson("Loading the new model", 0.98), *still]
        finder.replace(teacher.load(taught.folder))
    except (OSError, ValueError) as error:
        yield [_lesson(f"Not taught: {error}."), *still]
        return
    yield _after(finder, taught.text, images, threshold, pixel_size, still)


def _after(
    finder: Finder, text: str, images: Images, threshold: float, pixel_size: str,
    still: list[Any],
) -> list[Any]:  # fmt: skip
    """The next image as the old and the new model see it."""
    name = next_field(images)
    if not name:
        said = f"Taught: {text}. Drop another image to see what the new model finds."
        return [_lesson(said), *still]
    before = images[name]
    after, view = finder.find(Job("", name, threshold, pixel_size, "", before))
    pair = "".join(
        f'<figure><img alt="{escape(name)}, {when}" src="{_outlined(one, threshold)}"/>'
        f"<figcaption>{when}: {len(one.above(threshold)[0])} cells</figcaption></figure>"
        for when, one in (("before", before), ("after", after))
    )
    said = f"Taught: {text}. The next image to correct, the one it is least sure of: {name}."
    html = _lesson(said, extra=f'<div class="bccd-pair">{pair}</div>')
    buttons = [gr.update(interactive=True)] * len(KINDS)
    return [html, *remember(after, images), after, view, gr.skip(), *buttons]


def _outlined(findings: Findings, threshold: float) -> str:
    cells = findings.above(threshold)[0]
    return picture_uri(draw_outlines(findings.image(), cells), 700)


def _lesson(text: str, share: float | None = None, extra: str = "") -> str:
    bar = ""
    if share is not None:
        bar = (
            f'<div class="bccd-bar" role="progressbar" aria-valuenow="{100 * share:.0f}">'
            f'<i style="width:{100 * share:.0f}%"></i></div>'
        )
    return f'<div class="bccd-lesson" role="status"><p>{escape(text)}</p>{bar}{extra}</div>'

