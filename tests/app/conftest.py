"""A model that is quick and known, and a smear for it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bccd_d2.synth.smear import draw_smear

# Spawned processes find the stand-in by its module's name, so it must be on their path too.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from page_stand_in import DarkParts


@pytest.fixture
def model() -> DarkParts:
    return DarkParts()


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return draw_smear(seed=4, size=(300, 400), n_cells=10).image
