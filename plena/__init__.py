"""Compiler from PyTorch models to the PLENA accelerator.

    program = plena.compile(module, example_inputs)     # a Program: asm, words, stats(), run(), check(), save()
    result = plena.emulate(words_or_asm, hbm=...)        # memories and cycles after a run
    statistics = plena.stats(asm_text)                   # instructions and cycles of any assembly
    module = plena.lift(asm_or_words)                    # affine form in IR
    program = plena.optimize(asm_or_words_or_module)     # lifted, rolled, chosen, allocated again
    findings = plena.verify(asm_or_words)                # what would abort, what is suspicious
    curve = plena.size_curve(program)                    # how few cycles for how many instructions
    silicon = plena.area(target)                         # mm^2 by two public models
    names = plena.timings()                              # the timing profiles that count cycles
    formats = plena.Formats(weights="e3m4")              # of each class of tensors in HBM
    rotation = plena.rotate(module, inputs)              # values of attentions turned, for number formats
    calibration = plena.calibrate(module, samples)       # weights rounded for inputs that were seen
    report = plena.evaluate(program, samples)            # KL, agreement, cosine against PyTorch
    tuned = plena.tune(module, inputs, tuning="tuning.db")   # a better schedule, kept for plena.compile
    study = plena.explore("model.py:factory", {"MLEN": [32, 64]})    # machines and schedules searched

Everything is imported when it is first used: importing ``plena`` imports neither torch nor xDSL.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plena.api.calibrate import calibrate
    from plena.api.compile import compile
    from plena.api.evaluation import evaluate
    from plena.api.optimize import optimize
    from plena.api.program import Program
    from plena.api.rotate import rotate
    from plena.api.tune import tune
    from plena.emulator import emulate
    from plena.errors import EmulatorError, PlenaError
    from plena.exploring.explore import explore
    from plena.host.calibration import Calibration
    from plena.machine.formats import Formats
    from plena.machine.silicon.area import area
    from plena.machine.target import Target
    from plena.optimizing.foreign import lift, stats
    from plena.optimizing.size_curve import size_curve
    from plena.timing.registry import timings
    from plena.verification import verify

__all__ = [
    "Calibration",
    "EmulatorError",
    "Formats",
    "PlenaError",
    "Program",
    "Target",
    "area",
    "calibrate",
    "compile",
    "emulate",
    "evaluate",
    "explore",
    "lift",
    "optimize",
    "rotate",
    "size_curve",
    "stats",
    "timings",
    "tune",
    "verify",
]

_HOMES = {
    "Calibration": "plena.host.calibration",
    "EmulatorError": "plena.errors",
    "Formats": "plena.machine.formats",
    "PlenaError": "plena.errors",
    "Program": "plena.api.program",
    "Target": "plena.machine.target",
    "area": "plena.machine.silicon.area",
    "calibrate": "plena.api.calibrate",
    "compile": "plena.api.compile",
    "emulate": "plena.emulator",
    "evaluate": "plena.api.evaluation",
    "explore": "plena.exploring.explore",
    "lift": "plena.optimizing.foreign",
    "optimize": "plena.api.optimize",
    "rotate": "plena.api.rotate",
    "size_curve": "plena.optimizing.size_curve",
    "stats": "plena.optimizing.foreign",
    "timings": "plena.timing.registry",
    "tune": "plena.api.tune",
    "verify": "plena.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'plena' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
