"""The fixed preprocessing: fitted to the training set, kept with the model, never guessed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

import torch

from bccd_d2.config.load import load_config
from bccd_d2.data.catalog import load_split, register_dataset
from bccd_d2.data.mapper import LabelMapMapper
from bccd_d2.data.stain import fit_reference, measure, normalise
from bccd_d2.models.preprocessing import Preprocessing, with_reference
from bccd_d2.training import loaders

LENGTHS = {"reinhard": 6, "macenko": 11}
PLAIN = ["INPUT.SCALE_RANGE", "(1.0, 1.0)", "INPUT.FLIP", "False", "INPUT.ROT90", "False",
         "INPUT.IMAGE_SCALE", "1", "INPUT.CROP_SIZE", "2000"]  # fmt: skip
STILL = [f"INPUT.JITTER.{key}" for key in
         ("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE", "BLUR", "NOISE")]  # fmt: skip
STILL = [part for key in STILL for part in (key, "0")]


@pytest.fixture(scope="module")
def dataset(tiny_dataset: Path) -> Path:
    """A copy that may be written to."""
    folder = shutil.copytree(tiny_dataset, tiny_dataset.parent / "treated")
    register_dataset(folder)
    return folder


def configured(dataset: Path, *options: str):
    return load_config(None, ["DATASETS.ROOT", str(dataset), *options])


def test_off_by_default_and_nothing_is_fitted(dataset):
    config = configured(dataset)
    assert with_reference(config) is config
    options = loaders.mapper_options(config)
    assert options.preprocess.stain is None
    assert options.preprocess.clahe == options.preprocess.denoise == 0
    assert set(vars(options.extras).values()) == {0}
    assert Preprocessing.of(config).recorded["reference"] == []


def test_the_reference_is_the_training_sets_and_is_kept(dataset, monkeypatch):
    config = configured(dataset, "INPUT.STAIN.METHOD", "reinhard")
    with pytest.raises(ValueError, match="REFERENCE is empty"):
        loaders.mapper_options(config)
    filled = with_reference(config)
    files = [r["file_name"] for r in load_split(dataset, "train")]
    assert filled.INPUT.STAIN.REFERENCE == fit_reference(files, "reinhard").values
    assert config.INPUT.STAIN.REFERENCE == ()
    kept = json.loads((dataset / "stain_reinhard_bccd_train.json").read_text())
    assert kept["values"] == list(filled.INPUT.STAIN.REFERENCE)
    assert sorted(kept["images"]) == sorted(Path(f).name for f in files)

    def never(*_):
        raise AssertionError("fitted again")

    monkeypatch.setattr("bccd_d2.models.preprocessing.fit_reference", never)
    assert with_reference(config).INPUT.STAIN.REFERENCE == filled.INPUT.STAIN.REFERENCE
    assert with_reference(filled) is filled
    with pytest.raises(AssertionError, match="again"):  # other images, other reference
        with_reference(configured(dataset, "INPUT.STAIN.METHOD", "reinhard",
                                  "DATASETS.TRAIN", "('bccd_train', 'bccd_val')"))  # fmt: skip


def test_training_and_evaluation_see_the_same_colours(dataset):
    options = ["INPUT.STAIN.METHOD", "macenko", "INPUT.STAIN.STRENGTH", "0.7", *PLAIN, *STILL]
    config = with_reference(configured(dataset, *options))
    given = loaders.mapper_options(config)
    record = load_split(dataset, "train")[0]
    seen = [LabelMapMapper(given, is_train=train, seed=0)(record)["image"] for train in (1, 0)]
    raw = LabelMapMapper(loaders.mapper_options(configured(dataset, *PLAIN)), is_train=False)
    image = raw(record)["image"].permute(1, 2, 0).numpy()
    expected = normalise(image, measure(image, "macenko"), given.preprocess.stain, 0.7)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], torch.from_numpy(expected).permute(2, 0, 1))
    assert not torch.equal(seen[1], raw(record)["image"])


def test_each_extra_reaches_the_training_crop_alone(dataset):
    record = load_split(dataset, "train")[0]

    def crop(*options, train=True):
        given = loaders.mapper_options(configured(dataset, *PLAIN, *STILL, *options))
        return LabelMapMapper(given, is_train=train, seed=1, with_instances=True)(record)

    base = crop()
    for key, value in (("STAIN_JITTER", "0.3"), ("AFFINE", "0.1"), ("ELASTIC", "6"), ("ERASE", "1"),
                       ("COPY_PASTE", "9")):  # fmt: skip
        changed = crop(f"INPUT.EXTRA.{key}", value)
        assert not torch.equal(changed["image"], base["image"]), key
        same = crop(f"INPUT.EXTRA.{key}", value, train=False)
        assert torch.equal(same["image"], crop(train=False)["image"]), key
    for key, value in (("CLAHE", "2"), ("DENOISE", "15")):
        for train in (True, False):
            changed = crop(f"INPUT.{key}", value, train=train)
            assert not torch.equal(changed["image"], crop(train=train)["image"]), key


def test_the_validation_loss_sees_no_extras(dataset):
    more = ["INPUT.EXTRA.STAIN_JITTER", "0.3", "INPUT.EXTRA.ELASTIC", "6", "INPUT.EXTRA.AFFINE",
            "0.1", "INPUT.EXTRA.ERASE", "1", "INPUT.EXTRA.COPY_PASTE", "9"]  # fmt: skip
    plain, strong = (
        loaders.validation_batches(configured(dataset, "TEST.LOSS_BATCHES", "1", *options))
        for options in ((), more)
    )
    for a, b in zip(plain[0], strong[0], strict=True):
        assert torch.equal(a["image"], b["image"])


def test_a_checkpoint_gives_its_reference_and_refuses_another_treatment(dataset):
    options = ["INPUT.STAIN.METHOD", "reinhard", "INPUT.STAIN.STRENGTH", "0.4"]
    trained = with_reference(configured(dataset, *options))
    kept = Preprocessing()
    kept.load_state_dict(json.loads(json.dumps(Preprocessing.of(trained).state_dict())))
    elsewhere = kept.given_to(configured(dataset, *options))
    assert elsewhere.INPUT.STAIN.REFERENCE == trained.INPUT.STAIN.REFERENCE
    assert (
        loaders.mapper_options(elsewhere).preprocess == loaders.mapper_options(trained).preprocess
    )
    other = configured(dataset, *options, "INPUT.STAIN.REFERENCE", "(60.0,0.,0.,20.,5.,5.)")
    assert kept.given_to(other).INPUT.STAIN.REFERENCE == trained.INPUT.STAIN.REFERENCE
    for wrong in (
        options[:2],
        [],
        ["INPUT.STAIN.METHOD", "macenko", *options[2:]],
        [*options, "INPUT.CLAHE", "2"],
        [*options, "INPUT.DENOISE", "9"],
    ):
        with pytest.raises(ValueError, match=r"INPUT\..* but the checkpoint was trained with"):
            kept.given_to(configured(dataset, *wrong))
    untreated = Preprocessing.of(configured(dataset))
    with pytest.raises(ValueError, match="STAIN.METHOD"):
        untreated.given_to(configured(dataset, *options))
    config = configured(dataset, *options)
    assert Preprocessing().given_to(config) is config  # a checkpoint from before
    assert untreated.given_to(configured(dataset, "INPUT.STAIN.STRENGTH", "0.9"))


def test_finding_an_image(dataset):
    names = ("bccd_train",)
    first = loaders.records(names)[0]
    assert loaders.find_record(names, "0") == first
    assert loaders.find_record(names, Path(first["file_name"]).stem) == first
    for wanted in ("9999", "png", "no such"):
        with pytest.raises(KeyError, match="images of bccd_train"):
            loaders.find_record(names, wanted)
