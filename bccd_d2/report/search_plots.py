"""Pictures of a hyper-parameter search, drawn by Optuna."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

logger = logging.getLogger(__name__)

# PED-ANOVA compares the best share of trials with the rest. Its own 10% is one trial of a dozen; on
# a known function, 14 trials and 12 seeds, that named the decisive parameter 3 times, half 9 times.
BEST_SHARE = 0.5


def draw_search(study: optuna.Study, folder: str | Path) -> list[Path]:
    """Write importances.png, history.png and curves.png; answers what was written.

    Importances say how much the better half of the complete trials differs from the rest in each
    parameter (PED-ANOVA, Watanabe et al., arXiv 2304.10255); over a dozen trials they are a hint,
    no more. Without two complete trials of different value there are none.
    """
    folder = Path(folder)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        drawn = {
            "history": plots.plot_optimization_history(study),
            "curves": plots.plot_intermediate_values(study),
        }
        if len({trial.value for trial in complete}) > 1:
            evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
            drawn["importances"] = plots.plot_param_importances(study, evaluator=evaluator)
        else:
            logger.warning("no importances: fewer than two complete trials of different value")
    written = []
    for name, axes in drawn.items():
        figure: Any = axes.figure
        figure.set_size_inches(10, 5)
        figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        figure.clear()
        written.append(folder / f"{name}.png")
    return written
