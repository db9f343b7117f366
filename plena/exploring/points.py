"""Results of points as trials of the study, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plena.exploring.figures import Figures
from plena.exploring.objectives import Objectives
from plena.exploring.space import Point, Space, Values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial, Trial

ATTRIBUTE = "result"
"""Attribute of a trial that is a point of the study; others proposed a known one, or were lost with their client."""


@dataclass(frozen=True)
class Result:
    """What came of a point.

    Attributes:
        problem: why there are no figures.
        skipped: nothing was compiled, there can be no such machine.
        pruned: it was given up on the way; it has figures, but no error.
        seconds: in a worker; points of one program share the time of its compilation.
    """

    point: Point
    figures: Figures
    problem: str | None
    skipped: bool
    seconds: float
    pruned: bool = False

    def values(self, objectives: Objectives) -> list[float] | None:
        """The objectives, None if there are no figures."""
        if self.problem is not None:
            return None
        return [float(self.figures[name]) for name in objectives.names]  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the point."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 6)}
        if self.problem is None:
            found["figures"] = self.figures
        else:
            found |= {"problem": self.problem, "skipped": self.skipped}
        if self.pruned:
            found |= {"figures": self.figures, "pruned": True}
        return found

    def meets(self, objectives: Objectives) -> bool:
        """Whether there are figures, and they keep all constraints."""
        return self.problem is None and not objectives.broken(self.figures)


def record(study: OptunaStudy, space: Space, objectives: Objectives, result: Result) -> None:
    """Adds a finished trial in one step: a client that dies leaves nothing half done."""
    from optuna.trial import TrialState, create_trial

    values = result.values(objectives)
    study.add_trial(
        create_trial(
            state=TrialState.FAIL if values is None else TrialState.COMPLETE,
            values=values,
            params=result.point,
            distributions={key: distribution(v) for key, v in space.values.items()},
            user_attrs={ATTRIBUTE: result.to_json()},
            constraints=None if values is None else _excesses(objectives, result),
        )
    )


def tell(study: OptunaStudy, objectives: Objectives, trial: Trial, result: Result) -> None:
    """Finishes a trial that the sampler proposed."""
    from optuna.trial import TrialState

    trial.set_user_attr(ATTRIBUTE, result.to_json())
    if result.problem is None or result.pruned:
        for text, excess in _excesses(objectives, result).items():
            trial.set_constraint(text, excess)
    if result.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        _end(study, trial, result.values(objectives))


def _excesses(objectives: Objectives, result: Result) -> dict[str, float]:
    """What Optuna wants to know of constraints: they are kept where this is not above 0."""
    return {str(c): c.excess(result.figures) for c in objectives.constraints if c.figure in result.figures}


def mended(study: OptunaStudy, objectives: Objectives) -> list[Point]:
    """Ends what a client that died left running; the points whose results are lost, to be tried again."""
    from optuna.trial import TrialState

    lost: list[Point] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        found = trial.user_attrs.get(ATTRIBUTE)
        values = None if found is None else _result(trial, found).values(objectives)
        _end(study, trial.number, values)
        if found is None:
            lost.append(dict(trial.params))
    return lost


def _end(study: OptunaStudy, trial: Trial | int, values: list[float] | None) -> None:
    from optuna.trial import TrialState

    if values is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, values)


def distribution(values: Values) -> BaseDistribution:
    """The values of a key as Optuna has them."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(values, range):
        return IntDistribution(values[0], values[-1], step=values.step)
    return CategoricalDistribution(list(values))


def recorded(study: OptunaStudy) -> list[Result]:
    """The points of a study in the order in which they were tried."""
    return [r for r in map(result_of, study.get_trials(deepcopy=False)) if r is not None]


def result_of(trial: FrozenTrial) -> Result | None:
    """The point that a trial is, if it is one and finished."""
    found: Mapping[str, Any] | None = trial.user_attrs.get(ATTRIBUTE)
    return None if found is None or not trial.state.is_finished() else _result(trial, found)


def _result(trial: FrozenTrial, found: Mapping[str, Any]) -> Result:
    return Result(
        dict(trial.params),
        found.get("figures", {}),
        found.get("problem"),
        found.get("skipped", False),
        found["seconds"],
        found.get("pruned", False),
    )
