"""The body of plena.experts for one choice: one row where it has a row per token, numbers instead of columns."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, SSAValue
from xdsl.rewriter import Rewriter

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.plena import ExpertsOp, RouteOp, YieldOp, expert_symbol
from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.dialects.tensor_shapes import element_type_of, shape_of

FAR_BELOW = -1e29
"""What is at most this, added to a score, leaves nothing of its exponential."""


@dataclass
class PickedBody:
    """The body of one expert for one choice, in `aten`, and what its arguments are.

    Attributes:
        block: arguments are matrices of `rows`, then numbers of `columns`, then if `scores` is there the softmax of
            the chosen ones; parameters are named by `expert_symbol`; ends in func.return of one matrix.
        rows: by their types as matrices.
    """

    block: Block
    rows: list[tuple[SSAValue, TensorType]]
    columns: list[SSAValue]
    scores: SSAValue | None


def picked_body(op: ExpertsOp) -> PickedBody | None:
    """None if the body treats tokens in another way than row by row."""
    tokens, given = shape_of(op.mask)[0], len(op.rows) + len(op.columns)
    arguments = op.body.block.args
    by_weights = [softmax_of_chosen(value, op) for value in op.columns]
    scores = next((found for found in by_weights if found is not None), None)
    columns = [value for value, found in zip(op.columns, by_weights, strict=True) if found is None]
    matrices = [_matrix(value, argument, tokens) for value, argument in zip(op.rows, arguments, strict=False)]
    rows = list(dict.fromkeys(matrices))
    number = TensorType(element_type_of(op.mask), (1, 1))
    types = [_choice(as_matrix, tokens) for _, as_matrix in rows]
    block = Block(arg_types=[*types, *[number] * (len(columns) + (scores is not None))])
    own = list(block.args[len(rows) :])
    mapping: dict[SSAValue, SSAValue] = {}
    for argument, matrix in zip(arguments, matrices, strict=False):
        mapping[argument] = _viewed(block, block.args[rows.index(matrix)], _choice(argument.type, tokens))
    for argument, found in zip(arguments[len(op.rows) : given], by_weights, strict=True):
        mapping[argument] = own.pop(0) if found is None else block.args[-1]
    by_row = set(mapping.values())
    for n, argument in enumerate(arguments[given:]):
        parameter = aten.ParameterOp.build(
            properties={"symbol": expert_symbol(n)}, result_types=[argument.type]
        )
        block.add_op(parameter)
        mapping[argument] = parameter.results[0]
    if not _copy_ops(op, block, mapping, by_row):
        return None
    result = mapping[op.yielded]
    while tokens == 1 and isinstance(view := result.owner, aten.ViewOp) and len(shape_of(view.input)) == 2:
        result = view.input
    block.add_op(ReturnOp(result))
    return PickedBody(block, rows, columns, scores)


def softmax_of_chosen(value: SSAValue, op: ExpertsOp) -> SSAValue | None:
    """The scores if a value is the softmax of those alone that are chosen, as V_TOPK gives it; else None.

    Those that are not chosen have had a number added that is far below, which is 0 for the others.
    """
    route, softmax = op.mask.owner, value.owner
    assert isinstance(route, RouteOp)
    (_, experts), chosen = shape_of(op.mask), route.k.value.data
    fits = any(experts <= most and chosen == kept for most, kept in TOPK_SHAPES.values())
    if not fits or not isinstance(softmax, aten.SoftmaxOp) or softmax.dim.value.data != 1:
        return None
    total = softmax.input.owner
    if not isinstance(total, aten.AddOp) or total.input is not route.input:
        return None
    hidden = total.other.owner
    if not isinstance(hidden, aten.SubOp) or not isinstance(scaled := hidden.input.owner, aten.MulOp):
        return None
    numbers = full_value(scaled.other), full_value(hidden.other)
    far = numbers[0] is not None and numbers[0] == numbers[1] and -numbers[0] <= FAR_BELOW
    return route.input if far and scaled.input is op.mask else None


def _copy_ops(op: ExpertsOp, block: Block, mapping: dict[SSAValue, SSAValue], by_row: set[SSAValue]) -> bool:
    """Copies the body with one row for what has a row per token; False if something has not."""
    tokens = shape_of(op.mask)[0]
    for inner in op.body.block.ops:
        if isinstance(inner, YieldOp):
            continue
        copy = inner.clone(mapping)
        block.add_op(copy)
        if tokens > 1 and any(operand in by_row for operand in copy.operands):
            for old in inner.results:
                if shape_of(old)[:1] != (tokens,):
                    return False
                found = Rewriter.replace_value_with_new_type(mapping[old], _choice(old.type, tokens))
                mapping[old] = found
                by_row.add(found)
    return True


def _matrix(value: SSAValue, argument: SSAValue, tokens: int) -> tuple[SSAValue, TensorType]:
    """A row for each token; of a single one the matrix that the body makes of it, if it does. What it is a view of."""
    shape = shape_of(value)
    found = (tokens, prod(shape[1:]))
    views = {
        shape_of(use.operation.results[0]) for use in argument.uses if isinstance(use.operation, aten.ViewOp)
    }
    if tokens == 1 and len(shape) > 2 and len(views) == 1:
        (view,) = views
        found = view if len(view) == 2 else found
    elif tokens == 1 and len(shape) == 2:
        found = shape
    while isinstance(owner := value.owner, aten.ViewOp):
        value = owner.input
    return value, TensorType(element_type_of(value), found)


def _choice(kind: object, tokens: int) -> TensorType:
    """The type of what one token has of it."""
    assert isinstance(kind, TensorType)
    shape = kind.get_shape()
    return kind if tokens == 1 else TensorType(kind.get_element_type(), (1, *shape[1:]))


def _viewed(block: Block, value: SSAValue, as_type: TensorType) -> SSAValue:
    if value.type == as_type:
        return value
    view = aten.ViewOp.build(operands=[value], result_types=[as_type])
    block.add_op(view)
    return view.results[0]
