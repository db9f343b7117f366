"""Measurements in a process of their own: `python -m benchmarks.measured RUNS KIND:ARGUMENTS ...`.

Prints one line of JSON for every measurement: `compile:clm-60m:8:64` (model, layers, sequence), `attention:4096`,
`emulate:scalars`, `emulate:layer`. Importing, building the model and a first small compile are not counted: they are
the same for all. The first run of each fills caches and has the largest peak of memory.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from plena.api.compile import compile
from plena.api.program import Program
from plena.assembly import encode, parse_asm
from plena.errors import PlenaError
from plena.machine.target import Target
from tests.budgets.case import Model
from tests.budgets.decoders import layers
from tests.budgets.kernels import attention

KIBI = 1024

Figures = dict[str, Any]


def compiling(model: Model, runs: int) -> Figures:
    """Seconds of the processor and of the clock, peak memory in MiB above that before, and the size of the program."""
    figures: Figures = {"seconds": [], "wall": [], "peak_mib": []}
    for _ in range(runs):
        gc.collect()
        before = _reset_peak()
        clock, processor = time.perf_counter(), time.process_time()
        try:
            program = compile(model.module, model.inputs)
        except PlenaError as error:
            return {"error": str(error)}
        figures["seconds"].append(time.process_time() - processor)
        figures["wall"].append(time.perf_counter() - clock)
        figures["peak_mib"].append((_status("VmHWM") - before) / KIBI)
        figures["static"], figures["dynamic"] = program.stats().static, program.stats().dynamic
    return figures


def emulating(program: Program, runs: int) -> Figures:
    """Seconds of a run, and instructions."""
    figures: Figures = {"seconds": [], "wall": []}
    program.execute(program.image, progress=False)
    for _ in range(runs):
        clock, processor = time.perf_counter(), time.process_time()
        program.execute(program.image, progress=False)
        figures["seconds"].append(time.process_time() - processor)
        figures["wall"].append(time.perf_counter() - clock)
    assert program.last_run is not None
    return {**figures, "instructions": program.last_run.executed}


def _reset_peak() -> int:
    """Start a new peak of the memory in use (Linux); KiB in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def scalars() -> Program:
    """Scalar additions in two loops, 200 million instructions."""
    body = "\n".join(f"S_ADDI_INT gp{n}, gp{n}, 1" for n in range(3, 13))
    text = f"C_LOOP_START gp1, 20000\nC_LOOP_START gp2, 900\n{body}\nC_LOOP_END gp2\nC_LOOP_END gp1\n"
    return Program(words=encode(parse_asm(text)), target=Target())


def layer() -> Program:
    """A layer of CLM-60M at sequence 64 in the M_MM schedule, which the public compiler has as well."""
    torch.manual_seed(0)
    model = layers("clm-60m", 1, 64)
    for parameter in model.module.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    program = compile(model.module, model.inputs, matmul="mm")
    program.stage_inputs(model.inputs, program.image)
    return program


def measured(text: str, runs: int) -> Figures:
    """The measurement that a text names."""
    kind, *arguments = text.split(":")
    match kind, arguments:
        case "compile", [name, count, sequence]:
            return compiling(layers(name, int(count), int(sequence)), runs)
        case "attention", [sequence]:
            return compiling(attention(1, int(sequence), 64), runs)
        case "emulate", [what]:
            programs: dict[str, Callable[[], Program]] = {"scalars": scalars, "layer": layer}
            return emulating(programs[what](), runs)
        case _:
            raise ValueError(f"no measurement is called {text!r}")


def main(runs: str, *texts: str) -> None:
    """Measure and print, each in a child of its own that starts with an empty heap."""
    compile(torch.nn.Linear(64, 64), (torch.zeros(64, 64),))
    for text in texts:
        child = os.fork()
        if not child:
            print(json.dumps({"name": text, **measured(text, int(runs))}), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"measuring {text} failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
