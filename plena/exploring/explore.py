"""`plena.explore`: the search from a space and objectives to a study."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.api.compile import check_options, require_no_rotation
from plena.api.samples import Call, sample_calls
from plena.compiler.cache import Cache
from plena.compiler.tuning.database import TuningDatabase
from plena.errors import PlenaError
from plena.exploring.cluster import client_of
from plena.exploring.constraints import EXAMPLE
from plena.exploring.needs import require_libraries
from plena.exploring.objectives import Objectives
from plena.exploring.progress import showing
from plena.exploring.pruning import require_prunable
from plena.exploring.search import Search, search
from plena.exploring.space import Space
from plena.exploring.storage import claim, only_client, opened, refusals, url_of, user_cache
from plena.exploring.study import Study
from plena.exploring.traffic import require_choice, require_judged
from plena.exploring.worker import Source, digest_of
from plena.machine.target import Target
from plena.timing.registry import registered

if TYPE_CHECKING:
    from distributed import Client
    from optuna.study import Study as OptunaStudy

LARGEST_GRID = 100_000
"""Points of a space that are all tried if nothing else is said."""


def explore(
    model_factory: Callable[[], Any] | str,
    space: Mapping[str, Any] | str | Path | Space,
    objectives: Sequence[str] = ("latency:transactional", "area"),
    *,
    trials: int | None = None,
    storage: str | Path | None = None,
    scheduler: str | None = None,
    timeout: float | None = None,
    target: Target | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
    cache: str | Path | None = None,
    constraints: Sequence[str] = (),
    samples: Sequence[Any] | None = None,
    pruning: bool = False,
    traffic: float | None = None,
    **options: Any,
) -> Study:
    """Searches machines and options of the compiler for what makes a model fast, small or precise (docs/explore.md).

    A machine that cannot be is skipped, a model that does not fit one or a budget that cannot be met is a point with a
    `problem`. Interrupted, it goes on where it was when it is called again.

    Args:
        model_factory: a function without arguments, or "file.py:factory", that makes (module, example_inputs) or
            (module, example_inputs, keyword_arguments).
        space: keys of the settings file or options of `plena.compile` -> lists of values, `range`s, or tables with
            `low`, `high` and `step` or `factor`; or a TOML file with such entries. `constraints` may be among them.
            VLEN and HBM_M_Prefetch_Amount follow MLEN, and HLEN keeps HLEN * BROADCAST_AMOUNT == MLEN, unless they
            are in it.
        objectives: figures to make small: "latency:<profile>", "cycles:<profile>", "area", "bytes", "static", "error".
        trials: points to evaluate, chosen by Optuna (TPE for one objective, NSGA-II for several); None or no fewer than
            there are: all of them.
        storage: a file, or a URL that Optuna takes; by default a file in the user's cache that belongs to this model,
            space and objectives.
        scheduler: address of a Dask scheduler that runs already; its workers must have this version of plena.
        timeout: seconds after which no more points are tried.
        target: the machine that settings change, by default the shipped one. Programs are chosen for its latencies, and
            counted under those of each point.
        workers: processes of this machine, by default one per processor; 0 evaluates in this process.
        seed: of the sampler.
        progress: whether to show a bar; None means on a terminal.
        cache: a folder that keeps figures and what searches chose, for other studies too; by default in the user's
            cache.
        constraints: what a point on the front must keep, beside those of the space: an objective or "dynamic",
            "sram_bytes", "bytes_per_row" or "utilization", <= or >=, and a number, as "area <= 2.0". Optuna's sampler
            prefers points that keep them.
        samples: inputs of calls that the error is measured on, as for `plena.calibrate`; by default the example inputs.
        pruning: whether points whose error on the first samples is above the median (Optuna's MedianPruner), or that
            break a constraint, are given up; with the error as the only objective.
        traffic: what `chosen` will be asked for: an error before the search if no formats of the space move so little,
            by the bytes of the shipped ones, or if there is no such choice at all.
        options: of `plena.compile`, the same for all points; `timing` is the profile of the first objective that has
            one. A `tuning` database is made if there is none, so that `tune_study` can fill it meanwhile.

    Raises:
        PlenaError: a library is missing, a key or objective does not exist, the model cannot be loaded, the storage is
            locked or of something else, the scheduler does not answer, or nothing meets `traffic`.
    """
    require_libraries()
    wanted = Space.of(space)
    own: Any = constraints
    if isinstance(own, str) or not isinstance(own, Sequence):
        raise PlenaError(f"constraints must be a list of texts, not {own!r}", "constraints", EXAMPLE)
    goals = Objectives.of(objectives, (*wanted.constraints, *constraints))
    if pruning:
        require_prunable(goals, samples)
    if traffic is not None:
        require_judged(goals, traffic)
    _require_known(options)
    base = _base(target, cache, options)
    fixed = _fixed(options, wanted, goals)
    _check_numbers(trials, timeout, workers, seed, wanted)
    _check_texts(storage, scheduler)
    if "tuning" in fixed:
        fixed["tuning"] = str(TuningDatabase(fixed["tuning"], make=True).path.absolute())
    source = source_of(model_factory, samples)
    folder = Cache(cache or user_cache() / "programs").folder.absolute()
    facts: dict[str, Any] = {
        "space": wanted.to_json(),
        "objectives": goals.names,
        "machine": base.settings(),
        "options": {name: str(value) for name, value in fixed.items()},
        "constraints": [str(c) for c in goals.constraints],
        "samples": source.samples_digest,
    }
    deadline = None if timeout is None else time.monotonic() + timeout
    with ExitStack() as stack:
        kept = None if storage is None else stack.enter_context(_kept(url_of(storage), goals, facts))
        client = stack.enter_context(client_of(scheduler, workers))
        facts["model"] = _digest(client, source)
        if kept is None:
            name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
            url = url_of(user_cache() / "studies" / f"{name}.db")
            kept = stack.enter_context(_kept(url, goals, facts))
        claim(kept.study, kept.url, facts)
        study = Study(source.name, wanted, goals, base, fixed, kept.url, kept.study, source, str(folder))
        total = len(wanted) if trials is None else min(trials, len(wanted))
        first = None if traffic is None else require_choice(study, traffic, client)
        with showing(study, total, progress, client.dashboard_link) as news, refusals(kept.url):
            count = len(samples) if pruning and samples is not None else None
            search(Search(client, study, deadline, news, count, first), trials, seed)
    return study


@contextmanager
def _kept(url: str, objectives: Objectives, facts: Mapping[str, Any]) -> Generator[Kept]:
    """The study at a URL, for this process alone."""
    with only_client(url):
        study = opened(url, len(objectives.names))
        claim(study, url, facts)
        yield Kept(url, study)


@dataclass(frozen=True)
class Kept:
    """A study and where it lies."""

    url: str
    study: OptunaStudy


def source_of(model_factory: Callable[[], Any] | str, samples: Any = None) -> Source:
    """A model's factory as other processes get it, with the samples that errors are measured on.

    Raises:
        PlenaError: it is no function, or cannot be sent, or samples are none.
    """
    import cloudpickle

    from plena.frontend.model_files import is_model

    paths = tuple(os.path.abspath(path) for path in sys.path)
    profiles = cloudpickle.dumps(registered())
    calls = () if samples is None else tuple(sample_calls(samples, "samples"))
    judged = (pickle.dumps(calls), _digest_of_calls(calls)) if calls else (b"", "")
    if isinstance(model_factory, str):
        if not is_model(model_factory):
            raise PlenaError(f"{model_factory!r} does not name a factory", hint="Write model.py:factory.")
        path, _, name = model_factory.rpartition(":")
        place = f"{Path(path).absolute()}:{name}" if path.endswith(".py") else model_factory
        return Source(place, model_factory, paths, profiles, *judged)
    if not callable(model_factory) or hasattr(model_factory, "parameters"):
        raise PlenaError(
            f"a factory makes the model, {type(model_factory).__name__} is none",
            "explore",
            "Give a function without arguments: lambda: (module, example_inputs).",
        )
    name = getattr(model_factory, "__name__", type(model_factory).__name__)
    try:
        return Source(cloudpickle.dumps(model_factory), name, paths, profiles, *judged)
    except Exception as error:  # whatever the objects in its closure raise
        raise PlenaError(
            f"the factory cannot be sent to a worker: {error}",
            name,
            "Let it make what it needs, or name file.py:factory.",
        ) from None


def _digest_of_calls(calls: Sequence[Call]) -> str:
    """Of the values of samples."""
    import torch
    from torch.utils import _pytree as pytree

    found = hashlib.sha256()
    for leaf in pytree.tree_leaves(calls):
        if isinstance(leaf, torch.Tensor):
            plain = leaf.detach().contiguous().cpu()
            found.update(f"{tuple(plain.shape)} {plain.dtype} ".encode())
            found.update(plain.flatten().view(torch.uint8).numpy().tobytes())
        else:
            found.update(repr(leaf).encode())
    return found.hexdigest()


def _digest(client: Client, source: Source) -> str:
    """What the model computes, by a worker, which must have this plena."""
    try:
        return client.submit(digest_of, source, pure=False).result()
    except PlenaError:
        raise
    except Exception as error:
        raise PlenaError(
            f"a worker cannot load the model: {type(error).__name__}: {error}",
            source.name,
            "Workers need the same plena, torch and modules as this process.",
        ) from error


def _require_known(options: Mapping[str, Any]) -> None:
    """Raises PlenaError for a keyword that neither `explore` nor `plena.compile` has."""
    own = [name for name in signature(explore).parameters if name != "options"]
    check_options({n: value for n, value in options.items() if n != "objective"}, own)
    if isinstance(options.get("objective"), list | tuple):
        raise PlenaError(
            "objective is an option of plena.compile, cycles or size",
            "explore",
            'The figures to make small are `objectives=["latency:transactional", "area"]`.',
        )


def _base(target: Target | None, cache: Any, options: dict[str, Any]) -> Target:
    """The machine that settings change; takes `formats` out of the options."""
    check_options({"target": target, "cache": cache, **options})
    require_no_rotation(options, "explore")
    if options.get("formats") == "auto":
        raise PlenaError(
            "formats are searched by the space, not chosen inside of a point",
            "explore",
            'Put "FORMATS": ["shipped", "e3m4", "bf16"] into it.',
        )
    formats = options.pop("formats", None)
    base = target or Target()
    return base if formats is None else base.with_formats(formats)


def _fixed(options: Mapping[str, Any], space: Space, objectives: Objectives) -> dict[str, Any]:
    """The options of every point."""
    for name in options:
        if name in space.values:
            raise PlenaError(
                f"{name!r} is in the space and an option of all points", "explore", "Take one away."
            )
    timing = {} if "timing" in space.values else {"timing": objectives.timing}
    return {**timing, **{name: value for name, value in options.items() if value is not None}}


def _check_texts(storage: Any, scheduler: Any) -> None:
    if storage is not None and not isinstance(storage, str | Path):
        raise PlenaError(
            f"storage must be a file or a URL, not {storage!r}", "explore", 'For example storage="study.db".'
        )
    if scheduler is not None and not isinstance(scheduler, str):
        raise PlenaError(
            f"scheduler must be an address, not {scheduler!r}",
            "explore",
            'For example scheduler="tcp://10.0.0.1:8786".',
        )


def _check_numbers(trials: Any, timeout: Any, workers: Any, seed: Any, space: Space) -> None:
    if seed is None:
        raise PlenaError("seed must be a whole number of at least 0, not None", "explore")
    for name, value, least in (("trials", trials, 1), ("workers", workers, 0), ("seed", seed, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise PlenaError(f"{name} must be a whole number of at least {least}, not {value!r}", "explore")
    if timeout is not None and (not isinstance(timeout, int | float) or not timeout > 0):
        raise PlenaError(f"timeout must be seconds above 0, not {timeout!r}", "explore")
    if trials is None and len(space) > LARGEST_GRID:
        raise PlenaError(
            f"the space has {len(space):,} points",
            "explore",
            "Say how many to try, trials=1000 for example.",
        )
