"""Config files by path, by name, by the path they once had; the rest is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bccd_d2.config import files
from bccd_d2.config.files import (
    CONFIGS,
    SEARCH_SPACES,
    SWITCHES,
    Shipped,
    find_config,
    read_config,
    read_mapping,
)

FOLDER = files.configs_folder()
BEST = FOLDER / "dense" / "cpu_best.yaml"


@pytest.mark.parametrize(
    "name",
    [
        "cpu_best",
        "cpu_best.yaml",
        "dense/cpu_best",
        "dense/cpu_best.yaml",
        "configs/cpu_best.yaml",
        "./configs/cpu_best.yaml",
        "configs/dense/cpu_best.yaml",
        FOLDER / "cpu_best.yaml",
        BEST,
    ],
)
def test_a_shipped_config_has_one_file_by_each_of_its_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no folder configs/ here
    assert find_config(name).samefile(BEST)


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path("configs/cpu_best.yaml")
    own.parent.mkdir()
    own.write_text("SEED: 5")
    assert find_config(own) == own and read_config(own) == {"SEED": 5}
    assert find_config("cpu_best") == BEST


@pytest.mark.parametrize("name", ["runs/cpu_best.yaml", "/none/cpu_best.yaml", "../x/cpu_best"])
def test_a_path_elsewhere_names_no_shipped_config(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"config file .*cpu_best.* does not exist"):
        find_config(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cpu_bst", "did you mean cpu_best"),
        ("configs/cpu_bst.yaml", "did you mean cpu_best"),
        ("maskrcnn/cpu_best", "did you mean cpu_best"),
        ("cpu_tiny", "cpu_tiny_flows, cpu_tiny_watershed, cpu_tiny"),
        ("cpu_bset.yaml", "did you mean cpu_best"),
        ("xyz", "there are any_smear, cpu_best, cpu_joint"),
        ("maskrcnn", "did you mean cpu_tiny_maskrcnn"),  # the base of that name is no model
    ],
)
def test_an_unknown_name_gets_the_nearest(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        find_config(name)
    assert says in str(caught.value)


def test_a_name_in_two_families_is_refused_with_both(tmp_path):
    for family in ("a", "b"):
        (tmp_path / family).mkdir()
        (tmp_path / family / "net.yaml").write_text("SEED: 1")
    shipped = Shipped("config", tmp_path, "configs")
    with pytest.raises(ValueError, match="ambiguous; name one of a/net, b/net"):
        shipped.find("net")
    assert shipped.find("b/net") == tmp_path / "b" / "net.yaml"


def test_shipped_names_are_unique_and_bases_are_none():
    for shipped in (CONFIGS, SEARCH_SPACES, SWITCHES):
        stems = [name.split("/")[-1] for name in shipped.names()]
        assert stems and len(set(stems)) == len(stems)
    assert not [name for name in CONFIGS.names() if name.startswith("_")]


def test_search_spaces_and_switches_keep_their_old_paths(tmp_path, monkeypatch, repo_root):
    monkeypatch.chdir(tmp_path)
    data = SWITCHES.folder / "data.yaml"
    assert SWITCHES.find("data") == SWITCHES.find("configs/ablations/data.yaml") == data
    assert SWITCHES.find(repo_root / "configs/ablations/data.yaml") == data
    detector = SEARCH_SPACES.folder / "detector.yaml"
    assert SEARCH_SPACES.find("configs/_search/detector.yaml") == detector
    with pytest.raises(FileNotFoundError, match="did you mean detector"):
        SWITCHES.find("detectr")


def test_bases_are_found_beside_the_file_or_by_name(tmp_path):
    (tmp_path / "below.yaml").write_text("SOLVER: {MAX_ITER: 7, BASE_LR: 0.5}\nSEED: 1")
    (tmp_path / "own.yaml").write_text("_BASE_: below.yaml\nSOLVER: {MAX_ITER: 9}")
    wanted = {"SOLVER": {"MAX_ITER": 9, "BASE_LR": 0.5}, "SEED": 1}
    assert read_config(tmp_path / "own.yaml") == wanted
    (tmp_path / "list.yaml").write_text("_BASE_: [below.yaml, cpu_best]")
    several = read_config(tmp_path / "list.yaml")
    assert several["SOLVER"]["MAX_ITER"] == 4000 and several["SEED"] == 1
    for base in ("cpu_best", "cpu_best.yaml", BEST, FOLDER / "cpu_best.yaml"):
        (tmp_path / "own.yaml").write_text(f"_BASE_: {base}\nSEED: 3")
        assert read_config(tmp_path / "own.yaml") == {**read_config("cpu_best"), "SEED": 3}


def test_a_copy_beside_configs_keeps_its_relative_base(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "configs")
    copy = tmp_path / "configs" / "maskrcnn" / "mine.yaml"
    copy.write_text('_BASE_: "../_base/maskrcnn.yaml"\nSEED: 4')
    assert read_config(copy)["SEED"] == 4 and "RPN" in read_config(copy)["MODEL"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("_BASE_: own.yaml", "leads back to it: .*own.yaml -> .*own.yaml"),
        ("_BASE_: other.yaml", "leads back to it: .*own.yaml -> .*other.yaml -> .*own.yaml"),
        ("_BASE_: ''", "_BASE_ must name a file"),
        ("_BASE_: 3", "_BASE_ must name a file"),
        ("_BASE_: ghost", "_BASE_ ghost: config ghost does not exist"),
        ("_BASE_: cpu_best\nSOLVER: 3", "SOLVER is a section in one file and a value"),
        ("", "must be an object {...}, got nothing"),
        ("- 1", "must be an object"),
        ("3: 4", "must map keys to values"),
        ("a: [", "is not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("[" * 3000, "is not valid YAML"),
    ],
)
def test_what_is_no_config_is_refused_with_file_and_reason(text, says, tmp_path):
    (tmp_path / "own.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text("_BASE_: own.yaml")
    with pytest.raises((ValueError, FileNotFoundError), match=says) as caught:
        read_config(tmp_path / "own.yaml")
    assert "own.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"own\.yaml is no text in UTF-8"):
        read_mapping(tmp_path / "own.yaml")
