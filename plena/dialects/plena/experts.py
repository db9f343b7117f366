"""Experts: one body for all of them, of which every token uses those that its routing chose."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    region_def,
    result_def,
    var_operand_def,
)

from plena.dialects.plena.base import PlenaOp
from plena.dialects.plena.control import YieldOp, yielded_by
from plena.dialects.tensor_shapes import shape_of

EXPERT_TENSORS = "plena.expert_tensors"
"""Module attribute: the names of parameters and buffers that belong to routed experts."""


@irdl_op_definition
class ExpertsOp(PlenaOp):
    """The sum over e of mask[:, e:e+1] * body(rows, columns[:, e:e+1], stacked[e]) for mask [T, E] of zeros and ones.

    `rows` are tensors [T, ...] that every expert reads, `columns` are tensors [T, E] of which expert e reads column e
    as [T, 1], `stacked` are tensors [E, ...] of which it reads number e: its parameters. Block arguments come in that
    order; the body yields one tensor [T, N] and may use any value defined before. What it yields where the mask is 0
    must not matter: an expert is run for all tokens, or for those alone that chose it.
    """

    name = "plena.experts"
    mask = operand_def(TensorType)
    rows = var_operand_def(TensorType)
    columns = var_operand_def(TensorType)
    stacked = var_operand_def(TensorType)
    result = result_def(TensorType)
    body = region_def("single_block")
    irdl_options = (*PlenaOp.irdl_options, AttrSizedOperandSegments(as_property=True))
    assembly_format = (
        "$mask `:` type($mask) (`rows` `(` $rows^ `:` type($rows) `)`)? "
        "(`columns` `(` $columns^ `:` type($columns) `)`)? (`stacked` `(` $stacked^ `:` type($stacked) `)`)? "
        "attr-dict `->` type($result) $body"
    )

    def __init__(
        self,
        mask: SSAValue,
        rows: Sequence[SSAValue],
        columns: Sequence[SSAValue],
        stacked: Sequence[SSAValue],
        body: Region,
    ) -> None:
        super().__init__(
            operands=[mask, list(rows), list(columns), list(stacked)],
            result_types=[yielded_by(body)[0].type],
            regions=[body],
        )

    @property
    def experts(self) -> int:
        """E."""
        return shape_of(self.mask)[1]

    @property
    def yielded(self) -> SSAValue:
        """What one expert computes, [T, N]."""
        return yielded_by(self.body)[0]

    def is_inside(self, value: SSAValue) -> bool:
        """Whether a value is an argument of the body or computed there."""
        block, owner = self.body.block, value.owner
        return owner is block or (isinstance(owner, Operation) and owner.parent is block)

    @property
    def is_closed(self) -> bool:
        """Whether the body uses nothing but its arguments."""
        return all(self.is_inside(operand) for inner in self.body.block.ops for operand in inner.operands)

    def verify_(self) -> None:
        self.require(len(shape_of(self.mask)) == 2, "the mask must have two axes")
        (tokens, experts), terminator = shape_of(self.mask), self.body.block.last_op
        self.require(all(shape_of(x)[:1] == (tokens,) for x in self.rows), "rows must have a row per token")
        self.require(
            all(shape_of(w) == (tokens, experts) for w in self.columns), "columns are shaped as the mask"
        )
        self.require(
            all(shape_of(p)[:1] == (experts,) for p in self.stacked), "stacked must begin with the experts"
        )
        shapes = [
            *(shape_of(x) for x in self.rows),
            *((tokens, 1) for _ in self.columns),
            *(shape_of(p)[1:] for p in self.stacked),
        ]
        found = [shape_of(argument) for argument in self.body.block.args]
        self.require(
            found == shapes, "the block arguments must be the rows, one column each, one of each stack"
        )
        one = isinstance(terminator, YieldOp) and len(terminator.values) == 1
        self.require(one, "the body must end in plena.yield of one tensor")
        shape = shape_of(self.yielded)
        self.require(len(shape) == 2 and shape[0] == tokens, "the body must yield a row per token")
        self.require(shape_of(self.result) == shape, "the result is shaped as what the body yields")
