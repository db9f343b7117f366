"""The search itself: which points are still to be tried, their tasks at the workers, what came of them in the study."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError, SettingsError
from plena.exploring.cluster import START_SECONDS, revive
from plena.exploring.figures import untimed
from plena.exploring.objectives import Objectives
from plena.exploring.points import Result, distribution, mended, record, recorded, tell
from plena.exploring.space import Point, Space, identity, options_of, scaled, settings_of
from plena.exploring.worker import Outcome, Source, Task, evaluate
from plena.machine.target import Target

if TYPE_CHECKING:
    from distributed import Client, Future
    from optuna.study import Study as OptunaStudy
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
        base: the machine that settings change; programs are chosen for its latencies.
        options: of `plena.compile`, the same everywhere.
        cache: folder of what workers know already.
        deadline: of `time.monotonic`, None for no end.
        news: called with every result.
    """

    client: Client
    study: OptunaStudy
    space: Space
    objectives: Objectives
    base: Target
    options: Mapping[str, Any]
    source: Source
    cache: str
    deadline: float | None
    news: Callable[[Result], None]
    tried: set[str] = field(default_factory=set[str])

    def machine(self, point: Point) -> Target:
        """The machine of a point.

        Raises:
            SettingsError: there can be none.
        """
        target = scaled(self.base, settings_of(point))
        target.validate()
        return target

    def task(self, points: Sequence[Point], targets: Sequence[Target]) -> Task:
        """The task of points that one program serves."""
        options = {**self.options, **options_of(points[0])}
        return Task(untimed(targets[0], self.base), options, tuple(targets), self.objectives, self.cache)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.monotonic() > self.deadline


def search(about: Search, trials: int | None, seed: int) -> None:
    """Tries points until there are no more, `trials` were evaluated, or the time is up.

    Raises:
        PlenaError: the model cannot be loaded, or the scheduler went away; the study keeps what came before.
    """
    lost = mended(about.study, about.objectives)
    about.tried.update(identity(result.point) for result in recorded(about.study))
    whole = trials is None or trials >= len(about.space)
    plan = _Grid(about) if whole else _Sampled(about, trials or 0, seed, lost)
    _run(about, plan)


@dataclass(frozen=True)
class Job:
    """Points that one program serves, with their machines; `trial` where a sampler proposed the only one."""

    points: tuple[Point, ...]
    targets: tuple[Target, ...]
    trial: Trial | None = None


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
                task = about.task(job.points, job.targets)
                future = about.client.submit(evaluate, about.source, task, pure=False)
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
    """Records what came of a job; if a worker died of several points, they are tried one by one."""
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
        result = Result(point, outcome.figures, outcome.problem, False, outcome.seconds)
        if job.trial is None:
            record(about.study, about.space, about.objectives, result)
        else:
            tell(about.study, about.objectives, job.trial, result)
        about.news(result)


class _Grid(_Plan):
    """Every point that was not tried, those of one program together."""

    def __init__(self, about: Search) -> None:
        groups: dict[Any, list[tuple[Point, Target]]] = {}
        for point in about.space.points():
            if identity(point) in about.tried:
                continue
            try:
                target = about.machine(point)
            except SettingsError as error:
                skipped = Result(point, {}, str(error), True, 0.0)
                record(about.study, about.space, about.objectives, skipped)
                about.news(skipped)
                continue
            key = untimed(target, about.base), identity(options_of(point))
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

    def __init__(self, about: Search, trials: int, seed: int, lost: Sequence[Point]) -> None:
        from optuna.samplers import NSGAIISampler, TPESampler

        self._about = about
        before = recorded(about.study)
        self._left = trials - sum(not result.skipped for result in before)
        self._chance = random.Random(seed + len(before))
        sampler = TPESampler if len(about.objectives.names) == 1 else NSGAIISampler
        about.study.sampler = sampler(seed=seed + len(before))
        self._distributions = {key: distribution(v) for key, v in about.space.values.items()}
        for point in lost:
            if set(point) == set(about.space.values):
                about.study.enqueue_trial(point)

    def next(self) -> Job | None:
        from optuna.trial import TrialState

        about, vain = self._about, 0
        while self._left > 0 and len(about.tried) < len(about.space):
            if vain >= STALE:
                about.study.enqueue_trial(self._unseen())
                vain = 0
            trial = about.study.ask(self._distributions)
            point = {key: trial.params[key] for key in about.space.values}
            if identity(point) in about.tried:
                about.study.tell(trial, state=TrialState.FAIL)
                vain += 1
                continue
            about.tried.add(identity(point))
            try:
                target = about.machine(point)
            except SettingsError as error:
                skipped = Result(point, {}, str(error), True, 0.0)
                tell(about.study, about.objectives, trial, skipped)
                about.news(skipped)
                vain += 1
                continue
            self._left -= 1
            return Job((point,), (target,), trial)
        return None

    def _unseen(self) -> Point:
        """A point that was not tried; there is one."""
        space = self._about.space
        for _ in range(DRAWS):
            point = {key: self._chance.choice(values) for key, values in space.values.items()}
            if identity(point) not in self._about.tried:
                return point
        return next(p for p in space.points() if identity(p) not in self._about.tried)
