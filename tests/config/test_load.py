"""The config refuses what it does not know and derives what belongs together."""

from __future__ import annotations

import pytest

from bccd_d2.config.load import finalize, load_config


def test_unknown_keys_get_the_nearest_known_one(tmp_path) -> None:
    with pytest.raises(KeyError, match=r"SOLVER\.BASE_LRR.*did you mean SOLVER\.BASE_LR\?"):
        load_config(options=["SOLVER.BASE_LRR", "0.1"])
    path = tmp_path / "a.yaml"
    path.write_text("MODEL: {VIT: {PRESETT: uni}}\n")
    with pytest.raises(KeyError, match=r"a\.yaml.*MODEL\.VIT\.PRESETT.*MODEL\.VIT\.PRESET"):
        load_config(path)


def test_unknown_keys_of_a_base_file_are_refused_too(tmp_path) -> None:
    (tmp_path / "base.yaml").write_text("TEST: {DETECTION_PER_IMAGE: 5}\n")
    (tmp_path / "leaf.yaml").write_text("_BASE_: base.yaml\n")
    with pytest.raises(KeyError, match="DETECTIONS_PER_IMAGE"):
        load_config(tmp_path / "leaf.yaml")


def test_bad_values_and_files_are_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.yaml"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ValueError, match="command line"):
        load_config(options=["SOLVER.BASE_LR", "fast"])
    with pytest.raises(ValueError, match="pairs"):
        load_config(options=["SOLVER.BASE_LR"])


def test_the_cap_is_one_number() -> None:
    config = finalize(load_config(options=["TEST.DETECTIONS_PER_IMAGE", "700"]))
    assert config.MODEL.RPN.POST_NMS_TOPK_TEST >= 700
    assert config.MODEL.RPN.PRE_NMS_TOPK_TEST >= config.MODEL.RPN.POST_NMS_TOPK_TEST
    assert load_config().TEST.DETECTIONS_PER_IMAGE >= 190  # the densest image of the dataset


def test_epochs_become_iterations() -> None:
    options = ["SOLVER.EPOCHS", "20", "SOLVER.IMS_PER_BATCH", "16", "TEST.EVAL_EPOCHS", "1",
               "SOLVER.STEP_FRACTIONS", "(0.5, 0.9)"]  # fmt: skip
    config = finalize(load_config(options=options), train_images=818)
    assert config.SOLVER.MAX_ITER == 20 * 51 and config.TEST.EVAL_PERIOD == 51
    assert config.SOLVER.STEPS == (510, 918)
    options += ["MODEL.VIT.FROZEN_EPOCHS", "5", "MODEL.VIT.UNFREEZE_EPOCHS", "0.5"]
    vit = finalize(load_config(options=options), train_images=818).MODEL.VIT
    assert (vit.FROZEN_ITERS, vit.UNFREEZE_ITERS) == (255, 26)


def test_whole_numbers_stand_for_floats(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("SOLVER: {EPOCHS: 3, MAX_ITER: 7}\n")
    config = load_config(path, ["INPUT.IMAGE_SCALE", "1"])
    assert (config.SOLVER.EPOCHS, config.SOLVER.MAX_ITER, config.INPUT.IMAGE_SCALE) == (3.0, 7, 1.0)
    assert isinstance(config.SOLVER.EPOCHS, float) and isinstance(config.SOLVER.MAX_ITER, int)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SOLVER.PRECISION", "int8"], "PRECISION"),
        (["SOLVER.PRECISION", "fp16", "MODEL.DEVICE", "cpu"], "GPU"),
        (["SOLVER.ACCUMULATE", "3", "SOLVER.IMS_PER_BATCH", "4"], "divide"),
        (["INPUT.FORMAT", "BGR"], "RGB"),
        (["TEST.DETECTIONS_PER_IMAGE", "0"], "at least 1"),
        (["SOLVER.BEST_MODE", "most"], "BEST_MODE"),
        (["SOLVER.EMA_DECAY", "1.0"], "EMA_DECAY"),
        (["SOLVER.PATIENCE", "2"], "EVAL_PERIOD"),
        (["MODEL.VIT.FROZEN", "True", "MODEL.VIT.FROZEN_ITERS", "5"], "contradict"),
        (["MODEL.VIT.UNFREEZE_EPOCHS", "1"], "needs FROZEN"),
    ],
)
def test_contradictions_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        finalize(load_config(options=options))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "must be an object"),
        ("- 1", "must be an object"),
        ("MODEL: [", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("MODEL: {WEIGHTS: a, WEIGHTS: b}", "a key stands twice"),
        ("MODEL: {WEIGHTS: 2020-01-01}", "given.yaml"),
        ("MODEL: {WEIGHTS: [1, 2]}", "given.yaml"),
        ("SOLVER: {BASE_LR: .nan}", "SOLVER.BASE_LR must be a finite number"),
        ("OUTPUT_DIR: !!python/object/apply:os.mknod [ran]", "is not valid YAML"),
        ("a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]", "anchors on nested values are not read"),
        ("_BASE_: 3", "_BASE_ must name a file"),
        ("_BASE_: given.yaml", "_BASE_ of .*given.yaml leads back to it"),
        ("_BASE_: [twin.yaml]", "given.yaml -> .*twin.yaml -> .*given.yaml"),
        ("[" * 5000, "is not valid YAML"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path, content, reason, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given.yaml").write_text(content)
    (tmp_path / "twin.yaml").write_text("_BASE_: given.yaml")
    with pytest.raises(ValueError, match=reason) as caught:
        load_config("given.yaml")
    assert "given.yaml" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_bytes_and_bases_that_are_not_there(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="a.yaml is no text in UTF-8"):
        load_config(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("_BASE_: https://a.b/c.yaml")
    with pytest.raises(FileNotFoundError, match="b.yaml: _BASE_ https://a.b/c.yaml: .*does not"):
        load_config(tmp_path / "b.yaml")


def test_several_bases_are_laid_over_each_other(tmp_path):
    (tmp_path / "a.yaml").write_text("SEED: 1\nSOLVER: {MAX_ITER: 5, BASE_LR: 1}")
    (tmp_path / "b.yaml").write_text("SOLVER: {MAX_ITER: 6}")
    (tmp_path / "c.yaml").write_text("_BASE_: [a.yaml, b.yaml]\nSOLVER: {IMS_PER_BATCH: 3}")
    config = load_config(tmp_path / "c.yaml")
    solver = config.SOLVER
    assert (config.SEED, solver.MAX_ITER, solver.BASE_LR, solver.IMS_PER_BATCH) == (1, 6, 1.0, 3)


def test_anchors_on_flat_values_are_read(tmp_path):
    """As yaml.dump writes them for a tuple that two keys share."""
    (tmp_path / "a.yaml").write_text(
        "SOLVER: {STEPS: &a [3, 4], MAX_ITER: &b 9}\nTEST: {EVAL_PERIOD: *b, AUG: {MIN_SIZES: *a}}"
    )
    config = load_config(tmp_path / "a.yaml")
    assert (config.TEST.EVAL_PERIOD, tuple(config.TEST.AUG.MIN_SIZES)) == (9, (3, 4))


@pytest.mark.parametrize("value", ["(" * 300, "nan", "{1:", "\x00"])
def test_odd_values_on_the_command_line(value):
    with pytest.raises(ValueError, match="the command line"):
        load_config(None, ["SOLVER.BASE_LR", value])
