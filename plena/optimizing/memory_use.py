"""How much of the memories on chip a program uses."""

from __future__ import annotations

from collections.abc import Iterable

from plena.host.ports import Region
from plena.integers import ceil_div
from plena.machine.target import Target

SCALAR_BITS = 16 + 32
"""Bits of one word of FP SRAM and one of INT SRAM."""


def rows_used(target: Target, regions: Iterable[Region]) -> tuple[int, int]:
    """Rows of matrix and of vector SRAM, as far as a memory map reaches."""
    reached = {"matrix": 0, "vector": 0}
    for region in regions:
        if region.memory in reached:
            reached[region.memory] = max(reached[region.memory], region.address + region.size)
    return ceil_div(reached["matrix"], target.mlen), ceil_div(reached["vector"], target.vlen)


def sram_bits(target: Target, regions: Iterable[Region]) -> int:
    """Bits of the four memories on chip, matrix and vector SRAM as far as a memory map reaches."""
    matrix, vector = rows_used(target, regions)
    scalars = max(target.fp_sram_size, target.int_sram_size) * SCALAR_BITS
    return (
        matrix * target.mlen * target.precision["MATRIX_SRAM_TYPE"].element_bits
        + vector * target.vlen * target.precision["VECTOR_SRAM_TYPE"].element_bits
        + scalars
    )
