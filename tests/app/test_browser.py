"""The page in headless Chromium: drop, count, threshold, hover, download, errors, network.

Needs Debian's chromium and chromium-driver (or others on the path), gradio and selenium.
"""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")
pytest.importorskip("selenium", reason="needs selenium: pip install 'bccd_d2[dev]'")

from headless import NEEDS, opened
from page_stand_in import DarkParts, TypedParts
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from bccd_d2.app.results import find_cells
from bccd_d2.app.server import ServeOptions, serve
from bccd_d2.app.upload import Limits

pytestmark = NEEDS


@pytest.fixture
def stand_in() -> type:
    """The model of the page."""
    return DarkParts


@pytest.fixture
def served(stand_in):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = serve(stand_in, Limits(upload_mb=1, megapixels=0.5), ServeOptions(port=port))
    yield page
    page.close()


@pytest.fixture
def browser(served, tmp_path):
    with opened(served.url, tmp_path) as one:
        yield one


def test_from_an_image_to_files(browser, served, model, image, tmp_path):
    path = tmp_path / "smear 1.tif"
    tifffile.imwrite(path, image.astype(np.uint16) * 257)
    expected = find_cells(model, image, path.name)

    browser.drop(path)
    browser.shows("cells", str(expected.counts(0.4).cells))
    assert browser.card("interior") == str(expected.counts(0.4).interior)
    _move_the_threshold(browser, expected)
    _walk_the_cells(browser, expected)
    _give_a_pixel_size(browser, expected)
    _compare_files(browser, expected)

    files = [item for item in Path(served.folder).rglob("*") if item.is_file()]
    assert [item for item in files if item.stat().st_size] == []
    assert browser.hosts() == {"127.0.0.1"}


def _move_the_threshold(browser, expected) -> None:
    slider = browser.find("#bccd-threshold input[type=range]")
    for _ in range(20):
        slider.send_keys(Keys.ARROW_RIGHT)
    counts = expected.counts(0.6)
    assert counts.cells != expected.counts(0.4).cells
    browser.shows("cells", str(counts.cells))
    assert browser.card("interior") == str(counts.interior)
    assert browser.card("diameter") == f"{counts.diameter:.0f}"
    assert len(browser.all(".bccd-cell:not(.off)")) == counts.cells


def _walk_the_cells(browser, expected) -> None:
    first = browser.find('.bccd-cell[data-cell="1"]')
    webdriver.ActionChains(browser.driver).move_to_element(first).perform()
    tip = browser.find(".bccd-tip:not([hidden])").text
    assert tip.startswith("Cell 1\n") and f"score\n{expected.cells.scores[0]:.2f}" in tip
    assert f"area\n{expected.cells.areas[0]} px²" in tip
    assert f"circularity\n{expected.table['circularity'][0]:.2f}" in tip
    webdriver.ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
    browser.until(lambda: not browser.all(".bccd-tip:not([hidden])"), "the box stays", 20)
    svg = browser.find(".bccd-figure svg")
    svg.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.find(".bccd-tip:not([hidden])", 20).text.startswith("Cell 2\n")
    svg.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    last = expected.counts(0.6).cells
    assert browser.find(".bccd-tip").text.startswith(f"Cell {last}\n")
    svg.send_keys(Keys.ESCAPE)
    assert not browser.all(".bccd-tip:not([hidden])")


def _give_a_pixel_size(browser, expected) -> None:
    field = browser.find("#bccd-pixel input, #bccd-pixel textarea")
    field.send_keys("x")
    browser.find("#bccd-pixel.wrong", 20)
    field.send_keys(Keys.BACKSPACE, "0,1")
    browser.shows("diameter", f"{expected.counts(0.6).diameter * 0.1:.2f}")
    assert not browser.all("#bccd-pixel.wrong")
    browser.shows("density", f"{expected.counts(0.6, 0.1).per_mm2:.0f}")


def _compare_files(browser, expected) -> None:
    cells, _ = expected.above(0.6)
    labels = tifffile.imread(browser.download("labels", "smear 1_labels.tif"))
    np.testing.assert_array_equal(labels, cells.to_label_map())
    with browser.download("csv", "smear 1_cells.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["area"]) for row in rows] == cells.areas.tolist()
    assert float(rows[0]["area_um2"]) == pytest.approx(cells.areas[0] * 0.01)
    coco = json.loads(browser.download("coco", "smear 1_coco.json").read_text())
    assert [a["score"] for a in coco["annotations"]] == cells.scores.tolist()
    geojson = json.loads(browser.download("geojson", "smear 1.geojson").read_text())
    assert len(geojson["features"]) == len(cells)


def test_mistakes_are_said_in_the_page_and_the_next_image_works(browser, image, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    browser.drop(bad)
    assert "bad.png is unreadable" in browser.find(".bccd-error").text
    assert not browser.find("#bccd-csv").is_enabled()

    wide = tmp_path / "wide.png"
    cv2.imwrite(str(wide), np.full((800, 700), 230, np.uint8))
    browser.drop(wide)
    browser.until(
        lambda: "megapixels, more than the 0.5 allowed" in browser.find("#bccd-view").text,
        "no word of the pixel count",
    )

    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(bytes(2**20 + 1))
    browser.drop(heavy)
    browser.until(
        lambda: "exceed the maximum allowed size of 1" in browser.find("body").text,
        "no word of the file's size",
    )

    browser.find("#bccd-example").click()
    browser.find(".bccd-result")
    assert "drawn_example.png" in browser.find(".bccd-file").text


def test_another_cell_diameter_looks_again_without_another_drop(browser, model, image, tmp_path):
    size = {"axes": "YXS", "PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, photometric="rgb", metadata=size)
    expected = find_cells(model, image, "a.ome.tif").counts(0.4)
    browser.drop(tmp_path / "a.ome.tif")
    browser.shows("cells", str(expected.cells))
    browser.shows("diameter", f"{expected.diameter * 2:.2f}")  # micrometres, far too many
    browser.find("#bccd-pixel.odd", 20)
    field = browser.find("#bccd-pixel input, #bccd-pixel textarea")
    field.send_keys(f"{7.5 / expected.diameter:.3f}")
    browser.until(lambda: not browser.all("#bccd-pixel.odd"), "a good size is odd", 20)
    assert "42 px wide, estimated" in browser.find(".bccd-file").text
    css = "#bccd-diameter input, #bccd-diameter textarea"
    assert browser.find(css).get_attribute("placeholder") == "42, estimated"
    assert not browser.all(".bccd-check")

    browser.find(css).send_keys("4")
    browser.find("#bccd-diameter.wrong", 20)
    browser.find(css).send_keys("00", Keys.ENTER)
    notice = browser.find(".bccd-check", 20)
    assert notice.text == "Check this image: no cell was found; stain <unexplained>."
    assert notice.get_attribute("role") == "alert" and not browser.all("#bccd-diameter.wrong")
    assert "400 px wide, as given" in browser.find(".bccd-file").text
    browser.shows("cells", "0")

    browser.find(css).send_keys(Keys.BACKSPACE * 3)
    browser.find("#bccd-again").click()
    browser.shows("cells", str(expected.cells))
    browser.until(lambda: not browser.all(".bccd-check"), "the notice stays", 20)


@pytest.mark.parametrize("stand_in", [TypedParts])
def test_types_are_filtered_in_the_browser(browser, image, tmp_path):
    path = tmp_path / "smear.png"
    cv2.imwrite(str(path), image[..., ::-1])
    expected = find_cells(TypedParts(), image, path.name)
    browser.drop(path)
    above = expected.above(0.4)[0]
    browser.shows("cells", str(len(above)))
    reds = above.class_names.count("red <1>")
    box = browser.find('.bccd-type input[data-type="0"]')
    assert box.find_element("xpath", "..").text.split() == ["red", "<1>", str(reds)]
    box.click()
    browser.shows("cells", str(len(above) - reds))
    assert len(browser.all(".bccd-cell:not(.off)")) == len(above) - reds
    box.click()
    browser.shows("cells", str(len(above)))
    first = browser.find('.bccd-cell[data-cell="1"]')
    webdriver.ActionChains(browser.driver).move_to_element(first).perform()
    name, (best, *_) = expected.cells.class_names[0], expected.cells.class_confidence
    assert f"type\n{name}, {best:.2f}" in browser.find(".bccd-tip:not([hidden])").text
