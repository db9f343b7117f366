"""Giving up points on the way: their error on the first samples is known long before that on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError
from plena.exploring.objectives import Objectives
from plena.exploring.points import Result

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.trial import Trial

FIRST = 5
"""Points that are evaluated whole before one is pruned."""


def pruner() -> BasePruner:
    """Optuna's: a point goes if its error is above the median of those before it on as many samples."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=FIRST)


def pruned_because(objectives: Objectives, trial: Trial, result: Result, samples: int) -> str | None:
    """Why a point goes after its first samples: it breaks a constraint, or the pruner says so; None if it stays."""
    broken = [c for c in objectives.broken(result.figures) if c.figure != "error"]
    if broken:
        return ", ".join(f"{c.figure} is {_shown(result.figures[c.figure])}, not {c}" for c in broken)
    error = float(result.figures["error"])  # type: ignore[arg-type]
    trial.report(error, samples)
    return f"error {error:.4g} so far" if trial.should_prune() else None


def require_prunable(objectives: Objectives, samples: Sequence[Any] | None) -> None:
    """Whether points have figures on the way.

    Raises:
        PlenaError: there are several objectives, another one than the error, or one sample.
    """
    first, *others = names = objectives.names
    if others:
        raise PlenaError(
            f"Optuna prunes with one objective only, these are {', '.join(names)}",
            "pruning",
            'Make the others constraints: objectives=["error"], constraints=["bytes <= 2e6"].',
        )
    if first != "error":
        raise PlenaError(
            f"{first} is known at once: only the error has figures on the way, those of the first samples",
            "pruning",
            "Leave it out.",
        )
    if samples is None or len(samples) < 2:
        raise PlenaError(
            "between samples points are pruned, so that there must be two at least",
            "pruning",
            "Give samples=[...], inputs of the kind that will come.",
        )


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
