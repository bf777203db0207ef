"""A file that runs a program when unpickled goes down every route, and never runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from bccd_d2.synth.dataset import write_dataset

from .payloads import payloads

FILES = {"evil.pkl": "model zoo", "evil.pth": "torch.save", "evil.bin": "pickle"}
CONFIG = "configs/cpu_tiny_maskrcnn.yaml"


@pytest.fixture(params=FILES)
def evil(request, tmp_path: Path) -> Path:
    """A harmful file; what it does leaves ``ran`` beside it."""
    path = tmp_path / request.param
    path.write_bytes(payloads(tmp_path / "ran")[FILES[request.param]])
    return path


def arguments(route: str, evil: Path, repo: Path, small: list[str]) -> tuple[str, list[str]]:
    """The tool of a route and its command line."""
    out = evil.parent / "out"
    config = ["--config-file", str(repo / CONFIG)]
    options = [*small, "OUTPUT_DIR", str(out), "SOLVER.MAX_ITER", "1",
               "SOLVER.WARMUP_ITERS", "0"]  # fmt: skip
    weights = ["MODEL.WEIGHTS", str(evil)]
    yaml = evil.parent / "given.yaml"
    yaml.write_text(f"_BASE_: {repo / CONFIG}\nMODEL:\n  WEIGHTS: {evil}\n")
    predict = ["--input", str(evil.parent / "smear.png"), "--output", str(out), "--device", "cpu"]
    resnet = ["--config-file", str(repo / "configs" / "r50fpn_maskrcnn.yaml")]
    named = {
        "train": ("train_net", [*config, *options, *weights]),
        "train, backbone": ("train_net", [*config, *options, "MODEL.VIT.WEIGHTS", str(evil)]),
        "train, ResNet": ("train_net", [*resnet, *options, "MODEL.RESNETS.WEIGHTS", str(evil)]),
        "resume": ("train_net", [*config, "--resume", *options]),
        "evaluate": ("train_net", [*config, "--eval-only", *options, *weights]),
        "predict": ("predict", [*predict, "--weights", str(evil), *config]),
        "predict, config": ("predict", [*predict, "--config-file", str(yaml)]),
        "compare": ("compare", ["--model", f"a={repo / CONFIG},{evil}", "--out", str(out), *small]),
        "export": ("export_weights", [str(evil), "--name", "a", "--out", str(out), *config]),
        "TorchScript": ("export_model", ["--weights", str(evil), "--output", str(out), *config]),
        "threshold": ("choose_threshold", [*config, *options, *weights]),
        "app": ("app", ["--weights", str(evil), *config, "--device", "cpu"]),
        "features": ("show_features", ["--image", predict[1], "--out", f"{out}.png", *config,
                                       *options, *weights]),
    }  # fmt: skip
    return named[route]


ROUTES = (
    "train", "train, backbone", "train, ResNet", "resume", "evaluate", "predict",
    "predict, config", "compare", "export", "TorchScript", "threshold", "app", "features",
)  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_it_is_refused_by_name_and_never_runs(
    route: str, evil: Path, repo_root: Path, small_options: list[str], smear: bytes, capsys
) -> None:
    if route == "app" and evil.suffix != ".pth":
        pytest.skip("its process takes seconds to start, and loads as predict does")
    (evil.parent / "smear.png").write_bytes(smear)
    tool, argv = arguments(route, evil, repo_root, small_options)
    if route == "resume":
        (evil.parent / "out").mkdir()
        evil.rename(evil.parent / "out" / evil.name)
        (evil.parent / "out" / "last_checkpoint").write_text(evil.name)
    try:
        code = importlib.import_module(tool).main(argv)
    except SystemExit as error:
        code = error.code
    said = capsys.readouterr().err
    assert (code, list(evil.parent.rglob("ran"))) == (2, [])
    line = said.strip().splitlines()[-1]
    assert line.startswith("error: ") and evil.name in line, said


@pytest.fixture(scope="module")
def smear(tmp_path_factory) -> bytes:
    """A small image."""
    root = tmp_path_factory.mktemp("smear")
    write_dataset(root, n_train=1, n_test=0, seed=1, size=(96, 96))
    return next(root.rglob("original/*")).read_bytes()
