"""Kernels of the matrix unit: linear layers, products of computed matrices, attention, patch embedding."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    UnitAttr,
    f64,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
    var_result_def,
)

from plena.dialects.plena.base import PlenaOp, integer, integers, real
from plena.dialects.plena.masks import BandAttr
from plena.dialects.tensor_shapes import shape_of

MASKED = ("within_band", "alike", "added", "beyond_band")
"""How the masks of an attention add a number to scores (see AttentionOp)."""


@irdl_op_definition
class LinearOp(PlenaOp):
    """input [M, K] times the transpose of weight [N, K], plus bias [N]: [M, N]; the weight is staged."""

    name = "plena.linear"
    input = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = (
        "$input `,` $weight (`,` `bias` `=` $bias^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, input: SSAValue, weight: SSAValue, bias: SSAValue | None = None) -> None:
        super().__init__(
            operands=[input, weight, [] if bias is None else [bias]],
            result_types=[real(shape_of(input)[0], shape_of(weight)[0])],
        )

    def verify_(self) -> None:
        _verify_linear(self, self.input, self.weight, self.bias, self.result)


@irdl_op_definition
class ProjectionsOp(PlenaOp):
    """Linear layers that read the same input: result i is input times the transpose of weights[i], plus
    biases[i].

    One pass over the activations serves all (query, key and value; gate and up). `biases` is empty or has one
    entry per weight.
    """

    name = "plena.projections"
    input = operand_def(TensorType)
    weights = var_operand_def(TensorType)
    biases = var_operand_def(TensorType)
    outputs = var_result_def(TensorType)
    irdl_options = (*PlenaOp.irdl_options, AttrSizedOperandSegments(as_property=True))
    assembly_format = (
        "$input `:` type($input) `weights` `(` $weights `:` type($weights) `)` "
        "(`biases` `(` $biases^ `:` type($biases) `)`)? attr-dict `->` type($outputs)"
    )

    def __init__(self, input: SSAValue, weights: Sequence[SSAValue], biases: Sequence[SSAValue] = ()) -> None:
        rows = shape_of(input)[0]
        super().__init__(
            operands=[input, list(weights), list(biases)],
            result_types=[[real(rows, shape_of(weight)[0]) for weight in weights]],
        )

    def verify_(self) -> None:
        self.require(len(self.weights) > 0, "needs a weight")
        self.require(len(self.weights) == len(self.outputs), "needs one result per weight")
        self.require(len(self.biases) in (0, len(self.weights)), "needs one bias per weight or none")
        biases = list(self.biases) or [None] * len(self.weights)
        for weight, bias, output in zip(self.weights, biases, self.outputs, strict=True):
            _verify_linear(self, self.input, weight, bias, output)


def _verify_linear(
    op: PlenaOp, input: SSAValue, weight: SSAValue, bias: SSAValue | None, result: SSAValue
) -> None:
    x, w = shape_of(input), shape_of(weight)
    op.require(len(x) == 2 and len(w) == 2, "input and weight must have two axes")
    op.require(x[1] == w[1], f"input has {x[1]} features, the weight expects {w[1]}")
    op.require(shape_of(result) == (x[0], w[0]), "the result's shape is wrong")
    if bias is not None:
        op.require(shape_of(bias) == (w[0],), "bias must have one element per row of the weight")


@irdl_op_definition
class MatmulOp(PlenaOp):
    """Products of computed matrices: for each head of each of `batch` samples lhs [M, K] times rhs [K, N].

    Heads lie one below the other: lhs [batch*heads*M, K], rhs [batch*heads*K, N] or with `transpose_rhs`
    [batch*heads*N, K], result [batch*heads*M, N]. Those of a tensor that is `wide` lie side by side instead: lhs
    [batch*M, heads*K], rhs [batch*K, heads*N] or [batch*N, heads*K], result [batch*M, heads*N]. A right operand of
    fewer heads, `rhs_heads`, serves several: head h reads head h // (heads // rhs_heads).
    """

    name = "plena.matmul"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    batch = prop_def(IntegerAttr[I64])
    heads = prop_def(IntegerAttr[I64], default_value=integer(1))
    rhs_heads = opt_prop_def(IntegerAttr[I64])
    transpose_rhs = prop_def(BoolAttr, default_value=BoolAttr.from_bool(False))
    wide_lhs = opt_prop_def(UnitAttr)
    wide_rhs = opt_prop_def(UnitAttr)
    wide_result = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    assembly_format = "$lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        batch: int = 1,
        transpose_rhs: bool = False,
        *,
        heads: int = 1,
        rhs_heads: int = 0,
        wide: Sequence[str] = (),
    ) -> None:
        """`wide` names the tensors with heads side by side, "lhs", "rhs", "result"; `rhs_heads` 0 means all."""
        own = rhs_heads or heads
        rows, columns = _per_head(shape_of(rhs), batch, own, "rhs" in wide)
        columns = rows if transpose_rhs else columns
        rows = _per_head(shape_of(lhs), batch, heads, "lhs" in wide)[0]
        shape = (batch * rows, heads * columns) if "result" in wide else (batch * heads * rows, columns)
        super().__init__(
            operands=[lhs, rhs],
            properties={
                "batch": integer(batch),
                "heads": integer(heads),
                "rhs_heads": None if own == heads else integer(own),
                "transpose_rhs": BoolAttr.from_bool(transpose_rhs),
                **{f"wide_{name}": UnitAttr() if name in wide else None for name in ("lhs", "rhs", "result")},
            },
            result_types=[real(*shape)],
        )

    @property
    def wide(self) -> tuple[str, ...]:
        """The tensors whose heads lie side by side, of "lhs", "rhs", "result"."""
        flags = {"lhs": self.wide_lhs, "rhs": self.wide_rhs, "result": self.wide_result}
        return tuple(name for name, flag in flags.items() if flag is not None)

    @property
    def head_counts(self) -> tuple[int, int]:
        """Heads of lhs and of rhs."""
        heads = self.heads.value.data
        return heads, heads if self.rhs_heads is None else self.rhs_heads.value.data

    @property
    def sizes(self) -> tuple[int, int, int]:
        """M, K, N of one product."""
        batch, (heads, own) = self.batch.value.data, self.head_counts
        m, k = _per_head(shape_of(self.lhs), batch, heads, self.wide_lhs is not None)
        rows, columns = _per_head(shape_of(self.rhs), batch, own, self.wide_rhs is not None)
        return m, k, rows if self.transpose_rhs.value.data else columns

    def verify_(self) -> None:
        a, b, batch, (heads, own) = (
            shape_of(self.lhs),
            shape_of(self.rhs),
            self.batch.value.data,
            self.head_counts,
        )
        self.require(len(a) == 2 and len(b) == 2, "operands must have two axes")
        self.require(min(batch, heads, own) > 0 and heads % own == 0, "heads of rhs must divide those of lhs")
        for shape, count, wide in ((a, heads, self.wide_lhs), (b, own, self.wide_rhs)):
            rows, columns = (batch, count) if wide is not None else (batch * count, 1)
            self.require(shape[0] % rows == 0 and shape[1] % columns == 0, "rows must divide by batch")
        m, k, n = self.sizes
        rows, columns = _per_head(b, batch, own, self.wide_rhs is not None)
        inner = columns if self.transpose_rhs.value.data else rows
        self.require(k == inner, f"lhs has {k} columns, rhs expects {inner}")
        wide = self.wide_result is not None
        expected = (batch * m, heads * n) if wide else (batch * heads * m, n)
        self.require(shape_of(self.result) == expected, "the result's shape is wrong")


def _per_head(shape: tuple[int, ...], batch: int, heads: int, wide: bool) -> tuple[int, int]:
    """Rows and columns of one head of a tensor."""
    return (shape[0] // batch, shape[1] // heads) if wide else (shape[0] // (batch * heads), shape[1])


@irdl_op_definition
class AttentionOp(PlenaOp):
    """softmax(scale * query @ key^T + masks) @ value for every head of every sample.

    Shapes: query [batch*S, heads*D], key [batch*T, kv_heads*D], value [batch*T, kv_heads*E], result [batch*S,
    heads*E]. Head h owns columns [h*D, (h+1)*D); query head h reads key head h // (heads // kv_heads).

    In this order: scores = query @ key^T * scale; with `softcap` c, scores = c * tanh(scores / c); `bias` [b,
    h, s, T] (b, h, s are whole or 1) is added if real and masks where false if boolean; `band` masks the keys
    outside; `key_padding` [batch, T] masks the keys where it is 0 or false; `sinks` [heads] joins one score
    per head to the softmax that has no value.

    Masks exclude keys. With `fill`, a number, only the band does, unless `masked` is something else than
    "within_band"; other masks add the number to scores: "alike" once for all masks, the band too, "added" for each
    of them, "beyond_band" the band alone. `empty` is what a query without any key has for a result, "zero" or "nan";
    without it every query has one. `moderate` says of a real bias that the numbers of a row are at most 512 apart.

    With `first_keys`, only so many keys of each sample take part, T then: key and value [batch*R, ...] have R >= T
    rows for each of them, of which the others are not read.
    """

    name = "plena.attention"
    query = operand_def(TensorType)
    key = operand_def(TensorType)
    value = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    key_padding = opt_operand_def(TensorType)
    sinks = opt_operand_def(TensorType)
    batch = prop_def(IntegerAttr[I64])
    heads = prop_def(IntegerAttr[I64])
    kv_heads = prop_def(IntegerAttr[I64])
    scale = prop_def(FloatAttr)
    softcap = opt_prop_def(FloatAttr)
    band = opt_prop_def(BandAttr)
    fill = opt_prop_def(FloatAttr)
    masked = opt_prop_def(StringAttr)
    empty = opt_prop_def(StringAttr)
    moderate = opt_prop_def(UnitAttr)
    first_keys = opt_prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    irdl_options = (*PlenaOp.irdl_options, AttrSizedOperandSegments(as_property=True))
    assembly_format = (
        "$query `,` $key `,` $value `:` type($query) `,` type($key) `,` type($value) "
        "(`bias` `(` $bias^ `:` type($bias) `)`)? "
        "(`key_padding` `(` $key_padding^ `:` type($key_padding) `)`)? "
        "(`sinks` `(` $sinks^ `:` type($sinks) `)`)? attr-dict `->` type($result)"
    )

    def __init__(
        self,
        query: SSAValue,
        key: SSAValue,
        value: SSAValue,
        *,
        batch: int,
        heads: int,
        kv_heads: int,
        scale: float,
        bias: SSAValue | None = None,
        key_padding: SSAValue | None = None,
        sinks: SSAValue | None = None,
        softcap: float | None = None,
        band: BandAttr | None = None,
        fill: float | None = None,
        masked: str | None = None,
        empty: str | None = None,
        moderate: bool = False,
    ) -> None:
        optional = [[] if operand is None else [operand] for operand in (bias, key_padding, sinks)]
        super().__init__(
            operands=[query, key, value, *optional],
            properties={
                "batch": integer(batch),
                "heads": integer(heads),
                "kv_heads": integer(kv_heads),
                "scale": FloatAttr(scale, f64),
                "softcap": None if softcap is None else FloatAttr(softcap, f64),
                "band": band,
                "fill": None if fill is None else FloatAttr(fill, f64),
                "masked": None if masked is None else StringAttr(masked),
                "empty": None if empty is None else StringAttr(empty),
                "moderate": UnitAttr() if moderate else None,
            },
            result_types=[real(shape_of(query)[0], shape_of(value)[1] // kv_heads * heads)],
        )

    @property
    def query_length(self) -> int:
        """S: queries per sample."""
        return shape_of(self.query)[0] // self.batch.value.data

    @property
    def key_length(self) -> int:
        """T: keys per sample that take part."""
        return self.key_rows if self.first_keys is None else self.first_keys.value.data

    @property
    def key_rows(self) -> int:
        """Rows of keys and values per sample."""
        return shape_of(self.key)[0] // self.batch.value.data

    @property
    def head_dim(self) -> int:
        """D: features of one query or key head."""
        return shape_of(self.query)[1] // self.heads.value.data

    @property
    def value_dim(self) -> int:
        """E: features of one value head."""
        return shape_of(self.value)[1] // self.kv_heads.value.data

    def verify_(self) -> None:
        batch, heads, kv_heads = (a.value.data for a in (self.batch, self.heads, self.kv_heads))
        q, k, v = (shape_of(x) for x in (self.query, self.key, self.value))
        self.require(all(len(s) == 2 for s in (q, k, v)), "query, key and value must have two axes")
        self.require(min(batch, heads, kv_heads) > 0, "batch and head counts must be positive")
        self.require(heads % kv_heads == 0, f"{kv_heads} key heads do not divide {heads} query heads")
        self.require(q[0] % batch == 0 and k[0] % batch == 0, "rows must divide by batch")
        self.require(k[0] == v[0], "key and value must have the same rows")
        self.require(0 < self.key_length <= self.key_rows, "first_keys must be some of a sample's keys")
        self.require(
            q[1] % heads == 0 and k[1] % kv_heads == 0 and v[1] % kv_heads == 0, "heads do not divide"
        )
        self.require(q[1] // heads == k[1] // kv_heads, "query and key heads differ in size")
        self.require(shape_of(self.result) == (q[0], heads * self.value_dim), "the result's shape is wrong")
        scores = (self.query_length, self.key_length)
        if self.bias is not None:
            bias = shape_of(self.bias)
            full = (batch, heads, *scores)
            fits = len(bias) == 4 and bias[3] == scores[1]
            fits = fits and all(size in (1, whole) for size, whole in zip(bias, full, strict=True))
            self.require(fits, f"bias {bias} does not fit the scores {full}")
        if self.key_padding is not None:
            self.require(
                shape_of(self.key_padding) == (batch, scores[1]), "key_padding must be [batch, keys]"
            )
        if self.sinks is not None:
            self.require(shape_of(self.sinks) == (heads,), "sinks must have one element per head")
        self.require((self.fill is None) == (self.masked is None), "`fill` and `masked` belong together")
        if self.masked is not None:
            self.require(self.masked.data in MASKED, f"masked must be one of {', '.join(MASKED)}")
        if self.empty is not None:
            self.require(self.empty.data in ("zero", "nan"), 'empty must be "zero" or "nan"')


@irdl_op_definition
class PatchEmbeddingOp(PlenaOp):
    """A convolution with stride = kernel and no padding: images [B, C, H, W] to patches [B*P, N].

    P = (H // kh) * (W // kw), patches row by row. `weight` is [N, C*kh*kw], features of a patch ordered
    channel, row, column; `bias` [N]. Rows and columns of the image behind the last whole patch are not read.
    """

    name = "plena.patch_embedding"
    input = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    kernel = prop_def(DenseArrayBase[I64])
    result = result_def(TensorType)
    assembly_format = (
        "$input `,` $weight (`,` `bias` `=` $bias^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self, input: SSAValue, weight: SSAValue, bias: SSAValue | None, kernel: tuple[int, int]
    ) -> None:
        batch, _, height, width = shape_of(input)
        patches = batch * (height // kernel[0]) * (width // kernel[1])
        super().__init__(
            operands=[input, weight, [] if bias is None else [bias]],
            properties={"kernel": integers(kernel)},
            result_types=[real(patches, shape_of(weight)[0])],
        )

    def verify_(self) -> None:
        x, w, kernel = shape_of(self.input), shape_of(self.weight), self.kernel.get_values()
        self.require(len(x) == 4 and len(w) == 2 and len(kernel) == 2, "the operands' ranks are wrong")
        self.require(min(kernel) > 0, "the kernel is empty")
        self.require(w[1] == x[1] * kernel[0] * kernel[1], "the weight does not fit the kernel")
        patches = x[0] * (x[2] // kernel[0]) * (x[3] // kernel[1])
        self.require(patches > 0, "the image is smaller than the kernel")
        self.require(shape_of(self.result) == (patches, w[0]), "the result's shape is wrong")
        if self.bias is not None:
            self.require(shape_of(self.bias) == (w[0],), "bias must have one element per row of the weight")
