"""Add graphs of 8-bit integers to a model file: half the time on CPUs with VNNI.

bccd export int8 output/models/mine.safetensors --images my/images --out output/int8
bccd predict --weights output/int8/mine.safetensors --precision int8 --images more --out results

The images say in which ranges the networks' values lie: give some of every kind that the model is
for, none that it is judged on. The file's other networks and its tensors stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("export int8", __doc__)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file with a network, or the name of a shipped one")
    add("--images", nargs="+", required=True, metavar="PATH", help="files, folders or patterns")
    add("--count", type=int, default=32, help="at most so many, evenly spread (default 32)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder for the file and its registry"
    )
    where.add_argument("--ship", action="store_true", help="change the shipped file itself")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    import numpy as np

    from bccd_d2.inference.batch.sources import find_images
    from bccd_d2.io.atomic import write_text_atomic
    from bccd_d2.io.images import read_image
    from bccd_d2.models.backend import model_path
    from bccd_d2.models.file import file_sha256, register_model
    from bccd_d2.models.int8 import Recorder, add_int8
    from bccd_d2.segmenter import Segmenter, load_pretrained

    path = model_path(args.model)
    files = find_images(args.images).images
    chosen = np.unique(np.linspace(0, len(files) - 1, min(args.count, len(files))).round())
    files = [files[int(index)] for index in chosen]
    recorder = Recorder(path)
    model, before = Segmenter([recorder.model]), []
    for file in files:
        before.append(len(model.predict(read_image(file))))
        recorder.keep()
    out = path if args.ship else args.out / path.name
    with common.writing(out.parent, "export"):
        old = file_sha256(path)
        add_int8(path, recorder.samples, out)
        new = register_model(out)["sha256"]
        for beside in out.parent.glob(f"{out.stem}.*"):  # its card and its measured miscounts
            if beside.suffix in (".md", ".json"):
                text = beside.read_text(encoding="utf-8")
                write_text_atomic(beside, text.replace(old, new))
    whole = load_pretrained(out, precision="int8", device="cpu")
    after = [len(whole.predict(read_image(file))) for file in files]
    print(f"cells of these {len(files)} images: {sum(before)} in fp32, {sum(after)} in int8")
    print(f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB")
