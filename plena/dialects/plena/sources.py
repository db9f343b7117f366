"""Where tensors come from that are not computed: staged parameters and constants."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import Float32Type, SymbolRefAttr, TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, prop_def, result_def

from plena.dialects.plena.base import PlenaOp
from plena.dialects.plena.staging import StagingAttr


@irdl_op_definition
class ParameterOp(PlenaOp):
    """A weight, bias, gain, table or mask that the host stages: the value of a staging expression.

    Equivalent: the expression evaluated over the side table of tensors (plena.dialects.plena.staging).
    """

    name = "plena.parameter"
    value = prop_def(SymbolRefAttr | StagingAttr)
    result = result_def(TensorType)
    assembly_format = "$value attr-dict `:` type($result)"

    def __init__(
        self,
        value: SymbolRefAttr | StagingAttr,
        shape: Sequence[int],
        element: Attribute | None = None,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        result_type = TensorType(element or Float32Type(), shape)
        super().__init__(properties={"value": value}, result_types=[result_type], attributes=attributes or {})
