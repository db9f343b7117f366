"""What runs in the workers: a model loaded and imported once, programs compiled once for all machines they serve."""

from __future__ import annotations

import hashlib
import pickle
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from plena.api.compile import compile_call
from plena.api.imported_call import ImportedCall
from plena.api.program import Program
from plena.api.samples import Call, sample_tensors
from plena.compiler.cache import Cache
from plena.compiler.tuning.database import TuningDatabase
from plena.driver import verified_passes
from plena.errors import PlenaError
from plena.exploring.figures import Figures, Measured
from plena.exploring.objectives import BY_PROFILE, Objectives
from plena.gc_pause import without_collection
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.timing.registry import DEFAULT_TIMING, is_ours, register_missing

KEPT_PROGRAMS = 8
"""Programs that a worker remembers."""


@dataclass(frozen=True)
class Source:
    """Where a model comes from, as bytes for other processes.

    Attributes:
        factory: "file.py:factory", or a pickled function.
        name: for messages.
        paths: where modules are imported from.
        profiles: pickled, the timing profiles that were registered by the program that searches.
        samples: pickled, the calls that errors are measured on; empty for the example inputs.
        samples_digest: of the values in them.
    """

    factory: str | bytes
    name: str
    paths: tuple[str, ...]
    profiles: bytes
    samples: bytes = b""
    samples_digest: str = ""

    @property
    def key(self) -> str:
        """The same for the same source."""
        code = self.factory if isinstance(self.factory, bytes) else self.factory.encode()
        return hashlib.sha256(code + repr((self.paths, self.samples_digest)).encode()).hexdigest()


@dataclass(frozen=True)
class Task:
    """Machines that differ in timing alone, and the options of the program that serves them.

    Attributes:
        program_target: the machine that it is compiled for.
        targets: the machines it is counted on.
        cache: folder of what is known already.
        samples: that errors are of, the first ones; all of them if nothing is said.
    """

    program_target: Target
    options: Mapping[str, Any]
    targets: tuple[Target, ...]
    objectives: Objectives
    cache: str | None = None
    samples: int | None = None

    @property
    def is_known_by_name(self) -> bool:
        """Whether names say what its profiles count, and its options hold nothing that changes under its name."""
        profiles = (*self.objectives.profiles(*BY_PROFILE), self.options.get("timing", DEFAULT_TIMING))
        return all(map(is_ours, profiles)) and not {"calibration", "tuning"} & self.options.keys()

    def question(self, model: str, samples: str, target: Target) -> tuple[Any, ...]:
        """What the figures of a machine hang on: the model and the samples by their digests."""
        names = self.objectives.figures
        judged = f"{samples} {self.samples}" if samples and "error" in names else ""
        options = dict(self.options)
        return "figures", model, judged, self.program_target.settings(), options, names, target.settings()


@dataclass(frozen=True)
class Outcome:
    """What became of a machine of a task: figures, or the problem; `seconds` of its share in the work.

    `worker` is the address of the one that has the program now.
    """

    figures: Figures
    problem: str | None
    seconds: float
    worker: str | None = None


@dataclass
class _Loaded:
    """A model in this process, and the samples that errors are measured on."""

    call: ImportedCall
    digest: str
    samples: tuple[Call, ...] = ()
    programs: OrderedDict[Any, Measured | PlenaError] = field(
        default_factory=OrderedDict[Any, "Measured | PlenaError"]
    )


_loaded: dict[str, _Loaded] = {}
"""The model of this process, by the key of its source; one at a time."""

_working = threading.Lock()
"""Compiling pauses garbage collection of the whole process: one thread at a time."""


def digest_of(source: Source) -> str:
    """Loads the model; a digest of what it computes.

    Raises:
        PlenaError: it cannot be loaded or imported.
    """
    with _working:
        return _load(source).digest


def evaluate(source: Source, task: Task) -> list[Outcome]:
    """The figures of every machine of a task.

    Raises:
        PlenaError: the model cannot be loaded; what is wrong with a machine is in its outcome.
    """
    with _working:
        loaded = _load(source)
        known = _cache(task.cache) if task.cache is not None else None
        results = known if task.is_known_by_name else None
        found: dict[int, Outcome] = {}
        for place, target in enumerate(task.targets):
            started = time.perf_counter()
            question = task.question(loaded.digest, source.samples_digest, target)
            entry = None if results is None else results.get(*question)
            if entry is not None:
                seconds = time.perf_counter() - started
                found[place] = Outcome(entry["figures"], entry["problem"], seconds)
        missing = [place for place in range(len(task.targets)) if place not in found]
        started = time.perf_counter()
        program = _measured(loaded, task, known) if missing else None
        shared = (time.perf_counter() - started) / max(1, len(missing))
        for place in missing:
            assert program is not None
            started, target = time.perf_counter(), task.targets[place]
            figures, problem = _counted(program, target, task)
            if results is not None:
                entry = {"figures": figures, "problem": problem}
                results.put(entry, *task.question(loaded.digest, source.samples_digest, target))
            seconds = shared + time.perf_counter() - started
            found[place] = Outcome(figures, problem, seconds, _address())
        return [found[place] for place in range(len(task.targets))]


@cache
def _cache(folder: str) -> Cache | None:
    """A folder of this machine; a worker that cannot have it does without."""
    try:
        return Cache(folder)
    except PlenaError:
        return None


def call_of(source: Source) -> ImportedCall:
    """The imported model.

    Raises:
        PlenaError: it cannot be loaded.
    """
    with _working:
        return _load(source).call


def program_of(source: Source, task: Task) -> Program:
    """The program of a task.

    Raises:
        PlenaError: the model cannot be loaded, or there is no such program.
    """
    with _working:
        return _compiled(_load(source).call, task, _cache(task.cache) if task.cache is not None else None)


def moved_by(source: Source, task: Task) -> Mapping[str, int]:
    """The bytes that the program of a task moves, by class of tensors; nothing if there is no such program.

    Raises:
        PlenaError: the model cannot be loaded.
    """
    with _working:
        found = _measured(_load(source), task, _cache(task.cache) if task.cache is not None else None)
        return {} if isinstance(found, PlenaError) else found.program.stats().hbm_bytes


def _address() -> str | None:
    """Of this worker; None beside Dask."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return None


def _counted(program: Measured | PlenaError, target: Target, task: Task) -> tuple[Figures, str | None]:
    if isinstance(program, PlenaError):
        return {}, str(program)
    try:
        return program.figures(target, task.objectives, task.samples), None
    except PlenaError as error:
        return {}, str(error)


def _measured(loaded: _Loaded, task: Task, known: Cache | None) -> Measured | PlenaError:
    """The program of a task, or why there is none."""
    key = (task.program_target, tuple(sorted(task.options.items())), task.objectives)
    if key in loaded.programs:
        loaded.programs.move_to_end(key)
        return loaded.programs[key]
    try:
        found = Measured.of(_compiled(loaded.call, task, known), loaded.samples)
    except PlenaError as error:
        found = error
    loaded.programs[key] = found
    while len(loaded.programs) > KEPT_PROGRAMS:
        loaded.programs.popitem(last=False)
    return found


def _compiled(call: ImportedCall, task: Task, known: Cache | None = None) -> Program:
    options = dict(task.options)
    most = options.pop("max_instructions", None)
    verify = options.pop("verify_passes", None)
    calibration = options.pop("calibration", None)
    path = options.pop("tuning", None)
    tuning = None if path is None else TuningDatabase(path)
    with without_collection(), verified_passes(verify):
        return compile_call(call, task.program_target, Schedule(**options), most, calibration, known, tuning)


def _load(source: Source) -> _Loaded:
    if source.key not in _loaded:
        sys.path.extend(path for path in source.paths if path not in sys.path)
        register_missing(pickle.loads(source.profiles))
        call = ImportedCall.of(*_made(source))
        _loaded.clear()
        _loaded[source.key] = _Loaded(call, _digest(call), _samples(source, call))
    return _loaded[source.key]


def _made(source: Source) -> tuple[Any, Sequence[Any], Mapping[str, Any]]:
    from plena.frontend.model_files import load_model, made_by

    if isinstance(source.factory, str):
        return load_model(source.factory)
    return made_by(pickle.loads(source.factory), source.name, source.name)


def _samples(source: Source, call: ImportedCall) -> tuple[Call, ...]:
    """The samples of a source.

    Raises:
        PlenaError: they are no calls of the model.
    """
    from plena.host.call_inputs import CallSignature

    samples: tuple[Call, ...] = pickle.loads(source.samples) if source.samples else ()
    signature = CallSignature.of(call.args, call.kwargs, call.module)
    for number, sample in enumerate(samples):
        where = f"samples, sample {number}"
        sample_tensors(signature, sample, call.imported.inputs, where, "the example inputs")
    return samples


def _digest(call: ImportedCall) -> str:
    """Of the imported module, its tensors and the example inputs."""
    import torch

    from plena.host.call_inputs import CallSignature

    found = hashlib.sha256(call.text_digest.encode())
    examples = CallSignature.of(call.args, call.kwargs, call.module).tensors(call.args, call.kwargs) or ()
    for name, tensor in (*sorted(call.imported.tensors.items()), *enumerate(examples)):
        plain = tensor.detach().contiguous().cpu()
        found.update(f"{name} {tuple(plain.shape)} {plain.dtype} ".encode())
        found.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
