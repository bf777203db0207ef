"""A real lesson on the page: correct, save, teach with `bccd finetune`, see what it changed.

Needs what `test_browser.py` needs.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import cv2
import pytest

pytest.importorskip("detectron2")
pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")
pytest.importorskip("selenium", reason="needs selenium: pip install 'bccd_d2[dev]'")

from hand import Hand
from headless import NEEDS, opened
from lesson_stand_in import Field, draw_field, teach_wrongly
from selenium.webdriver.common.keys import Keys

from bccd_d2.app.server import ServeOptions, serve
from bccd_d2.app.teach import Bench, FineTune
from bccd_d2.app.upload import Limits
from bccd_d2.segmenter import load_pretrained

pytestmark = NEEDS
MINUTES = "0.2"  # a fifth of it was enough
TEACHING = 1200  # s to wait for it: it is processor time, and starting and scoring come on top


@pytest.fixture(scope="module")
def wrong(tmp_path_factory) -> str:
    """A model that takes bubbles for cells, misses pale cells and has one outline for two cells."""
    return str(teach_wrongly(tmp_path_factory.mktemp("wrong")))


@pytest.fixture
def browser(wrong, tmp_path):
    bench = Bench(tmp_path / "saved", FineTune(wrong, device="cpu"))
    load = partial(load_pretrained, wrong, device="cpu")
    page = serve(load, Limits(), ServeOptions(bench=bench))
    with opened(page.url, tmp_path) as one:
        yield one
    page.close()


def test_a_lesson_mends_three_kinds_of_fault(browser, tmp_path):
    _drop(browser, tmp_path, "plain", draw_field(53, "......."))
    _drop(browser, tmp_path, "doubtful", draw_field(52, "....==oo--"))
    assert browser.card("cells") == "8"  # ten cells: two bubbles more, two pale and two twins less
    for seed in (1, 2, 3):
        _correct(browser, tmp_path, f"field{seed}", draw_field(seed))

    minutes = browser.find("#bccd-minutes input")
    minutes.send_keys(Keys.CONTROL, "a")
    minutes.send_keys(MINUTES, Keys.TAB)
    browser.find("#bccd-teach").click()
    seen, text = _watch(browser)
    assert text.startswith("Taught:"), text
    assert len(set(seen)) > 3 and seen == sorted(seen), seen

    record = json.loads((tmp_path / "saved" / "models" / "taught_1" / "finetune.json").read_text())
    assert (record["train_images"], record["held_out_images"], record["kept"]) == (2, 1, True)
    assert record["before"] < 0.8 and record["after"] > 0.9, record
    assert record["minutes"] <= float(MINUTES)
    scores = re.search(r"held out: 1; F1@.5 (\S+) before, (\S+) after", text)
    assert [float(one) for one in scores.groups()] == [
        round(record[when], 3) for when in ("before", "after")
    ]
    assert "least sure of: doubtful.png" in text
    captions = [one.text for one in browser.all(".bccd-pair figcaption")]
    assert captions == ["before: 8 cells", "after: 10 cells"]
    old, new = (one.get_attribute("src") for one in browser.all(".bccd-pair img"))
    assert old != new
    browser.until(lambda: "doubtful.png" in browser.find(".bccd-file").text, "not the next")
    browser.shows("cells", "10")
    browser.driver.save_screenshot(str(tmp_path / "lesson.png"))


def _drop(browser, folder: Path, name: str, field: Field) -> None:
    cv2.imwrite(str(folder / f"{name}.png"), field.image[..., ::-1])
    browser.drop(folder / f"{name}.png")
    browser.until(lambda: f"{name}.png" in browser.find(".bccd-file").text, f"no {name}")


def _correct(browser, folder: Path, name: str, field: Field) -> None:
    """Delete the bubble, add the pale cell and split the twins, as a person does; then save."""
    _drop(browser, folder, name, field)
    [bubble], [pale], [(x, y)] = field.bubbles, field.pales, field.pairs
    browser.shows("cells", "6")
    hand = Hand(browser)
    hand.key(Keys.ESCAPE)
    hand.click(*bubble)
    browser.until(lambda: len(browser.all(".bccd-cell.chosen")) == 1, "the bubble is not chosen")
    hand.key("d")
    hand.done(5, "1 correction")
    hand.key("a")
    hand.click(*pale)
    hand.done(6, "2 corrections")
    hand.key("s")
    hand.drag([(x, y - 35), (x, y), (x, y + 35)])
    hand.done(7, "3 corrections")
    browser.find("#bccd-save").click()
    hand.done(7, "saved")


def _watch(browser) -> tuple[list[float], str]:
    """How far the bar stood while the model was trained, and what was said in the end."""
    seen: list[float] = []

    def told() -> str:
        text = browser.find("#bccd-lesson").text
        bars = browser.all(".bccd-bar")
        if bars and "training" in text:
            seen.append(float(bars[0].get_attribute("aria-valuenow")))
        return text if re.match("(Taught|Not taught):", text) else ""

    browser.until(lambda: browser.all(".bccd-bar"), "no progress")
    return seen, browser.until(told, "not taught", TEACHING)
