"""The PDF of a sample: one page, whatever there is to say."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from bccd_d2.slide.count import CountOptions, count_sample
from bccd_d2.slide.fields import read_sample
from bccd_d2.slide.page import some_cells
from bccd_d2.slide.sheet import MARGIN, SIZE, draw_sheet, write_sheet


def pages(data: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", data))


def test_a_sample_is_one_page_of_a4(results, tmp_path):
    counted = count_sample(read_sample(results), CountOptions(pixel_size=0.1))
    data = write_sheet(counted, some_cells(counted), tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-") and pages(data) == 1 and len(data) < 1_500_000
    box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", data)
    np.testing.assert_allclose([float(n) / 72 * 25.4 for n in box.groups()], [210, 297], atol=0.5)


def test_much_to_say_stays_inside_of_the_page(results):
    counted = count_sample(read_sample(results), CountOptions(exclude=("field_00",)))
    long = replace(
        counted,
        quantities=counted.quantities * 30,
        warnings=[f"warning {n} of a great many words that go on and on " * 5 for n in range(20)],
    )
    image = np.asarray(draw_sheet(long, some_cells(long)))
    assert image.shape == (SIZE[1], SIZE[0], 3)
    assert (image[: -MARGIN // 2] < 250).any() and (image[-MARGIN // 2 :] == 255).all()


def test_no_field_and_no_image_make_a_page_too(results, tmp_path):
    for path in (results.parent / "images").iterdir():
        path.unlink()
    counted = count_sample(read_sample(results), CountOptions(exclude=tuple(
        f"field_{n:02d}" for n in range(6))))  # fmt: skip
    assert pages(write_sheet(counted, some_cells(counted), tmp_path / "r.pdf").read_bytes()) == 1
