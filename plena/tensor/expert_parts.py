"""One expert's part of a value that all experts have together, and what it is computed of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, i64
from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of


@dataclass(frozen=True)
class Part:
    """Number `number` along an axis of a value, that axis dropped; all of it if `axis` is None.

    With a `size` it is number `number` of blocks of that many elements, and the axis stays.
    """

    value: SSAValue
    axis: int | None = None
    number: int = 0
    size: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape without the axis, or with that of a block."""
        whole = shape_of(self.value)
        if self.axis is None:
            return whole
        return (*whole[: self.axis], *self.kept, *whole[self.axis + 1 :])

    @property
    def kept(self) -> tuple[int, ...]:
        """What is left of the axis."""
        return () if self.size is None else (self.size,)

    @property
    def dropped(self) -> int | None:
        """The axis if it is dropped."""
        return self.axis if self.size is None else None

    def of(self, value: SSAValue, axis: int) -> Part:
        """The same part of another value."""
        return Part(value, axis, self.number, self.size)


@dataclass(frozen=True)
class Step:
    """An operation of one expert: its kind, operands and properties; a view of the only operand if `kind` is ViewOp."""

    kind: type[aten.AtenOp]
    operands: tuple[Part, ...]
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


def step_of(part: Part) -> Step | None:
    """The operation that computes a part, None if it is not computed apart from the other experts' parts."""
    op = part.value.owner
    match op:
        case aten.ViewOp():
            return _of_view(op, part)
        case aten.SliceOp():
            return _of_slice(op, part)
        case aten.CatOp():
            return _of_joined(op, part)
        case aten.PermuteOp():
            return _of_permute(op, part)
        case aten.ExpandOp():
            return Step(aten.ExpandOp, (_broadcast(op.input, part),))
        case aten.UnaryOp() | aten.BinaryOp() | aten.WhereOp():
            return Step(type(op), tuple(_broadcast(operand, part) for operand in op.operands), op.properties)
        case aten.LinearOp():
            return _of_linear(op, part)
        case aten.MatmulOp():
            return _of_product(op, part)
        case aten.SoftmaxOp():
            return _along(op, part, op.dim.value.data)
        case aten.SumOp() | aten.MeanOp() | aten.AmaxOp():
            return _reduced(op, part)
        case _:
            return None


def _without(axis: int | None, dim: int) -> int:
    """The number of axis `dim` when another one is gone."""
    return dim if axis is None or dim < axis else dim - 1


def _number(value: int) -> Attribute:
    return IntegerAttr(value, i64)


def _of_view(op: aten.ViewOp, part: Part) -> Step | None:
    source = op.input
    while isinstance(source.owner, aten.ViewOp):
        source = source.owner.input
    before, after, axis = shape_of(source), shape_of(op.result), part.axis
    if axis is None or after[axis] == 1:
        return Step(aten.ViewOp, (Part(source),))
    lead, count = prod(after[:axis]), after[axis] // (part.size or 1)
    for own, size in enumerate(before):
        if size % count == 0 and prod(before[:own]) == lead:
            block = None if size == count else size // count
            return Step(aten.ViewOp, (Part(source, own, part.number, block),))
    return None


def _of_slice(op: aten.SliceOp, part: Part) -> Step | None:
    dim, start, end, step = op.bounds
    if dim == part.axis:
        if part.size is not None:
            return None
        return Step(aten.ViewOp, (Part(op.input, dim, start + part.number * step),))
    if part.axis is None and end - start == 1:
        return Step(aten.ViewOp, (Part(op.input, dim, start),))
    bounds = {"start": start, "end": end, "step": step, "dim": _without(part.dropped, dim)}
    properties = {name: _number(value) for name, value in bounds.items()}
    return Step(aten.SliceOp, (_same(op.input, part),), properties)


def _of_joined(op: aten.CatOp, part: Part) -> Step | None:
    dim, number = op.dim.value.data, part.number
    if dim != part.axis:
        parts = tuple(_same(tensor, part) for tensor in op.tensors)
        return Step(aten.CatOp, parts, {"dim": _number(_without(part.dropped, dim))})
    sizes = [shape_of(tensor)[dim] for tensor in op.tensors]
    if part.size is not None:
        whole = all(size == part.size for size in sizes)
        return Step(aten.ViewOp, (Part(op.tensors[number]),)) if whole else None
    for tensor, size in zip(op.tensors, sizes, strict=True):
        if number < size:
            return Step(aten.ViewOp, (Part(tensor, dim, number),))
        number -= size
    raise AssertionError(part)


def _same(value: SSAValue, part: Part) -> Part:
    """The same part of an operand that has the axes of the result."""
    return Part(value) if part.axis is None else part.of(value, part.axis)


def _of_linear(op: aten.LinearOp, part: Part) -> Step | None:
    """Of a block of the features: those rows of the weight."""
    last = part.axis == len(shape_of(op.result)) - 1
    if last and part.size is None:
        return None
    weights = [op.weight] if op.bias is None else [op.weight, op.bias]
    if last:
        return Step(aten.LinearOp, (Part(op.input), *(part.of(weight, 0) for weight in weights)))
    return Step(aten.LinearOp, (_same(op.input, part), *map(Part, weights)))


def _of_permute(op: aten.PermuteOp, part: Part) -> Step:
    dims: list[int] = [int(dim) for dim in op.dims.get_values()]
    own = None if part.axis is None else dims[part.axis]
    operand = Part(op.input) if own is None else part.of(op.input, own)
    if part.dropped is not None:
        dims.pop(part.dropped)
        dims = [_without(own, dim) for dim in dims]
    long = [dim for dim in dims if operand.shape[dim] > 1]
    if long == sorted(long):
        return Step(aten.ViewOp, (operand,))
    return Step(aten.PermuteOp, (operand,), {"dims": DenseArrayBase.from_list(i64, dims)})


def _broadcast(operand: SSAValue, part: Part) -> Part:
    """The part of an operand that may lack the axis, or have it with size 1 for all."""
    whole = shape_of(operand)
    axis = None if part.axis is None else part.axis - (len(shape_of(part.value)) - len(whole))
    if axis is None or axis < 0:
        return Part(operand)
    if whole[axis] == 1:
        return Part(operand, axis, 0) if part.size is None else Part(operand)
    return part.of(operand, axis)


def _of_product(op: aten.MatmulOp, part: Part) -> Step | None:
    axis, shapes = part.axis, [shape_of(op.input), shape_of(op.other)]
    rank = len(shape_of(op.result))
    if axis is None:
        return Step(aten.MatmulOp, (Part(op.input), Part(op.other)))
    if any(len(shape) < 2 for shape in shapes):
        return None
    if axis == rank - 1 and part.size is not None:
        return Step(aten.MatmulOp, (Part(op.input), part.of(op.other, len(shapes[1]) - 1)))
    if axis < rank - 2:
        return Step(aten.MatmulOp, (_broadcast(op.input, part), _broadcast(op.other, part)))
    if axis == rank - 2 and len(shapes[0]) > 2 and len(shapes[1]) == 2:
        return Step(aten.MatmulOp, (_same(op.input, part), Part(op.other)))
    return None


def _along(op: aten.SoftmaxOp, part: Part, dim: int) -> Step | None:
    if dim == part.axis:
        return None
    properties = {**op.properties, "dim": _number(_without(part.dropped, dim))}
    return Step(type(op), (_same(op.input, part),), properties)


def _reduced(op: aten.ReductionOp, part: Part) -> Step | None:
    dims: Sequence[int] = op.dim.get_values()
    if all(shape_of(op.input)[dim] == 1 for dim in dims) and (part.axis is None or op.keepdim.value.data):
        return Step(aten.ViewOp, (_same(op.input, part),))
    if part.axis is None:
        return Step(type(op), (Part(op.input),), op.properties)
    if not op.keepdim.value.data or part.axis in dims:
        return None
    own = DenseArrayBase.from_list(i64, [_without(part.dropped, dim) for dim in dims])
    return Step(type(op), (_same(op.input, part),), {**op.properties, "dim": own})
