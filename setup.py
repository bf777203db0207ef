"""Packaging of bccd_d2: what predicts and reports is the core; training is the extra ``train``.

detectron2, which PyPI lacks and training needs, comes from tools/install_detectron2.py.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "bccd_d2/__init__.py").read_text()).group(1)
README = HERE / "README.md"

TRAIN = [
    "onnx>=1.17",  # it and onnxscript: model files carry their network
    "onnxscript>=0.5",
    "tensorboard>=2.14",
    "timm>=1.0.21",
    "torch>=2.4",  # 2.6 to export a model
    "torchvision>=0.19",
]
OPENVINO = ["openvino>=2024.4"]
APP = ["gradio>=6"]
TABLE = ["pandas>=2"]
TIFF = ["imagecodecs>=2023.7"]  # LZW, JPEG and other compressions of large TIFFs
TUNE = ["matplotlib>=3.8", "optuna>=4"]
DEV = ["mypy>=2.4", "pytest>=8", "pytest-xdist>=3.6", "ruff>=0.6", "selenium>=4.20", "shapely>=2"]

setup(
    name="bccd_d2",
    version=VERSION,
    description="Outlines, counts and measures the cells of blood smears; trains on detectron2",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
    keywords="blood smear, cell segmentation, detectron2, vision transformer, BCCD",
    # An installation holds the configs as bccd_d2/configs, see bccd_d2/config/files.py.
    packages=[*find_packages(include=["bccd_d2", "bccd_d2.*"]), "bccd_d2.configs"],
    package_dir={"bccd_d2.configs": "configs"},
    package_data={
        "bccd_d2": [
            "**/*.json", "**/*.yaml", "**/*.html", "app/*.css", "app/*.js", "models/pretrained/*",
        ],
        "bccd_d2.configs": ["**/*.yaml"],
    },
    entry_points={
        "console_scripts": ["bccd = bccd_d2.cli:main"],
        "napari.manifest": ["bccd_d2 = bccd_d2.plugins:napari.yaml"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=[
        "faster-coco-eval>=1.6",
        "jinja2>=3.1",
        "numpy>=1.26",
        "onnxruntime>=1.20",
        "opencv-python-headless>=4.9",
        "pillow>=10.1",
        "pycocotools>=2.0.7",
        "pyyaml>=6",
        "safetensors>=0.4",
        "scikit-image>=0.22",
        "scipy>=1.11",
        "tifffile>=2023.7",
        "torchstain>=1.3",
        "tqdm>=4.66",
    ],
    extras_require={
        "train": TRAIN,
        "openvino": OPENVINO,
        "app": APP,
        "table": TABLE,
        "tiff": TIFF,
        "tune": TUNE,
        "dev": DEV + TRAIN + TUNE + APP + TABLE,
    },
)
