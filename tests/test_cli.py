"""``bccd WORD``: what it answers at once, how it fails, and that a wheel holds all it needs."""

from __future__ import annotations

import argparse
import logging
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bccd_d2 import cli
from bccd_d2.cli import common
from bccd_d2.io.errors import explain

REPO = Path(__file__).resolve().parents[1]
by_word = pytest.mark.parametrize("word", cli.WORDS)


def test_help_names_every_word(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {word} " in out for word in cli.WORDS)
    assert len({word.split()[0] for word in cli.WORDS}) <= 22


def test_the_first_of_two_words_lists_the_second(capsys):
    assert cli.main(["tune", "--help"]) == 0
    out = capsys.readouterr().out
    assert "tune otsu" in out and "predict" not in out
    assert cli.main(["tune"]) == 2
    assert "tune otsu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["predct"], "'predct' is no command; did you mean 'predict'?"),
        (["tune", "otsy"], "'tune otsy' is no command; did you mean 'tune otsu'?"),
        (["--no-such"], "'--no-such' is no command"),
        ([], "usage: bccd"),
    ],
)
def test_what_is_no_command_ends_with_code_2(given, says, capsys):
    assert cli.main(given) == 2
    assert says in capsys.readouterr().err


def test_an_alias_and_the_version(capsys):
    from bccd_d2 import __version__

    with pytest.raises(SystemExit):
        cli.main(["cross-validate", "--help"])
    assert "usage: bccd crossval" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@by_word
def test_a_word_describes_itself(word, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*word.split(), "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: bccd {word} ") and f"\nbccd {word}" in out


def test_help_is_instant_and_loads_nothing_heavy():
    """One process asks every word, so that its start counts once."""
    code = (
        "import sys; from bccd_d2 import cli\n"
        "for word in ['', *cli.WORDS]:\n"
        "    try: cli.main([*word.split(), '--help'])\n"
        "    except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'numpy', 'detectron2', 'cv2'} & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1  # s of the processor, for 23 helps; a single one takes 0.1


SAME = {  # flag: its destination in every word that has it
    "--out": {"out", "output"},
    "--dataset": {"dataset"},
    "--processes": {"processes"},
    "--config-file": {"config_file"},
    "--weights": {"weights"},
    "--device": {"device"},
    "--max-images": {"max_images"},
}
OLD = {"--output", "--workers", "--num-gpus", "--input", "--picture", "--data"}


@by_word
def test_one_thing_has_one_flag(word):
    module = sys.modules[cli.load_main(word).__module__]
    for action in module.get_parser()._actions:
        names = action.option_strings
        for name in names:
            assert name not in SAME or action.dest in SAME[name]
        if set(names) & OLD:  # never without the flag that all words share
            assert names[0] in {*SAME, "--images", "--root"} and names[0] not in OLD


def parsed(*given: str, flags=("dataset", "out", "device")) -> argparse.Namespace:
    parser = common.make_parser("x", "")
    common.add_config(parser, *flags)
    common.add_options(parser)
    return parser.parse_args(["--config-file", "otsu_watershed", *given])


def test_flags_become_config_keys():
    args = parsed("--dataset", "a b", "--device", "cpu", "SEED", "3")
    assert common.config_options(args) == [
        "DATASETS.ROOT", "a b", "MODEL.DEVICE", "cpu", "SEED", "3"]  # fmt: skip
    assert common.config_options(parsed()) == []
    same = parsed("--out", "x", "OUTPUT_DIR", "x")
    assert common.config_options(same) == ["OUTPUT_DIR", "x", "OUTPUT_DIR", "x"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--out", "x", "OUTPUT_DIR", "y"], "--out x contradicts OUTPUT_DIR y"),
        (["SEED", "3", "--out", "x"], "--out must stand before the KEY VALUE pairs"),
    ],
)
def test_contradictions_and_late_flags_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        common.config_options(parsed(*given))


def test_weights_may_be_a_runs_folder(tmp_path):
    pytest.importorskip("detectron2")
    args = parsed("--weights", str(tmp_path), flags=("weights",))
    assert common.configured(args).MODEL.WEIGHTS == str(tmp_path / "model_best.pth")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("no key SOLVER.X"), "no key SOLVER.X"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "utf-8.*invalid start"),
        (ModuleNotFoundError("x", name="optuna"), r"pip install 'bccd_d2\[tune\]'"),
        (ImportError("bccd_d2 needs detectron2"), "bccd_d2 needs detectron2"),
        (ValueError(), "ValueError"),
        (KeyError(), "is missing in what was read"),
    ],
)
def test_an_expected_error_is_one_whole_line(error, says, capsys):
    def fail(args):
        raise error

    assert common.run(common.make_parser("x", ""), fail, [], detectron2=False) == 2
    said = capsys.readouterr().err
    assert said == f"error: {explain(error)}\n"
    assert re.search(says, said)


def test_ctrl_c_ends_with_130_and_faults_keep_their_traceback(capsys):
    def stop(args):
        raise KeyboardInterrupt

    def fault(args):
        raise AttributeError("a bug")

    def broken_import(args):
        from bccd_d2.cli import no_such_name  # noqa: F401

    parser = common.make_parser("x", "")
    assert common.run(parser, stop, [], detectron2=False) == 130
    with pytest.raises(AttributeError):
        common.run(parser, fault, [], detectron2=False)
    with pytest.raises(ImportError):
        common.run(parser, broken_import, [], detectron2=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The package installed by pip from a wheel, apart from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "bccd_d2", "configs"):
        (source / name).symlink_to(REPO / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run(
        [*install, "--target", str(folder / "site"), str(wheel)], check=True, capture_output=True
    )
    return folder / "site"


def installed(site: Path, folder: Path, *given: str) -> subprocess.CompletedProcess:
    """Run the installed command ``bccd`` in an empty folder."""
    folder.mkdir(exist_ok=True)
    call = [sys.executable, str(site / "bin" / "bccd"), *given]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("BCCD_DATASET", None)
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_wheel_holds_configs_models_and_commands(site):
    def below(folder: Path) -> set[str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        kept = (path.relative_to(folder) for path in files if "__pycache__" not in path.parts)
        return {path.as_posix() for path in kept}

    package = site / "bccd_d2"
    assert below(package / "configs") == below(REPO / "configs")
    assert below(package) - {f"configs/{name}" for name in below(REPO / "configs")} == below(
        REPO / "bccd_d2"
    )
    assert not (site / "configs").exists() and not (site / "tools").exists()


def test_an_installed_command_finds_its_configs(site, tmp_path):
    done = installed(site, tmp_path / "empty", "predict", "--help")
    assert done.stdout.startswith("usage: bccd predict"), done.stderr
    where = "from bccd_d2.config.files import find_config as f; print(f('configs/cpu_best.yaml'))"
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(site / "bccd_d2" / "configs" / "dense" / "cpu_best.yaml")


def test_an_installed_command_trains_and_predicts(site, tiny_dataset, tiny_smears, tmp_path):
    pytest.importorskip("detectron2")
    options = "UNET.CHANNELS (4,8,8,8) MODEL.DENSE.CHANNELS 4 SOLVER.MAX_ITER 1"
    small = f"--device cpu --out run MODEL.{options} INPUT.CROP_SIZE 64 SOLVER.WARMUP_ITERS 0"
    given = ["train", "--config-file", "cpu_tiny_flows", "--dataset", str(tiny_dataset)]
    done = installed(site, tmp_path / "empty", *given, *small.split())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "run" / "model_final.pth").is_file()
    images = str(tiny_smears / "test" / "original")
    done = installed(site, tmp_path / "empty", "predict", "--images", images, "--out", "results")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "results" / "counts.csv").is_file()


def test_logs_are_shown_without_the_chatter_of_the_scorer():
    common.show_logs(logging.INFO)
    assert not logging.getLogger("faster_coco_eval.core").isEnabledFor(logging.INFO)
