"""Experts that run for the tokens that chose them, their parameters found at run time."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, IntegerAttr, SymbolRefAttr, TensorType
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    prop_def,
    region_def,
    result_def,
    var_operand_def,
)

from plena.dialects.plena.base import PlenaOp, integer, real
from plena.dialects.plena.control import YieldOp
from plena.dialects.plena.staging import ReshapeAttr, SliceAttr, with_symbols
from plena.dialects.tensor_shapes import shape_of


@irdl_op_definition
class ChosenExpertsOp(PlenaOp):
    """Row t is the sum of body(rows[t], columns[t, e]) over the `k` columns e where mask [T, E] is 1, parameters of e.

    Block arguments are a row [1, N] of each of `rows` [T, N], then a number [1, 1] of each of `columns` [T, E]; the
    body yields one tensor [1, N]. In its parameters the symbol `expert_symbol(n)` stands for number e of the n-th of
    `stacked` [E, ...]. `mask` is what plena.route gives.
    """

    name = "plena.chosen_experts"
    mask = operand_def(TensorType)
    rows = var_operand_def(TensorType)
    columns = var_operand_def(TensorType)
    stacked = var_operand_def(TensorType)
    k = prop_def(IntegerAttr[I64])
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
        k: int,
        body: Region,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        terminator = body.block.last_op
        assert isinstance(terminator, YieldOp)
        super().__init__(
            operands=[mask, list(rows), list(columns), list(stacked)],
            properties={"k": integer(k)},
            attributes=attributes or {},
            result_types=[real(shape_of(mask)[0], shape_of(terminator.values[0])[1])],
            regions=[body],
        )

    @property
    def yielded(self) -> SSAValue:
        """What one expert computes for one token, [1, N]."""
        terminator = self.body.block.last_op
        assert isinstance(terminator, YieldOp)
        return terminator.values[0]

    def verify_(self) -> None:
        self.require(len(shape_of(self.mask)) == 2, "the mask must have two axes")
        (tokens, experts), terminator = shape_of(self.mask), self.body.block.last_op
        rows = [shape_of(x) for x in self.rows]
        self.require(
            all(len(s) == 2 and s[0] == tokens for s in rows), "rows must be matrices of a row per token"
        )
        numbers = all(shape_of(w) == (tokens, experts) for w in self.columns)
        self.require(numbers, "columns are shaped as the mask")
        self.require(
            all(shape_of(p)[:1] == (experts,) for p in self.stacked), "stacked must begin with the experts"
        )
        self.require(1 <= self.k.value.data <= experts, "k must be from 1 to the experts")
        shapes = [*((1, s[1]) for s in rows), *((1, 1) for _ in self.columns)]
        found = [shape_of(argument) for argument in self.body.block.args]
        self.require(
            found == shapes, "the block arguments must be one of the rows and one of the columns of each"
        )
        one = isinstance(terminator, YieldOp) and len(terminator.values) == 1
        self.require(one, "the body must end in plena.yield of one tensor")
        self.require(shape_of(self.yielded) == (1, shape_of(self.result)[1]), "the body must yield one row")
        self.require(shape_of(self.result)[0] == tokens, "the result has a row per token")


def expert_symbol(number: int) -> SymbolRefAttr:
    """What stands in the body for one expert's part of a stack; no tensor of a module has a space in its name."""
    return SymbolRefAttr(f"expert {number}")


def expert_parameter(
    expression: Attribute, stacks: Sequence[tuple[Attribute, tuple[int, ...]]], expert: int
) -> Attribute:
    """A parameter of the body for one expert, from the expressions and shapes [E, ...] of the stacks."""
    own: dict[str, Attribute] = {
        expert_symbol(n).string_value(): ReshapeAttr(SliceAttr(stack, 0, expert, expert + 1), shape[1:])
        for n, (stack, shape) in enumerate(stacks)
    }
    return with_symbols(expression, own)
