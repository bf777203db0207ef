"""Packaging of bccd_d2; detectron2, which PyPI lacks, comes from tools/install_detectron2.py."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "bccd_d2/__init__.py").read_text()).group(1)
README = HERE / "README.md"

REPORT = ["jinja2>=3.1", "matplotlib>=3.8", "pyyaml>=6"]
APP = ["gradio>=6"]
TABLE = ["pandas>=2"]
TIFF = ["imagecodecs>=2023.7"]  # LZW, JPEG and other compressions of large TIFFs
TUNE = ["matplotlib>=3.8", "optuna>=4", "pyyaml>=6"]
DEV = ["mypy>=2.4", "pytest>=8", "pytest-xdist>=3.6", "ruff>=0.6", "selenium>=4.20", "shapely>=2"]

setup(
    name="bccd_d2",
    version=VERSION,
    description="Cell instance segmentation of blood smears on detectron2 with pathology ViTs",
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
    entry_points={"console_scripts": ["bccd = bccd_d2.cli:main"]},
    python_requires=">=3.10,<3.13",
    install_requires=[
        "faster-coco-eval>=1.6",
        "numpy>=1.26",
        "opencv-python-headless>=4.8",
        "pillow>=10",
        "pycocotools>=2.0.7",
        "safetensors>=0.4",
        "scikit-image>=0.22",
        "scipy>=1.11",
        "tensorboard>=2.14",
        "tifffile>=2023.7",
        "timm>=1.0.21",
        "torch>=2.4",
        "torchstain>=1.3",
        "torchvision>=0.19",
        "tqdm>=4.66",
    ],
    extras_require={
        "report": REPORT,
        "app": APP,
        "table": TABLE,
        "tiff": TIFF,
        "tune": TUNE,
        "dev": DEV + REPORT + TUNE + APP + TABLE,
    },
)
