"""Where tensors come from that are not computed: staged parameters and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from xdsl.dialects.builtin import Float32Type, StringAttr, SymbolRefAttr, TensorType, UnitAttr
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def, result_def

from plena.dialects.plena.base import PlenaOp
from plena.dialects.plena.staging import StagingAttr

Extremes = Literal["finite", "infinite"]


@irdl_op_definition
class ParameterOp(PlenaOp):
    """A weight, bias, gain, table or mask that the host stages: the value of a staging expression.

    `extremes` says that it may hold numbers close to the ends of float32, as masks that are added do: "finite" ones, or
    "infinite" ones too. `nonnegative` says that no number is below 0.
    Equivalent: the expression evaluated over the side table of tensors (plena.dialects.plena.staging).
    """

    name = "plena.parameter"
    value = prop_def(SymbolRefAttr | StagingAttr)
    extremes = opt_prop_def(StringAttr)
    nonnegative = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    assembly_format = "$value attr-dict `:` type($result)"

    def __init__(
        self,
        value: Attribute,
        shape: Sequence[int],
        element: Attribute | None = None,
        attributes: dict[str, Attribute] | None = None,
        *,
        extremes: Extremes | None = None,
        nonnegative: bool = False,
    ) -> None:
        super().__init__(
            properties={
                "value": value,
                "extremes": None if extremes is None else StringAttr(extremes),
                "nonnegative": UnitAttr() if nonnegative else None,
            },
            result_types=[TensorType(element or Float32Type(), shape)],
            attributes=attributes or {},
        )

    def verify_(self) -> None:
        known = self.extremes is None or self.extremes.data in get_args(Extremes)
        self.require(known, "extremes must be finite or infinite")
