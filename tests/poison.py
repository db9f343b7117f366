"""Runs a program in memories that hold garbage wherever neither the host nor the program has written."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plena.api.program import Program
from plena.checking.reference import as_tensors
from plena.emulator import Machine

SLACK_ROWS = 1 << 16
"""Rows of vector SRAM behind the last buffer that are filled too."""

HBM_FILL = {"nan": 0xFF, "large": 0x77}
"""Bytes: as elements of MX E4M3 NaN or 240, as scales infinity or 2^-8, as bf16 NaN or 5.0e33."""


LARGE = np.float32(2.0**100)


def run_on_garbage(program: Program, inputs: Sequence[torch.Tensor], fill: str) -> tuple[torch.Tensor, ...]:
    """The outputs of a run that starts from garbage.

    Args:
        fill: "nan", or "large" for numbers around 1e30 of both signs, which maxima do not hide.
    """
    preload = program.empty_image(np.zeros(program.hbm_bytes, np.uint8))
    program.stage_data(preload)
    program.stage_inputs(inputs, preload)
    if program.kept is not None:
        program.kept.write(preload.hbm)
    spans = program.preloaded_spans()
    target = program.target.with_settings({"HBM_SIZE": program.hbm_bytes})
    machine = Machine(target, preload.hbm, preload.fp, preload.integers, preload.vector)
    rows = max([0, *(r.address + r.size for r in program.memory_map if r.memory == "vector")]) // target.vlen
    vector = machine.vram[: rows + SLACK_ROWS].reshape(-1)
    for memory, name in ((vector, "vector"), (machine.fp_sram, "fp"), (machine.mram.reshape(-1), "matrix")):
        with _kept(memory, spans.get(name, ())):
            memory.fill(np.nan if fill == "nan" else LARGE)
            if fill == "large":
                memory[::3] = -LARGE
    with _kept(machine.int_sram, spans["int"]):
        machine.int_sram.fill(0xDEADBEEF)
    with _kept(machine.hbm, spans["hbm"]):
        machine.hbm.fill(HBM_FILL[fill])
    return as_tensors(program.results(machine.run(program.executed)))


@contextmanager
def _kept(memory: NDArray[Any], defined: Sequence[Sequence[int]]) -> Generator[None]:
    """What is defined in a memory is afterwards as before."""
    contents = [(start, stop, memory[start:stop].copy()) for start, stop, *_ in defined]
    yield
    for start, stop, values in contents:
        memory[start:stop] = values


def check_reads_what_is_defined(program: Program, *inputs: torch.Tensor) -> None:
    """The result is the same to the bit, whatever the memories held before."""
    before = dict(program.state)
    expected = as_tensors(program.run(*inputs, progress=False))
    program.state = before
    for fill in HBM_FILL:
        for found, wanted in zip(run_on_garbage(program, inputs, fill), expected, strict=True):
            differing = int((found != wanted).sum())
            assert torch.equal(found, wanted), (
                f"{differing} of {found.numel()} elements depend on {fill} garbage"
            )
