"""Slices and concatenation along any axis as kernels on rows and features with groups."""

from __future__ import annotations

from math import prod

from xdsl.ir import BlockArgument

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.layout_maps import Atom, LayoutMap
from plena.tensor.tracing import trace


def emit_slice(e: Emitter, op: aten.SliceOp) -> None:
    """The last axis is features; an axis before it is rows, in groups of the axes before it.

    Where views lie between the op and a kernel's result, that result is sliced and the views follow.
    """
    if _emit_slice_of_base(e, op):
        return
    shape = shape_of(op.input)
    axis, start, stop, step = op.bounds
    size = len(range(start, stop, step))
    if axis == len(shape) - 1:
        x = e.flat(op.input)
        rows = shape_of(x)[0]
        e.replace(e.add(plena.SliceOp(x, (0, start), (rows, size), (1, step))))
        return
    groups, inner = prod(shape[:axis]), prod(shape[axis + 1 : -1])
    if step == 1 or inner == 1:
        x, columns = e.flat(op.input), shape[-1]
        offsets, sizes, strides = (start * inner, 0), (size * inner, columns), (step, 1)
    else:
        columns = prod(shape[axis + 1 :])
        x = e.reshape(op.input, (prod(shape[: axis + 1]), columns))
        offsets, sizes, strides = (start, 0), (size, columns), (step, 1)
    e.replace(e.add(plena.SliceOp(x, offsets, sizes, strides, (groups, 1))))


def _emit_slice_of_base(e: Emitter, op: aten.SliceOp) -> bool:
    traced = trace(op.input)
    axis, start, stop, step = op.bounds
    atoms = traced.layout.axes[axis]
    shape = shape_of(traced.base)
    if isinstance(traced.base, BlockArgument) and not traced.layout.is_reshape:
        return False  # the host arranges it
    if traced.base == op.input or traced.layout.repeats or len(atoms) != 1 or len(shape) < 2:
        return False
    factor, factors = atoms[0].source, traced.layout.factors
    inner = prod(factors[factor + 1 :])
    size, whole = len(range(start, stop, step)), factors[factor] * inner
    columns = shape[-1]
    if whole <= columns and columns % whole == 0 and (step == 1 or inner == 1):
        rows = prod(shape[:-1])
        offsets, sizes, strides = (0, start * inner), (rows, size * inner), (1, step)
        groups = (1, columns // whole)
    elif inner % columns == 0 and (step == 1 or inner == columns):
        per_row = inner // columns
        offsets, sizes, strides = (start * per_row, 0), (size * per_row, columns), (step, 1)
        groups = (prod(shape) // whole, 1)
    else:
        return False
    part = e.add(plena.SliceOp(e.flat(traced.base), offsets, sizes, strides, groups))
    sliced_factors = (*factors[:factor], size, *factors[factor + 1 :])
    axes = tuple(
        tuple(Atom(size, a.source) if a.source == factor else a for a in view) for view in traced.layout.axes
    )
    e.replace(e.view(part, LayoutMap(sliced_factors, axes), shape_of(op.result)))
    return True


def emit_concat(e: Emitter, op: aten.CatOp) -> None:
    """The last axis is features; an axis before it is rows, in groups of the axes before it."""
    shape, axis = shape_of(op.result), op.dim.value.data
    inputs = [e.flat(tensor) for tensor in op.tensors]
    if axis == len(shape) - 1:
        e.replace(e.add(plena.ConcatOp("features", inputs)))
    else:
        e.replace(e.add(plena.ConcatOp("rows", inputs, prod(shape[:axis]))))
