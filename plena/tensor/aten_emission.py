"""Building aten ops in front of an op that they replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.builder import Builder
from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, Float32Type, IntegerAttr, TensorType, i64
from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.emission import location_of


@dataclass(frozen=True)
class Columns:
    """`count` columns of a value from number `start`, `step` apart."""

    start: int
    step: int
    count: int

    def of(self, inner: Columns) -> Columns:
        """The columns of what `inner` are columns of."""
        return Columns(inner.start + self.start * inner.step, self.step * inner.step, self.count)

    def are_all(self, size: int) -> bool:
        """Whether they are all of so many."""
        return (self.start, self.step, self.count) == (0, 1, size)


class Emission:
    """Builds aten ops with the place in the model of the op that they come from."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.location: dict[str, Attribute] = {}

    def add(
        self,
        kind: type[aten.AtenOp],
        operands: Sequence[Any],
        shape: Sequence[int],
        properties: dict[str, Attribute] | None = None,
        like: SSAValue | None = None,
    ) -> SSAValue:
        """An op with one result; a number as an operand is one of shape []."""
        element = Float32Type() if like is None else element_type_of(like)
        op = kind.build(
            operands=operands,
            result_types=[TensorType(element, shape)],
            properties=properties or {},
            attributes=self.location,
        )
        self.builder.insert(op)
        return op.results[0]

    def view(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`value` under another shape."""
        if shape_of(value) == tuple(shape):
            return value
        return self.add(aten.ViewOp, [value], shape, like=value)

    def permute(self, value: SSAValue, dims: Sequence[int]) -> SSAValue:
        """`value` with its axes reordered."""
        shape = [shape_of(value)[d] for d in dims]
        return self.add(aten.PermuteOp, [value], shape, {"dims": _numbers(dims)}, value)

    def columns(self, value: SSAValue, axis: int, part: Columns) -> SSAValue:
        """A part of `value` along an axis."""
        shape = list(shape_of(value))
        if part.are_all(shape[axis]):
            return value
        shape[axis] = part.count
        bounds = {"dim": axis, "start": part.start, "step": part.step}
        bounds["end"] = part.start + part.step * (part.count - 1) + 1
        return self.add(
            aten.SliceOp, [value], shape, {name: IntegerAttr(n, i64) for name, n in bounds.items()}, value
        )

    def total(self, value: SSAValue, axis: int, keepdim: bool) -> SSAValue:
        """The sum along an axis."""
        shape = list(shape_of(value))
        shape[axis : axis + 1] = [1] if keepdim else []
        return self.add(
            aten.SumOp, [value], shape, {"dim": _numbers([axis]), "keepdim": BoolAttr.from_bool(keepdim)}
        )

    def binary(self, kind: type[aten.AtenOp], x: SSAValue, y: SSAValue) -> SSAValue:
        """An operation of two tensors [M, N], of which one may have one row or column."""
        shape = tuple(max(a, b) for a, b in zip(shape_of(x), shape_of(y), strict=True))
        return self.add(kind, [x, y], shape)


def _numbers(values: Sequence[int]) -> Attribute:
    return DenseArrayBase.from_list(i64, list(values))


def columns_of(op: aten.SliceOp) -> Columns:
    """The elements that a slice takes."""
    size = shape_of(op.result)[op.dim.value.data]
    return Columns(op.start.value.data, op.step.value.data, size)


def with_location(e: Emission, op: Operation) -> None:
    """What is built next has the place in the model of `op`."""
    e.location = location_of(op)
