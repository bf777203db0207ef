"""Types are learned from masks, boxes and points alike, and calibrated on cells held out."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from bccd_d2.experiments.types.augment import recoloured, turned
from bccd_d2.experiments.types.calibration import (
    doubt,
    fit_marked,
    fit_small_marked,
    fit_temperature,
)
from bccd_d2.experiments.types.examples import Annotated, examples_of
from bccd_d2.experiments.types.fit import FitOptions, fit, sampling_weights
from bccd_d2.experiments.types.run import Learner, TypingOptions, lowest
from bccd_d2.masks.cell_crops import CropOptions
from bccd_d2.masks.cell_types import TypeOptions, probabilities
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.taxonomy import Taxonomy

SIZE = (64, 96)
PLACES = {"red": (10, 10), "white": (10, 60)}  # y, x of 20 px squares


def found(extra=()):
    label_map = np.zeros(SIZE, np.int32)
    for number, (y, x) in enumerate([*PLACES.values(), *extra], start=1):
        label_map[y : y + 20, x : x + 20] = number
    return Cells.from_label_map(label_map)


def annotated(kind, rows, complete=True, ignored=()):
    pixels = np.full((*SIZE, 3), 220, np.uint8)
    boxes = np.array(ignored, float).reshape(-1, 4)
    return Annotated(7, "a.png", lambda: pixels, 22.0, kind, complete, rows, boxes)


def rows(kind):
    for name, (y, x) in PLACES.items():
        if kind == "points":
            yield {"category": name, "point": [x + 10, y + 10]}
        elif kind == "boxes":
            yield {"category": name, "bbox": [x, y, 20, 20]}
        else:
            outline = [x, y, x + 20, y, x + 20, y + 20, x, y + 20]
            yield {"category": name, "bbox": [x, y, 20, 20], "segmentation": [outline]}


@pytest.mark.parametrize("kind", ["masks", "boxes", "points"])
def test_a_found_cell_takes_the_name_of_the_annotation_it_matches(kind):
    image = annotated(kind, list(rows(kind)), ignored=[(0, 40, 20, 60)])
    examples, missed = examples_of(
        image, found([(40, 60), (40, 0)]), image.pixels, CropOptions(size=32, cell=16)
    )
    assert examples.labels.tolist() == ["red", "white", "", ""]
    assert examples.counted.tolist() == [1, 1, 0, -1]  # the last is a crowd's
    assert examples.crops.shape == (4, 4, 32, 32) and set(examples.images) == {7}
    assert not missed.any()


def test_where_not_all_cells_are_annotated_one_without_is_no_example():
    image = annotated("boxes", list(rows("boxes")), complete=False)
    examples, _ = examples_of(image, found([(40, 60)]), image.pixels, CropOptions())
    assert examples.counted.tolist() == [1, 1, -1]


def test_a_cell_with_two_points_is_two_cells_and_an_annotation_can_be_missed():
    two = [{"category": "red", "point": [15, 15]}, {"category": "red", "point": [25, 25]}]
    lost = [{"category": "red", "point": [90, 60]}]
    image = annotated("points", two + lost, complete=False)
    examples, missed = examples_of(image, found(), image.pixels, CropOptions())
    assert examples.labels.tolist() == ["", ""] and examples.counted.tolist() == [0, -1]
    assert missed.tolist() == [False, False, True]


def test_classes_are_the_names_that_stand_above_no_other():
    tree = Taxonomy({"red": "cell", "ring": "red", "white": "cell"}, {"rbc": "red"})
    assert lowest(["ring", "rbc", "white", "cell"], tree) == ("ring", "white")
    assert lowest(["rbc"], tree) == ("red",)
    assert lowest(["cell"], tree) == ("cell",)


def test_rare_kinds_of_labels_are_drawn_more_often_and_empty_ones_never():
    allowed = np.zeros((12, 2), bool)
    allowed[:9, 0], allowed[9, 1] = True, True
    counted = np.array([1] * 10 + [0, -1])
    weights = sampling_weights(allowed, counted, 0.5)
    assert weights[0] == pytest.approx(1 / 3) and weights[9] == weights[10] == 1
    assert weights[11] == 0


def test_processor_time_is_spent_by_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    network, used, threads = torch.nn.Linear(1, 1), [], torch.get_num_threads()

    def loss() -> torch.Tensor:
        used.append(torch.get_num_threads())
        return network(torch.ones(1, 1)).sum()

    torch.set_num_threads(2)
    try:
        assert fit(network, loss, FitOptions(minutes=0)) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert used == [1]


def test_temperature_makes_boasting_logits_honest():
    random = np.random.default_rng(0)
    true = random.normal(0, 1.5, (3000, 3))
    said = probabilities(true)
    labels = (said.cumsum(axis=1) < random.random((3000, 1))).sum(axis=1).clip(0, 2)
    temperature, biases = fit_temperature(true * 4, np.eye(3, dtype=bool)[labels])
    assert temperature == pytest.approx(4, rel=0.15) and np.abs(biases).max() < 0.25
    assert fit_temperature(np.zeros((0, 3)), np.zeros((0, 3), bool)) == (1.0, ())


def test_doubt_begins_where_answers_are_wrong_more_often_than_right():
    sure = np.linspace(0.5, 1, 101)
    said = np.stack([sure, 1 - sure], axis=1)
    right = sure >= 0.7
    assert doubt(said, np.stack([right, ~right], axis=1)) == pytest.approx(0.7)
    assert doubt(said, np.stack([right | True, right & False], axis=1)) == 0


def test_the_score_is_multiplied_by_the_chance_that_a_cell_is_marked():
    random = np.random.default_rng(0)
    logits, scores = random.normal(0, 2, 20000), random.uniform(0.5, 1, 20000)
    chance = scores / (1 + np.exp(-(0.7 * logits + 0.4)))
    counted = (random.random(20000) < chance).astype(int)
    counted[:500] = -1
    assert fit_marked(scores, logits, counted) == pytest.approx((0.7, 0.4), abs=0.05)
    assert fit_marked(np.ones(30), np.ones(30), np.ones(30, int)) == ()


def test_small_cells_have_a_chance_of_their_own():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, 4000)
    counted = (random.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)
    of_score, of_counted, constant = fit_small_marked(random.random(4000), logits, counted)
    assert of_score < 0.1 and of_counted == pytest.approx(1, abs=0.1) and abs(constant) < 0.15
    assert fit_small_marked(np.ones(5), np.ones(5), np.ones(5, int)) == (1.0, 0.0, 0.0)


def test_augmentation_moves_pixels_and_keeps_ranges():
    generator = torch.Generator().manual_seed(0)
    planes = torch.zeros(4, 4, 48, 48)
    planes[:, :, 20:28, 20:28] = 255
    seen = turned(planes, 32, generator, (1.0, 1.0))
    assert seen.shape == (4, 4, 32, 32)
    assert seen[:, :, 14:18, 14:18].min() > 200  # the middle stays the middle
    assert float(seen[0, 0].sum()) == pytest.approx(64 * 255, rel=0.1)  # and the size its size
    other = recoloured(planes[:, :3], generator)
    assert other.shape == planes[:, :3].shape and 0 <= other.min() <= other.max() <= 255
    assert not torch.equal(other, planes[:, :3])


class Outliner:
    """A model that outlines what is darker than paper; it looks at half the resolution."""

    diameter, looks_at_whole, name = None, False, "outliner"

    class config:  # noqa: N801
        class INPUT:  # noqa: N801
            IMAGE_SCALE = 0.5

    def identity(self):
        return "outliner"

    def outlines(self, images, *, zoom, whole):
        import cv2

        answers = []
        for image in images:
            dark = (image.min(axis=2) < 150).astype(np.uint8)
            _, labels = cv2.connectedComponents(dark, connectivity=4)
            cells = Cells.from_label_map(labels.astype(np.int32))
            answers.append(cells[cells.areas > 100])
        return answers


def test_annotations_that_name_no_type_are_refused_before_any_image_is_read(tiny_dataset):
    with pytest.raises(ValueError, match=r"all cells of .* are named 'cell'.*--types"):
        Learner(Outliner(), [tiny_dataset], TypingOptions())


def test_a_model_learns_types_and_the_small_cells_that_it_leaves_out(boxed_discs):
    types = TypeOptions(crop=CropOptions(size=32, cell=16), channels=(8, 16))
    options = TypingOptions(fit=FitOptions(minutes=0.04, batch=16), types=types, held_out=0.25)
    learner = Learner(Outliner(), [boxed_discs], options)
    assert learner.classes.names == ("platelet", "red", "white")
    learned = learner.learn()
    assert learned.small is not None
    told = learned.held_out.labels != ""
    from bccd_d2.modeling.types.head import look_with

    held = learned.held_out[told]
    said = look_with(learned.network, held.crops, held.measures)[:, :-1].argmax(axis=1)
    assert len(held) >= 12 and set(held.images) <= learner.held_out
    right = said == learned.allowed[told].argmax(axis=1)
    assert right.mean() > 0.8


def test_the_model_that_is_written_loads_finds_and_types(boxed_discs):
    from bccd_d2 import load_pretrained
    from bccd_d2.config.files import find_config
    from bccd_d2.experiments.types.result import learn_types
    from bccd_d2.models.load import load_model

    types = TypeOptions(crop=CropOptions(size=32, cell=16), channels=(8, 16))
    options = TypingOptions(fit=FitOptions(minutes=0.01, batch=16), types=types, held_out=0.25)
    base = find_config("otsu_watershed")
    config = f"_BASE_: {base}\nMODEL: {{OTSU: {{MIN_AREA: 60}}}}\n"
    (boxed_discs / "otsu.yaml").write_text(config)
    finder = load_model(config_file=str(boxed_discs / "otsu.yaml"), device="cpu")
    result = learn_types(finder, [boxed_discs], boxed_discs / "out", options)
    assert result.confusion.shape == (3, 3) and "RBC" not in result.text()
    record = json.loads((boxed_discs / "out" / "types.json").read_text())
    assert record["classes"] == ["platelet", "red", "white"]
    model = load_pretrained(boxed_discs / "out", device="cpu")
    pixels = np.asarray(Image.open(boxed_discs / "images" / "0.png"))
    cells = model.predict(pixels, 0.0)
    assert len(cells) and cells.class_probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(cells.class_names) <= {"platelet", "red", "white", "unsure"}
    again = learn_types(finder, [boxed_discs], boxed_discs / "out", options)  # as found
    assert again.classes.names == result.classes.names


@pytest.mark.slow
def test_a_typed_file_answers_alike_with_and_without_torch(boxed_discs):
    from bccd_d2 import load_pretrained
    from bccd_d2.experiments.types.result import learn_types
    from bccd_d2.models.export import export_run
    from bccd_d2.models.load import load_model

    pytest.importorskip("onnxruntime")
    types = TypeOptions(crop=CropOptions(size=32, cell=16), channels=(8, 16))
    options = TypingOptions(
        fit=FitOptions(minutes=0.005, batch=8), types=types, held_out=0.25, keep_scores=True
    )
    finder = load_model("any_smear", device="cpu")
    learn_types(finder, [boxed_discs], boxed_discs / "out", options)
    file = export_run(boxed_discs / "out", boxed_discs / "file", "typed", half=True)["weights"]
    pixels = np.asarray(Image.open(boxed_discs / "images" / "0.png"))
    one, other = (
        load_pretrained(file, device="cpu", backend=backend).predict(pixels, 0.2, diameter=28.0)
        for backend in ("onnx", "torch")
    )
    assert one.classes.names == other.classes.names == ("platelet", "red", "white")
    assert len(one) == len(other) > 0
    assert one.scores == pytest.approx(other.scores, abs=1e-3)
    assert one.class_probabilities == pytest.approx(other.class_probabilities, abs=1e-3)
