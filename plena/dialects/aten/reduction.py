"""Operators over whole axes: sums, means, maxima, softmax, norms."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import I64, BoolAttr, DenseArrayBase, FloatAttr, IntegerAttr, TensorType, UnitAttr
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
)

from plena.dialects.aten.base import AtenOp
from plena.dialects.tensor_shapes import shape_of

_REDUCTION = "$input attr-dict `:` functional-type(operands, results)"


class ReductionOp(AtenOp):
    """`dim` lists the axes reduced, 0 <= axis < rank; `keepdim` leaves them with size 1."""

    input = operand_def(TensorType)
    dim = prop_def(DenseArrayBase[I64])
    keepdim = prop_def(BoolAttr, default_value=BoolAttr.from_bool(False))
    result = result_def(TensorType)

    def verify_(self) -> None:
        shape, dims = shape_of(self.input), self.dim.get_values()
        self.require(len(dims) > 0, "needs an axis")
        self.require(len(set(dims)) == len(dims) and all(0 <= d < len(shape) for d in dims), "axes are wrong")
        keep = bool(self.keepdim.value.data)
        expected = [1 if i in dims else n for i, n in enumerate(shape) if keep or i not in dims]
        self.require(tuple(expected) == shape_of(self.result), "the result's shape is wrong")


@irdl_op_definition
class SumOp(ReductionOp):
    """The sum over axes."""

    name = "aten.sum"
    OVERLOAD: ClassVar[str] = "aten.sum.dim_IntList"
    assembly_format = _REDUCTION


@irdl_op_definition
class MeanOp(ReductionOp):
    """The mean over axes."""

    name = "aten.mean"
    OVERLOAD: ClassVar[str] = "aten.mean.dim"
    assembly_format = _REDUCTION


@irdl_op_definition
class AmaxOp(ReductionOp):
    """The maximum over axes (amax, and max.dim whose indices are not used)."""

    name = "aten.amax"
    OVERLOAD: ClassVar[str] = "aten.amax.default"
    assembly_format = _REDUCTION


@irdl_op_definition
class SoftmaxOp(AtenOp):
    """e to the x, divided by its sum along `dim`; of minus infinity alone it is NaN, or 0 if it is `safe`."""

    name = "aten.softmax"
    OVERLOAD: ClassVar[str] = "aten.softmax.int"
    input = operand_def(TensorType)
    dim = prop_def(IntegerAttr[I64])
    safe = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        shape = shape_of(self.input)
        self.require(0 <= self.dim.value.data < len(shape), "dim is not an axis of the input")
        self.require(shape == shape_of(self.result), "the result must have the input's shape")


class NormalizationOp(AtenOp):
    """`normalized_shape` is the trailing part of the input's shape over which each sample is normalised."""

    input = operand_def(TensorType)
    normalized_shape = prop_def(DenseArrayBase[I64])
    result = result_def(TensorType)

    def verify_(self) -> None:
        shape, normalized = shape_of(self.input), self.normalized_shape.get_values()
        self.require(shape == shape_of(self.result), "the result must have the input's shape")
        self.require(len(normalized) > 0, "normalized_shape is empty")
        self.require(
            shape[-len(normalized) :] == normalized, "normalized_shape does not end the input's shape"
        )


@irdl_op_definition
class LayerNormOp(NormalizationOp):
    """(x - mean) / sqrt(variance + eps) * weight + bias."""

    name = "aten.layer_norm"
    OVERLOAD: ClassVar[str] = "aten.layer_norm.default"
    input = operand_def(TensorType)
    weight = opt_operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    eps = prop_def(FloatAttr)
    irdl_options = (*AtenOp.irdl_options, AttrSizedOperandSegments(as_property=True))
    assembly_format = (
        "$input `:` type($input) (`weight` `(` $weight^ `:` type($weight) `)`)? "
        "(`bias` `(` $bias^ `:` type($bias) `)`)? attr-dict `->` type($result)"
    )


@irdl_op_definition
class RmsNormOp(NormalizationOp):
    """x / sqrt(mean(x^2) + eps) * weight; `eps` is the smallest float32 step from 1 when absent."""

    name = "aten.rms_norm"
    OVERLOAD: ClassVar[str] = "aten.rms_norm.default"
    input = operand_def(TensorType)
    weight = opt_operand_def(TensorType)
    eps = opt_prop_def(FloatAttr)
    assembly_format = "$input (`,` `weight` `=` $weight^)? attr-dict `:` functional-type(operands, results)"
