"""benchmarks/inference.py runs, draws what it was told to, and accounts for all of the time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from ..small import SMALL_DETECTOR

REPO = Path(__file__).resolve().parents[2]
SMALL = [*SMALL_DETECTOR, "INPUT.IMAGE_SCALE", "0.1"]
COMMON = ["--config-file", str(REPO / "configs" / "cpu_tiny_maskrcnn.yaml"), "--cells", "5"]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location(
        "inference_benchmark", REPO / "benchmarks" / "inference.py"
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_the_table_has_a_line_a_variant(benchmark, capsys) -> None:
    options = ["--no-peer", "--no-compile", "--threads", "1", "--rounds", "1"]
    assert benchmark.main([*COMMON, *options, *SMALL]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 1 |")]
    assert len(lines) == 4 and all("skipped" not in line for line in lines)
    cells = [line.strip("|").split("|") for line in lines]
    assert all(row[2].strip() == "5" and float(row[8]) > 0 for row in cells)


def test_two_images_a_call_are_twice_the_operations(benchmark) -> None:
    model = benchmark.our_model(benchmark.get_parser().parse_args([*COMMON, *SMALL]))
    variants = [benchmark.Variant("ours fp32", model), benchmark.Variant("ours bf16", model)]
    benchmark.count_operations(variants, benchmark.picture(0.1))
    one, same = (variant.operations for variant in variants)
    benchmark.count_operations(variants, benchmark.picture(0.1) * 2)
    assert one > 0 and same == one and variants[0].operations == pytest.approx(2 * one)


def test_the_split_adds_up(benchmark, capsys) -> None:
    assert benchmark.main([*COMMON, "--no-peer", "--split", "--rounds", "1", *SMALL]) == 0
    (line, *_) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("ours fp32")]
    values, total = line.partition(": ")[2].split("; together ")
    parts = {name: float(value) for name, value in (p.split() for p in values.split(", "))}
    assert set(parts) == {"backbone", "proposal_generator", "roi_heads", "rest"}
    assert sum(parts.values()) == pytest.approx(float(total.split()[0]), abs=0.003)


def test_a_failing_variant_is_skipped_with_its_reason(benchmark) -> None:
    def broken(_):
        raise RuntimeError("no compiler\nmore lines")

    variant = benchmark.Variant("ours compiled", broken)
    variant.run([])
    assert variant.failure == "RuntimeError: no compiler" and not variant.wall
