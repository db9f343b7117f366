"""Attention written out in `aten` operators, for scores that no kernel of attention takes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import Float32Type, FloatAttr, IntegerAttr, TensorType, UnitAttr, f64, i64
from xdsl.ir import Attribute, BlockArgument, SSAValue

from plena.dialects import aten, plena
from plena.dialects.plena.base import integers, real
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.emission import Emitter
from plena.tensor.host_values import HostValues

_MOVES = (aten.ViewOp, aten.PermuteOp, aten.ExpandOp)


def is_computed(value: SSAValue) -> bool:
    """Whether the machine computes a tensor: it is more than moved elements of a real input, and the host does not
    compute it of integers."""
    if isinstance(value.owner, _MOVES):
        return is_computed(value.owner.input)
    if isinstance(value, BlockArgument) or isinstance(value.owner, plena.HostOp):
        return False
    inputs = _inputs(value)
    real = any(isinstance(element_type_of(argument), Float32Type) for argument in inputs)
    return real or (bool(inputs) and HostValues().of(value) is None)


def _inputs(value: SSAValue) -> set[BlockArgument]:
    """The arguments that a value depends on."""
    pending, seen = [value], set[SSAValue]()
    while pending:
        current = pending.pop()
        if current not in seen:
            seen.add(current)
            pending.extend(() if isinstance(current, BlockArgument) else current.owner.operands)  # type: ignore[union-attr]
    return {argument for argument in seen if isinstance(argument, BlockArgument)}


def write_attention(
    e: Emitter, op: aten.ScaledDotProductAttentionOp, mask: SSAValue, scale: float
) -> SSAValue:
    """softmax(query @ key^T * scale + mask) @ value, 0 where every key is hidden by minus infinity."""
    query, key, value = op.query, op.key, op.value
    if op.enable_gqa.value.data:
        key, value = (_repeated(e, x, shape_of(query)[-3]) for x in (key, value))
    rank = len(shape_of(key))
    turned = _build(
        e,
        aten.PermuteOp,
        [key],
        (*shape_of(key)[:-2], shape_of(key)[-1], shape_of(key)[-2]),
        {"dims": integers((*range(rank - 2), rank - 1, rank - 2))},
    )
    shape = (*shape_of(op.result)[:-1], shape_of(key)[-2])
    scores = _build(e, aten.MatmulOp, [query, turned], shape)
    number = e.add(aten.FullOp.build(properties={"value": FloatAttr(scale, f64)}, result_types=[real()]))
    scaled = _build(e, aten.MulOp, [scores, number], shape)
    masked = _build(e, aten.AddOp, [scaled, mask], shape)
    weights = _build(
        e,
        aten.SoftmaxOp,
        [masked],
        shape,
        {"dim": IntegerAttr(len(shape) - 1, i64), "safe": UnitAttr()},
    )
    return _build(e, aten.MatmulOp, [weights, value], shape_of(op.result))


def _repeated(e: Emitter, value: SSAValue, heads: int) -> SSAValue:
    """Each head of keys or values repeated for its group of query heads."""
    *batch, own, rows, features = shape_of(value)
    if own == heads:
        return value
    apart = _build(e, aten.ViewOp, [value], (*batch, own, 1, rows, features))
    wide = _build(e, aten.ExpandOp, [apart], (*batch, own, heads // own, rows, features))
    return _build(e, aten.ViewOp, [wide], (*batch, heads, rows, features))


def _build(
    e: Emitter,
    operation: type[aten.AtenOp],
    operands: Sequence[SSAValue],
    shape: Sequence[int],
    properties: dict[str, Attribute] | None = None,
) -> SSAValue:
    result = TensorType(element_type_of(operands[0]), shape)
    return e.add(operation.build(operands=list(operands), result_types=[result], properties=properties or {}))
