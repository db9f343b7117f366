"""Experts that run for the tokens that chose them, their parameters found at run time."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, IntegerAttr, SymbolRefAttr, TensorType
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
    region_def,
    result_def,
    var_operand_def,
)

from plena.dialects.plena.base import PlenaOp, integer, real
from plena.dialects.plena.control import YieldOp, yielded_by
from plena.dialects.plena.staging import reshaped, some_of, with_symbols
from plena.dialects.tensor_shapes import shape_of


@irdl_op_definition
class ChosenExpertsOp(PlenaOp):
    """Row t is the sum of body(rows[t], columns[t, e]) over the `k` columns e where mask [T, E] is 1, parameters of e.

    Block arguments are a row [1, N] of each of `rows` [T, N], then a number [1, 1] of each of `columns` [T, E], then
    with `scores` [T, E] the softmax of those that are chosen, of which it takes that of e; the body yields one tensor
    [1, N]. In its parameters the symbol `expert_symbol(n)` stands for number e of the n-th of `stacked` [E, ...].
    `mask` is what plena.route gives, of the same scores. A single choice (T = 1) may be one for any number of rows.
    """

    name = "plena.chosen_experts"
    mask = operand_def(TensorType)
    rows = var_operand_def(TensorType)
    columns = var_operand_def(TensorType)
    stacked = var_operand_def(TensorType)
    scores = opt_operand_def(TensorType)
    k = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    body = region_def("single_block")
    irdl_options = (*PlenaOp.irdl_options, AttrSizedOperandSegments(as_property=True))
    assembly_format = (
        "$mask `:` type($mask) (`rows` `(` $rows^ `:` type($rows) `)`)? "
        "(`columns` `(` $columns^ `:` type($columns) `)`)? (`stacked` `(` $stacked^ `:` type($stacked) `)`)? "
        "(`scores` `(` $scores^ `:` type($scores) `)`)? attr-dict `->` type($result) $body"
    )

    def __init__(
        self,
        mask: SSAValue,
        rows: Sequence[SSAValue],
        columns: Sequence[SSAValue],
        stacked: Sequence[SSAValue],
        k: int,
        body: Region,
        scores: SSAValue | None = None,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        height, width = shape_of(yielded_by(body)[0])
        super().__init__(
            operands=[mask, list(rows), list(columns), list(stacked), [] if scores is None else [scores]],
            properties={"k": integer(k)},
            attributes=attributes or {},
            result_types=[real(shape_of(mask)[0] * height, width)],
            regions=[body],
        )

    @property
    def yielded(self) -> SSAValue:
        """What one expert computes for one choice, [1, N]."""
        return yielded_by(self.body)[0]

    def verify_(self) -> None:
        self.require(len(shape_of(self.mask)) == 2, "the mask must have two axes")
        (tokens, experts), terminator = shape_of(self.mask), self.body.block.last_op
        rows, one = [shape_of(x) for x in self.rows], tokens == 1
        by_token = all(len(shape) == 2 and (one or shape[0] == tokens) for shape in rows)
        self.require(by_token, "rows must be matrices of a row per token")
        numbers = [*self.columns, *([] if self.scores is None else [self.scores])]
        matching = all(shape_of(value) == (tokens, experts) for value in numbers)
        self.require(matching, "columns and scores are shaped as the mask")
        of_experts = all(shape_of(p)[:1] == (experts,) for p in self.stacked)
        self.require(of_experts, "stacked must begin with the experts")
        self.require(1 <= self.k.value.data <= experts, "k must be from 1 to the experts")
        shapes = [*((shape[0] // tokens, shape[1]) for shape in rows), *((1, 1) for _ in numbers)]
        found = [shape_of(argument) for argument in self.body.block.args]
        self.require(
            found == shapes, "the block arguments must be one of the rows and one of the columns of each"
        )
        yields = isinstance(terminator, YieldOp) and len(terminator.values) == 1
        self.require(yields, "the body must end in plena.yield of one tensor")
        shape = shape_of(self.yielded)
        self.require(len(shape) == 2 and (one or shape[0] == 1), "the body must yield one row")
        self.require(shape_of(self.result) == (tokens * shape[0], shape[1]), "the result has a row per token")


def expert_symbol(number: int) -> SymbolRefAttr:
    """What stands in the body for one expert's part of a stack; no tensor of a module has a space in its name."""
    return SymbolRefAttr(f"expert {number}")


def expert_parameter(
    expression: Attribute, stacks: Sequence[tuple[Attribute, tuple[int, ...]]], expert: int
) -> Attribute:
    """A parameter of the body for one expert, from the expressions and shapes [E, ...] of the stacks."""
    own: dict[str, Attribute] = {
        expert_symbol(n).string_value(): reshaped(some_of(stack, expert, expert + 1), shape[1:])
        for n, (stack, shape) in enumerate(stacks)
    }
    return with_symbols(expression, own)
