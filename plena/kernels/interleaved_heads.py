"""Query heads in the lanes of the key head that they read, where several read one: decided before kernels are lowered.

Key heads that are narrower than a row share column blocks. A query head can be multiplied with them if it lies in the
lanes of its key head, the lanes of others zeroed. So the weights of queries are staged in another order of heads, and
every kernel between them and the attention treats all heads alike.
"""

from __future__ import annotations

from dataclasses import replace

from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Operation, OpResult, SSAValue

from plena.dialects.plena import (
    AttentionOp,
    GroupedRowsOp,
    LinearOp,
    MulScalarOp,
    ProjectionsOp,
    RotariesOp,
    RotaryOp,
)
from plena.kernels.attention.shape import INTERLEAVED, AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.head_layout import heads_per_block
from plena.kernels.product_cost import is_wrong
from plena.kernels.schedule import Schedule
from plena.machine.target import Target


def interleave_heads(function: Operation, ctx: KernelContext) -> None:
    """Marks the attentions whose query heads are to be interleaved."""
    if not _products_by_mm(ctx.target, ctx.schedule):
        return
    for op in function.walk():
        if isinstance(op, AttentionOp) and _may_be_interleaved(op, ctx):
            op.attributes[INTERLEAVED] = UnitAttr()


def _products_by_mm(target: Target, schedule: Schedule) -> bool:
    """Whether M_MM makes all products: the broadcast unit fills its slots with the query heads of one key head."""
    if schedule.machine == "rtl" or schedule.matmul in ("broadcast", "vector"):
        return False
    others = ("broadcast", "vector")
    wrong = all(is_wrong(unit, target, schedule) for unit in others)
    return schedule.matmul == "mm" or not target.has_broadcast or wrong


def _may_be_interleaved(op: AttentionOp, ctx: KernelContext) -> bool:
    shape = replace(AttentionShape.of(op), interleaved=True)
    if shape.group == 1 or heads_per_block(shape, ctx.target) == 1:
        return False
    if any(ctx.undefined.in_rows_of(value) for value in op.operands):
        return False
    made = (_is_projected(op.query, shape.heads, alone=True), _is_projected(op.key, shape.kv_heads))
    return all(made) and _is_projected(op.value, shape.kv_heads)


def _is_projected(value: SSAValue, heads: int, *, alone: bool = False) -> bool:
    """Whether a linear layer makes a tensor, and nothing behind it tells its heads apart; `alone`: nor reads it."""
    while isinstance(value, OpResult):
        if alone and len(list(value.uses)) != 1:
            return False
        op = value.op
        if isinstance(op, LinearOp | ProjectionsOp):
            return True
        by_heads = isinstance(op, RotaryOp | MulScalarOp)
        by_heads = by_heads or (isinstance(op, GroupedRowsOp) and op.groups.value.data == heads)
        if not by_heads and not isinstance(op, RotariesOp):
            return False
        value = op.operands[value.index if isinstance(op, RotariesOp) else 0]
    return False
