"""`plena.tune`: a better schedule than `plena.compile` takes time for, kept for later compilations."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plena.api.compile import check_options, emitted_call, require_no_rotation
from plena.api.imported_call import ImportedCall
from plena.compiler.cache import Cache
from plena.compiler.candidate import Candidate
from plena.compiler.known_search import known_search
from plena.compiler.tuning.database import Entry, TuningDatabase
from plena.compiler.tuning.kernel_shape import Question
from plena.compiler.tuning.recipe import Recipe
from plena.compiler.tuning.reuse import REFUSALS, applied, better, goal_of
from plena.compiler.tuning.tuner import Tuner, require_tunable
from plena.driver import run_pipeline, verified_passes
from plena.errors import CompileError, PlenaError, VerificationError
from plena.gc_pause import without_collection
from plena.kernels.schedule import Schedule
from plena.machine.rtl_build import rtl_build
from plena.machine.target import Target
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.progress import counting

MOST_CHECKED = 20_000_000
"""Dynamic instructions up to which a schedule is run and compared with PyTorch before it is kept."""

_WHERE = "tune"


@dataclass(frozen=True)
class Cost:
    """What a program costs: instructions in its text, cycles of the profile that chose it."""

    static: int
    cycles: int

    @staticmethod
    def of(candidate: Candidate) -> Cost:
        """As it was counted."""
        return Cost(candidate.static, candidate.cycles)

    def __str__(self) -> str:
        return f"{self.cycles:,} cycles in {self.static:,} instructions"


@dataclass(frozen=True)
class Tuned:
    """What a tuning gave.

    Attributes:
        about: the kernels in a few words.
        searched: the program of the search.
        known: that of the database before, None if it had none, or none that fits.
        best: the best one now; it is in the database if it is better than that of the search.
        tried: schedules.
        problem: why a better one was not kept.
    """

    about: str
    searched: Cost
    known: Cost | None
    best: Cost
    tried: int
    problem: str | None = None

    @property
    def is_better(self) -> bool:
        """Whether something was found that the database did not have."""
        return self.problem is None and self.best != (self.known or self.searched)

    def __str__(self) -> str:
        before = f"search {self.searched}" + ("" if self.known is None else f", known {self.known}")
        found = f"now {self.best}" if self.is_better else "nothing better"
        why = "" if self.problem is None else f" ({self.problem})"
        return f"{self.about}: {before}; {found} after {self.tried} schedules{why}"


def tune(
    module: Any,
    example_inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tuning: str | Path,
    seconds: float = 60.0,
    trials: int | None = None,
    seed: int = 0,
    target: Target | None = None,
    cache: str | Path | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Tuned:
    """Improves the schedule that a tuning database has for a module (docs/tuning.md).

    Starts from what `plena.compile` finds, or from what the database has if that is better, and tries others by chance.
    What is kept was counted, verified, and for programs of up to 20 million instructions run and compared with PyTorch.

    Args:
        module, example_inputs, kwargs: as of `plena.compile`.
        tuning: the database, made if there is none. Other processes may use it meanwhile.
        seconds: how long to try.
        trials: schedules to try at most; with a number and enough time the same call gives the same schedule.
        seed: of the chance.
        target, cache: as of `plena.compile`.
        progress: whether to show a bar; None means on a terminal.
        options: of `plena.compile`: what the schedule is for.

    Raises:
        PlenaError: as of `plena.compile`; a database that cannot be used, a profile from outside.
    """
    check_options({"target": target, "cache": cache, "tuning": tuning, **options})
    _check_numbers(seconds, trials)
    machine = _machine(target, options)
    most = options.pop("max_instructions", None)
    verify = options.pop("verify_passes", None)
    options.pop("calibration", None)
    schedule = Schedule(**{name: value for name, value in options.items() if value is not None})
    require_tunable(schedule.timing)
    database = TuningDatabase(tuning, make=True)
    known = None if cache is None else Cache(cache)
    with without_collection(), verified_passes(verify):
        call = ImportedCall.of(module, example_inputs, kwargs)
        with counting(int(seconds), "tuning", progress) as advance:
            started = time.monotonic()
            work = Work(call, machine, schedule, most, database, known)
            while (trials is None or work.tried < trials) and time.monotonic() - started < seconds:
                work.step(seed)
                advance(int(time.monotonic() - started))
            return work.kept()


class Work:
    """The tuning of one program: step by step, then kept.

    Args:
        call: the imported module.
        target: a valid machine.
        schedule, max_instructions: what is asked for.
        database: where schedules are kept.
        known: what searches chose.

    Raises:
        PlenaError: there is no program at all.
    """

    def __init__(
        self,
        call: ImportedCall,
        target: Target,
        schedule: Schedule,
        max_instructions: int | None,
        database: TuningDatabase,
        known: Cache | None = None,
    ) -> None:
        self.call, self.database = call, database
        self.schedule, self.max_instructions = schedule, max_instructions
        self._imported = call.fresh()
        self.kernels = self._imported.module
        target.attach(self.kernels)
        run_pipeline(self.kernels, TENSOR_PIPELINE)
        self.question = Question.of(self.kernels, schedule, max_instructions)
        source = call.text_digest if known is not None else ""
        self.found = known_search(self.kernels, schedule, max_instructions, known, source)
        self.goal = goal_of(schedule, max_instructions, target)
        self.tried, self.problem = 0, None
        self.entry: Entry | None = None
        self.known = self._read()
        start = self.known if self.known is not None and self._is_better(self.known) else self.found
        self._tuner = Tuner(self.kernels, schedule, max_instructions, start, random.Random())
        self._stored = start

    def step(self, seed: int) -> bool:
        """Tries one schedule; whether it is better than those before."""
        self._tuner.chance.seed(f"{seed} {self.tried}")
        self.tried += 1
        return self._tuner.step()

    def kept(self) -> Tuned:
        """Writes the best schedule into the database, unless that has a better one by now.

        Raises:
            PlenaError: the database cannot be written.
        """
        best = self._tuner.best
        known = None if self.known is None else Cost.of(self.known)
        problem = None
        if best is not self._stored:
            try:
                self._check(best)
            except (PlenaError, *REFUSALS) as error:
                problem = f"not kept: {error}"
            else:
                best = self._write(best)
        return Tuned(self.question.about, Cost.of(self.found), known, Cost.of(best), self.tried, problem)

    def _is_better(self, candidate: Candidate) -> bool:
        return better(self.goal, candidate, self.found)

    def _read(self) -> Candidate | None:
        """What the database has, if it fits."""
        self.entry = self.database.get(self.question.key)
        if self.entry is None:
            return None
        try:
            return applied(self.entry, self.kernels, self.schedule, self.max_instructions)
        except REFUSALS:
            return None

    def _write(self, best: Candidate) -> Candidate:
        """Keeps a program; the better one if another process has kept one meanwhile."""
        recipe = json.dumps(Recipe.of(best, self.schedule).to_json(), sort_keys=True)
        entry = Entry(recipe, self.schedule.timing, best.static, best.cycles, self.question.about)
        while not self.database.put(self.question.key, entry, self.entry):
            other = self._read()
            if other is not None and not better(self.goal, best, other):
                self._stored = other
                return other
        self.entry, self._stored = entry, best
        return best

    def _check(self, best: Candidate) -> None:
        """Whether a program is right: statically, and on the emulator unless it runs too long.

        Raises:
            PlenaError: it is not.
        """
        program = emitted_call(best, self._imported, self.call)
        if program.stats().dynamic > MOST_CHECKED:
            return
        if not program.check(quiet=True).passed:
            raise VerificationError("its results are not those of PyTorch", _WHERE)


def _machine(target: Target | None, options: dict[str, Any]) -> Target:
    """The machine with the formats of the options, which are taken out.

    Raises:
        PlenaError: there can be no such machine, or formats are to be chosen.
    """
    for name in ("traffic", "samples"):
        options.pop(name, None)
    require_no_rotation(options, _WHERE)
    formats = options.pop("formats", None)
    if formats == "auto":
        raise CompileError("schedules are tuned for formats that are given", _WHERE, "Choose formats first.")
    machine = target or Target()
    machine = machine if formats is None else machine.with_formats(formats)
    machine.validate()
    return rtl_build().fitted(machine) if options.get("machine") == "rtl" else machine


def _check_numbers(seconds: Any, trials: Any) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise PlenaError(f"seconds must be a number above 0, not {seconds!r}", _WHERE)
    if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or trials < 1):
        raise PlenaError(f"trials must be a whole number of at least 1, not {trials!r}", _WHERE)
