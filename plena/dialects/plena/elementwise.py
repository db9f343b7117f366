"""Elementwise kernels on [M, N]; the right operand of a binary one may be smaller (see BinaryOp)."""

from __future__ import annotations

from typing import Literal, get_args

from xdsl.dialects.builtin import I64, FloatAttr, IntegerAttr, StringAttr, TensorType, UnitAttr, f64, i1, i64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def

from plena.dialects.plena.base import PlenaOp, real
from plena.dialects.tensor_shapes import element_type_of, shape_of

_BINARY = "$lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

ActivationKind = Literal[
    "silu", "gelu_erf", "gelu_tanh", "gelu_quick", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "exp",
    "reciprocal", "sqrt", "rsqrt", "abs", "log", "log1p", "expm1", "softplus", "mish",
]  # fmt: skip
"""silu x*sigmoid(x); gelu_erf, gelu_tanh, gelu_quick x*sigmoid(1.702x); leaky_relu and elu have a slope."""


class UnaryOp(PlenaOp):
    """A kernel that maps each element of input [M, N]."""

    input = operand_def(TensorType)
    result = result_def(TensorType)

    def verify_(self) -> None:
        shape = shape_of(self.input)
        self.require(len(shape) == 2, "the input must have two axes")
        self.require(shape_of(self.result) == shape, "the result must have the input's shape")


@irdl_op_definition
class ActivationOp(UnaryOp):
    """A function of one number; `slope` is leaky_relu's factor below 0 or elu's alpha."""

    name = "plena.activation"
    kind = prop_def(StringAttr)
    slope = opt_prop_def(FloatAttr)
    assembly_format = "$kind $input attr-dict `:` functional-type(operands, results)"

    def __init__(self, kind: ActivationKind, input: SSAValue, slope: float | None = None) -> None:
        super().__init__(
            operands=[input],
            properties={
                "kind": StringAttr(kind),
                "slope": None if slope is None else FloatAttr(slope, f64),
            },
            result_types=[input.type],
        )

    def verify_(self) -> None:
        super().verify_()
        _verify_kind(self, self.kind.data)
        sloped = self.kind.data in ("leaky_relu", "elu")
        self.require((self.slope is not None) == sloped, "leaky_relu and elu, and only they, have a slope")


@irdl_op_definition
class GateOp(PlenaOp):
    """activation(gate) * up, the middle of a gated MLP; both [M, N]. The activation has no slope."""

    name = "plena.gate"
    kind = prop_def(StringAttr)
    gate = operand_def(TensorType)
    up = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$kind $gate `,` $up attr-dict `:` functional-type(operands, results)"

    def __init__(self, kind: ActivationKind, gate: SSAValue, up: SSAValue) -> None:
        super().__init__(operands=[gate, up], properties={"kind": StringAttr(kind)}, result_types=[gate.type])

    def verify_(self) -> None:
        shape = shape_of(self.gate)
        self.require(len(shape) == 2, "the operands must have two axes")
        self.require(shape_of(self.up) == shape == shape_of(self.result), "shapes differ")
        _verify_kind(self, self.kind.data)
        self.require(self.kind.data not in ("leaky_relu", "elu"), "an activation with a slope cannot gate")


def _verify_kind(op: PlenaOp, kind: str) -> None:
    op.require(kind in get_args(ActivationKind), f"unknown activation {kind}")


class BinaryOp(PlenaOp):
    """lhs [M, N] with rhs of one of the shapes

    [M, N]; [N], the same row for all; [M, G] with G dividing N, whose element (m, g) meets part g of row m
    (G = 1 is a column).
    """

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)

    def __init__(self, lhs: SSAValue, rhs: SSAValue) -> None:
        super().__init__(operands=[lhs, rhs], result_types=[lhs.type])

    def verify_(self) -> None:
        lhs, rhs = shape_of(self.lhs), shape_of(self.rhs)
        self.require(len(lhs) == 2, "lhs must have two axes")
        row = rhs == (lhs[1],)
        parts = len(rhs) == 2 and rhs[0] == lhs[0] and lhs[1] % max(rhs[1], 1) == 0
        self.require(row or parts, f"rhs {rhs} does not fit lhs {lhs}")
        self.require(shape_of(self.result) == lhs, "the result must have lhs's shape")


@irdl_op_definition
class AddOp(BinaryOp):
    """lhs + rhs."""

    name = "plena.add"
    assembly_format = _BINARY


@irdl_op_definition
class SubOp(BinaryOp):
    """lhs - rhs."""

    name = "plena.sub"
    assembly_format = _BINARY


@irdl_op_definition
class MulOp(BinaryOp):
    """lhs * rhs."""

    name = "plena.mul"
    assembly_format = _BINARY


@irdl_op_definition
class DivOp(BinaryOp):
    """lhs / rhs; `nonzero` says that rhs is a parameter or constant without zeros and numbers close to them."""

    name = "plena.div"
    nonzero = opt_prop_def(UnitAttr)
    assembly_format = _BINARY

    def __init__(self, lhs: SSAValue, rhs: SSAValue, *, nonzero: bool = False) -> None:
        super().__init__(lhs, rhs)
        if nonzero:
            self.nonzero = UnitAttr()


@irdl_op_definition
class MaximumOp(BinaryOp):
    """The larger one of lhs and rhs; NaN where one of them is NaN."""

    name = "plena.maximum"
    assembly_format = _BINARY


@irdl_op_definition
class MinimumOp(BinaryOp):
    """The smaller one of lhs and rhs; NaN where one of them is NaN."""

    name = "plena.minimum"
    assembly_format = _BINARY


@irdl_op_definition
class FillInfinityOp(BinaryOp):
    """lhs where rhs, a mask of 0 and 1, is 1; infinity with the sign `sign` (1 or -1) where it is 0.

    Elements of lhs that are replaced must not be NaN or infinity of the other sign.
    """

    name = "plena.fill_infinity"
    sign = prop_def(IntegerAttr[I64])
    assembly_format = _BINARY

    def __init__(self, lhs: SSAValue, rhs: SSAValue, sign: int) -> None:
        PlenaOp.__init__(
            self, operands=[lhs, rhs], properties={"sign": IntegerAttr(sign, i64)}, result_types=[lhs.type]
        )

    def verify_(self) -> None:
        super().verify_()
        self.require(self.sign.value.data in (1, -1), "sign must be 1 or -1")


class ScalarOp(UnaryOp):
    """A kernel of each element of input [M, N] and one number known at compile time."""

    value = prop_def(FloatAttr)

    def __init__(self, input: SSAValue, value: float) -> None:
        super().__init__(
            operands=[input], properties={"value": FloatAttr(value, f64)}, result_types=[input.type]
        )


@irdl_op_definition
class AddScalarOp(ScalarOp):
    """input + value."""

    name = "plena.add_scalar"
    assembly_format = "$input `,` $value attr-dict `:` functional-type(operands, results)"


@irdl_op_definition
class MulScalarOp(ScalarOp):
    """input * value."""

    name = "plena.mul_scalar"
    assembly_format = "$input `,` $value attr-dict `:` functional-type(operands, results)"


@irdl_op_definition
class ClampOp(UnaryOp):
    """input limited to [min, max]; an absent bound does not limit."""

    name = "plena.clamp"
    min = opt_prop_def(FloatAttr)
    max = opt_prop_def(FloatAttr)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, min: float | None, max: float | None) -> None:
        bounds = {"min": min, "max": max}
        super().__init__(
            operands=[input],
            properties={k: None if v is None else FloatAttr(v, f64) for k, v in bounds.items()},
            result_types=[input.type],
        )

    def verify_(self) -> None:
        super().verify_()
        self.require(self.min is not None or self.max is not None, "needs a bound")


class StagedTestOp(PlenaOp):
    """A boolean for each element of an argument, of any shape and element type. The host does it while staging."""

    input = operand_def(TensorType)
    result = result_def(TensorType)

    def verify_(self) -> None:
        self.require(shape_of(self.input) == shape_of(self.result), "the result must have the input's shape")
        self.require(element_type_of(self.result) == i1, "the result must be boolean")


@irdl_op_definition
class CompareOp(StagedTestOp):
    """Where elements of an argument are eq, ne, lt, le, gt or ge a number; true is 1, false 0."""

    name = "plena.compare"
    predicate = prop_def(StringAttr)
    value = prop_def(FloatAttr)
    assembly_format = "$predicate $input `,` $value attr-dict `:` functional-type(operands, results)"

    def __init__(self, predicate: str, input: SSAValue, value: float) -> None:
        super().__init__(
            operands=[input],
            properties={"predicate": StringAttr(predicate), "value": FloatAttr(value, f64)},
            result_types=[TensorType(i1, shape_of(input))],
        )

    def verify_(self) -> None:
        super().verify_()
        self.require(self.predicate.data in COMPARISONS, f"predicate must be one of {COMPARISONS}")


@irdl_op_definition
class BitOp(StagedTestOp):
    """An argument of zeros and ones as a boolean; staging refuses other values."""

    name = "plena.bit"
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue) -> None:
        super().__init__(operands=[input], result_types=[TensorType(i1, shape_of(input))])


@irdl_op_definition
class CastOp(PlenaOp):
    """Integers or booleans of an argument as numbers (true is 1); any shape. The host does it while
    staging."""

    name = "plena.cast"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue) -> None:
        super().__init__(operands=[input], result_types=[real(*shape_of(input))])

    def verify_(self) -> None:
        self.require(shape_of(self.input) == shape_of(self.result), "the result must have the input's shape")
        self.require(element_type_of(self.input) != element_type_of(self.result), "casts nothing")
