"""Repetition: a stack of equal layers as one region."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, ArrayAttr, IntegerAttr, TensorType
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsTerminator, Pure

from plena.dialects.plena.base import PlenaOp, integer


@irdl_op_definition
class YieldOp(PlenaOp):
    """The carried values at the end of an iteration of plena.repeat."""

    name = "plena.yield"
    values = var_operand_def(TensorType)
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "($values^ `:` type($values))? attr-dict"

    def __init__(self, values: Sequence[SSAValue]) -> None:
        super().__init__(operands=[list(values)])


def yielded_by(body: Region) -> tuple[SSAValue, ...]:
    """What the plena.yield at the end of a region of one block gives."""
    terminator = body.block.last_op
    assert isinstance(terminator, YieldOp)
    return tuple(terminator.values)


@irdl_op_definition
class RepeatOp(PlenaOp):
    """Runs its body `times` times, carrying tensors from one iteration to the next.

    Equivalent: carried = initial; for l in 0 .. times - 1: carried = body(carried, stacked[0][l],
    stacked[1][l], ...). Block arguments are the carried tensors, then one staged tensor for each list of
    `stacked` expressions. The body may use any value defined before.
    """

    name = "plena.repeat"
    times = prop_def(IntegerAttr[I64])
    stacked = prop_def(ArrayAttr[ArrayAttr[Attribute]])
    initial = var_operand_def(TensorType)
    outputs = var_result_def(TensorType)
    body = region_def("single_block")
    assembly_format = "$initial attr-dict `:` functional-type(operands, results) $body"

    def __init__(
        self, times: int, initial: Sequence[SSAValue], stacked: Sequence[Sequence[Attribute]], body: Region
    ) -> None:
        super().__init__(
            operands=[list(initial)],
            properties={"times": integer(times), "stacked": ArrayAttr([ArrayAttr(s) for s in stacked])},
            result_types=[[value.type for value in initial]],
            regions=[body],
        )

    @property
    def iterations(self) -> int:
        """How often the body runs."""
        return self.times.value.data

    @property
    def yielded(self) -> tuple[SSAValue, ...]:
        """What an iteration gives the next one, behind the last one the results."""
        return yielded_by(self.body)

    def verify_(self) -> None:
        arguments, terminator = self.body.block.args, self.body.block.last_op
        carried = len(self.initial)
        self.require(self.iterations > 0, "needs at least one iteration")
        self.require(len(arguments) == carried + len(self.stacked), "wrong number of block arguments")
        self.require(all(len(s) == self.iterations for s in self.stacked), "one expression per iteration")
        self.require(isinstance(terminator, YieldOp), "the body must end in plena.yield")
        types = [value.type for value in self.initial]
        for values in (arguments[:carried], self.yielded, self.outputs):
            self.require([v.type for v in values] == types, "carried types must not change")
