"""Elementwise operators; two tensors broadcast by torch's rule, numbers are `aten.full` of rank 0."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import FloatAttr, StringAttr, TensorType, UnitAttr
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def

from plena.dialects.aten.base import AtenOp
from plena.dialects.tensor_shapes import broadcast_shapes, shape_of

_UNARY = "$input attr-dict `:` functional-type(operands, results)"
_BINARY = "$input `,` $other attr-dict `:` functional-type(operands, results)"


class UnaryOp(AtenOp):
    """An operator that maps each element of `input`; the result has its shape."""

    input = operand_def(TensorType)
    result = result_def(TensorType)

    def verify_(self) -> None:
        self.require(shape_of(self.input) == shape_of(self.result), "the result must have the input's shape")


class BinaryOp(AtenOp):
    """An operator on the pairs of elements of two broadcast tensors."""

    input = operand_def(TensorType)
    other = operand_def(TensorType)
    result = result_def(TensorType)

    def verify_(self) -> None:
        shape = broadcast_shapes([shape_of(self.input), shape_of(self.other)])
        self.require(shape == shape_of(self.result), "the result must have the operands' broadcast shape")


@irdl_op_definition
class NegOp(UnaryOp):
    """-x."""

    name = "aten.neg"
    OVERLOAD: ClassVar[str] = "aten.neg.default"
    assembly_format = _UNARY


@irdl_op_definition
class AbsOp(UnaryOp):
    """|x|."""

    name = "aten.abs"
    OVERLOAD: ClassVar[str] = "aten.abs.default"
    assembly_format = _UNARY


@irdl_op_definition
class ExpOp(UnaryOp):
    """e to the x."""

    name = "aten.exp"
    OVERLOAD: ClassVar[str] = "aten.exp.default"
    assembly_format = _UNARY


@irdl_op_definition
class SqrtOp(UnaryOp):
    """The square root."""

    name = "aten.sqrt"
    OVERLOAD: ClassVar[str] = "aten.sqrt.default"
    assembly_format = _UNARY


@irdl_op_definition
class RsqrtOp(UnaryOp):
    """One over the square root."""

    name = "aten.rsqrt"
    OVERLOAD: ClassVar[str] = "aten.rsqrt.default"
    assembly_format = _UNARY


@irdl_op_definition
class ReciprocalOp(UnaryOp):
    """1 / x."""

    name = "aten.reciprocal"
    OVERLOAD: ClassVar[str] = "aten.reciprocal.default"
    assembly_format = _UNARY


@irdl_op_definition
class TanhOp(UnaryOp):
    """The hyperbolic tangent."""

    name = "aten.tanh"
    OVERLOAD: ClassVar[str] = "aten.tanh.default"
    assembly_format = _UNARY


@irdl_op_definition
class LogOp(UnaryOp):
    """The natural logarithm."""

    name = "aten.log"
    OVERLOAD: ClassVar[str] = "aten.log.default"
    assembly_format = _UNARY


@irdl_op_definition
class Log1pOp(UnaryOp):
    """log(1 + x)."""

    name = "aten.log1p"
    OVERLOAD: ClassVar[str] = "aten.log1p.default"
    assembly_format = _UNARY


@irdl_op_definition
class Expm1Op(UnaryOp):
    """e to the x, minus 1."""

    name = "aten.expm1"
    OVERLOAD: ClassVar[str] = "aten.expm1.default"
    assembly_format = _UNARY


@irdl_op_definition
class SoftplusOp(UnaryOp):
    """log(1 + e to the x)."""

    name = "aten.softplus"
    OVERLOAD: ClassVar[str] = "aten.softplus.default"
    assembly_format = _UNARY


@irdl_op_definition
class MishOp(UnaryOp):
    """x * tanh(log(1 + e to the x))."""

    name = "aten.mish"
    OVERLOAD: ClassVar[str] = "aten.mish.default"
    assembly_format = _UNARY


@irdl_op_definition
class ErfOp(UnaryOp):
    """The error function."""

    name = "aten.erf"
    OVERLOAD: ClassVar[str] = "aten.erf.default"
    assembly_format = _UNARY


@irdl_op_definition
class SigmoidOp(UnaryOp):
    """1 / (1 + e to the -x)."""

    name = "aten.sigmoid"
    OVERLOAD: ClassVar[str] = "aten.sigmoid.default"
    assembly_format = _UNARY


@irdl_op_definition
class SiluOp(UnaryOp):
    """x * sigmoid(x)."""

    name = "aten.silu"
    OVERLOAD: ClassVar[str] = "aten.silu.default"
    assembly_format = _UNARY


@irdl_op_definition
class GeluOp(UnaryOp):
    """x times the normal distribution function; `approximate` is "none" (erf) or "tanh"."""

    name = "aten.gelu"
    OVERLOAD: ClassVar[str] = "aten.gelu.default"
    approximate = prop_def(StringAttr, default_value=StringAttr("none"))
    assembly_format = _UNARY

    def verify_(self) -> None:
        super().verify_()
        self.require(self.approximate.data in ("none", "tanh"), 'approximate must be "none" or "tanh"')


@irdl_op_definition
class ReluOp(UnaryOp):
    """max(x, 0)."""

    name = "aten.relu"
    OVERLOAD: ClassVar[str] = "aten.relu.default"
    assembly_format = _UNARY


@irdl_op_definition
class ClampOp(UnaryOp):
    """x limited to [min, max]; an absent bound does not limit."""

    name = "aten.clamp"
    OVERLOAD: ClassVar[str] = "aten.clamp.default"
    min = opt_prop_def(FloatAttr)
    max = opt_prop_def(FloatAttr)
    assembly_format = _UNARY


@irdl_op_definition
class LeakyReluOp(UnaryOp):
    """x, times `negative_slope` where it is negative."""

    name = "aten.leaky_relu"
    OVERLOAD: ClassVar[str] = "aten.leaky_relu.default"
    negative_slope = prop_def(FloatAttr)
    assembly_format = _UNARY


@irdl_op_definition
class EluOp(UnaryOp):
    """x, and alpha * (e to the x - 1) where it is negative."""

    name = "aten.elu"
    OVERLOAD: ClassVar[str] = "aten.elu.default"
    alpha = prop_def(FloatAttr)
    assembly_format = _UNARY


@irdl_op_definition
class ToOp(UnaryOp):
    """The values as another kind of element: integer or boolean to float, anything to boolean (x != 0)."""

    name = "aten.to"
    assembly_format = _UNARY


@irdl_op_definition
class LogicalNotOp(UnaryOp):
    """Not x, of booleans."""

    name = "aten.logical_not"
    OVERLOAD: ClassVar[str] = "aten.logical_not.default"
    assembly_format = _UNARY


@irdl_op_definition
class AddOp(BinaryOp):
    """input + other."""

    name = "aten.add"
    OVERLOAD: ClassVar[str] = "aten.add.Tensor"
    assembly_format = _BINARY


@irdl_op_definition
class SubOp(BinaryOp):
    """input - other."""

    name = "aten.sub"
    OVERLOAD: ClassVar[str] = "aten.sub.Tensor"
    assembly_format = _BINARY


@irdl_op_definition
class MulOp(BinaryOp):
    """input * other."""

    name = "aten.mul"
    OVERLOAD: ClassVar[str] = "aten.mul.Tensor"
    assembly_format = _BINARY


@irdl_op_definition
class DivOp(BinaryOp):
    """input / other; `nonzero` says that other is a parameter or constant without zeros and numbers close to them."""

    name = "aten.div"
    OVERLOAD: ClassVar[str] = "aten.div.Tensor"
    nonzero = opt_prop_def(UnitAttr)
    assembly_format = _BINARY


@irdl_op_definition
class PowOp(BinaryOp):
    """input to the power other."""

    name = "aten.pow"
    OVERLOAD: ClassVar[str] = "aten.pow.Tensor_Tensor"
    assembly_format = _BINARY


@irdl_op_definition
class MaximumOp(BinaryOp):
    """The larger of two elements."""

    name = "aten.maximum"
    OVERLOAD: ClassVar[str] = "aten.maximum.default"
    assembly_format = _BINARY


@irdl_op_definition
class MinimumOp(BinaryOp):
    """The smaller of two elements."""

    name = "aten.minimum"
    OVERLOAD: ClassVar[str] = "aten.minimum.default"
    assembly_format = _BINARY


@irdl_op_definition
class LogicalAndOp(BinaryOp):
    """Both, of booleans."""

    name = "aten.logical_and"
    OVERLOAD: ClassVar[str] = "aten.logical_and.default"
    assembly_format = _BINARY


_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


@irdl_op_definition
class CompareOp(BinaryOp):
    """A boolean from two elements; `predicate` is eq, ne, lt, le, gt or ge.

    `continuous` says that what it chooses between agrees where the elements are equal.
    """

    name = "aten.compare"
    predicate = prop_def(StringAttr)
    continuous = opt_prop_def(UnitAttr)
    assembly_format = "$predicate $input `,` $other attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        super().verify_()
        self.require(self.predicate.data in _COMPARISONS, f"predicate must be one of {_COMPARISONS}")


@irdl_op_definition
class WhereOp(AtenOp):
    """`input` where the condition holds, `other` elsewhere; all three broadcast."""

    name = "aten.where"
    OVERLOAD: ClassVar[str] = "aten.where.self"
    condition = operand_def(TensorType)
    input = operand_def(TensorType)
    other = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$condition `,` $input `,` $other attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        shape = broadcast_shapes([shape_of(v) for v in (self.condition, self.input, self.other)])
        self.require(shape == shape_of(self.result), "the result must have the operands' broadcast shape")
