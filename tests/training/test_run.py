"""Train, evaluate, kill, resume, two processes: the real command on a dataset of eight smears."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2")


@pytest.fixture(scope="module")
def small(small_options: list[str]) -> list[str]:
    return small_options


def command(repo_root: Path, *options: str, tool: str = "tools/train_net.py") -> list[str]:
    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    return [sys.executable, str(repo_root / tool), "--config-file", config, *options]


def iterations(folder: Path) -> list[int]:
    lines = (folder / "metrics.json").read_text().splitlines()
    return [json.loads(line)["iteration"] for line in lines]


@pytest.fixture(scope="module")
def trained(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps."""
    import train_net

    folder = tmp_path_factory.mktemp("run")
    path = Path(__file__).resolve().parents[2] / "configs" / "cpu_tiny_maskrcnn.yaml"
    options = [*small, "SOLVER.MAX_ITER", "4", "OUTPUT_DIR", str(folder)]
    assert train_net.main(["--config-file", str(path), *options]) == 0
    return folder


def test_a_run_leaves_models_metrics_and_its_threshold(trained: Path) -> None:
    assert {"model_best.pth", "model_final.pth", "config.yaml", "metrics.json"} <= {
        p.name for p in trained.iterdir()
    }
    last = json.loads((trained / "metrics.json").read_text().splitlines()[-1])
    assert {"total_loss", "validation/total_loss", "segm/AP", "bbox/AP", "lr"} <= set(last)
    assert list(trained.glob("events.out.tfevents.*"))
    saved = torch.load(trained / "model_best.pth", weights_only=True)
    sweep = json.loads((trained / "threshold_sweep.json").read_text())
    assert saved["operating_point"]["score_threshold"] == pytest.approx(sweep["chosen"])
    assert saved["operating_point"]["origin"] == "bccd_val at iteration 4"


def test_eval_only_scores_the_test_split_with_the_stored_threshold(
    trained: Path, small: list[str], repo_root: Path
) -> None:
    import train_net

    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    options = [*small, "OUTPUT_DIR", str(trained)]
    assert train_net.main(["--config-file", config, "--eval-only", *options]) == 0
    summary = json.loads((trained / "evaluation" / "metrics.json").read_text())
    saved = torch.load(trained / "model_best.pth", weights_only=True)
    assert summary["operating_point"] == saved["operating_point"]
    assert set(summary["scores"]) == {"bbox", "segm", "instances", "interior", "pixels"}
    scores = json.loads((trained / "evaluation" / "bccd_test" / "scores.json").read_text())
    assert scores["images"] == 3
    assert scores["score_threshold"] == pytest.approx(saved["operating_point"]["score_threshold"])
    page = (trained / "report" / "report.html").read_text()
    assert "bccd_train: " in page and "process; finished" in page
    for folder, what in ((trained, "training"), (trained / "evaluation", "evaluation")):
        (session,) = json.loads((folder / "run.json").read_text())["sessions"]
        assert session["what"] == what and session["seconds"] > 0
        assert session["versions"]["torch"] == torch.__version__


def test_killed_and_resumed_run_goes_on_where_it_was(
    small: list[str], repo_root: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle; optimizer, schedule and iteration come back from the checkpoint."""
    options = [*small, "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "400",
               "SOLVER.CHECKPOINT_PERIOD", "3"]  # fmt: skip
    process = subprocess.Popen(command(repo_root, *options), start_new_session=True)
    deadline = time.time() + 120
    while not (tmp_path / "last_checkpoint").is_file() and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    name = (tmp_path / "last_checkpoint").read_text()
    before = torch.load(tmp_path / name, weights_only=True)
    done = before["iteration"] + 1
    assert 0 < done < 400 and before["trainer"]["iteration"] == done - 1

    again = [*options, "SOLVER.MAX_ITER", str(done + 2)]
    subprocess.run(command(repo_root, "--resume", *again), check=True)
    after = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert after["iteration"] == done + 1
    state = after["trainer"]["optimizer"]["state"]
    assert {float(s["step"]) for s in state.values()} == {done + 2.0}
    scheduler = after["trainer"]["hooks"]["LRScheduler"]
    assert scheduler["last_epoch"] == done + 2
    log = (tmp_path / "log.txt").read_text()
    assert f"Starting training from iteration {done}" in log


def test_without_resume_training_starts_anew_and_leaves_nothing_stale(
    trained: Path, small: list[str], capfd
) -> None:
    from bccd_d2.config.load import load_config
    from bccd_d2.training.run import prepare, train

    path = Path(__file__).resolve().parents[2] / "configs" / "cpu_tiny_maskrcnn.yaml"
    options = [*small, "OUTPUT_DIR", str(trained), "SOLVER.MAX_ITER", "1"]
    for part in ("evaluation", "report"):
        (trained / part).mkdir(exist_ok=True)
    train(prepare(load_config(path, [*options, "DATASETS.VALIDATION", "()"])), resume=False)
    saved = torch.load(trained / "model_final.pth", weights_only=True)
    assert saved["iteration"] == 0
    kept = {path.name for path in (trained / "earlier_1").iterdir()}
    assert {"model_best.pth", "model_final.pth", "evaluation", "report", "metrics.json"} <= kept
    for stale in ("model_best.pth", "evaluation", "report", "threshold_sweep.json"):
        assert not (trained / stale).exists()
    assert len(list(trained.glob("events.out.tfevents.*"))) == 1
    assert iterations(trained) == [0]
    again = load_config(path, [*options, "MODEL.WEIGHTS", str(trained / "model_final.pth")])
    with pytest.raises(ValueError, match="MODEL.WEIGHTS .* lies in OUTPUT_DIR"):
        train(prepare(again.clone()))
    assert (trained / "model_final.pth").is_file()


def test_a_second_training_in_one_folder_is_refused(
    small: list[str], repo_root: Path, tmp_path: Path, capsys
) -> None:
    import train_net

    from bccd_d2.io.lock import hold_folder

    options = [*small, "OUTPUT_DIR", str(tmp_path)]
    with hold_folder(tmp_path, "training"):
        assert train_net.main(command(repo_root, *options)[2:]) == 2
    error = capsys.readouterr().err
    assert f"is in use by training (process {os.getpid()}" in error and str(tmp_path) in error
    assert [p.name for p in tmp_path.iterdir()] == []


def test_evaluation_needs_no_weights_that_training_began_from(
    trained: Path, small: list[str], repo_root: Path, monkeypatch
) -> None:
    """The file moved, there is no network: a checkpoint is complete in itself."""
    import train_net

    shutil.copy(trained / "model_final.pth", trained / "model_best.pth")
    options = [*small, "OUTPUT_DIR", str(trained), "MODEL.VIT.WEIGHTS", "hf-hub:MahmoodLab/UNI"]
    monkeypatch.setattr(socket, "socket", None)
    assert train_net.main(command(repo_root, "--eval-only", *options)[2:]) == 0
    options[-1] = str(trained / "moved.pth")
    assert train_net.main(command(repo_root, "--eval-only", *options)[2:]) == 0


@pytest.mark.parametrize("launcher", ["spawn", "torchrun"])
def test_two_processes_on_the_cpu(
    launcher: str, small: list[str], repo_root: Path, tmp_path: Path
) -> None:
    options = [*small, "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "2"]
    if launcher == "spawn":
        call = command(repo_root, "--num-gpus", "2", *options)
    else:
        run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        call = run + command(repo_root, *options)[1:]
    subprocess.run(call, check=True, timeout=300)
    saved = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert saved["best"]["iteration"] == 2
    assert (tmp_path / "log.txt.rank1").is_file()
    assert iterations(tmp_path) == [1]


def test_a_run_is_used_again_only_for_the_same_inputs(
    small: list[str], tmp_path: Path, monkeypatch
) -> None:
    from bccd_d2.config.load import load_config
    from bccd_d2.experiments import run_cache as reuse
    from bccd_d2.training.launch import Processes

    path = Path(__file__).resolve().parents[2] / "configs" / "cpu_tiny_maskrcnn.yaml"
    config = load_config(path, [*small, "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "1"])
    calls = []
    launch = reuse.launch
    monkeypatch.setattr(reuse, "launch", lambda *a: calls.append(a[0]) or launch(*a))
    for _ in range(2):
        reuse.ensure_trained(config.clone(), Processes())
        reuse.ensure_evaluated(config.clone(), Processes())
    assert len(calls) == 2
    config.SOLVER.BASE_LR = 0.5
    reuse.ensure_trained(config, Processes())
    assert len(calls) == 3


def test_mistakes_end_with_one_line_and_exit_code_2(
    small: list[str], repo_root: Path, tmp_path: Path, capsys
) -> None:
    import train_net

    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    out = ["OUTPUT_DIR", str(tmp_path)]
    for options, message in [
        ([*out, "DATASETS.ROOT", str(tmp_path)], "bccd convert"),
        ([*out, "SOLVER.BASE_LRR", "1"], "did you mean"),
        (["--eval-only", *small, *out], "no weights at"),
        ([*small, *out, "MODEL.VIT.WEIGHTS", "none.bin"], "none.bin"),
        ([*small, *out, "MODEL.VIT.PRESET", "unii"], "did you mean"),
    ]:
        assert train_net.main(["--config-file", config, *options]) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
