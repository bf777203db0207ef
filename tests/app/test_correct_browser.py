"""Correct, save and teach in headless Chromium: from a smear to a better model, by mouse and keys.

Needs what `test_browser.py` needs.
"""

from __future__ import annotations

import json
import socket
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")
pytest.importorskip("selenium", reason="needs selenium: pip install 'bccd_d2[dev]'")

from headless import NEEDS, opened
from page_stand_in import DarkParts, PatientTeacher
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from bccd_d2.app.server import ServeOptions, serve
from bccd_d2.app.teach import Bench
from bccd_d2.app.upload import Limits
from bccd_d2.io.label_images import read_label_file

pytestmark = NEEDS
PLACES = [(60, 60), (60, 160), (60, 190), (160, 60), (160, 160), (240, 300)]  # y, x
LOST = (240, 100)  # a cell too light for the stand-in
ACTIONS_A_MINUTE = 10


def smear(places=PLACES) -> np.ndarray:
    image = np.full((300, 400, 3), 225, np.uint8)
    for y, x in places:
        cv2.circle(image, (x, y), 18, (150, 90, 130), -1)
    cv2.circle(image, LOST[::-1], 18, (190, 165, 180), -1)
    return image


@pytest.fixture
def teacher() -> PatientTeacher:
    return PatientTeacher()


@pytest.fixture
def browser(teacher, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ServeOptions(port=port, bench=Bench(tmp_path / "saved", teacher))
    page = serve(DarkParts, Limits(upload_mb=1, megapixels=0.5), options)
    with opened(page.url, tmp_path) as one:
        yield one
    page.close()


class Hand:
    """A person's mouse on the picture, in pixels of the image; waits for each answer."""

    def __init__(self, browser) -> None:
        self.browser = browser
        self.actions = 0

    def at(self, x: float, y: float):
        """An action chain that has moved to a point."""
        svg = self.browser.find(".bccd-figure svg")
        to = self.browser.driver.execute_script(
            "const p = new DOMPoint(arguments[1], arguments[2])"
            ".matrixTransform(arguments[0].getScreenCTM()), r = arguments[0]"
            ".getBoundingClientRect(); arguments[0].scrollIntoView({block: 'nearest'});"
            "return [p.x - r.x - r.width / 2, p.y - r.y - r.height / 2]", svg, x, y
        )  # fmt: skip
        chain = webdriver.ActionChains(self.browser.driver, duration=20)
        return chain.move_to_element_with_offset(svg, round(to[0]), round(to[1])), svg

    def click(self, x: float, y: float) -> None:
        self.at(x, y)[0].click().perform()

    def drag(self, points) -> None:
        chain, svg = self.at(*points[0])
        chain.click_and_hold()
        scale = svg.rect["width"] / 400
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            chain.move_by_offset(round((x1 - x0) * scale), round((y1 - y0) * scale))
        chain.release().perform()

    def said(self) -> str:
        """What stands beside the tools."""
        return self.browser.driver.execute_script(
            "return document.querySelector('.bccd-state').textContent"
        )

    def key(self, key: str) -> None:
        webdriver.ActionChains(self.browser.driver).send_keys(key).perform()

    def done(self, cells: int, state: str) -> None:
        """The answer has come."""
        self.actions += 1
        self.browser.until(lambda: self.said() == state, f"it does not say {state!r}", 20)
        self.browser.shows("cells", str(cells))
        assert len(self.browser.all(".bccd-cell:not(.off)")) == cells


def drop(browser, tmp_path, name: str, image: np.ndarray, first: bool = False) -> None:
    cv2.imwrite(str(tmp_path / name), image[..., ::-1])
    browser.drop(tmp_path / name)
    browser.until(lambda: name in browser.find(".bccd-file").text, f"no {name}")


def test_correct_save_teach_and_see_the_difference(browser, teacher, tmp_path):
    drop(browser, tmp_path, "next.png", smear(PLACES[:4]))
    drop(browser, tmp_path, "smear.png", smear())
    rows = browser.until(lambda: browser.all("#bccd-images label"), "no list")
    assert [row.text.split(" · ")[0] for row in rows] == ["next.png", "smear.png"]
    begin = int(browser.card("cells"))
    assert begin == 3  # the surest of five candidates, two cells in one outline
    hand, start = Hand(browser), time.monotonic()

    _add_a_lost_cell(hand, begin)
    _cut_a_clump(hand, begin + 1)
    _delete_redraw_retype(hand, begin + 2)
    _undo_and_redo(hand, begin + 1)
    seconds = time.monotonic() - start
    assert seconds * ACTIONS_A_MINUTE / hand.actions < 60, f"{hand.actions} in {seconds:.0f} s"

    browser.find("#bccd-save").click()
    hand.done(begin + 1, "saved")
    labels = read_label_file(tmp_path / "saved" / "labels" / "smear.png")
    assert labels.max() == begin + 1 and labels[LOST] > 0
    assert labels[60, 155] != labels[60, 195]
    coco = json.loads((tmp_path / "saved" / "coco" / "smear.json").read_text())
    assert len(coco["annotations"]) == begin + 1
    trail = json.loads((tmp_path / "saved" / "audit" / "smear.json").read_text())["actions"]
    assert [one["do"] for one in trail][:3] == ["add", "split", "delete"]

    browser.find("#bccd-teach").click()
    browser.until(lambda: browser.all(".bccd-bar"), "no progress", 20)
    text = browser.until(lambda: _said(browser, "0.900 after"), "not taught")
    assert teacher.lessons == [["smear.png"]]
    assert "least sure of: next.png" in text
    captions = [one.text for one in browser.all(".bccd-pair figcaption")]
    assert captions[0].startswith("before: 2") and captions[1].startswith("after: 3"), captions
    browser.until(lambda: "next.png" in browser.find(".bccd-file").text, "not the next", 20)
    browser.driver.save_screenshot(str(tmp_path / "taught.png"))

    browser.all("#bccd-images input")[-1].click()  # back to the saved one
    browser.until(lambda: "smear.png" in browser.find(".bccd-file").text, "not back", 20)
    browser.shows("cells", str(begin + 1))
    assert browser.hosts() == {"127.0.0.1"}


def _said(browser, words: str) -> str:
    text = browser.find("#bccd-lesson").text
    return text if words in text else ""


def _add_a_lost_cell(hand, cells: int) -> None:
    hand.key("a")
    hand.click(LOST[1], LOST[0])
    hand.done(cells + 1, "1 correction")


def _cut_a_clump(hand, cells: int) -> None:
    hand.key("s")
    hand.drag([(175, 25), (175, 60), (175, 95)])
    hand.done(cells + 1, "2 corrections")
    hand.drag([(10, 10), (20, 10), (30, 10)])  # through nothing
    hand.browser.until(lambda: "cuts no cell in two" in hand.said(), "no complaint", 20)


def _delete_redraw_retype(hand, cells: int) -> None:
    hand.key(Keys.ESCAPE)
    hand.click(60, 160)
    assert len(hand.browser.all(".bccd-cell.chosen")) == 1
    hand.key("d")
    hand.done(cells - 1, "3 corrections")
    hand.click(60, 60)
    hand.key("r")
    hand.drag([(40, 40), (80, 40), (80, 80), (40, 80), (40, 40)])
    hand.done(cells - 1, "4 corrections")
    hand.key(Keys.ESCAPE)
    hand.click(60, 60)
    hand.browser.find(".bccd-given").send_keys("ring", Keys.ENTER)
    hand.done(cells - 1, "5 corrections")
    hand.key("b")
    hand.drag([(310, 30), (350, 70)])
    hand.done(cells, "6 corrections")


def _undo_and_redo(hand, cells: int) -> None:
    hand.key("z")
    hand.done(cells, "5 corrections")
    hand.browser.find('[data-act="redo"]').click()
    hand.done(cells + 1, "6 corrections")
    hand.browser.find('[data-act="undo"]').click()
    hand.done(cells, "5 corrections")


def test_several_images_are_counted_as_one_sample(browser, tmp_path):
    soft, fewer = (cv2.GaussianBlur(smear(p), (0, 0), 2.0) for p in (PLACES, PLACES[1:]))
    drop(browser, tmp_path, "one.png", soft)
    assert not browser.all("#bccd-count")
    drop(browser, tmp_path, "two.png", fewer)
    path = browser.downloads / "sample_report.html"
    browser.find("#bccd-count").click()
    browser.until(lambda: path.is_file() and path.stat().st_size, "no report")
    text = browser.find(".bccd-sample").text
    assert "2 of 2 images counted as one sample" in text and "cells, a field" in text
    browser.driver.save_screenshot(str(tmp_path / "sample.png"))
    page = path.read_text(encoding="utf-8")
    assert "95% interval" in page and "Gundersen" in page


def test_a_finger_draws_too(browser, tmp_path):
    drop(browser, tmp_path, "smear.png", smear())
    begin = int(browser.card("cells"))
    browser.find('[data-tool="draw"]').click()
    browser.driver.execute_script(
        """
        const svg = document.querySelector(".bccd-figure svg"), m = svg.getScreenCTM();
        const fire = (kind, x, y) => {
          const p = new DOMPoint(x, y).matrixTransform(m);
          svg.dispatchEvent(new PointerEvent(kind, { bubbles: true, cancelable: true, pointerId: 1,
            pointerType: "touch", clientX: p.x, clientY: p.y }));
        };
        svg.setPointerCapture = () => {};
        fire("pointerdown", 85, 225);
        for (const [x, y] of [[115, 225], [115, 255], [85, 255]]) fire("pointermove", x, y);
        fire("pointerup", 85, 225);
        """
    )
    Hand(browser).done(begin + 1, "1 correction")
