"""Model B: every unit of the chip, fitted to synthesis, with a spread.

Source: `timing_models.md` section 7.2, a public branch (revision b976fa19), its fourth version.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2
from typing import Any

import numpy as np

from plena.errors import SettingsError
from plena.integers import ceil_div
from plena.machine.silicon.calibration import CALIBRATION
from plena.machine.silicon.machine import Shape
from plena.machine.silicon.precision import Precision
from plena.machine.silicon.sram import memories


def _kind(precision: Precision) -> dict[str, Any]:
    return CALIBRATION["B"]["mxint" if precision.is_integer else "mxfp"]


def _element_area(shape: Shape, precision: Precision) -> float:
    """um^2 of one multiply-accumulate."""
    c = _kind(precision)["coefficients"]
    top, left = precision.top, precision.left
    if not precision.is_integer:
        name = f"t{top.name}_l{left.name}".lower()
        if name not in c["pe_lookup"]:
            raise SettingsError(f"no area is known for products of {left.name} and {top.name}", "area")
        return float(c["pe_lookup"][name])
    name = f"t{top.width}_l{left.width}"
    if name not in c["pe_lookup"]:
        raise SettingsError(f"no area is known for products of {left.name} and {top.name}", "area")
    slope = c["pe_depth_slope"].get(name, c["pe_depth_slope"]["default"])
    return max(c["pe_lookup"][name] + slope * (log2(shape.blen) - 4), c["pe_area_floor"])


def matrix_parts(
    shape: Shape, precision: Precision, coefficients: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """um^2 of the parts of the matrix unit.

    Args:
        coefficients: instead of the nominal ones.
    """
    c = _kind(precision)["coefficients"] if coefficients is None else coefficients
    mlen, blen, top, left = shape.mlen, shape.blen, precision.top.width, precision.left.width
    width, scale = precision.float_width, precision.scale
    arrays = mlen // blen
    levels = log2(arrays)
    nodes = blen * blen * max(arrays - 1, 0)
    active = blen * blen if arrays > 1 else 0
    if precision.is_integer:
        accumulator = top + left + max(1, ceil(log2(blen))) + 16 + max(1, ceil(log2(arrays + 1)))
    else:
        accumulator = 16
    cells = blen * blen
    found = {
        "array": c["array"]["pe_grid"] * mlen * blen * _element_area(shape, precision)
        + c["array"]["streamer_operand_bits"] * mlen * blen * (top + left)
        + c["array"]["scale_distribution_bits"] * mlen * scale
        + c["array"]["array_fixed"] * arrays,
        "reduction": c["reduce"]["edge_width"] * nodes * accumulator
        + c["reduce"]["tree_depth_width"] * active * levels * accumulator
        + c["reduce"]["active_outputs"] * active
        + c["reduce"]["scale_edges"] * nodes * scale,
        "accumulators": c["output_accumulator"]["cell_fp_width"] * cells * width
        + c["output_accumulator"]["cells"] * cells,
        "conversion": c["output_conversion"]["cell_acc_width"] * cells * accumulator
        + c["output_conversion"]["cell_fp_width"] * cells * width
        + c["output_conversion"]["cells"] * cells,
        "result buffer": c["result_buffer"]["matrix_fp_bits"] * mlen * blen * width
        + c["result_buffer"]["tile_fp_bits"] * cells * width
        + c["result_buffer"]["mlen_fp_bits"] * mlen * width,
        "ports": c["io_pipeline"]["lane_bits"] * mlen * (top + left + 2 * scale + width)
        + c["io_pipeline"]["lanes"] * mlen
        + c["io_pipeline"]["fixed"],
        "control": c["control"]["shape_log"] * (1 + log2(mlen) + log2(blen) + levels)
        + c["control"]["mlen"] * mlen
        + c["control"]["fixed"],
    }
    return {name: max(0.0, value) for name, value in found.items()}


def _vector(shape: Shape, precision: Precision) -> float:
    c, vlen, mantissa = CALIBRATION["vector"], shape.vlen, precision.float_mantissa
    return (
        c["direct_const"]
        + c["direct_mant_lane"] * vlen * mantissa
        + c["direct_mant_tree"] * vlen * mantissa * log2(max(vlen, 2))
        + c["direct_lane_quad"] * vlen * precision.float_width**2
    )


def _scalar(shape: Shape, precision: Precision) -> float:
    c, width, integer = CALIBRATION["scalar"], precision.float_width, precision.integer
    return (
        c["a_int_mul"] * integer * integer
        + c["a_int_lin"] * integer
        + c["a_fp_lin"] * width
        + c["a_fp_alu_const"]
        + c["a_fp_sfu_const"]
        + c["a_min_vector_buffer"] * min(shape.mlen, shape.vlen) * width
        + c["a_max_vector_buffer"] * max(shape.mlen, shape.vlen) * width
        + c["a_const"]
    )


def _hbm(shape: Shape, precision: Precision) -> float:
    c = CALIBRATION["hbm"]
    widths = (precision.weight.width, precision.activation.width, precision.keys_values.width)
    bits = 2 * shape.mlen * max(*widths, precision.float_width)
    return (
        c["a_ele"] * (1 << (bits - 1).bit_length())
        + c["a_scale"] * precision.scale * max(1, shape.mlen // shape.block)
        + c["a_const"]
    )


def parts(shape: Shape, precision: Precision) -> dict[str, float]:
    """um^2 of every unit and memory."""
    matrix = sum(matrix_parts(shape, precision).values())
    logic = {
        "matrix": matrix,
        "vector": _vector(shape, precision),
        "scalar": _scalar(shape, precision),
        "HBM interface": _hbm(shape, precision),
    }
    top = CALIBRATION["top"] * sum(logic.values())
    return {**logic, "top": top, **memories(shape, precision, round_up=True)}


def spread(shape: Shape, precision: Precision) -> tuple[float, float]:
    """um^2 to add to the total for its 10 % and 90 % quantile: the matrix unit's alone vary, the top follows it."""
    kind = _kind(precision)
    nominal = sum(matrix_parts(shape, precision).values())
    refits = [
        sum(matrix_parts(shape, precision, {**kind["coefficients"], **member}).values())
        for member in kind["ensemble"]
    ]
    low, high = np.quantile([nominal, *refits], [0.1, 0.9])
    scale, whole = kind["uncertainty"], 1 + CALIBRATION["top"]
    return (
        (min(nominal, float(low), nominal * scale["p10"]) - nominal) * whole,
        (max(nominal, float(high), nominal * scale["p90"]) - nominal) * whole,
    )


def is_in_domain(shape: Shape, precision: Precision) -> bool:
    """Whether the matrix unit lies within what was synthesised."""
    most = 16 if precision.is_integer else 8
    return 16 <= shape.mlen <= 64 and 4 <= shape.blen <= 16 and 2 <= ceil_div(shape.mlen, shape.blen) <= most
