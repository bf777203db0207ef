"""Elastic, copied cells, erasing, stain jitter, CLAHE, denoising: labels right, off is off."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from bccd_d2.data.augment.affine import affine, affine_matrix, apply_affine
from bccd_d2.data.augment.copy_paste import Stamp, copy_paste, find_donors, paste
from bccd_d2.data.augment.elastic import displacement, elastic
from bccd_d2.data.augment.erase import erase
from bccd_d2.data.augment.extras import ExtraOptions, augment_pair
from bccd_d2.data.augment.stain_jitter import HED, stain_jitter, stain_matrix
from bccd_d2.data.ignored import IGNORED, LEFT_OUT
from bccd_d2.data.preprocess import PreprocessOptions, Preprocessor, local_contrast, smooth
from bccd_d2.data.stain import measure

PALETTE = np.random.default_rng(5).integers(20, 200, (400, 3)).astype(np.uint8)
PALETTE[0] = (235, 225, 230)


def scene(size=(200, 240), radius=14) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image whose colours are its labels, labels of discs, some cut, and areas of whole discs."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, np.uint16)
    for number, (y, x) in enumerate(
        ((y, x) for y in range(10, size[0], 40) for x in range(10, size[1], 44)), start=1
    ):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = number
    areas = np.full(int(labels.max()) + 1, np.pi * radius**2)
    return PALETTE[labels], labels, areas


class NoDraws:
    """A generator that must not be asked."""

    def __getattr__(self, name):
        raise AssertionError(f"drew {name}")


def test_off_changes_and_draws_nothing():
    image, labels, areas = scene()
    found = augment_pair(image, labels, areas, NoDraws(), ExtraOptions())
    assert found[0] is image and found[1] is labels and found[2] is areas
    assert stain_jitter(image, NoDraws(), 0.0) is image
    assert Preprocessor()(image, image, "a") is image
    nothing = np.zeros((0, 9, 3), np.uint8), np.zeros((0, 9), np.uint16), areas
    strong = ExtraOptions(copy_paste=5, affine=0.2, elastic=6, erase=1)
    assert augment_pair(*nothing, np.random.default_rng(0), strong)[0].shape == (0, 9, 3)


def test_same_seed_same_result_and_inputs_are_kept():
    image, labels, areas = scene()
    before = image.copy(), labels.copy(), areas.copy()
    options = ExtraOptions(copy_paste=6, affine=0.1, elastic=5, erase=1)
    runs = [augment_pair(image, labels, areas, np.random.default_rng(3), options) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))
    assert not np.array_equal(runs[0][0], image)
    assert all(np.array_equal(a, b) for a, b in zip(before, (image, labels, areas), strict=True))
    assert runs[0][0].dtype == np.uint8 and runs[0][1].dtype == np.uint16


# -- elastic ----------------------------------------------------------------------------------


def test_a_field_is_smooth_bounded_and_still_at_the_border():
    for seed in range(10):
        field = displacement((120, 170), np.random.default_rng(seed), 6.0)
        assert np.abs(field).max() <= 6
        border = [field[0], field[-1], field[:, 0], field[:, -1]]
        assert max(np.abs(b).max() for b in border) == 0
        # Neighbours keep their order: the map folds nowhere.
        assert np.diff(field[..., 0], axis=1).min() > -1
        assert np.diff(field[..., 1], axis=0).min() > -1
    largest = displacement((300, 300), np.random.default_rng(0), 12.0)
    assert np.diff(largest[..., 0], axis=1).min() > -1 and np.abs(largest).max() > 6


def test_labels_bend_with_the_image():
    image, labels, _ = scene()
    for seed in range(5):
        bent, moved = elastic(image, labels, np.random.default_rng(seed), 6.0)
        assert not np.array_equal(moved, labels)
        assert set(np.unique(moved)) == set(np.unique(labels))
        # Away from edges, where colours mix, each pixel still has its label's colour.
        same = cv2.erode(moved, np.ones((3, 3))) == cv2.dilate(moved, np.ones((3, 3)))
        wrong = np.abs(bent.astype(int) - PALETTE[moved]).max(axis=2) > 2
        assert same.mean() > 0.7 and wrong[same].mean() < 0.005
        areas = np.bincount(moved.ravel()) / np.bincount(labels.ravel())
        assert 0.5 < areas.min() and areas.max() < 2


# -- affine -----------------------------------------------------------------------------------


def test_an_affine_map_is_mild_and_moves_labels_with_the_image():
    image, labels, areas = scene()
    for seed in range(6):
        moved, cells, grown = affine(image, labels, areas, np.random.default_rng(seed), 0.1)
        assert moved.dtype == np.uint8 and cells.dtype == np.uint16 and moved.shape == image.shape
        assert set(np.unique(cells)) <= set(np.unique(labels))
        same = cv2.erode(cells, np.ones((3, 3))) == cv2.dilate(cells, np.ones((3, 3)))
        wrong = np.abs(moved.astype(int) - PALETTE[cells]).max(axis=2) > 2
        assert wrong[same & (cells > 0)].mean() < 0.005
        middle = cells == labels[90, 98]  # a whole disc near the centre stays whole
        assert middle.sum() == pytest.approx(grown[labels[90, 98]], rel=0.04)
    matrices = [affine_matrix(np.random.default_rng(s), 0.1) for s in range(200)]
    lengths = np.linalg.svd(matrices, compute_uv=False)
    assert 0.84 < lengths.min() < 0.95 and 1.05 < lengths.max() < 1.2


def test_affine_maps_by_hand():
    image, labels, areas = scene((201, 201))
    quarter, same, grown = apply_affine(image, labels, areas, np.array([[0.0, 1.0], [-1.0, 0.0]]))
    assert np.array_equal(same, np.rot90(labels)) and np.array_equal(quarter, np.rot90(image))
    assert np.allclose(grown, areas)
    half, small, grown = apply_affine(image, labels, areas, np.diag([0.5, 0.5]))
    assert np.allclose(grown, areas / 4) and not small[:50].any() and not small[:, -50:].any()
    assert (np.abs(half[:50].astype(int) - image.mean(axis=(0, 1))) <= 1).all()
    assert (small == labels[100, 100]).any() == (labels[100, 100] > 0)


# -- copied cells -----------------------------------------------------------------------------


def test_donors_are_whole_cells_of_common_size():
    _, labels, areas = scene()
    donors, boxes = find_donors(labels, areas)
    for donor in donors:
        x0, y0, x1, y1 = boxes[donor - 1]
        assert x0 >= 2 and y0 >= 2 and x1 <= 238 and y1 <= 198
        assert (labels == donor).sum() >= 0.9 * areas[donor]
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    assert len(donors) and not set(donors) & set(border)
    clump = areas.copy()
    clump[donors[0]] *= 5
    assert donors[0] not in find_donors(labels, clump)[0]
    assert len(find_donors(np.zeros((9, 9), np.uint16), np.zeros(1))[0]) == 0


def test_a_pasted_cell_lies_on_top_and_is_cut_at_the_edge():
    image, labels = np.full((40, 40, 3), 200, np.uint8), np.zeros((40, 40), np.uint16)
    labels[10:20, 10:20] = 1
    mask = np.zeros((14, 14), bool)
    mask[2:12, 2:12] = True
    stamp = Stamp(np.where(mask[..., None], [0.25], [1]).astype(np.float32), mask)
    assert paste(image, labels, stamp, (8, 13), 2)  # covers columns 15 to 25
    assert (labels == 2).sum() == 100 and (labels == 1).sum() == 50
    assert image[15, 20].tolist() == [50] * 3 and image[15, 11].tolist() == [200] * 3
    paste(image, labels, stamp, (8, 13), 2)
    assert image[15, 20].tolist() == [12] * 3  # a quarter of the light, and of that a quarter
    assert paste(image, labels, stamp, np.array([-7, -7]), 3)
    assert (labels == 3).sum() == 25 and (labels[:5, :5] == 3).all()
    assert not paste(image, labels, stamp, (-14, 0), 4)
    assert not paste(image, labels, stamp, (38, 60), 4) and 4 not in labels


def test_copies_look_like_cells_and_have_their_whole_area():
    image, labels, areas = scene()
    image = np.where(labels[..., None] == 0, np.uint8(255), image)
    pasted = alone = darker = 0
    for seed in range(12):
        new, moved, grown, copied = copy_paste(image, labels, areas, np.random.default_rng(seed), 6)
        assert len(areas) <= len(grown) <= len(areas) + 6
        assert np.array_equal(grown[: len(areas)], areas)
        counts = np.bincount(moved.ravel(), minlength=len(grown))
        old = np.bincount(labels.ravel(), minlength=len(areas))
        assert (counts[1 : len(areas)] <= old[1:]).all()  # covered cells only lose pixels
        assert (counts[len(areas) :] <= grown[len(areas) :]).all()
        assert np.allclose(grown[len(areas) :], np.pi * 14**2, rtol=0.05)
        for label in range(len(areas), len(grown)):
            pasted += 1
            inner = cv2.erode((moved == label).astype(np.uint8), np.ones((5, 5))) > 0
            if inner.sum() > 150:
                origin = copied[label - len(areas)]  # each cell has a colour of its own
                own = PALETTE[origin].astype(int)
                assert (new[inner] <= own + 3).all()  # or darker, where others lie below
                alone += int((np.abs(new[inner] - own).max(axis=1) <= 3).sum())
                darker += int((new[inner] < own - 10).any(axis=1).sum())
        untouched = (moved == labels) & (np.abs(new.astype(int) - image).max(axis=2) == 0)
        assert untouched.mean() > 0.6
    assert pasted > 12 and alone > darker > 0


def test_what_nobody_labelled_is_not_copied():
    image, labels, areas = scene()
    labels[:60], labels[60:80, :60] = IGNORED, LEFT_OUT
    donors, boxes = find_donors(labels, areas)
    assert len(donors) and len(boxes) == labels[labels < LEFT_OUT].max()
    moved = copy_paste(image, labels, areas, np.random.default_rng(1), 6)[1]
    assert (moved >= LEFT_OUT).any() and len(np.unique(moved[moved < LEFT_OUT])) > len(donors)


def test_copies_make_crowds():
    image, labels, areas = scene()

    def touching(label_map):
        right, down = label_map[:, 1:], label_map[1:]
        pairs = [(label_map[:, :-1], right), (label_map[:-1], down)]
        return sum(int(((a != b) & (a > 0) & (b > 0)).sum()) for a, b in pairs)

    crowds = [
        touching(copy_paste(image, labels, areas, np.random.default_rng(s), 8)[1]) for s in range(8)
    ]
    assert touching(labels) == 0 and np.mean(crowds) > 20


# -- erasing ----------------------------------------------------------------------------------


def test_erased_cells_keep_their_outline_or_go():
    image, labels, _ = scene(radius=10)
    old = np.bincount(labels.ravel())
    gone = 0
    for seed in range(40):
        erased, kept = erase(image, labels, np.random.default_rng(seed), 1.0)
        covered = (erased != image).any(axis=2)
        assert 0.0005 < covered.mean() < 0.07
        colours = np.unique(erased[covered], axis=0)
        assert len(colours) == 1 and np.abs(colours[0] - image.mean(axis=(0, 1))).max() <= 0.5
        hidden = np.bincount(labels[covered], minlength=len(old)) / old
        left = np.bincount(kept.ravel(), minlength=len(old))
        for label in range(1, len(old)):
            assert left[label] == (0 if hidden[label] > 0.5 else old[label])
        gone += int((left[1:] == 0).sum())
    assert gone > 0
    drawn = [erase(image, labels, np.random.default_rng(s), 0.3)[0] is not image for s in range(60)]
    assert 6 <= sum(drawn) <= 32


# -- colours ----------------------------------------------------------------------------------


def test_stain_matrix_by_hand():
    assert np.allclose(stain_matrix(np.ones(3), np.zeros(3)), np.eye(3, 4), atol=1e-6)
    haematoxylin = np.append(HED[0], 1)
    assert np.allclose(stain_matrix(np.array([2, 1, 1]), np.zeros(3)) @ haematoxylin, 2 * HED[0])
    assert np.allclose(stain_matrix(np.array([1, 3, 3]), np.zeros(3)) @ haematoxylin, HED[0])
    shifted = stain_matrix(np.ones(3), np.array([0, 0.5, 0])) @ haematoxylin
    assert np.allclose(shifted, HED[0] + 0.5 * HED[1])


def test_stain_jitter_is_bounded_and_keeps_shapes():
    image, labels, _ = scene()
    changes = []
    for seed in range(20):
        changed = stain_jitter(image, np.random.default_rng(seed), 0.1)
        changes.append(np.abs(changed.astype(int) - image).mean())
        assert len(np.unique(changed[labels == 8], axis=0)) == 1  # a colour stays a colour
    assert 1 < np.mean(changes) < 15 and max(changes) < 30
    white = np.full((4, 4, 3), 255, np.uint8)
    assert stain_jitter(white, np.random.default_rng(0), 0.3).min() > 200  # clipped, not wrapped


def test_smoothing_removes_noise_and_keeps_edges():
    clean = np.full((60, 60, 3), 220, np.uint8)
    clean[:, 30:] = 90
    noise = np.random.default_rng(0).normal(0, 5, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).astype(np.uint8)
    smoothed = smooth(noisy, 15).astype(int)
    assert smoothed[5:-5, 5:25].std() < 0.6 * noisy[5:-5, 5:25].std()
    assert np.abs(smoothed[5:-5, 29:31] - clean[5:-5, 29:31]).mean() < 5  # the edge is as steep
    assert smooth(noisy, 0) is noisy


def test_local_contrast_raises_faint_cells_and_keeps_hue():
    faint = np.full((128, 128, 3), (150, 140, 150), np.uint8)
    faint[40:80, 40:80] = (140, 128, 140)
    texture = np.random.default_rng(0).integers(-3, 4, (128, 128, 1))
    faint = (faint + texture).astype(np.uint8)
    raised = local_contrast(faint, 2.0).astype(int)

    def contrast(a):
        return a[:35].mean() - a[45:75, 45:75].mean()

    assert contrast(raised) > 1.2 * contrast(faint.astype(int))
    assert np.abs((raised[..., 0] - raised[..., 1]).mean() - 11) < 4
    assert local_contrast(faint, 0) is faint
    assert local_contrast(faint[:5, :7], 2.0).shape == (5, 7, 3)


def test_appearance_measures_each_file_once(monkeypatch):
    image, _, _ = scene()
    other = np.clip(image.astype(int) - 30, 0, 255).astype(np.uint8)
    reference = measure(other, "reinhard")
    calls = []

    def counted(whole, method):
        calls.append(method)
        return measure(whole, method)

    monkeypatch.setattr("bccd_d2.data.preprocess.measure", counted)
    treat = Preprocessor(PreprocessOptions(stain=reference, stain_strength=1.0))
    crops = [treat(image[:50, :50].copy(), image, "a") for _ in range(3)]
    treat(image, image, "b")
    assert calls == ["reinhard", "reinhard"]
    assert (
        abs(crops[0].mean() - other[:50, :50].mean()) < 5 < image[:50, :50].mean() - crops[0].mean()
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (ExtraOptions, {"elastic": 13}),
        (ExtraOptions, {"affine": 0.6}),
        (ExtraOptions, {"erase": 1.2}),
        (ExtraOptions, {"copy_paste": -1}),
        (ExtraOptions, {"stain_jitter": 1.0}),
        (PreprocessOptions, {"stain_strength": 2}),
        (PreprocessOptions, {"clahe": -1}),
    ],
)
def test_out_of_bounds_is_refused(options, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        options(**values)


def test_each_is_fast():
    image, labels, areas = scene((320, 320))
    rng = np.random.default_rng(0)
    steps = {
        "affine": lambda: affine(image, labels, areas, rng, 0.1),
        "elastic": lambda: elastic(image, labels, rng, 6.0),
        "copy_paste": lambda: copy_paste(image, labels, areas, rng, 8),
        "erase": lambda: erase(image, labels, rng, 1.0),
        "stain_jitter": lambda: stain_jitter(image, rng, 0.1),
        "smooth": lambda: smooth(image, 15.0),
        "local_contrast": lambda: local_contrast(image, 2.0),
    }
    for name, step in steps.items():
        times = []
        for _ in range(8):
            start = time.thread_time()
            step()
            times.append(time.thread_time() - start)
        assert min(times) < 0.01, name  # half of it on an idle machine
