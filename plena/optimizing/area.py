"""A proxy of the silicon that a machine takes: enough to rank machines, no estimate of a chip.

Arithmetic units by the areas that M. Horowitz gives for 45 nm ("Computing's energy problem", ISSCC 2014), SRAM by
0.6 um^2 a bit, about a bit cell of that process with its periphery. Control, wires and the DMA unit are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plena.host.ports import Region
from plena.machine.number_formats import NumberFormat
from plena.machine.target import Target

MULTIPLY_8, MULTIPLY_FP16, ADD_FP16, ADD_FP32 = 282.0, 1640.0, 1360.0, 4184.0
"""um^2 of an 8 bit multiplier, and of 16 and 32 bit floating point units."""

SRAM_BIT = 0.6
"""um^2 of a bit of SRAM."""

SCALAR_BITS = 16 + 32
"""Bits of one word of FP SRAM and one of INT SRAM."""


@dataclass(frozen=True)
class Area:
    """Square millimetres: the matrix unit, the vector lanes, the memories on chip."""

    matrix: float
    lanes: float
    memory: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.matrix + self.lanes + self.memory


def area_of(target: Target, regions: Iterable[Region] | None = None) -> Area:
    """The area of a machine.

    Args:
        regions: the memory map of a program: matrix and vector SRAM then count as far as it reaches. The shipped
            settings have 512 MiB of vector SRAM, which says nothing about a chip; what a model needs does.
    """
    products = target.blen * target.mlen
    lanes = target.vlen * (MULTIPLY_FP16 + ADD_FP16)
    return Area(
        matrix=products * (_multiplier(target) + ADD_FP32) / 1e6,
        lanes=lanes / 1e6,
        memory=sram_bits(target, regions) * SRAM_BIT / 1e6,
    )


def sram_bits(target: Target, regions: Iterable[Region] | None = None) -> int:
    """Bits of the four memories on chip, matrix and vector SRAM as far as the regions reach."""
    rows = {
        "matrix": target.matrix_sram_size * target.mlen,
        "vector": target.vector_sram_size * target.vlen,
    }
    if regions is not None:
        reached = dict.fromkeys(rows, 0)
        for region in regions:
            if region.memory in reached:
                reached[region.memory] = max(reached[region.memory], region.address + region.size)
        rows = reached
    scalars = max(target.fp_sram_size, target.int_sram_size) * SCALAR_BITS
    return (
        rows["matrix"] * _element_bits(target.precision["MATRIX_SRAM_TYPE"])
        + rows["vector"] * _element_bits(target.precision["VECTOR_SRAM_TYPE"])
        + scalars
    )


def _multiplier(target: Target) -> float:
    """A multiplier of the matrix unit, which gets weights of 8 or 16 bits."""
    return MULTIPLY_8 if _element_bits(target.precision["HBM_M_WEIGHT_TYPE"]) <= 8 else MULTIPLY_FP16


def _element_bits(number_format: NumberFormat) -> int:
    return number_format.element_bits
