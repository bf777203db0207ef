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

from hand import Hand
from headless import NEEDS, opened
from page_stand_in import DarkParts, PatientTeacher
from selenium.webdriver.common.keys import Keys

from bccd_d2.app.server import ServeOptions, serve
from bccd_d2.app.teach import Bench
from bccd_d2.app.upload import Limits
from bccd_d2.io.label_images import read_label_file

pytestmark = NEEDS
PLACES = [(60, 60), (60, 160), (60, 190), (160, 60), (160, 160), (240, 300)]  # y, x
LOST = (240, 100)  # a cell too light for the stand-in
ACTIONS_A_MINUTE = 10


def smear(places=PLACES, lost=(LOST,)) -> np.ndarray:
    image = np.full((300, 400, 3), 225, np.uint8)
    for y, x in places:
        cv2.circle(image, (x, y), 18, (150, 90, 130), -1)
    for y, x in lost:
        cv2.circle(image, (x, y), 18, (190, 165, 180), -1)
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


def test_ten_corrections_take_a_person_under_a_minute(browser, tmp_path):
    row = [(60, 60), (60, 160), (60, 190), (60, 260), (60, 330)]
    lost = [(240, 100), (240, 200), (240, 300)]
    drop(browser, tmp_path, "smear.png", smear([*row, (150, 60), (150, 160), (150, 260)], lost))
    begin = int(browser.card("cells"))
    assert begin == 4  # of seven candidates, two cells in one outline
    hand = Hand(browser)
    hand.key("a")
    for number, (y, x) in enumerate([*lost, (150, 60)], start=1):
        hand.click(x, y)
        hand.done(begin + number, f"{number} correction" + "s" * (number > 1))
    hand.key("s")
    hand.drag([(175, 25), (175, 95)])
    hand.done(begin + 5, "5 corrections")
    hand.key(Keys.ESCAPE)
    hand.click(330, 60)
    hand.key("d")
    hand.done(begin + 4, "6 corrections")
    hand.click(60, 60)
    hand.key("r")
    hand.drag([(40, 40), (80, 40), (80, 80), (40, 80), (40, 40)])
    hand.done(begin + 4, "7 corrections")
    hand.key(Keys.ESCAPE)
    hand.click(60, 60)
    hand.keys += len("t" + "ring" + "E")
    browser.find(".bccd-given").send_keys("ring", Keys.ENTER)
    hand.done(begin + 4, "8 corrections")
    hand.key("b")
    hand.drag([(310, 130), (350, 170)])
    hand.done(begin + 5, "9 corrections")
    hand.key(Keys.ESCAPE)
    hand.click(155, 60)
    hand.click(195, 60)
    hand.key("m")
    hand.done(begin + 4, "10 corrections")
    assert hand.actions == 10
    said = f"{hand.points} points, {hand.presses} presses, {hand.keys} keys"
    assert hand.seconds() < 50, f"{said}: {hand.seconds():.0f} s"
    (tmp_path / "ten.txt").write_text(f"{said}: {hand.seconds():.1f} s")


class Finger:
    """A finger on the picture: touches as Chromium gets them from a screen."""

    def __init__(self, browser) -> None:
        self.browser = browser
        touch = {"enabled": True, "maxTouchPoints": 1}
        browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)

    def _send(self, kind: str, x: float = 0, y: float = 0) -> None:
        points = []
        if kind != "touchEnd":
            svg = self.browser.find(".bccd-figure svg")
            at = self.browser.driver.execute_script(
                "const p = new DOMPoint(arguments[1], arguments[2])"
                ".matrixTransform(arguments[0].getScreenCTM()); return [p.x, p.y]", svg, x, y
            )  # fmt: skip
            points = [{"x": round(at[0]), "y": round(at[1])}]
        call = {"type": kind, "touchPoints": points}
        self.browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", call)

    def tap(self, x: float, y: float) -> None:
        self._send("touchStart", x, y)
        self._send("touchEnd")

    def drag(self, points) -> None:
        self._send("touchStart", *points[0])
        for point in points[1:]:
            self._send("touchMove", *point)
        self._send("touchEnd")


def test_a_finger_adds_draws_cuts_and_deletes(browser, tmp_path):
    drop(browser, tmp_path, "smear.png", smear())
    begin, hand, finger = int(browser.card("cells")), Hand(browser), Finger(browser)
    svg = browser.find(".bccd-figure svg")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    where = browser.driver.execute_script("return window.scrollY")
    browser.find('[data-tool="add"]').click()
    finger.tap(LOST[1], LOST[0])
    hand.done(begin + 1, "1 correction")
    browser.find('[data-tool="draw"]').click()
    finger.drag([(85, 125), (115, 125), (115, 155), (85, 155), (85, 125)])
    hand.done(begin + 2, "2 corrections")
    browser.find('[data-tool="split"]').click()
    finger.drag([(175, 25), (175, 60), (175, 95)])
    hand.done(begin + 3, "3 corrections")
    browser.find('[data-tool="select"]').click()
    finger.tap(60, 60)
    browser.until(lambda: browser.all(".bccd-cell.chosen"), "nothing chosen", 20)
    browser.find('[data-act="delete"]').click()
    hand.done(begin + 2, "4 corrections")
    assert browser.driver.execute_script("return window.scrollY") == where  # strokes do not scroll
