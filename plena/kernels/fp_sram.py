"""Numbers in FP SRAM: constants of any size, and tensors with few columns that the scalar unit computes with."""

from __future__ import annotations

from math import isfinite

import numpy as np
import numpy.typing as npt
from xdsl.ir import SSAValue

from plena.dialects.tile import MapScalarsOp, PanelRows, ReduceRowsOp
from plena.instructions.context import survives_fp16
from plena.kernels.context import KernelContext, constant_panel
from plena.kernels.parts import chunk_of_many
from plena.kernels.tensors import Scalars
from plena.machine.scalar_codes import BF16_MAX

LARGEST_POWER = 14
"""2^-14 is the smallest normal number of the fp16 preload; 2^14 is exact there too."""


def number(ctx: KernelContext, value: float) -> SSAValue:
    """A word of FP SRAM with this number.

    The preload is fp16 (plena_isa.md section 6.2): what it cannot hold to bf16 precision is a product of what it can,
    computed once at the start. Finite numbers of float32 beyond the largest of bf16 become that one.
    """
    if isfinite(value):
        value = max(-BF16_MAX, min(value, BF16_MAX))
    if not isfinite(value) or survives_fp16(value):
        return ctx.builder.constant(value)
    known = ctx.numbers.get(value)
    if known is not None:
        return known
    power = LARGEST_POWER if abs(value) < 1 else -LARGEST_POWER
    factor, steps = value, 0
    while not survives_fp16(factor):
        factor, steps = factor * 2.0**power, steps + 1
    step = ctx.builder.constant(2.0**-power)
    result = ctx.numbers[value] = ctx.builder.buffer("number", "fp", 1)
    operand = ctx.builder.constant(factor)
    with ctx.builder.prologue(), ctx.builder.step("constants"):
        for _ in range(steps):
            ctx.builder.insert(
                MapScalarsOp(kind="mul", out=result, a=operand, b=step, count=1, out_step=0, a_step=0)
            )
            operand = result
    return result


def fill(ctx: KernelContext, words: SSAValue, value: float, count: int) -> None:
    """Words of FP SRAM = a number that the fp16 preload holds."""
    constant = ctx.builder.constant(value)
    ctx.builder.insert(MapScalarsOp(kind="copy", out=words, a=constant, count=count, out_step=1, a_step=0))


def sum_of_row(ctx: KernelContext, lanes: SSAValue, blocks: int, word: SSAValue) -> None:
    """A word of FP SRAM = the sum of `blocks` consecutive rows of vector SRAM."""
    vlen = ctx.target.vlen
    ctx.builder.insert(
        ReduceRowsOp(
            kind="sum",
            scalars=word,
            scratch=ctx.builder.buffer("row", "vector", 2 * vlen),
            x=lanes,
            rows=1,
            blocks=blocks,
            block=vlen,
            scalars_row=0,
            chunk=chunk_of_many(blocks),
        )
    )


def few(ctx: KernelContext, rows: int, groups: int) -> bool:
    """Whether a tensor [rows, groups] is small enough for FP SRAM beside everything else there."""
    return rows * groups <= ctx.target.fp_sram_size // 4


def new_scalars(ctx: KernelContext, rows: int, groups: int) -> Scalars:
    """FP SRAM for a tensor [rows, groups]."""
    return Scalars(ctx.builder.buffer("scalars", "fp", rows * groups), rows, groups)


_LOW = -1.875 * 2.0**127
"""A number of every MX format whose double is minus infinity."""


def lane_hiding(ctx: KernelContext, groups: int, width: int) -> SSAValue:
    """Row g is 0 in the lanes of group g of `width` lanes each and minus infinity elsewhere, in vector SRAM.

    Any finite number would be larger than those of a row that a model has filled with finfo.min, or with infinity.
    """
    seen = np.repeat(np.eye(groups, dtype=bool), width, axis=1)
    return _hiding(
        ctx, f"lane_hiding_{groups}_{width}", np.pad(seen, ((0, 0), (0, ctx.target.vlen - seen.shape[1])))
    )


def column_hiding(ctx: KernelContext, columns: int, rows: int) -> SSAValue:
    """One row of lanes that takes `rows` rows of vector SRAM: 0 in the first columns, minus infinity behind them."""
    lanes = np.arange(rows * ctx.target.vlen).reshape(rows, -1)
    return _hiding(ctx, f"column_hiding_{columns}_{rows}", lanes < columns)


def _hiding(ctx: KernelContext, name: str, seen: npt.NDArray[np.bool_]) -> SSAValue:
    """Rows of 0 where lanes are seen and minus infinity elsewhere."""
    known = ctx.constant_panels.get(name)
    if known is not None:
        return known
    hiding = constant_panel(ctx, name, np.where(seen, 0.0, _LOW).astype(np.float32))
    rows = PanelRows(hiding, ctx.target.vlen, 0)
    with ctx.builder.prologue():
        ctx.builder.map("add", rows, rows, rows, size=(len(seen), 1))
    return hiding
