"""Results of a prediction, made of drawn smears and their own masks."""

from __future__ import annotations

import pytest

from bccd_d2.synth.smear import draw_smear

from .results_folder import write_results


@pytest.fixture(scope="session")
def smears():
    """Of one lamp; seeds whose smears have neither a scale bar nor another light."""
    seeds = (0, 1, 5, 7, 8, 9)
    return [draw_smear(seed=s, size=(480, 640), n_cells=22, style="grey") for s in seeds]


@pytest.fixture
def results(smears, tmp_path):
    return write_results(tmp_path, [s.image for s in smears], [s.label_map for s in smears])
