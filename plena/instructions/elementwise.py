"""Lowering of elementwise operations: one pass over the rows whatever the length of the chain."""

from __future__ import annotations

from typing import Literal

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import ConstantOp, ElementwiseOp
from plena.errors import CompileError
from plena.instructions.context import Lowering, lowers
from plena.instructions.row_plan import Place, plan_of

_ROWS: dict[str, Literal["V_ADD_VV", "V_SUB_VV", "V_MUL_VV"]] = {
    "add": "V_ADD_VV",
    "sub": "V_SUB_VV",
    "mul": "V_MUL_VV",
}
_WORDS: dict[str, Literal["V_ADD_VF", "V_SUB_VF", "V_MUL_VF", "V_MAX_VF", "V_MIN_VF"]] = {
    "add": "V_ADD_VF",
    "sub": "V_SUB_VF",
    "reverse_sub": "V_SUB_VF",
    "mul": "V_MUL_VF",
    "max": "V_MAX_VF",
    "min": "V_MIN_VF",
}
_UNARY: dict[str, Literal["V_EXP_V", "V_RECI_V"]] = {"exp": "V_EXP_V", "reciprocal": "V_RECI_V"}


@lowers(ElementwiseOp)
def lower_elementwise(op: ElementwiseOp, ctx: Lowering) -> None:
    """One loop when the blocks of every panel follow each other, blocks around rows otherwise.

    Words are loaded before the loops; zero is in f0 already.
    """
    builder, vlen = ctx.builder, ctx.target.vlen
    panels = {"out": op.out_panels, "in": op.in_panels}
    bases = {kind: [ctx.at(p.buffer) for p in group] for kind, group in panels.items()}
    scratch = Linear() if op.scratch is None else ctx.at(op.scratch)
    cells = {word: word_cell(ctx, word) for word in op.scalars}
    plan = plan_of(op)
    if plan.scratch and op.scratch is None:
        raise CompileError(f"tile.elementwise needs {plan.scratch} rows of scratch", hint="give it a buffer")
    rows, blocks = op.size
    if all(p.block == rows * p.row for group in panels.values() for p in group):
        rows, blocks = rows * blocks, 1
    with builder.loop(blocks) as block, builder.loop(rows) as row:

        def row_at(place: Place) -> Linear:
            kind, number = place
            if kind == "scratch":
                return scratch + number * vlen
            panel = panels[kind][number]
            return bases[kind][number] + block * panel.block + row * panel.row

        def address(value: SSAValue) -> Linear:
            return row_at(plan.places[value])

        for step in op.steps:
            cell = None if step.scalar is None else cells[step.scalar]
            other = None if step.b is None or cell is not None else address(step.b)
            _emit(ctx, step.kind.data, address(step.result), address(step.a), other, cell)
        for value, home in plan.moves:
            _emit(ctx, "copy", row_at(home), address(value), None, None)


def _emit(
    ctx: Lowering, kind: str, dst: Linear, a: Linear, other: Linear | None, cell: SSAValue | None
) -> None:
    """dst = kind(a), kind(a, other row) or kind(a, number in a cell)."""
    builder = ctx.builder
    if kind == "copy":
        # Minus zero less zero is minus zero; their sum is not.
        builder.emit("V_SUB_VF", dst=dst, a=a, b=builder.f0)
    elif other is not None:
        builder.emit(_ROWS[kind], dst=dst, a=a, b=other)
    elif cell is None:
        builder.emit(_UNARY[kind], dst=dst, a=a)
    elif kind == "reverse_sub":
        builder.emit("V_SUB_VF", dst=dst, a=a, b=cell, order=1)
    else:
        builder.emit(_WORDS[kind], dst=dst, a=a, b=cell)


def word_cell(ctx: Lowering, word: SSAValue) -> SSAValue:
    """An f register with a number of FP SRAM; f0 if it is the constant 0, which minus zero is not."""
    owner = word.owner
    if isinstance(owner, ConstantOp) and owner.is_zero:
        return ctx.builder.f0
    return ctx.load(word)
