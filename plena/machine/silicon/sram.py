"""Memories of macros: the cheapest kind of macro for a depth and a width, both models alike."""

from __future__ import annotations

from plena.integers import ceil_div
from plena.machine.silicon.calibration import CALIBRATION
from plena.machine.silicon.machine import Shape
from plena.machine.silicon.precision import Precision


def memory_area(depth: int, width: int, ports: int = 1) -> float:
    """um^2 of `depth` words of `width` bits."""
    return min(
        ceil_div(depth, macro_depth) * ceil_div(width, macro_width) * ports * area
        for macro_depth, macro_width, area in CALIBRATION["macros"]
    )


def memories(shape: Shape, precision: Precision, round_up: bool) -> dict[str, float]:
    """um^2 of each memory.

    Args:
        round_up: whether the scales of a row that is no multiple of a block count as a whole block.
    """
    blocks = ceil_div(shape.vlen, shape.block) if round_up else shape.vlen // shape.block
    elements = precision.float_width + precision.activation.width + precision.keys_values.width
    vector = shape.vlen * elements + 2 * precision.scale * max(1, blocks)
    top = precision.top.width
    return {
        "matrix SRAM": memory_area(shape.matrix_depth, shape.mlen * (top + precision.scale), ports=2),
        "vector SRAM": memory_area(shape.vector_depth, vector, ports=2),
        "INT SRAM": memory_area(shape.int_depth, precision.integer),
        "FP SRAM": memory_area(shape.fp_depth, precision.float_width),
    }
