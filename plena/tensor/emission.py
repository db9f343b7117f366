"""Building the ops that replace a matched one, with its place in the user's model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.layout_maps import LayoutMap

OperationT = TypeVar("OperationT", bound=Operation)


def location_of(op: Operation) -> dict[str, Attribute]:
    """The attributes plena.node, plena.module and plena.source of an op."""
    return {name: value for name, value in op.attributes.items() if name.startswith("plena.")}


class Emitter:
    """Inserts ops before the anchor (the op that is being rewritten) and gives them its location."""

    def __init__(self, rewriter: PatternRewriter, anchor: Operation) -> None:
        self.rewriter = rewriter
        self.anchor = anchor
        self.location = location_of(anchor)

    def insert(self, op: OperationT) -> OperationT:
        """Insert an op before the anchor."""
        op.attributes.update({k: v for k, v in self.location.items() if k not in op.attributes})
        self.rewriter.insert(op)
        return op

    def add(self, op: Operation) -> SSAValue:
        """Insert an op that has one result and return it."""
        return self.insert(op).results[0]

    def reshape(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`value` under another shape."""
        return value if shape_of(value) == tuple(shape) else self.add(plena.ReshapeOp(value, shape))

    def view(self, base: SSAValue, layout: LayoutMap, shape: Sequence[int]) -> SSAValue:
        """The view `layout` of `base` under `shape` by one op at most; it must not repeat elements."""
        simple = layout.simplified()
        if simple.is_reshape:
            return self.reshape(base, shape)
        return self.add(plena.RearrangeOp(base, simple.factors, simple.order, shape))

    def flat(self, value: SSAValue) -> SSAValue:
        """`value` as rows of its last axis."""
        shape = shape_of(value)
        columns = shape[-1] if shape else 1
        rows = 1
        for size in shape[:-1]:
            rows *= size
        return self.reshape(value, (rows, columns))

    def replace(self, *results: SSAValue) -> None:
        """Replace the anchor's results, reshaped to its shapes."""
        shaped = [
            self.reshape(new, shape_of(old)) for old, new in zip(self.anchor.results, results, strict=True)
        ]
        self.rewriter.replace(self.anchor, [], shaped)
