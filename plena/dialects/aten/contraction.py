"""Operators that multiply matrices: linear, matmul, scaled-dot-product attention, convolution."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import I64, BoolAttr, DenseArrayBase, FloatAttr, IntegerAttr, TensorType
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, opt_prop_def, prop_def, result_def

from plena.dialects.aten.base import AtenOp
from plena.dialects.tensor_shapes import broadcast_shapes, shape_of


@irdl_op_definition
class LinearOp(AtenOp):
    """input [..., K] times the transpose of weight [N, K], plus bias [N]: [..., N]."""

    name = "aten.linear"
    OVERLOAD: ClassVar[str] = "aten.linear.default"
    input = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = (
        "$input `,` $weight (`,` `bias` `=` $bias^)? attr-dict `:` functional-type(operands, results)"
    )

    def verify_(self) -> None:
        shape, weight = shape_of(self.input), shape_of(self.weight)
        self.require(len(weight) == 2 and bool(shape), "input must have an axis and weight two")
        self.require(shape[-1] == weight[1], f"input has {shape[-1]} features, weight expects {weight[1]}")
        self.require(shape_of(self.result) == (*shape[:-1], weight[0]), "the result's shape is wrong")
        if self.bias is not None:
            self.require(shape_of(self.bias) == (weight[0],), "bias must have one element per row of weight")


@irdl_op_definition
class MatmulOp(AtenOp):
    """input [..., M, K] times other [..., K, N] with broadcast leading axes (matmul, bmm, mm)."""

    name = "aten.matmul"
    OVERLOAD: ClassVar[str] = "aten.matmul.default"
    input = operand_def(TensorType)
    other = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$input `,` $other attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        a, b = list(shape_of(self.input)), list(shape_of(self.other))
        self.require(min(len(a), len(b)) >= 2, "operands must have two axes or more")
        self.require(a[-1] == b[-2], f"cannot multiply {a} and {b}")
        batch = broadcast_shapes([a[:-2], b[:-2]]) if len(a) > 2 or len(b) > 2 else ()
        self.require(batch is not None, f"cannot multiply {a} and {b}")
        expected = (*(batch or ()), a[-2], b[-1])
        self.require(shape_of(self.result) == expected, "the result's shape is wrong")


@irdl_op_definition
class ScaledDotProductAttentionOp(AtenOp):
    """softmax(query @ key^T * scale + mask) @ value; query [..., S, D], key [..., T, D], value [..., T, E].

    `attn_mask` broadcasts to [..., S, T]: boolean (true takes part) or added. `is_causal` lets query i see
    the keys j <= i. `scale` is D to the -1/2 when absent. With `enable_gqa` the axis before the last two of
    key and value divides the query's.
    """

    name = "aten.scaled_dot_product_attention"
    OVERLOAD: ClassVar[str] = "aten.scaled_dot_product_attention.default"
    query = operand_def(TensorType)
    key = operand_def(TensorType)
    value = operand_def(TensorType)
    attn_mask = opt_operand_def(TensorType)
    is_causal = prop_def(BoolAttr, default_value=BoolAttr.from_bool(False))
    scale = opt_prop_def(FloatAttr)
    enable_gqa = prop_def(BoolAttr, default_value=BoolAttr.from_bool(False))
    result = result_def(TensorType)
    assembly_format = (
        "$query `,` $key `,` $value (`,` `mask` `=` $attn_mask^)? attr-dict "
        "`:` functional-type(operands, results)"
    )

    def verify_(self) -> None:
        q, k, v = (shape_of(x) for x in (self.query, self.key, self.value))
        self.require(min(len(q), len(k), len(v)) >= 2, "operands must have two axes or more")
        self.require(q[-1] == k[-1] and k[-2] == v[-2], f"shapes {q}, {k}, {v} do not fit")
        self.require(shape_of(self.result)[-2:] == (q[-2], v[-1]), "the result's shape is wrong")
        if self.attn_mask is not None:
            mask, scores = shape_of(self.attn_mask), (*shape_of(self.result)[:-1], k[-2])
            self.require(
                broadcast_shapes([mask, scores]) == scores, f"mask {mask} does not fit scores {scores}"
            )


@irdl_op_definition
class Conv2dOp(AtenOp):
    """input [B, C, H, W] convolved with weight [N, C/groups, kh, kw], plus bias [N]: [B, N, H', W']."""

    name = "aten.conv2d"
    OVERLOAD: ClassVar[str] = "aten.conv2d.default"
    input = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    stride = prop_def(DenseArrayBase[I64])
    padding = prop_def(DenseArrayBase[I64])
    dilation = prop_def(DenseArrayBase[I64])
    groups = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    assembly_format = (
        "$input `,` $weight (`,` `bias` `=` $bias^)? attr-dict `:` functional-type(operands, results)"
    )

    def verify_(self) -> None:
        x, w, y = shape_of(self.input), shape_of(self.weight), shape_of(self.result)
        self.require(len(x) == len(w) == len(y) == 4, "operands must have four axes")
        self.require(x[1] == w[1] * self.groups.value.data, "channels do not fit the weight")
        settings = (self.stride, self.padding, self.dilation)
        self.require(
            all(len(s.get_values()) == 2 for s in settings), "stride, padding, dilation have two numbers"
        )
        sizes = [
            (x[2 + i] + 2 * p - d * (w[2 + i] - 1) - 1) // s + 1
            for i, (s, p, d) in enumerate(zip(*(s.get_values() for s in settings), strict=True))
        ]
        self.require(y == (x[0], w[0], *sizes), "the result's shape is wrong")
        if self.bias is not None:
            self.require(shape_of(self.bias) == (w[0],), "bias must have one element per output channel")
