"""Open a page on this computer that finds the cells of an image you drop on it.

bccd app
bccd app --weights output/cpu_tiny_maskrcnn --port 8000
bccd app --save-to corrected

Outlines, counts, a threshold to move, a cell's measurements under the pointer, tools to correct the
outlines, downloads. With --save-to what you correct is saved there, and the page can teach the
model with it. Needs Gradio: pip install 'bccd_d2[app]'.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import signal
import threading
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("app", __doc__)
    common.add_model(parser)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to bind (default 127.0.0.1: this computer "
        "only; 0.0.0.0 lets the network in, without a password)",
    )
    add("--port", type=int, default=0, help="default: the first free one from 7860")
    add("--max-upload-mb", type=float, default=100, help="largest file (default 100)")
    add("--max-megapixels", type=float, default=40, help="largest image (default 40)")
    add("--max-seconds", type=float, default=600, help="for finding an image's cells (default 600)")
    add("--max-memory-gb", type=float, default=8, help="of model and image (default 8)")
    add(
        "--save-to",
        type=Path,
        metavar="FOLDER",
        help="where corrected images, label images, COCO and the trail of corrections go",
    )
    add("--open", action="store_true", help="show the page in the browser")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C; 0 when stopped, 2 when what was given cannot work."""
    if importlib.util.find_spec("gradio") is None:
        raise ModuleNotFoundError("gradio is missing", name="gradio")
    from bccd_d2 import load_pretrained
    from bccd_d2.app.server import ServeOptions, serve
    from bccd_d2.app.teach import Bench, FineTune
    from bccd_d2.app.upload import Limits

    limits = Limits(
        args.max_upload_mb,
        args.max_megapixels,
        seconds=args.max_seconds,
        memory_gb=args.max_memory_gb,
    )
    bench = Bench()
    if args.save_to is not None:
        with common.writing(args.save_to, "the page"):
            pass
        teacher = FineTune(args.weights, args.config_file, args.device)
        bench = Bench(args.save_to, teacher)
    options = ServeOptions(args.host, args.port, args.open, bench)
    load = functools.partial(
        load_pretrained, args.weights, config_file=args.config_file, device=args.device
    )
    served = serve(load, limits, options)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print(f"{served.name} at {served.url} (Ctrl-C stops it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        served.close()
