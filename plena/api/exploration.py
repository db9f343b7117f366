"""`plena.explore`: a model compiled for many machines and budgets, in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import product
from math import isnan, nan
from pickle import PicklingError
from typing import Any

from plena.api.compile import check_options, compile
from plena.errors import PlenaError, SettingsError
from plena.host.ports import Region
from plena.loops.selection.pareto import undominated
from plena.machine.silicon.area import area
from plena.machine.target import Target
from plena.optimizing.memory_use import rows_used, sram_bits
from plena.progress import counting
from plena.timing.registry import DEFAULT_TIMING, homes, register_again

FOLLOWERS: dict[str, str] = {"VLEN": "MLEN", "HBM_M_Prefetch_Amount": "MLEN"}
"""Settings that follow another one unless they are given: VLEN must equal MLEN, a prefetch fills one tile."""


@dataclass(frozen=True)
class Case:
    """One compilation of a sweep: what is different about the machine, and the budget of static instructions."""

    settings: Mapping[str, Any]
    budget: int | None


@dataclass(frozen=True)
class Row:
    """What came of a case. Cycles without DMA waits; area in mm^2 by `plena.area` (model B), memories as far as they
    are used, NaN for formats that the model does not know.

    `problem` says why there is no program; the figures are then 0.
    """

    settings: Mapping[str, Any]
    budget: int | None
    static: int = 0
    dynamic: int = 0
    cycles: Mapping[str, int] = field(default_factory=dict[str, int])
    dma_cycles: int = 0
    utilization: float = 0.0
    area: float = 0.0
    sram_bytes: int = 0
    seconds: float = 0.0
    problem: str | None = None

    @property
    def machine(self) -> str:
        """The settings as text."""
        return ", ".join(f"{key}={value}" for key, value in self.settings.items()) or "as given"


def explore(
    model: Any,
    example_inputs: Sequence[Any] = (),
    target: Target | None = None,
    *,
    settings: Mapping[str, Sequence[Any]] | None = None,
    budgets: Sequence[int | None] = (None,),
    jobs: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> list[Row]:
    """Compiles a model for every combination of settings and budgets.

    A machine that cannot be, a model that does not fit it and a budget that cannot be met are rows with a `problem`,
    not errors.

    Args:
        model: a module (picklable if there is more than one process), or `"file.py:factory"`.
        example_inputs: as of `plena.compile`; of a factory, its own.
        target: the machine that `settings` change, by default the shipped one.
        settings: keys as in the settings file -> values to try. Unless they are given, VLEN and
            HBM_M_Prefetch_Amount follow MLEN, and HLEN keeps HLEN * BROADCAST_AMOUNT == MLEN.
        budgets: static instructions allowed; None for no budget.
        jobs: processes, by default one per processor.
        progress: whether to show a bar; None means on a terminal.
        options: the others of `plena.compile`.

    Returns:
        the rows in order: settings as given, the last one changing fastest, then budgets.

    Raises:
        SettingsError: an unknown setting or a malformed value.
        PlenaError: an option or the model is wrong whatever the machine, or a process died.
    """
    for budget in budgets:
        check_options({"target": target, "max_instructions": budget, **options})
    cases = list(_cases(target or Target(), settings or {}, budgets))
    jobs = min(len(cases), jobs or os.cpu_count() or 1)
    if jobs < 1:
        raise PlenaError("there is nothing to compile", "explore", "Give at least one value and one budget.")
    source = model if isinstance(model, str) else (model, tuple(example_inputs), {})
    work = [(case, machine, options) for case, machine in cases]
    rows: dict[int, Row] = {}
    with counting(len(cases), "compiling", progress) as advance:
        if jobs == 1:
            loaded = _load(source)
            for place, entry in enumerate(work):
                rows[place] = compile_case(*loaded, *entry)
                advance(len(rows))
        else:
            for place, row in _in_processes(source, work, jobs, options.get("timing", DEFAULT_TIMING)):
                rows[place] = row
                advance(len(rows))
    return [rows[place] for place in range(len(cases))]


def compile_case(
    module: Any,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    case: Case,
    target: Target,
    options: Mapping[str, Any],
) -> Row:
    """The row of one case."""
    started = time.perf_counter()
    try:
        program = compile(module, inputs, kwargs, target=target, max_instructions=case.budget, **options)
    except PlenaError as error:
        return Row(case.settings, case.budget, seconds=time.perf_counter() - started, problem=str(error))
    stats = program.stats()
    return Row(
        case.settings,
        case.budget,
        stats.static,
        stats.dynamic,
        stats.cycles,
        stats.dma_cycles,
        stats.utilization.get(program.timing, 0.0),
        _area(target, program.memory_map),
        sram_bits(target, program.memory_map) // 8,
        time.perf_counter() - started,
    )


def _area(target: Target, regions: Sequence[Region]) -> float:
    matrix_rows, vector_rows = rows_used(target, regions)
    try:
        return area(target, matrix_rows=matrix_rows, vector_rows=vector_rows).mm2
    except SettingsError:
        return nan


def pareto(rows: Sequence[Row], timing: str) -> list[Row]:
    """The rows that no other one beats in both area and cycles, smallest area first; those without an area are not
    among them.
    """
    compiled = [r for r in rows if r.problem is None and not isnan(r.area)]
    front = undominated(([r.area for r in compiled], [r.cycles[timing] for r in compiled]))
    return [compiled[place] for place in front]


def scaled(target: Target, settings: Mapping[str, Any]) -> Target:
    """A machine with other settings; those that must fit MLEN follow it unless they are given.

    Raises:
        SettingsError: an unknown setting or a malformed value.
    """
    changed = target.with_settings(settings)
    followers = {f: settings[k] for f, k in FOLLOWERS.items() if k in settings and f not in settings}
    if {"MLEN", "BROADCAST_AMOUNT"} & settings.keys() and "HLEN" not in settings and target.has_broadcast:
        followers["HLEN"] = max(1, changed.mlen // changed.broadcast_amount)
    return changed.with_settings(followers)


def _cases(
    target: Target, settings: Mapping[str, Sequence[Any]], budgets: Sequence[int | None]
) -> Iterator[tuple[Case, Target]]:
    for values in product(*settings.values()):
        chosen = dict(zip(settings, values, strict=True))
        machine = scaled(target, chosen)
        for budget in budgets:
            yield Case(chosen, budget), machine


_Model = tuple[Any, Sequence[Any], Mapping[str, Any]]

_Work = tuple[Case, Target, Mapping[str, Any]]

_loaded: list[_Model | PlenaError] = []
"""The model of a worker process, or why there is none."""


def _load(source: Any) -> _Model:
    if not isinstance(source, str):
        return source
    from plena.frontend.model_files import load_model

    return load_model(source)


def _start_worker(source: Any, homes: Sequence[str], timing: str) -> None:
    import torch

    torch.set_num_threads(1)
    try:
        loaded = _load(source)
        register_again(homes, timing)
        _loaded.append(loaded)
    except PlenaError as error:
        _loaded.append(error)


def _compile_in_worker(entry: _Work) -> Row:
    loaded = _loaded[0]
    if isinstance(loaded, PlenaError):
        raise loaded
    return compile_case(*loaded, *entry)


def _in_processes(source: Any, work: Sequence[_Work], jobs: int, timing: str) -> Iterator[tuple[int, Row]]:
    """The rows as they become ready, with their places."""
    pool = ProcessPoolExecutor(
        jobs,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(source, homes(), timing),
    )
    try:
        futures = _submitted(pool, work)
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise PlenaError(
            "a process died, perhaps for want of memory", "explore", "Take fewer processes: jobs=1 shows why."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Sequence[_Work]) -> dict[Future[Row], int]:
    try:
        return {pool.submit(_compile_in_worker, entry): place for place, entry in enumerate(work)}
    except (PicklingError, AttributeError, TypeError) as error:
        raise PlenaError(
            f"the module cannot be sent to another process: {error}",
            "explore",
            "Take jobs=1, or name a factory: file.py:factory.",
        ) from None
