"""Images a second of a detector of ours against detectron2's R50-FPN Mask R-CNN, masks drawn.

    python benchmarks/inference.py --config-file cpu_tiny_maskrcnn
    python benchmarks/inference.py --config-file cpu_joint --split
    python benchmarks/inference.py --config-file dinov2s_cpu_maskrcnn --device cuda --batch 8

A 1600 x 1200 image of drawn cells; both models see it at INPUT.IMAGE_SCALE and answer in its own
frame, ours with RLEs, detectron2's with the bitmaps that it makes. Both must draw the same number
of masks (--cells): thresholds are off and the cap decides, so that weights, random by default, do
not. Variants take turns in rounds, so that a busy machine slows all of them, and the least time of
each counts. Where torch.compile fails, the line says why. On a GPU the time is the clock's with
the GPU's work done, --batch copies of the image go together, and TFLOP/s are those of products and
convolutions (`cost.operations`) with their share of what the GPU's data sheet says.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

SIZE = (1200, 1600)
PARTS = ("backbone", "proposal_generator", "roi_heads", "outline")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, help="a YAML file of configs/")
    add("--weights", default="", help="a checkpoint of that config; random weights without")
    add("--cells", type=int, default=100, help="masks that every model draws")
    add("--rounds", type=int, default=3, help="rounds that count, after one that does not")
    add("--threads", type=int, nargs="+", default=[1, 2], help="of torch; on a GPU only the first")
    add("--device", default="cpu", help="cpu or cuda")
    add("--batch", type=int, default=1, help="images a call")
    add("--no-compile", action="store_true", help="leave torch.compile out")
    add("--no-peer", action="store_true", help="leave R50-FPN out")
    add("--split", action="store_true", help="only the parts of the time, eager, one thread")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


@dataclass
class Variant:
    """One way to run a model, and the seconds it took."""

    name: str
    model: Any
    precision: str = "fp32"
    device: str = "cpu"
    operations: float = 0.0  # of a call
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    failure: str = ""
    masks: int = 0

    def run(self, inputs: list[dict]) -> None:
        """Answer once; a failure is kept and ends the variant."""
        import torch

        from bccd_d2.experiments.cost import wait_for_gpu

        autocast = torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")
        try:
            with torch.inference_mode(), autocast:
                wait_for_gpu()
                start, start_cpu = time.perf_counter(), time.process_time()
                answer = self.model(inputs)[0]
                wait_for_gpu()
                self.wall.append(time.perf_counter() - start)
                self.cpu.append(time.process_time() - start_cpu)
            self.masks = len(answer["instances"])
        except Exception as error:  # the reason belongs in the table
            self.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


def our_model(args: argparse.Namespace) -> Any:
    """The config's model in evaluation, capped at ``--cells``, every box a cell."""
    import bccd_d2.modeling.build  # noqa: F401
    from bccd_d2.config.load import finalize, load_config
    from bccd_d2.modeling.build import build_model
    from bccd_d2.models.checkpoint import CellCheckpointer

    fixed = ["MODEL.DEVICE", args.device, "TEST.DETECTIONS_PER_IMAGE", str(args.cells)]
    if not args.weights:
        fixed += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.VIT.WEIGHTS", ""]
    config = finalize(load_config(args.config_file, [*args.options, *fixed]))
    model = build_model(config).eval()
    if args.weights:
        CellCheckpointer(model, use_average=True).load(args.weights, [])
    return model


def peer_model(cells: int, device: str) -> Any:
    """detectron2's R50-FPN Mask R-CNN as its COCO configs set it up; one class, random weights."""
    from detectron2.config import get_cfg

    from bccd_d2.modeling.build import build_model

    config = get_cfg()
    config.merge_from_list([
        "MODEL.DEVICE", device, "MODEL.MASK_ON", True, "MODEL.WEIGHTS", "",
        "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone",
        "MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"],
        "MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"],
        "MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64], [128], [256], [512]],
        "MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"],
        "MODEL.RPN.PRE_NMS_TOPK_TEST", 1000, "MODEL.RPN.POST_NMS_TOPK_TEST", 1000,
        "MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.NUM_CLASSES", 1,
        "MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"],
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", cells,
        "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", 2,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 7,
        "MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead",
        "MODEL.ROI_MASK_HEAD.NUM_CONV", 4, "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14,
    ])  # fmt: skip
    model = build_model(config).eval()
    for name, parameter in model.backbone.named_buffers():
        if name.endswith("conv3.norm.weight"):
            parameter.fill_(0.2)  # else untrained residual blocks grow until nothing is finite
    return model


def picture(scale: float) -> list[dict]:
    """A smear of `synth` at ``scale`` as the models take it."""
    import cv2
    import numpy as np
    import torch

    from bccd_d2.synth.smear import draw_smear

    image = draw_smear(0, size=SIZE, n_cells=90).image
    size = (round(SIZE[1] * scale), round(SIZE[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))
    return [{"image": tensor, "height": SIZE[0], "width": SIZE[1]}]


@contextlib.contextmanager
def timed_parts(model: Any, clock: Callable[[], float]) -> Any:
    """Seconds by part of one or more calls, in the dict that it yields."""
    from bccd_d2.experiments.cost import wait_for_gpu

    seconds: dict[str, float] = {}
    handles = []
    for name in PARTS:
        module = getattr(model, name, None)
        if module is None:
            continue
        began: list[float] = []

        def before(*_: Any, began: list[float] = began) -> None:
            wait_for_gpu()
            began.append(clock())

        def after(*_: Any, name: str = name, began: list[float] = began) -> None:
            wait_for_gpu()
            seconds[name] = seconds.get(name, 0.0) + clock() - began.pop()

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield seconds
    finally:
        for handle in handles:
            handle.remove()


def split(variants: Sequence[Variant], inputs: list[dict], rounds: int) -> None:
    """Print the time of each part, the least of the rounds; "rest" is drawing masks.

    Processor time; the clock's on a GPU.
    """
    on_gpu = variants[0].device != "cpu"
    clock = time.perf_counter if on_gpu else time.process_time
    best: dict[str, dict[str, float]] = {}
    for number in range(rounds + 1):
        for variant in variants:
            with timed_parts(variant.model, clock) as seconds:
                variant.run(inputs)
            if number == 0 or variant.failure:
                continue
            whole = variant.wall[-1] if on_gpu else variant.cpu[-1]
            seconds["rest"] = whole - sum(seconds.values())
            kept = best.setdefault(variant.name, {})
            for part, value in seconds.items():
                kept[part] = min(value, kept.get(part, value))
    for name, seconds in best.items():
        parts = ", ".join(f"{part} {value:.3f}" for part, value in seconds.items())
        masks = next(v.masks for v in variants if v.name == name)
        total = sum(seconds.values())
        print(f"{name}, {masks} masks: {parts}; together {total:.3f} {'s' if on_gpu else 'CPU s'}")
    for variant in variants:
        if variant.failure:
            print(f"{variant.name} skipped: {variant.failure}")


def variants_of(make: Callable[[], Any], args: argparse.Namespace) -> list[Variant]:
    """Ours in every way there is; each has its own model where its weights' layout differs."""
    import torch

    plain, last = make(), make().to(memory_format=torch.channels_last)
    last.backbone.register_forward_pre_hook(_to_channels_last)
    listed = []
    for precision in ("fp32", "bf16"):
        models = {"": plain, " channels-last": last}
        if not args.no_compile:
            models[" compiled"] = make()
            models[" compiled"].backbone.compile()
        listed += [
            Variant(f"ours {precision}{way}", model, precision, device=args.device)
            for way, model in models.items()
        ]
    return listed


def _to_channels_last(module: Any, given: tuple) -> tuple:
    import torch

    return (given[0].contiguous(memory_format=torch.channels_last),)


def count_operations(variants: Sequence[Variant], inputs: list[dict]) -> None:
    """Give each variant the operations of a call: those of its model before it was compiled."""
    from bccd_d2.experiments.cost import operations

    known: dict[str, float] = {}
    for variant in variants:
        kind = variant.name.split()[0]
        if kind not in known:
            known[kind] = operations(lambda one=variant: one.run(inputs))
        variant.operations = known[kind]
        variant.wall.clear()
        variant.cpu.clear()


def compare(variants: Sequence[Variant], inputs: list[dict], rounds: int, threads: int) -> None:
    """Print a line a variant; ratios are to the first R50-FPN's wall time."""
    import torch

    from bccd_d2.experiments.cost import share_of_peak

    torch.set_num_threads(threads)
    count_operations(variants, inputs)
    for number in range(rounds + 1):
        for variant in variants:
            if not variant.failure:
                variant.run(inputs)
            if number == 0:
                variant.wall.clear()
                variant.cpu.clear()
    peer = next((v for v in variants if v.name.startswith("R50")), None)
    for variant in variants:
        head = f"| {threads} | {variant.name} |"
        if variant.failure:
            print(f"{head} skipped: {variant.failure} |")
            continue
        wall, cpu = min(variant.wall), min(variant.cpu)
        ratio = f"{min(peer.wall) / wall:.2f}" if peer and peer.wall else ""
        ratio_cpu = f"{min(peer.cpu) / cpu:.2f}" if peer and peer.cpu else ""
        speed = variant.operations / wall
        share = share_of_peak(speed, variant.precision) if variant.device != "cpu" else None
        used = f"{speed / 1e12:.3g}" + ("" if share is None else f" ({100 * share:.1f}%)")
        print(f"{head} {variant.masks} | {len(inputs) / wall:.2f} | {wall:.3f} | {cpu:.3f} | "
              f"{ratio} | {ratio_cpu} | {used} |", flush=True)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or the split."""
    args = get_parser().parse_args(argv)
    import torch

    from bccd_d2.config.load import load_config

    scale = load_config(args.config_file, args.options).INPUT.IMAGE_SCALE
    inputs = picture(scale) * args.batch
    peer = None if args.no_peer else peer_model(args.cells, args.device)
    if args.device != "cpu":
        args.threads = args.threads[:1]
        print(f"{torch.cuda.get_device_name()}, batches of {args.batch}")
    if args.split:
        torch.set_num_threads(1)
        sides = [
            Variant("ours fp32", our_model(args), device=args.device),
            Variant("ours bf16", our_model(args), "bf16", device=args.device),
        ]
        peers = [Variant("R50-FPN fp32", peer, device=args.device)] if peer else []
        split([*sides, *peers], inputs, args.rounds)
        return 0
    print("| threads | | masks | images a second | s | CPU s | ratio | ratio of CPU s | TFLOP/s |")
    print("| --- " * 9 + "|")
    for threads in args.threads:
        listed = variants_of(lambda: our_model(args), args)
        if peer is not None:
            peers = [Variant(f"R50-FPN {precision}", peer, precision, device=args.device)
                     for precision in ("fp32", "bf16")]  # fmt: skip
            listed = [*peers, *listed]
        compare(listed, inputs, args.rounds, threads)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
