"""Kernels along rows: norms, softmax, reductions, rotary position embedding.

`groups` G cuts the features of a row into G equal parts that are treated alone, as heads are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import (
    I64,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    f64,
    i64,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
    result_def,
    var_operand_def,
    var_result_def,
)

from plena.dialects.plena.base import PlenaOp, integer, real
from plena.dialects.tensor_shapes import shape_of


class GroupedRowsOp(PlenaOp):
    """A kernel on each of the `groups` parts of each row of input [M, G*N]; the result has its shape."""

    input = operand_def(TensorType)
    groups = prop_def(IntegerAttr[I64], default_value=integer(1))
    result = result_def(TensorType)

    @property
    def group_size(self) -> int:
        """N: features of one part."""
        return shape_of(self.input)[1] // self.groups.value.data

    def verify_(self) -> None:
        shape, groups = shape_of(self.input), self.groups.value.data
        self.require(len(shape) == 2, "the input must have two axes")
        self.require(groups > 0 and shape[1] % groups == 0, "groups must divide the features")
        self.require(shape_of(self.result) == shape, "the result must have the input's shape")


@irdl_op_definition
class RmsNormOp(GroupedRowsOp):
    """x / sqrt(mean(x^2) + eps), times gain [N]; without gain it has been folded into the readers'
    weights."""

    name = "plena.rms_norm"
    input = operand_def(TensorType)
    gain = opt_operand_def(TensorType)
    eps = prop_def(FloatAttr)
    assembly_format = "$input (`,` `gain` `=` $gain^)? attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, gain: SSAValue | None, eps: float, groups: int = 1) -> None:
        super().__init__(
            operands=[input, [] if gain is None else [gain]],
            properties={"eps": FloatAttr(eps, f64), "groups": integer(groups)},
            result_types=[input.type],
        )

    def verify_(self) -> None:
        super().verify_()
        if self.gain is not None:
            self.require(shape_of(self.gain) == (self.group_size,), "gain must have one element per feature")


@irdl_op_definition
class LayerNormOp(GroupedRowsOp):
    """(x - mean(x)) / sqrt(variance(x) + eps), times gain [N], plus bias [N]; variance is the mean square."""

    name = "plena.layer_norm"
    input = operand_def(TensorType)
    gain = opt_operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    eps = prop_def(FloatAttr)
    irdl_options = (*PlenaOp.irdl_options, AttrSizedOperandSegments(as_property=True))
    assembly_format = (
        "$input `:` type($input) (`gain` `(` $gain^ `:` type($gain) `)`)? "
        "(`bias` `(` $bias^ `:` type($bias) `)`)? attr-dict `->` type($result)"
    )

    def __init__(
        self, input: SSAValue, gain: SSAValue | None, bias: SSAValue | None, eps: float, groups: int = 1
    ) -> None:
        super().__init__(
            operands=[input, *([] if operand is None else [operand] for operand in (gain, bias))],
            properties={"eps": FloatAttr(eps, f64), "groups": integer(groups)},
            result_types=[input.type],
        )

    def verify_(self) -> None:
        super().verify_()
        for operand in (self.gain, self.bias):
            if operand is not None:
                fits = shape_of(operand) == (self.group_size,)
                self.require(fits, "gain and bias must have one element per feature")


@irdl_op_definition
class SoftmaxOp(GroupedRowsOp):
    """e to the x, divided by its sum over the part of the row."""

    name = "plena.softmax"
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, groups: int = 1) -> None:
        super().__init__(operands=[input], properties={"groups": integer(groups)}, result_types=[input.type])


ReductionKind = Literal["sum", "mean", "max"]
ReductionAxis = Literal["features", "rows"]


@irdl_op_definition
class ReduceOp(PlenaOp):
    """The sum, mean or maximum over an axis.

    `axis` "features": input [M, G*N] to [M, G]. `axis` "rows": input [G*M, N] to [G, N], the rows of one
    sample being consecutive.
    """

    name = "plena.reduce"
    kind = prop_def(StringAttr)
    axis = prop_def(StringAttr)
    input = operand_def(TensorType)
    groups = prop_def(IntegerAttr[I64], default_value=integer(1))
    result = result_def(TensorType)
    assembly_format = "$kind `over` $axis $input attr-dict `:` functional-type(operands, results)"

    def __init__(self, kind: ReductionKind, axis: ReductionAxis, input: SSAValue, groups: int = 1) -> None:
        rows, columns = shape_of(input)
        shape = (rows, groups) if axis == "features" else (groups, columns)
        super().__init__(
            operands=[input],
            properties={"kind": StringAttr(kind), "axis": StringAttr(axis), "groups": integer(groups)},
            result_types=[real(*shape)],
        )

    def verify_(self) -> None:
        shape, groups = shape_of(self.input), self.groups.value.data
        self.require(len(shape) == 2, "the input must have two axes")
        self.require(self.kind.data in ("sum", "mean", "max"), "kind must be sum, mean or max")
        self.require(self.axis.data in ("features", "rows"), "axis must be features or rows")
        features = self.axis.data == "features"
        self.require(groups > 0 and shape[int(features)] % groups == 0, "groups must divide the axis")
        expected = (shape[0], groups) if features else (groups, shape[1])
        self.require(shape_of(self.result) == expected, "the result's shape is wrong")


RotaryStyle = Literal["half", "interleaved"]


@irdl_op_definition
class RotaryOp(PlenaOp):
    """Rotary position embedding: x * cos + rotate(x) * sin in the first R features of every head.

    input [M, heads*D]; cos and sin [P, R] with R <= D and P dividing M: row r of the input uses row r mod P.
    Rest of the features pass. rotate maps (a, b) to (-b, a), where a and b are the halves of the R features
    ("half") or their even and odd elements ("interleaved").
    """

    name = "plena.rotary"
    input = operand_def(TensorType)
    cos = operand_def(TensorType)
    sin = operand_def(TensorType)
    heads = prop_def(IntegerAttr[I64])
    style = prop_def(StringAttr)
    result = result_def(TensorType)
    assembly_format = "$style $input `,` $cos `,` $sin attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, cos: SSAValue, sin: SSAValue, heads: int, style: RotaryStyle) -> None:
        super().__init__(
            operands=[input, cos, sin],
            properties={"heads": integer(heads), "style": StringAttr(style)},
            result_types=[input.type],
        )

    def verify_(self) -> None:
        _verify_rotary(self, self.input, self.heads.value.data, self.result)


def _verify_rotary(op: RotaryOp | RotariesOp, x: SSAValue, heads: int, result: SSAValue) -> None:
    (rows, *features), cos = shape_of(x), shape_of(op.cos)
    op.require(len(features) == 1 and len(cos) == 2, "operands must have two axes")
    op.require(cos == shape_of(op.sin), "cos and sin must have one shape")
    op.require(heads > 0 and features[0] % heads == 0, "heads must divide the features")
    op.require(rows % cos[0] == 0, "the rows of cos must divide the input's")
    op.require(cos[1] % 2 == 0 and cos[1] <= features[0] // heads, "cos is wider than a head, or odd")
    op.require(op.style.data in ("half", "interleaved"), "style must be half or interleaved")
    op.require(shape_of(result) == shape_of(x), "the result must have the input's shape")


@irdl_op_definition
class RotariesOp(PlenaOp):
    """Rotary position embeddings by the same tables: result i is `plena.rotary` of inputs[i] with heads[i] heads.

    Queries and keys of one projection lie one behind the other and turn in one pass.
    """

    name = "plena.rotaries"
    inputs = var_operand_def(TensorType)
    cos = operand_def(TensorType)
    sin = operand_def(TensorType)
    heads = prop_def(DenseArrayBase.constr(I64))
    style = prop_def(StringAttr)
    outputs = var_result_def(TensorType)
    assembly_format = (
        "$style `(` $inputs `:` type($inputs) `)` `tables` `(` $cos `,` $sin `:` type($cos) `,` type($sin) `)` "
        "attr-dict `->` type($outputs)"
    )

    def __init__(
        self,
        inputs: Sequence[SSAValue],
        cos: SSAValue,
        sin: SSAValue,
        heads: Sequence[int],
        style: RotaryStyle,
    ) -> None:
        super().__init__(
            operands=[list(inputs), cos, sin],
            properties={"heads": DenseArrayBase.from_list(i64, list(heads)), "style": StringAttr(style)},
            result_types=[[x.type for x in inputs]],
        )

    def verify_(self) -> None:
        heads = self.heads.get_values()
        self.require(len(self.inputs) > 0, "needs an input")
        self.require(
            len({len(self.inputs), len(heads), len(self.outputs)}) == 1, "needs heads and a result per input"
        )
        self.require(len(set(self.inputs)) == len(self.inputs), "inputs must differ")
        for x, count, result in zip(self.inputs, heads, self.outputs, strict=True):
            _verify_rotary(self, x, count, result)
