"""The HTML of a result: every candidate is in it, names cannot break out of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
from page_stand_in import TypedParts

from bccd_d2.app.overlay import COLUMNS, card_texts, empty_html, error_html, result_html
from bccd_d2.app.results import find_cells
from bccd_d2.app.upload import Limits
from bccd_d2.masks.rle import rle_to_polygons


@pytest.fixture
def findings(model, image):
    return find_cells(model, image, '<img src="x" onerror="alert(1)">.png')


def test_every_candidate_is_a_path_and_a_row(findings, image):
    html = result_html(replace(findings, notes="the first of 3 pages"), image, 0.5)
    root = ElementTree.fromstring(html)  # well-formed
    paths = root.findall(".//path")
    shown = [path for path in paths if "off" not in path.get("class").split()]
    assert len(paths) == len(findings.cells)
    assert len(shown) == findings.counts(0.5).cells < len(paths)
    rows = json.loads(root.get("data-cells"))
    np.testing.assert_array_equal(np.float32([row[0] for row in rows]), findings.cells.scores)
    names = [name for name, _ in COLUMNS]
    at = names.index("area")
    assert [row[at] for row in rows] == findings.cells.areas.tolist()
    border = ["border" in path.get("class").split() for path in paths]
    assert border == findings.table["touches_border"].tolist()
    assert "the first of 3 pages" in html


def test_outlines_are_in_pixels_of_the_image(findings, image):
    root = ElementTree.fromstring(result_html(findings, image, 0.05))
    drawn = root.find(".//path").get("d")
    numbers = [float(text) for text in re.findall(r"[\d.]+", drawn)]
    expected = [v for polygon in rle_to_polygons(findings.cells.rles[0], 0.75) for v in polygon]
    assert numbers == expected
    assert root.find(".//svg").get("viewBox") == "0 0 400 300"


def test_a_large_picture_is_shrunk_but_not_its_outlines(model):
    tall = np.full((2500, 40, 3), 240, np.uint8)
    tall[2300:2340, 5:35] = 20
    html = result_html(find_cells(model, tall, "tall.png"), tall, 0.01)
    assert 'viewBox="0 0 40 2500"' in html
    assert len(html) < 60_000


def test_names_and_messages_cannot_add_markup(findings, image):
    html = result_html(findings, image, 0.5)
    assert "<img" not in html and "&lt;img" in html
    message = error_html("the file <b>.png is bad")
    assert "<b>" not in message and "The file <b>.png is bad." in unescape(message)


def test_cards_say_numbers_with_units(findings):
    texts = card_texts(findings.counts(0.05), None)
    assert texts["cells"][0] == str(len(findings.cells))
    assert texts["density"][1] == "per megapixel" and texts["diameter"][1] == "px"
    texts = card_texts(findings.counts(0.05, 0.1), 0.1)
    assert texts["density"][1] == "per mm²" and texts["diameter"][1] == "µm"
    assert card_texts(findings.counts(0.99))["diameter"] == ("–", "no whole cell")


def test_the_empty_page_names_the_limits():
    assert "12 MB and 3.5 megapixels" in " ".join(empty_html(Limits(12, 3.5)).split())


def test_types_have_colours_a_legend_and_rows(image):
    findings = find_cells(TypedParts(), image, "a.png")
    html = result_html(findings, image, 0.5)
    root = ElementTree.fromstring(html)
    types = findings.cells.classes.shown(findings.cells.class_ids, findings.cells.class_confidence)
    rows = json.loads(root.get("data-cells"))
    assert [row[len(COLUMNS)] for row in rows] == types.tolist() and -1 in types
    assert {row[len(COLUMNS) + 1] for row in rows} == {0.9, 0.5}
    assert json.loads(root.get("data-types")) == ["red <1>", "white", "platelet"]
    colours = ["--type:#c80000", "--type:#1f77ff", "--type:#ffb000", "--type:#969696"]
    assert [path.get("style") for path in root.findall(".//path")] == [colours[k] for k in types]
    above = types[findings.cells.scores >= 0.5].tolist()
    boxes = root.findall(".//label")
    said = {int(b.find("input").get("data-type")): int(b.find("b").text) for b in boxes}
    assert said == {k: above.count(k) for k in (0, 1, 2, -1)}
    assert "<1>" not in html and [b.find("span").text for b in boxes][-1] == "unsure"


def test_one_class_has_no_legend_of_types(findings, image):
    html = result_html(findings, image, 0.5)
    assert "bccd-type" not in html and "--type" not in html and "data-types" not in html


def test_downloads_say_the_types(image):
    findings = find_cells(TypedParts(), image, "a.png")
    table = findings.file("csv", 0.0)[1].decode().splitlines()
    assert table[0].startswith("id,score,type,type_probability")
    assert ",platelet,0.9," in table[1] and any(",unsure,0.5," in line for line in table)
    collection = json.loads(findings.file("geojson", 0.0)[1])
    assert {f["properties"]["classification"]["name"] for f in collection["features"]} == {
        "red <1>", "white", "platelet", "unsure",
    }  # fmt: skip
    coco = json.loads(findings.file("coco", 0.0)[1])
    assert [c["name"] for c in coco["categories"]] == ["red <1>", "white", "platelet"]
