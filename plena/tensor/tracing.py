"""Looking through ops that only move elements, or only scale them, to the value that they start from."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.layout_maps import LayoutMap

LAYOUT_OPS = (
    aten.ViewOp,
    aten.PermuteOp,
    aten.ExpandOp,
    plena.ReshapeOp,
    plena.RearrangeOp,
    plena.ExpandOp,
)
"""What only moves or repeats elements."""


@dataclass(frozen=True)
class Trace:
    """A value as a view of `base`, times `scale`."""

    base: SSAValue
    layout: LayoutMap
    scale: float = 1.0


def defining(value: SSAValue, *kinds: type[Operation]) -> Operation | None:
    """The op that computes a value if it is of one of the kinds."""
    return value.owner if isinstance(value.owner, kinds) else None


def trace(value: SSAValue, scales: bool = False) -> Trace:
    """The value as a view of the furthest base; with `scales` also through products with a number."""
    chain: list[Operation] = []
    base, scale = value, 1.0
    while True:
        owner = base.owner
        if isinstance(owner, LAYOUT_OPS):
            chain.append(owner)
            base = owner.input
            continue
        scaled = _scaled(base) if scales else None
        if scaled is None:
            break
        base, scale = scaled[0], scale * scaled[1]
    layout = LayoutMap.of(shape_of(base))
    for op in reversed(chain):
        applied = apply_layout(layout, op)
        if applied is None:
            base, layout = op.results[0], LayoutMap.of(shape_of(op.results[0]))
            remaining = _scale_between(value, base) if scales else 1.0
            scale = remaining
        else:
            layout = applied
    return Trace(base, layout, scale)


def apply_layout(layout: LayoutMap, op: Operation) -> LayoutMap | None:
    """The view after a layout op on it, None if no map expresses it."""
    match op:
        case aten.PermuteOp():
            return layout.permuted(op.dims.get_values())
        case plena.RearrangeOp():
            viewed = layout.reshaped(op.factors.get_values())
            if viewed is None:
                return None
            return viewed.permuted(op.order.get_values()).reshaped(shape_of(op.result))
        case aten.ExpandOp() | plena.ExpandOp():
            return layout.expanded(shape_of(op.result))
        case _:
            return layout.reshaped(shape_of(op.results[0]))


def _scaled(value: SSAValue) -> tuple[SSAValue, float] | None:
    """(x, c) if the value is x * c or x / c with a number c that keeps x's shape."""
    owner = value.owner
    if not isinstance(owner, aten.MulOp | aten.DivOp):
        return None
    number = aten.full_value(owner.other)
    if number is not None and shape_of(owner.input) == shape_of(value):
        if isinstance(owner, aten.MulOp):
            return owner.input, number
        return (owner.input, 1.0 / number) if number != 0 else None
    if isinstance(owner, aten.MulOp):
        number = aten.full_value(owner.input)
        if number is not None and shape_of(owner.other) == shape_of(value):
            return owner.other, number
    return None


def _scale_between(value: SSAValue, base: SSAValue) -> float:
    """The product of the numbers on the way from base to value."""
    scale = 1.0
    while value != base:
        scaled = _scaled(value)
        if scaled is not None:
            value, scale = scaled[0], scale * scaled[1]
        else:
            value = value.owner.operands[0]  # type: ignore[union-attr]
    return scale


_STAGED_OPS = (plena.ReshapeOp, plena.RearrangeOp, plena.ExpandOp, plena.SliceOp, plena.ConcatOp)


def is_staged(value: SSAValue) -> bool:
    """Whether a value is a parameter or a number, or made of such by moving elements only."""
    owner = value.owner
    if isinstance(owner, plena.ParameterOp | aten.FullOp):
        return True
    return isinstance(owner, _STAGED_OPS) and all(is_staged(operand) for operand in owner.operands)
