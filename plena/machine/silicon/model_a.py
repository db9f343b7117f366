"""Model A: the matrix array by its structure, and memories; other logic is left out.

Source: `timing_models.md` section 7.1, a public branch (revision 11162876).
"""

from __future__ import annotations

from plena.machine.silicon.calibration import CALIBRATION
from plena.machine.silicon.machine import Shape
from plena.machine.silicon.precision import Precision
from plena.machine.silicon.sram import memories


def array(shape: Shape, precision: Precision) -> float:
    """um^2 of the matrix array as synthesised."""
    c = CALIBRATION["A"]["mxint" if precision.is_integer else "mxfp"]
    mlen, blen, top, left = shape.mlen, shape.blen, precision.top.width, precision.left.width
    return (
        mlen * blen * (c["pe_tl"] * top * left + c["pe_sum"] * (top + left) + c["pe_0"])
        + c["reduce"] * blen * (mlen - blen)
        + c["scale"] * mlen * precision.scale
        + c["out"] * blen * blen
        + c["fixed"] * (mlen / blen)
        + c["const"]
    )


def parts(shape: Shape, precision: Precision) -> dict[str, float]:
    """um^2: the array at the reference corner, and the memories."""
    reference = array(shape, precision) * CALIBRATION["A_reference"]
    return {"matrix": reference, **memories(shape, precision, round_up=False)}
