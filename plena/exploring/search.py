"""The search itself: which points are still to be tried, their tasks at the workers, what came of them in the study."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError, SettingsError
from plena.exploring.cluster import START_SECONDS, revive
from plena.exploring.figures import untimed
from plena.exploring.found import Found
from plena.exploring.points import Result, distribution, mended, record, recorded, tell
from plena.exploring.pruning import pruned_because, pruner
from plena.exploring.space import Point, identity, options_of
from plena.exploring.worker import Outcome, evaluate
from plena.machine.target import Target

if TYPE_CHECKING:
    from distributed import Client, Future
    from optuna.trial import Trial

TOGETHER = 64
"""Points of one program that a worker counts in one task."""

STALE = 10
"""Points in a row that the sampler proposes in vain before one is drawn that was not tried."""

DRAWS = 1000
"""How often a point is drawn at random before all are looked through."""

POLL_SECONDS = 1.0
"""How often the deadline is looked at."""

GO_ON = "Start again with the same storage: finished points are kept."

DIED = "the worker died of it twice; perhaps it takes too much memory"


@dataclass
class Search:
    """What a search is about.

    Attributes:
        deadline: of `time.monotonic`, None for no end.
        news: called with every result.
        samples: where points may be pruned, how many there are; else None.
        first: a point that others are measured by, which a sampler may not miss.
    """

    client: Client
    study: Found
    deadline: float | None
    news: Callable[[Result], None]
    samples: int | None = None
    first: Point | None = None
    tried: set[str] = field(default_factory=set[str])

    def machine(self, point: Point) -> Target:
        """The machine of a point.

        Raises:
            SettingsError: there can be none.
        """
        target = self.study.machine_of(point)
        target.validate()
        return target

    def take_in(self, result: Result, trial: Trial | None = None) -> None:
        """Records a result, as the end of its trial if a sampler proposed it."""
        if trial is None:
            record(self.study.trials, self.study.space, self.study.objectives, result)
        else:
            tell(self.study.trials, self.study.objectives, trial, result)
        self.news(result)

    def skip(self, point: Point, error: SettingsError, trial: Trial | None = None) -> None:
        """Records a point whose machine cannot be."""
        self.take_in(Result(point, {}, str(error), True, 0.0), trial)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.monotonic() > self.deadline


def search(about: Search, trials: int | None, seed: int) -> None:
    """Tries points until there are no more, `trials` were evaluated, or the time is up.

    Raises:
        PlenaError: the model cannot be loaded, or the scheduler went away; the study keeps what came before.
    """
    lost = mended(about.study.trials, about.study.objectives)
    before = recorded(about.study.trials)
    about.tried.update(identity(result.point) for result in before)
    most = len(about.study.space) if trials is None else trials
    whole = most >= len(about.study.space) and about.samples is None
    plan = _Grid(about) if whole else _Sampled(about, most, seed, before, lost)
    _run(about, plan)


@dataclass(frozen=True)
class Job:
    """Points that one program serves, with their machines.

    Attributes:
        trial: where a sampler proposed the only one.
        samples: that its error is of, where it may be pruned between them; None for all.
        seconds: that it has taken already.
        worker: that has its program already.
    """

    points: tuple[Point, ...]
    targets: tuple[Target, ...]
    trial: Trial | None = None
    samples: int | None = None
    seconds: float = 0.0
    worker: str | None = None


class _Plan(ABC):
    """What to evaluate next."""

    @abstractmethod
    def next(self) -> Job | None:
        """The next job; None if there is none for now."""


def _run(about: Search, plan: _Plan) -> None:
    """Keeps every worker at one job."""
    from distributed import wait

    running: dict[Future, Job] = {}
    seen = time.monotonic()
    waiting: deque[Job] = deque()
    try:
        while not about.is_over:
            threads: Any = about.client.nthreads()
            room = max(1, sum(threads.values())) - len(running)
            seen = time.monotonic() if threads else seen
            if time.monotonic() - seen > START_SECONDS:
                raise PlenaError("there is no worker any more", "explore", GO_ON)
            revive(about.client)
            for _ in range(room):
                job = waiting.popleft() if waiting else plan.next()
                if job is None:
                    break
                task = about.study.task_of(job.points[0], job.targets, job.samples)
                where: Any = {"workers": [job.worker], "allow_other_workers": True} if job.worker else {}
                future = about.client.submit(evaluate, about.study.source, task, pure=False, **where)
                running[future] = job
            if not running:
                return
            try:
                with about.client.as_current():  # `wait` knows no other way to get at the client
                    found: Any = wait(list(running), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:
                continue
            for future in found.done:
                waiting.extend(_taken_in(about, future, running.pop(future)))
    finally:
        about.client.cancel(list(running))


def _taken_in(about: Search, future: Future, job: Job) -> Iterator[Job]:
    """Records what came of a job; if a worker died of several points, they are tried one by one, and a point that may
    be pruned goes on with more samples.
    """
    from distributed.scheduler import KilledWorker

    if future.status not in ("finished", "error"):
        raise PlenaError("the scheduler went away", "explore", GO_ON)
    outcomes: list[Outcome] = []
    if future.status == "finished":
        outcomes = future.result()
    else:
        error = future.exception()
        if isinstance(error, PlenaError):
            raise error
        killed = isinstance(error, KilledWorker)
        if killed and len(job.points) > 1:
            for point, target in zip(job.points, job.targets, strict=True):
                yield Job((point,), (target,))
            return
        text = DIED if killed else f"internal error, {type(error).__name__}: {error}"
        outcomes = [Outcome({}, text, 0.0)] * len(job.points)
    for point, outcome in zip(job.points, outcomes, strict=True):
        seconds = job.seconds + outcome.seconds
        result = Result(point, outcome.figures, outcome.problem, False, seconds)
        if job.samples is not None and job.trial is not None and outcome.problem is None:
            assert about.samples is not None
            if job.samples < about.samples:
                why = pruned_because(about.study.objectives, job.trial, result, job.samples)
                if why is None:
                    more = min(2 * job.samples, about.samples)
                    yield replace(job, samples=more, seconds=seconds, worker=outcome.worker)
                    return
                figures = {name: figure for name, figure in result.figures.items() if name != "error"}
                text = f"pruned after {job.samples} of {about.samples} samples: {why}"
                result = Result(point, figures, text, False, seconds, pruned=True)
        about.take_in(result, job.trial)


class _Grid(_Plan):
    """Every point that was not tried, those of one program together."""

    def __init__(self, about: Search) -> None:
        groups: dict[Any, list[tuple[Point, Target]]] = {}
        for point in about.study.space.points():
            if identity(point) in about.tried:
                continue
            try:
                target = about.machine(point)
            except SettingsError as error:
                about.skip(point, error)
                continue
            key = untimed(target, about.study.base), identity(options_of(point))
            groups.setdefault(key, []).append((point, target))
        self._groups = deque(
            group[start : start + TOGETHER]
            for group in groups.values()
            for start in range(0, len(group), TOGETHER)
        )

    def next(self) -> Job | None:
        if not self._groups:
            return None
        group = self._groups.popleft()
        return Job(tuple(point for point, _ in group), tuple(target for _, target in group))


class _Sampled(_Plan):
    """Points that Optuna's sampler proposes: TPE for one objective, NSGA-II for several."""

    def __init__(
        self, about: Search, trials: int, seed: int, before: Sequence[Result], lost: Sequence[Point]
    ) -> None:
        from optuna.samplers import NSGAIISampler, TPESampler

        self._about = about
        study = about.study
        self._left = trials - sum(not result.skipped for result in before)
        self._chance = random.Random(seed + len(before))
        sampler = TPESampler if len(study.objectives.names) == 1 else NSGAIISampler
        study.trials.sampler = sampler(seed=seed + len(before))
        if about.samples is not None:
            study.trials.pruner = pruner()
        self._distributions = {key: distribution(v) for key, v in study.space.values.items()}
        first = [] if about.first is None or identity(about.first) in about.tried else [about.first]
        for point in (*first, *lost):
            if set(point) == set(study.space.values):
                study.trials.enqueue_trial(point)

    def next(self) -> Job | None:
        from optuna.trial import TrialState

        about, space, trials = self._about, self._about.study.space, self._about.study.trials
        vain = 0
        while self._left > 0 and len(about.tried) < len(space):
            if vain >= STALE:
                trials.enqueue_trial(self._unseen())
                vain = 0
            trial = trials.ask(self._distributions)
            point = {key: trial.params[key] for key in space.values}
            if identity(point) in about.tried:
                trials.tell(trial, state=TrialState.FAIL)
                vain += 1
                continue
            about.tried.add(identity(point))
            try:
                target = about.machine(point)
            except SettingsError as error:
                about.skip(point, error, trial)
                vain += 1
                continue
            self._left -= 1
            return Job((point,), (target,), trial, None if about.samples is None else 1)
        return None

    def _unseen(self) -> Point:
        """A point that was not tried; there is one."""
        space = self._about.study.space
        for _ in range(DRAWS):
            point = {key: self._chance.choice(values) for key, values in space.values.items()}
            if identity(point) not in self._about.tried:
                return point
        return next(p for p in space.points() if identity(p) not in self._about.tried)
