"""Windows, views and models together: a smear cut into windows has the cells of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from bccd_d2.inference.predictor import WHOLE, PredictOptions, colours_of, predict_cells
from bccd_d2.inference.tta import parse_views
from bccd_d2.io.tiff_windows import TiffWindows
from bccd_d2.masks.cells import Cells
from bccd_d2.synth.smear import draw_smear


class Threshold:
    """A model that knows nothing but its pixels: dark components, whatever cuts them off."""

    looks_at_whole = False

    def __init__(self, level: int = 150, shrink: float = 1.0) -> None:
        self.level, self.shrink, self.calls = level, shrink, []

    def __call__(self, images, *, zoom, whole):
        self.calls.append((len(images), images[0].shape, zoom, whole))
        found = []
        for image in images:
            label_map, _ = ndimage.label(image[..., 1] < self.level, np.ones((3, 3)))
            found.append(Cells.from_label_map(label_map, np.full(label_map.max(), 0.9)))
        return found


def as_set(cells: Cells) -> set:
    return {rle["counts"] for rle in cells.rles}


@pytest.fixture(scope="module")
def smear() -> np.ndarray:
    """1200 x 1700 px with some 120 cells, clumps pulled apart by the drawing's outlines."""
    return draw_smear(seed=11, size=(1200, 1700)).image


@pytest.fixture(scope="module")
def whole(smear) -> Cells:
    return predict_cells([Threshold()], smear, PredictOptions(tile=0))


@pytest.mark.parametrize(("tile", "overlap"), [(700, 350), (901, 400), (1100, 350)])
def test_a_smear_in_windows_has_the_cells_of_the_whole(smear, whole, tile, overlap):
    """Every cell that fits the overlap is the same, to the pixel; none is lost, none doubled."""
    stitched = predict_cells([Threshold()], smear, PredictOptions(tile=tile, overlap=overlap))
    sides = whole.boxes[:, 2:] - whole.boxes[:, :2]
    fits = sides.max(axis=1) <= overlap - 16
    assert len(whole) > 40 and fits.mean() > 0.9
    assert as_set(whole[fits]) <= as_set(stitched)
    assert len(as_set(stitched)) == len(stitched)
    if fits.all():
        assert as_set(stitched) == as_set(whole)


def test_a_window_at_a_time_from_a_file_is_the_same(smear, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smear, photometric="rgb", tile=(256, 256), compression="zlib")
    options = PredictOptions(tile=800, overlap=300)
    from_file = predict_cells([Threshold()], TiffWindows(path), options)
    assert as_set(from_file) == as_set(predict_cells([Threshold()], smear, options))


def test_views_and_models_are_merged_in_every_window(smear, whole):
    model = Threshold()
    options = PredictOptions(tile=1100, overlap=400, views=parse_views("flip,turn,0.9"))
    cells = predict_cells([model, Threshold()], smear, options)
    assert as_set(cells) == as_set(predict_cells([model], smear, PredictOptions(0, 1100, 400)))
    np.testing.assert_array_equal(cells.uncertainty, 0)
    assert {zoom for _, _, zoom, _ in model.calls[:7]} == {1.0, 0.9}
    assert whole.uncertainty is None


def test_models_that_disagree_are_uncertain(smear):
    cells = predict_cells([Threshold(150), Threshold(120)], smear[:600, :600], PredictOptions())
    assert 0 < cells.uncertainty.max() <= 1


def test_the_threshold_counts_after_merging():
    image = np.full((50, 60, 3), 200, np.uint8)
    image[10:20, 10:30] = 0
    blind = Threshold(0)
    assert len(predict_cells([Threshold(), blind], image, PredictOptions(0.4))) == 1
    assert len(predict_cells([Threshold(), blind], image, PredictOptions(0.5))) == 0


def test_windows_are_chosen_by_the_image_and_the_scale():
    assert len(PredictOptions().tiles((1383, 1944))) == 1
    assert len(PredictOptions().tiles((20000, 20000))) == 17**2
    assert len(PredictOptions(scale=0.5).tiles((2400, 3200))) == 1
    assert len(PredictOptions(scale=2.0).tiles((1200, 1600))) > 1
    assert len(PredictOptions(tile=0).tiles((9000, 9000))) == 1
    assert len(PredictOptions(tile=300).tiles((400, 500))) == 6
    with pytest.raises(ValueError, match="overlap must be 0 to half"):
        PredictOptions(tile=300, overlap=200).tiles((400, 500))


def test_windows_go_through_in_batches_with_progress(smear):
    model, seen = Threshold(), []
    options = PredictOptions(tile=900, overlap=300, batch=4)
    predict_cells([model], smear, options, lambda done, total: seen.append((done, total)))
    count = len(options.tiles(smear.shape[:2]))
    assert [call[0] for call in model.calls] == [4] * (count // 4) + [count % 4] * bool(count % 4)
    assert seen == [(n, count) for n in range(1, count + 1)]


def test_a_model_that_needs_the_whole_image_is_shown_its_colours():
    model = Threshold()
    model.looks_at_whole = True
    image = np.full((2100, 2000, 3), 200, np.uint8)
    predict_cells([model], image, PredictOptions(tile=1500, overlap=300))
    assert all(whole.shape == (1024, 1024, 3) for *_, whole in model.calls)
    assert image.shape[0] * image.shape[1] > WHOLE
    predict_cells([model], image, PredictOptions(tile=0))
    assert model.calls[-1][3] is None
    assert colours_of(image[:100]).shape == (100, 2000, 3)


def test_bad_images_and_options_are_refused():
    with pytest.raises(ValueError, match="read_image"):
        predict_cells([Threshold()], np.zeros((4, 4, 3), np.uint16))
    with pytest.raises(ValueError, match="1 to 4294967295 pixels, got 0x4"):
        predict_cells([Threshold()], np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="models must hold"):
        predict_cells([], np.zeros((4, 4, 3), np.uint8))
    for wrong in ({"score_threshold": 2}, {"tile": -1}, {"overlap": -1}, {"views": ()},
                  {"scale": 0}, {"batch": 0}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PredictOptions(**wrong)
