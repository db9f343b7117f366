"""One configuration: build it, let torch export it, compile it, check it. Runs in a process of its own."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import transformers

import plena
from benchmarks.coverage.building import Built, build
from benchmarks.coverage.sizes import SIZES
from plena.timing.registry import DEFAULT_TIMING

Status = str
"""`works`, `refused` (one clear error), `wrong` (a check that fails), `bug` (any other exception), `unbuilt`
(transformers does not make the model), `unexportable` (torch.export does not capture it), `slow` (out of time).
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a configuration.

    Attributes:
        message: the error's own words, empty if it works.
        operator: of a refusal the operator that is missing, and why.
        static, cycles: of the program.
        machine, quantized: relative RMS errors.
        formats: relative RMS difference of the quantised reference and PyTorch in float32: what the formats alone cost.
            None if it was not recorded.
        roundings: relative RMS error that roundings to bf16 alone cost PyTorch, where `check` had to ask.
        commit: of the compiler, as git abbreviates it.
        why: what `check` says of an error that is larger than usual.
        seconds: of the processor, compiling alone.
        compiling: peak of the process in MiB when the program was compiled, PyTorch and the model included; 0 if it was
            not recorded.
        memory: the same when it was checked too.
    """

    family: str
    size: str
    status: Status
    message: str = ""
    operator: str = ""
    static: int = 0
    cycles: int = 0
    machine: float = 0.0
    quantized: float = 0.0
    formats: float | None = None
    roundings: float | None = None
    why: str = ""
    seconds: float = 0.0
    compiling: int = 0
    memory: int = 0
    commit: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def attempt(
    family: str, size: str, overrides: Mapping[str, Any], shapes: Mapping[str, Any], check: bool = True
) -> Outcome:
    """Build, export, compile and check a family.

    Args:
        family: a model type of transformers.
        size: a name of `SIZES`.
        overrides, shapes: see `build`.
        check: run the program too, and compare it with PyTorch.
    """
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    try:
        built = build(family, SIZES[size], overrides, shapes)
        with torch.no_grad():
            built.module(**built.inputs)
    except Exception as error:
        return Outcome(family, size, "unbuilt", words(error))
    start = time.process_time()
    try:
        program = plena.compile(built.module, (), built.inputs)
    except plena.PlenaError as error:
        seconds = time.process_time() - start
        if not _exports(built):
            return Outcome(family, size, "unexportable", words(error))
        operator, message = _operator(error), words(error)
        return Outcome(family, size, "refused", message, operator, seconds=seconds)
    except Exception as error:
        return Outcome(family, size, "bug", f"{type(error).__name__}: {words(error)}")
    seconds, peak = time.process_time() - start, peak_memory()
    outcome = (
        _checked(family, size, program, seconds) if check else Outcome(family, size, "works", seconds=seconds)
    )
    return replace(outcome, compiling=peak)


def peak_memory() -> int:
    """The most that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _checked(family: str, size: str, program: plena.Program, seconds: float) -> Outcome:
    statistics = program.stats()
    static, cycles = statistics.static, statistics.cycles[DEFAULT_TIMING]
    try:
        report = program.check(quiet=True)
    except plena.PlenaError as error:
        return Outcome(family, size, "wrong", words(error), "", static, cycles, seconds=seconds)
    except MemoryError:
        what = "it compiles, but its check takes more memory than a configuration may have"
        return Outcome(family, size, "slow", what, "", static, cycles, seconds=seconds)
    machine = 0.0 if report.machine is None else report.machine.relative_rms
    quantized = 0.0 if report.quantized is None else report.quantized.relative_rms
    status = "works" if report.passed else "wrong"
    message = "; ".join(report.failures)
    formats = None if report.formats is None else report.formats.relative_rms
    roundings = None if report.magnified is None else report.magnified.cost
    return Outcome(
        family,
        size,
        status,
        message,
        static=static,
        cycles=cycles,
        machine=machine,
        quantized=quantized,
        formats=formats,
        roundings=roundings,
        why=report.why_farther or "",
        seconds=seconds,
    )


def _exports(built: Built) -> bool:
    """Whether torch.export captures the model; asked only where compiling fails."""
    try:
        torch.export.export(built.module, (), built.inputs, strict=False)
    except Exception:
        return False
    return True


def _operator(error: plena.PlenaError) -> str:
    """The operator of a refusal with its reason, without shapes and places: what the table is ranked by."""
    operator = getattr(error, "operator", None)
    name = operator.split(" on ")[0] if isinstance(operator, str) else "the model"
    if operator is None:
        return f"{name}: {error.what}"
    why = error.what.split(operator, 1)[-1].removeprefix(":").strip()
    return f"{name}: {why}" if why else name


def words(error: BaseException) -> str:
    """What an error says: all of it if it is ours, of others' the first line."""
    text = str(error).strip()
    lines = text.splitlines() or [type(error).__name__]
    return " ".join(lines) if isinstance(error, plena.PlenaError) else lines[0]
