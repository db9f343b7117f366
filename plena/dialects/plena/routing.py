"""The choice of experts: which numbers of a row are its largest."""

from __future__ import annotations

from xdsl.dialects.builtin import I64, IntegerAttr, TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from plena.dialects.plena.base import PlenaOp, integer
from plena.dialects.tensor_shapes import shape_of

MOST_EXPERTS = 256
"""Numbers of a row that are chosen from."""

MOST_CHOSEN = 8
"""Numbers of a row that are chosen, as many as V_TOPK gives."""


@irdl_op_definition
class RouteOp(PlenaOp):
    """1 at the `k` largest numbers of each row of input [T, E], 0 elsewhere.

    Of equal numbers the ones in lower columns are chosen first; zeros of both signs are equal, NaN counts as minus
    infinity. What weights the chosen experts get is arithmetic on the result. 2 <= E <= 256, k <= 8, k <= E.
    """

    name = "plena.route"
    input = operand_def(TensorType)
    k = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, k: int) -> None:
        super().__init__(operands=[input], properties={"k": integer(k)}, result_types=[input.type])

    @staticmethod
    def why_not(experts: int, chosen: int) -> str | None:
        """What is wrong with choosing so many of so many; None if nothing is."""
        if not 2 <= experts <= MOST_EXPERTS:
            return f"experts are chosen from 2 to {MOST_EXPERTS}, not from {experts}"
        if chosen > experts:
            return f"{chosen} of {experts} experts cannot be chosen"
        if not 1 <= chosen <= MOST_CHOSEN:
            return f"1 to {MOST_CHOSEN} experts are chosen for a token, not {chosen}"
        return None

    def verify_(self) -> None:
        shape = shape_of(self.input)
        self.require(len(shape) == 2, "the input must have two axes")
        why = self.why_not(shape[1], self.k.value.data)
        self.require(why is None, why or "")
        self.require(shape_of(self.result) == shape, "the result must have the input's shape")
