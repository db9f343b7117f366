"""Rows of computed tensors by numbers that the host computes: a selection by zeros and ones, which is exact.

The machine has no gather from vector SRAM. Multiplying by 0 and 1 and adding up costs one pass over the tensor for each
selected row of a sample, as a pooled token or the last one of a sequence is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    Float32Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    f64,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from plena.dialects import aten
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.tensor.emission import Emitter
from plena.tensor.host_values import HostValues, host_op
from plena.tensor.states import picks_sample

MOST = 8
"""Rows of a sample, or numbers of a row, that are selected one by one; each reads the whole tensor."""

_COLUMNS = -1
"""The last axis of a tensor, of which every row has its own numbers."""


class SelectRows(RewritePattern):
    """x[arange(B), i], x[arange(B)[:, None], i], x.index_select(d, i), x.gather(d, i) with i the same along a row,
    x.gather(-1, i)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.OperatorOp | aten.IndexSelectOp, rewriter: PatternRewriter) -> None:
        found = _selection(op)
        if found is None:
            return
        value, dim, index = found
        if index.shape[-1] > MOST:
            raise refusal(
                op,
                f"{index.shape[-1]} rows of a computed tensor, or numbers of its rows, are picked by integers, at most "
                f"{MOST} have a kernel",
                "Pick rows of the inputs or of a table instead, before the tensor is computed.",
            )
        e = Emitter(rewriter, op)
        if dim == _COLUMNS:
            columns = shape_of(value)[-1]
            value, dim = _added(e, aten.ViewOp, [value], (prod(shape_of(value)) // columns, columns)), 1
        shape = shape_of(value)
        rows = [_row(e, value, dim, build.sliced(index, 1, n, n + 1)) for n in range(index.shape[-1])]
        kept = (*shape[:dim], len(rows), *shape[dim + 1 :])
        joined = rows[0]
        if len(rows) > 1:
            properties: dict[str, Attribute] = {"dim": IntegerAttr(dim, i64)}
            joined = _added(e, aten.CatOp, [rows], kept, properties)
        rewriter.replace(op, [], [_added(e, aten.ViewOp, [joined], shape_of(op.results[0]))])


def _selection(op: aten.OperatorOp | aten.IndexSelectOp) -> tuple[SSAValue, int, HostValue] | None:
    """(x, dim, index [samples or 1, n]) of what picks n slices along `dim` of x, the samples being its first axis, or
    all axes but the last where that is picked along."""
    values = HostValues()
    if isinstance(op, aten.IndexSelectOp):
        if picks_sample(op):
            return None
        index = values.of(op.index)
        if not _is_computed(values, op.input) or index is None or not index.inputs:
            return None
        return op.input, op.dim.value.data, build.reshape(index, (1, prod(index.shape)))
    if not op.inputs or not _is_computed(values, op.inputs[0]):
        return None
    match op.operator.data:
        case "aten.index.Tensor":
            return _of_samples(op, values)
        case "aten.gather.default":
            return _of_gather(op, values)
        case _:
            return None


def _is_computed(values: HostValues, value: SSAValue) -> bool:
    staged = isinstance(value.owner, aten.ParameterOp | aten.ConstantOp)
    return isinstance(element_type_of(value), Float32Type) and values.of(value) is None and not staged


def _of_samples(op: aten.OperatorOp, values: HostValues) -> tuple[SSAValue, int, HostValue] | None:
    """x[n, index] where n counts the samples, along the first axis of the index."""
    given = op.arguments.data[1]
    if not isinstance(given, ArrayAttr) or len(given.data) != 2:
        return None
    names = [entry.data if isinstance(entry, StringAttr) else "" for entry in given.data]
    if not all(name.startswith("%") for name in names):
        return None
    x = op.inputs[0]
    first, second = (op.inputs[int(name[1:])] for name in names)
    index = values.of(second)
    samples = shape_of(x)[0]
    if index is None or not index.inputs or len(index.shape) not in (1, 2) or index.shape[0] != samples:
        return None
    if not _counts(first, samples, len(index.shape)):
        return None
    return x, 1, build.reshape(index, (samples, prod(index.shape) // samples))


def _counts(value: SSAValue, samples: int, rank: int) -> bool:
    """Whether a constant is 0, 1, ... along the first of `rank` axes; the importer says so."""
    constant = value.owner
    while isinstance(constant, aten.ViewOp):
        constant = constant.input.owner
    if samples == 1 and aten.full_value(value) == 0:
        return True
    shape = shape_of(value)
    along_first = len(shape) == rank and shape == (samples, *(1,) * (rank - 1))
    return along_first and isinstance(constant, aten.ConstantOp) and constant.counts is not None


def _of_gather(op: aten.OperatorOp, values: HostValues) -> tuple[SSAValue, int, HostValue] | None:
    """x.gather(dim, index) of x [samples, n, features] with an index that is the same for all features, or along the
    last axis."""
    x, dim, index = op.inputs[0], op.arguments.data[1], values.of(op.inputs[1])
    shape = shape_of(x)
    if isinstance(dim, IntegerAttr) and dim.value.data % len(shape) == len(shape) - 1:
        if index is None or not index.inputs or index.shape[:-1] != shape[:-1]:
            return None
        chosen = index.shape[-1]
        return x, _COLUMNS, build.reshape(index, (prod(index.shape) // chosen, chosen))
    if not isinstance(dim, IntegerAttr) or dim.value.data % len(shape) != 1 or len(shape) != 3:
        return None
    if index is None or not index.inputs or index.shape[0] != shape[0] or index.shape[2] != shape[2]:
        return None
    root = index.root
    if root.operation != "expand" or index.operand(0).shape[-1] != 1:
        return None
    return x, 1, build.reshape(build.sliced(index, 2, 0, 1), index.shape[:2])


def _row(e: Emitter, x: SSAValue, dim: int, index: HostValue) -> SSAValue:
    """The slice of x number `index` [samples or 1, 1] along `dim`, which keeps size 1."""
    shape = shape_of(x)
    size = shape[dim]
    wide = build.cast(index, "int64")
    negative = build.binary("lt", wide, build.full(0, "int64"))
    wide = build.where(negative, build.binary("add", wide, build.full(size, "int64")), wide)
    hot = build.cast(HostValue.of("one_hot", (wide,), "int64", (*wide.shape, size), classes=size), "bool")
    own = tuple(size if axis == dim else index.shape[0] if axis == 0 else 1 for axis in range(len(shape)))
    block = e.anchor.parent_block()
    assert block is not None
    mask = e.add(host_op(build.reshape(hot, own), block.args))
    zero = _added(e, aten.FullOp, [], (), {"value": FloatAttr(0.0, f64)})
    chosen = _added(e, aten.WhereOp, [mask, x, zero], shape)
    kept = (*shape[:dim], 1, *shape[dim + 1 :])
    dims: DenseArrayBase[I64] = DenseArrayBase.from_list(i64, [dim])
    return _added(e, aten.SumOp, [chosen], kept, {"dim": dims, "keepdim": BoolAttr.from_bool(True)})


def _added(
    e: Emitter,
    kind: type[aten.AtenOp],
    operands: Sequence[SSAValue | Sequence[SSAValue]],
    shape: Sequence[int],
    properties: dict[str, Attribute] | None = None,
) -> SSAValue:
    result = TensorType(Float32Type(), shape)
    return e.add(kind.build(operands=operands, result_types=[result], properties=properties or {}))
