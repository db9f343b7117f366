"""Tuning in the background of a study: the programs of its front, one after the other, while others explore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plena.api.tune import Tuned, Work
from plena.compiler.cache import Cache
from plena.compiler.tuning.database import TuningDatabase
from plena.compiler.tuning.tuner import require_tunable
from plena.errors import PlenaError
from plena.exploring.explore import source_of
from plena.exploring.needs import require_libraries
from plena.exploring.objectives import Objectives
from plena.exploring.space import Space, identity
from plena.exploring.storage import FACTS, read, refusals, url_of, user_cache
from plena.exploring.study import Study
from plena.exploring.worker import Task, call_of, digest_of
from plena.kernels.schedule import Schedule
from plena.machine.target import Target

SLICE_SECONDS = 10.0
"""How long one program is tuned before the next one gets its turn."""

WAIT_SECONDS = 1.0
"""Between two looks at a study that has no program yet."""


def tune_study(
    model_factory: Callable[[], Any] | str,
    storage: str | Path,
    *,
    tuning: str | Path,
    seconds: float = 600.0,
    seed: int = 0,
    news: Callable[[Tuned], None] | None = None,
) -> list[Tuned]:
    """Improves the schedules of the programs on the front of a study, also of one that is under way (docs/tuning.md).

    Args:
        model_factory: that of the study.
        storage: of the study; it is only read.
        tuning: the database, the one that the study has for its programs to come.
        seconds: how long; nothing ends it before.
        seed: of the chance.
        news: called with what became of a program after each of its turns.

    Returns:
        what became of each program, as of its last turn.

    Raises:
        PlenaError: a library is missing, there is no such study, it is one of another model, or as of `plena.tune`.
    """
    require_libraries()
    database = TuningDatabase(tuning, make=True)
    study = _study(model_factory, storage)
    deadline = time.monotonic() + seconds
    turns: dict[str, _Turns] = {}
    while time.monotonic() < deadline:
        with refusals(study.storage):
            for task in _tasks(study):
                key = identity({**task.program_target.settings(), **task.options})
                turns.setdefault(key, _Turns(study, task, database))
        possible = [t for t in turns.values() if t.problem is None]
        if not possible:
            time.sleep(min(WAIT_SECONDS, max(0.0, deadline - time.monotonic())))
            continue
        chosen = min(possible, key=lambda t: t.taken)
        chosen.take(min(deadline, time.monotonic() + SLICE_SECONDS), seed)
        if chosen.tuned is not None and news is not None:
            news(chosen.tuned)
    return [t.tuned for t in turns.values() if t.tuned is not None]


class _Turns:
    """A program of a study, tuned in turns; `taken` of them."""

    def __init__(self, study: Study, task: Task, database: TuningDatabase) -> None:
        self._study, self._task, self._database = study, task, database
        self._work: Work | None = None
        self.taken = 0
        self.tuned: Tuned | None = None
        self.problem: PlenaError | None = None

    def take(self, until: float, seed: int) -> None:
        """Tunes until a time of `time.monotonic`, then keeps what was found."""
        self.taken += 1
        try:
            work = self._work = self._work or self._begun()
        except PlenaError as error:
            self.problem = error
            return
        while time.monotonic() < until:
            work.step(seed)
        self.tuned = work.kept()

    def _begun(self) -> Work:
        options = dict(self._task.options)
        most = options.pop("max_instructions", None)
        for name in ("verify_passes", "calibration", "tuning"):
            options.pop(name, None)
        schedule = Schedule(**options)
        require_tunable(schedule.timing)
        target = self._task.program_target
        target.validate()
        call = call_of(self._study.source)
        return Work(call, target, schedule, most, self._database, Cache(self._study.cache))


def _tasks(study: Study) -> Iterator[Task]:
    """The programs of the front."""
    results = study.results()
    for number in study.front.index:
        point = results[int(number)].point
        yield study.task_of(point, (study.machine_of(point),))


def _study(model_factory: Callable[[], Any] | str, storage: str | Path) -> Study:
    """The study of a storage, to be read.

    Raises:
        PlenaError: there is none, or it is one of another model.
    """
    url = url_of(storage)
    trials = read(url)
    with refusals(url):
        facts: Mapping[str, Any] | None = trials.user_attrs.get(FACTS)
    if facts is None:
        raise PlenaError("its study was not made by plena", url, "Name another storage.")
    source = source_of(model_factory)
    if facts.get("model") not in (None, digest_of(source)):
        raise PlenaError("it holds a study of another model", url, "Name the model that is explored.")
    return Study(
        source.name,
        Space.of(facts["space"]),
        Objectives.of(facts["objectives"], facts.get("constraints", ())),
        Target().with_settings(facts["machine"]),
        {name: _option(name, text) for name, text in facts["options"].items()},
        url,
        trials,
        source,
        str(user_cache() / "programs"),
    )


def _option(name: str, text: str) -> Any:
    """An option as it was before it was written down."""
    match name:
        case "max_instructions":
            return int(text)
        case "allow_unsupported" | "verify_passes":
            return text == "True"
        case _:
            return text
