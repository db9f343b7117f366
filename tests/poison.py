"""Runs a program in memories that hold garbage wherever neither the host nor the program has written."""

from __future__ import annotations

from collections.abc import Sequence
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
    vector_garbage = _garbage(vector.size, fill)
    _fill(vector, vector_garbage, spans["vector"])
    _fill(machine.fp_sram, _garbage(machine.fp_sram.size, fill), spans["fp"])
    _fill(machine.int_sram, np.full(machine.int_sram.size, 0xDEADBEEF, np.uint32), spans["int"])
    _fill(machine.hbm, np.full(machine.hbm.size, HBM_FILL[fill], np.uint8), spans["hbm"])
    tiles = machine.mram.reshape(-1)
    _fill(tiles, _garbage(tiles.size, fill), [])
    return as_tensors(program.results(machine.run(program.executed)))


def _garbage(count: int, fill: str) -> NDArray[np.float32]:
    if fill == "nan":
        return np.full(count, np.nan, np.float32)
    numbers = np.full(count, np.float32(2.0**100))
    numbers[::3] *= -1
    return numbers


def _fill(memory: NDArray[Any], garbage: NDArray[Any], defined: Sequence[Sequence[int]]) -> None:
    undefined = np.ones(memory.size, bool)
    for start, stop, *_ in defined:
        undefined[start:stop] = False
    memory[undefined] = garbage[undefined]


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
