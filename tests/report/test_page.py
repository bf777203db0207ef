"""The page itself: escaping, anchors, Markdown, the limit on its size."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jinja2")

from bccd_d2.report import page as p
from bccd_d2.report.chart import Chart, Plot
from bccd_d2.report.drawing import Style

from .pages import check_self_contained


def small_page(*blocks) -> p.Page:
    return p.Page("A & B", "on <2> images", [p.Section("one", "First", list(blocks))])


def test_every_kind_of_block_is_shown_and_escaped():
    figure = p.jpeg_figure(np.zeros((40, 80, 3), np.uint8), "black <x>", "How to read", width=40)
    assert (figure.width, figure.height) == (40, 20)
    blocks = [
        p.Text("a < b"), p.Text("gone", "absent"), p.Heading("Part"), figure,
        p.Facts([p.Fact("AP", "0.5", "a note")]), p.Key({"found": (1, 2, 3)}),
        p.Table("Table of | x", ["x", "y"], [["r|1", "2"]], (1,), ["what | it is"]),
        p.Table("No head", [], [["key", "value"]]),
        p.Grid("crops", [figure, figure]), p.Listing("Config", "A: <1>"),
    ]  # fmt: skip
    read = check_self_contained(p.render_html(small_page(*blocks)))
    for text in ("A & B", "on <2> images", "a < b", "what | it is", "A: <1>", "a note", "r|1"):
        assert text in read.text
    assert len(read.images) == 3 and read.images[0]["alt"] == "black <x>"
    assert read.sections == ["one"] and "#one" in read.links


def test_markdown_has_the_text_and_tables_but_no_pictures():
    figure = p.jpeg_figure(np.zeros((4, 8, 3), np.uint8), "black", "How to read it", width=8)
    table = p.Table("Scores", ["x", "y"], [["a|b", "2"]], (1,), ["a note"])
    text = p.render_markdown(small_page(p.Text("words"), table, figure, p.Grid("plots", [figure])))
    assert "| x | y | what it is |" in text and "| --- | ---: | --- |" in text
    assert "| a\\|b | 2 | a note |" in text
    assert text.count("*Figure: How to read it*") == 2 and "data:" not in text


def test_a_page_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(p, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100"):
        p.write_page(small_page(), tmp_path, "report")
    assert not list(tmp_path.iterdir())


def test_drawings_are_the_same_bytes_each_time():
    def draw() -> str:
        plot = Plot("x", "y")
        plot.line([0, 1], [0, 1], Style(p.BLUE))
        return p.embed(Chart([plot], 200, 200), "a line", "").source

    assert draw() == draw() and draw().startswith("data:image/svg+xml;base64,")
