"""What the page answers to corrections, choices and saves, asked without a browser."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")

import gradio

from bccd_d2.app import correcting
from bccd_d2.app.correcting import Images
from bccd_d2.app.corrections import Store
from bccd_d2.app.results import find_cells
from bccd_d2.synth.smear import draw_smear

from .page_stand_in import DarkParts


@pytest.fixture
def findings():
    return find_cells(DarkParts(), draw_smear(seed=4, size=(300, 400), n_cells=10).image, "a.png")


def asked(findings, images, **action):
    return correcting.answer_edit(json.dumps({"seen": 0, **action}), findings, images, 0.4, "")


def test_an_edit_answers_with_outlines_but_not_with_the_picture(findings):
    after, images, listing, patch = asked(findings, Images(), do="delete", cells=[1])
    shown = len(findings.above(0.4)[0]) - 1
    assert len(after.cells) == shown and images["a.png"] is after
    html = json.loads(patch)["html"]
    assert html.count('class="bccd-cell') == shown and 'href=""' in html
    assert 'data-seen="1"' in html and "1 correction" in html


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"do": "delete", "cells": "x"}'])
def test_nonsense_is_answered_with_a_sentence(findings, text):
    *unchanged, patch = correcting.answer_edit(text, findings, Images(), 0.4, "")
    assert json.loads(patch)["error"] and len(unchanged) == 3


def test_too_long_a_line_and_an_image_that_is_gone_are_said(findings, monkeypatch):
    monkeypatch.setattr(correcting, "LONGEST_ACTION", 30)
    *_, patch = asked(findings, Images(), do="draw", points=[[1, 2]] * 50)
    assert "fewer points" in json.loads(patch)["error"]
    *_, patch = correcting.answer_edit("{}", None, {}, 0.4, "")
    assert "drop it again" in json.loads(patch)["error"]


def test_a_fault_of_ours_is_answered_too(findings, monkeypatch):
    def fail(*given):
        raise RuntimeError("broken")

    monkeypatch.setattr(correcting, "correct", fail)
    *_, patch = asked(findings, Images(), do="undo")
    assert json.loads(patch)["error"] == "not done: broken"


def test_the_oldest_image_that_nobody_corrected_goes_first(findings, monkeypatch):
    monkeypatch.setattr(correcting, "MOST", 2)
    first = asked(findings, Images(), do="delete", cells=[1])[0]
    images, _ = correcting.remember(first, Images())
    for name in ("b.png", "c.png"):
        images, _ = correcting.remember(replace(findings, name=name), images)
    assert list(images) == ["a.png", "c.png"] and images.let_go == 1
    assert correcting.listed(images, "")["label"] == "Images (1 let go: 2 fit)"
    assert correcting.free_name("a.png", images) == "a_2.png"
    assert correcting.free_name("c.png", images) == "c.png"
    monkeypatch.setattr(correcting, "MOST_BYTES", 10)
    images, _ = correcting.remember(replace(findings, name="d.png"), images)
    assert list(images) == ["a.png", "d.png"]


def test_images_that_were_let_go_are_named_beside_the_count(findings):
    images = Images({"a.png": findings, "b.png": replace(findings, name="b.png")})
    finder = SimpleNamespace(name="stand-in", digest="", score_threshold=0.4)
    assert "bccd count" not in correcting.answer_count(finder, images, 0.4, "")[0]
    images.let_go = 7
    html, file = correcting.answer_count(finder, images, 0.4, "")
    said = "7 more images were dropped than the page keeps"
    assert said in html and said in base64.b64decode(json.loads(file)["base64"]).decode()


def test_saving_takes_what_is_shown_and_says_why_it_cannot(findings, tmp_path):
    finder = DarkParts()
    store = Store(tmp_path)
    saved, images, _, patch = correcting.answer_save(store, finder, findings, Images(), 0.4, "")
    assert saved.corrections.state == "saved" and (tmp_path / "labels" / "a.png").is_file()
    assert len(saved.cells) == len(findings.above(0.4)[0])
    with pytest.raises(gradio.Error, match="There is no image"):
        correcting.answer_save(store, finder, None, {}, 0.4, "")
    with pytest.raises(gradio.Error, match="let go"):
        correcting.answer_choice("x", images, 0.4, "")
