"""Put a working detectron2 into this Python environment, or report the one that is there.

A detectron2 that can be imported (conda-forge's, or upstream's own build) is used as it is. Where
there is none, version 0.6 is built as a pure-Python wheel from the source archive on PyPI: its
sha256 is checked, then each mend below must match exactly as often as counted, or nothing is
installed. Compiled ops are left out: torchvision has the ones an axis-aligned detector uses.

    python tools/install_detectron2.py            # install when missing
    python tools/install_detectron2.py --check    # report only; exit code 1 when missing
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

REQUIREMENT = "pb1-detectron2==0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
TO_RUN = "python tools/install_detectron2.py"


class Mend(NamedTuple):
    """Replace ``old`` by ``new`` in ``file``, which must hold ``old`` exactly ``times`` times."""

    file: str
    old: str
    new: str
    times: int


_NEEDS_OPS = "from detectron2 import _C\n"
_OPS_OR_ERROR = """try:
    from detectron2 import _C
except ImportError:
    from detectron2._missing_ops import MissingOps

    _C = MissingOps()
"""
_FAST_COCO = "from detectron2.evaluation.fast_eval_api import COCOeval_opt\n"
_FAST_OR_PLAIN_COCO = """try:
    from detectron2.evaluation.fast_eval_api import COCOeval_opt
except ImportError:
    COCOeval_opt = COCOeval
"""
_CAFFE2 = "from .api import *\n"
_CAFFE2_OR_NOTHING = """try:
    from .api import *
except ImportError:  # caffe2 left PyTorch; tracing and scripting work without it
    pass
"""
_RESOURCE = """pkg_resources.resource_filename(
        "detectron2.model_zoo", os.path.join("configs", config_path)
    )"""

# numpy 1.24 removed the aliases np.bool, np.int, np.float and np.str, Pillow 10 Image.LINEAR,
# setuptools 82 pkg_resources, PyTorch 2.4 caffe2; the compiled detectron2._C is not built at all.
MENDS = (
    Mend("detectron2/data/transforms/transform.py", "Image.LINEAR", "Image.BILINEAR", 1),
    Mend("detectron2/data/build.py", "dtype=np.int\n", "dtype=int\n", 1),
    Mend("detectron2/data/build.py", "dtype=np.int)", "dtype=int)", 1),
    Mend("detectron2/data/datasets/pascal_voc.py", "dtype=np.str)", "dtype=str)", 1),
    Mend("detectron2/evaluation/pascal_voc_evaluation.py", "(np.bool)", "(bool)", 2),
    Mend("detectron2/evaluation/sem_seg_evaluation.py", "dtype=np.int)", "dtype=int)", 2),
    Mend("detectron2/evaluation/sem_seg_evaluation.py", "dtype=np.float)", "dtype=float)", 2),
    Mend("detectron2/evaluation/sem_seg_evaluation.py", "(np.float)", "(float)", 3),
    Mend("detectron2/structures/masks.py", "(np.bool)", "(bool)", 2),
    Mend("detectron2/structures/masks.py", "dtype=np.bool)", "dtype=bool)", 1),
    Mend("detectron2/utils/visualizer.py", "(np.bool)", "(bool)", 3),
    Mend("detectron2/utils/video_visualizer.py", "dtype=np.bool)", "dtype=bool)", 1),
    Mend(
        "detectron2/model_zoo/model_zoo.py",
        "import pkg_resources\n",
        "from importlib import resources\n",
        1,
    ),
    Mend(
        "detectron2/model_zoo/model_zoo.py",
        _RESOURCE,
        'str(resources.files("detectron2.model_zoo").joinpath("configs", config_path))',
        1,
    ),
    Mend("detectron2/layers/deform_conv.py", _NEEDS_OPS, _OPS_OR_ERROR, 1),
    Mend("detectron2/layers/rotated_boxes.py", _NEEDS_OPS, _OPS_OR_ERROR, 1),
    Mend("detectron2/layers/roi_align_rotated.py", _NEEDS_OPS, _OPS_OR_ERROR, 1),
    Mend("detectron2/evaluation/coco_evaluation.py", _FAST_COCO, _FAST_OR_PLAIN_COCO, 1),
    Mend("detectron2/export/__init__.py", _CAFFE2, _CAFFE2_OR_NOTHING, 1),
)

MISSING_OPS = '''"""Stands in for the compiled module detectron2._C, which this build leaves out."""


class MissingOps:
    """Answers every op with an error that says where a build with compiled ops comes from."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(
            f"detectron2._C.{name} needs compiled ops, which this pure-Python build lacks. "
            "Install detectron2 from conda-forge or build it from upstream's source to use it."
        )
'''

# What detectron2 0.6 imports at run time. Its own list also pins an old black and names future
# and pydot, which nothing used here needs.
SETUP = """from setuptools import find_packages, setup

projects = {
    "detectron2.projects.point_rend": "projects/PointRend/point_rend",
    "detectron2.projects.deeplab": "projects/DeepLab/deeplab",
    "detectron2.projects.panoptic_deeplab": "projects/Panoptic-DeepLab/panoptic_deeplab",
}
setup(
    name="detectron2",
    version="0.6",
    description="detectron2 0.6 without compiled ops, mended for current numpy and Pillow",
    url="https://github.com/facebookresearch/detectron2",
    license="Apache-2.0",
    packages=find_packages(include=["detectron2", "detectron2.*"]) + list(projects),
    package_dir=projects,
    python_requires=">=3.10",
    install_requires=[
        "Pillow>=7.1",
        "cloudpickle",
        "fvcore>=0.1.5,<0.1.6",
        "hydra-core>=1.1",
        "iopath>=0.1.7,<0.1.10",
        "matplotlib",
        "numpy",
        "omegaconf>=2.1",
        "pycocotools>=2.0.2",
        "tabulate",
        "tensorboard",
        "termcolor>=1.1",
        "tqdm>4.29.0",
        "yacs>=0.1.8",
    ],
)
"""

_PROBE = """
import importlib.util, json
import torch, torchvision
import detectron2, detectron2.engine, detectron2.evaluation
print(json.dumps({
    "detectron2": getattr(detectron2, "__version__", "unknown"),
    "folder": list(detectron2.__path__)[0],
    "compiled ops": "yes" if importlib.util.find_spec("detectron2._C") else "no",
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "CUDA": torch.version.cuda if torch.cuda.is_available() else "not available",
    "GPUs": torch.cuda.device_count(),
}))
"""


class InstallError(RuntimeError):
    """The installation stopped; the message says why and what to do."""


def get_parser() -> argparse.ArgumentParser:
    """Command line of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="report what is installed, and stop")
    parser.add_argument("--force", action="store_true", help="replace a detectron2 that is there")
    parser.add_argument("--sdist", type=Path, help=f"source archive of {REQUIREMENT}, for offline")
    parser.add_argument("--constraint", type=Path, help="pip constraints for its dependencies")
    parser.add_argument("--wheel-dir", type=Path, help="only build the wheel, into this folder")
    return parser


def probe() -> dict | None:
    """Versions of the detectron2 this interpreter imports; None when there is none.

    Raises:
        InstallError: detectron2 (or torch) is installed but its import fails.
    """
    if importlib.util.find_spec("detectron2") is None:
        return None
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InstallError(
            f"detectron2 is installed but importing it fails: {reason}\n"
            "Repair it (upstream's main needs setuptools<81), or replace it by the pure-Python "
            f"0.6: {TO_RUN} --force"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def check_sha256(path: Path, expected: str = SHA256) -> None:
    """Compare the archive's sha256 with ``expected``.

    Raises:
        InstallError: it differs, so the archive is not the one the mends were written for.
    """
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != expected:
        raise InstallError(f"{path}: sha256 is {got}, wanted {expected}. Download it again.")


def download(folder: Path) -> Path:
    """Fetch the source archive into ``folder`` with pip, which also checks its hash."""
    missing = [m for m in ("torch", "setuptools") if importlib.util.find_spec(m) is None]
    if missing:
        raise InstallError(f"install {' and '.join(missing)} first: pip install torch setuptools")
    wanted = folder / "requirement.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    where = ["-r", str(wanted), "-d", str(folder)]
    _pip("download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", *where)
    return next(folder.glob("pb1*detectron2-0.6.tar.gz"))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the archive below ``folder`` and return its top folder."""
    with tarfile.open(archive) as tar:
        top = Path(tar.getnames()[0]).parts[0]
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder)
    return folder / top


def apply_mends(root: Path, mends: Sequence[Mend] = MENDS) -> None:
    """Change the unpacked source in place, all mends or none.

    Raises:
        InstallError: a file is missing or holds the old text more or less often than counted.
    """
    changed: dict[Path, str] = {}
    for number, mend in enumerate(mends, start=1):
        path = root / mend.file
        if not path.is_file():
            raise InstallError(f"mend {number} of {len(mends)}: {mend.file} is not in the source")
        text = changed.get(path) or path.read_text(encoding="utf-8")
        found = text.count(mend.old)
        if found != mend.times:
            raise InstallError(
                f"mend {number} of {len(mends)}: {mend.file} holds {mend.old.strip()!r} {found} "
                f"times, wanted {mend.times}. The source is not the one this was written for."
            )
        changed[path] = text.replace(mend.old, mend.new)
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")


def build_wheel(archive: Path, folder: Path, wheel_dir: Path) -> Path:
    """Mend the source below ``folder`` and write ``detectron2-0.6-py3-none-any.whl``."""
    check_sha256(archive)
    root = unpack(archive, folder)
    apply_mends(root)
    (root / "detectron2" / "_missing_ops.py").write_text(MISSING_OPS, encoding="utf-8")
    (root / "setup.py").write_text(SETUP, encoding="utf-8")
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(wheel_dir), str(root))
    return wheel_dir / "detectron2-0.6-py3-none-any.whl"


def install(args: argparse.Namespace) -> Path:
    """Build the wheel and, unless only a wheel was asked for, install it; returns the wheel."""
    with tempfile.TemporaryDirectory(prefix="detectron2-") as name:
        folder = Path(name)
        archive = args.sdist or download(folder)
        if not archive.is_file():
            raise InstallError(f"--sdist {archive}: no such file")
        wheel = build_wheel(archive, folder, args.wheel_dir or folder)
        if not args.wheel_dir:
            again = ["--force-reinstall", "--no-deps"] if args.force else []
            limits = ["-c", str(args.constraint)] if args.constraint else []
            _pip("install", *limits, str(wheel))
            if again:
                _pip("install", *again, str(wheel))
    return wheel


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    if subprocess.run(command).returncode:
        raise InstallError(f"pip failed: {' '.join(command)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Install or report; 0 when a working detectron2 is there, else 1."""
    args = get_parser().parse_args(argv)
    try:
        keep = args.check or not (args.force or args.wheel_dir)
        found = probe() if keep else None
        if found is None and not args.check:
            wheel = install(args)
            if args.wheel_dir:
                print(f"wrote {wheel}")
                return 0
            found = probe()
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    if found is None:
        print(f"detectron2 is not installed. Run: {TO_RUN}", file=sys.stderr)
        return 1
    for name, value in found.items():
        print(f"{name + ':':14}{value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
