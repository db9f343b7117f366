"""Ops without a computation of their own: parameters, folded constants, uniform tensors, opaque operators."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    ArrayAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    UnitAttr,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import ConstantLike, Pure

from plena.dialects.aten.base import AtenOp
from plena.dialects.plena.masks import BandAttr


@irdl_op_definition
class ParameterOp(AtenOp):
    """A parameter or buffer of the model by its state_dict name; tied weights share the name."""

    name = "aten.parameter"
    symbol = prop_def(SymbolRefAttr)
    result = result_def(TensorType)
    assembly_format = "$symbol attr-dict `:` type($result)"


@irdl_op_definition
class ConstantOp(AtenOp):
    """A tensor computed once at import (a mask, a rotary table); its data lies beside the module by symbol.

    `band` says that the tensor is a mask of that form over its last two axes (queries, keys), the same for
    all leading axes: true (boolean) or 0 (additive) inside, false or the number `fill` (at most -1e4) outside.
    `blind` says that some row (of the last axis) hides everything, by false or by a number that float32 absorbs
    scores into; `wide` that it is real and the numbers of some row are more than 512 apart, `uneven` that those that do
    not hide are more than 32 apart; `infinite` that it is real and holds infinity or NaN; `nonnegative` that it is real
    and no number is below 0. `counts` says that integers are 0, 1, 2, ... along their one long axis.
    """

    name = "aten.constant"
    symbol = prop_def(SymbolRefAttr)
    band = opt_prop_def(BandAttr)
    fill = opt_prop_def(FloatAttr)
    blind = opt_prop_def(UnitAttr)
    wide = opt_prop_def(UnitAttr)
    uneven = opt_prop_def(UnitAttr)
    infinite = opt_prop_def(UnitAttr)
    nonnegative = opt_prop_def(UnitAttr)
    counts = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    assembly_format = "$symbol attr-dict `:` type($result)"


@irdl_op_definition
class FullOp(AtenOp):
    """A tensor whose elements are all `value`; rank 0 is how a Python number appears."""

    name = "aten.full"
    value = prop_def(FloatAttr | IntegerAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure(), ConstantLike())
    assembly_format = "$value attr-dict `:` type($result)"


@irdl_op_definition
class OperatorOp(AtenOp):
    """Any operator without an op of its own, by its overload name, as in `aten.operator "aten.erfc.default"`.

    `arguments` lists the schema's arguments in order; a tensor is the string "%n", the n-th operand.
    """

    name = "aten.operator"
    operator = prop_def(StringAttr)
    arguments = prop_def(ArrayAttr)
    inputs = var_operand_def(TensorType)
    outputs = var_result_def(TensorType)
    assembly_format = "$operator (`(` $inputs^ `)`)? attr-dict `:` functional-type(operands, results)"


def full_value(value: SSAValue) -> float | None:
    """The number if `value` is an `aten.full`, else None."""
    owner = value.owner
    if not isinstance(owner, FullOp):
        return None
    data = owner.value.value.data
    return float(data)
