"""Kernels that move elements: reshapes, rearrangements, slices, concatenation, repetition, row lookup."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    I64,
    DenseArrayBase,
    Float32Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    f64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
)

from plena.dialects.plena.base import PlenaOp, integer, integers, real
from plena.dialects.plena.rows import ReductionAxis
from plena.dialects.tensor_shapes import element_type_of, shape_of


@irdl_op_definition
class ReshapeOp(PlenaOp):
    """The same elements in row-major order under another shape."""

    name = "plena.reshape"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, shape: Sequence[int]) -> None:
        super().__init__(operands=[input], result_types=[TensorType(element_type_of(input), shape)])

    def verify_(self) -> None:
        self.require(prod(shape_of(self.input)) == prod(shape_of(self.result)), "element counts differ")


@irdl_op_definition
class RearrangeOp(PlenaOp):
    """Elements reordered: input viewed as `factors`, axes permuted by `order`, viewed as the result's shape.

    Axis i of the permuted view is axis order[i] of the factors. Canonical form (canonicalize-layouts): no
    factor is 1 and no two factors that stay neighbours are apart, so an order of 0, 1, ... does not occur.
    """

    name = "plena.rearrange"
    input = operand_def(TensorType)
    factors = prop_def(DenseArrayBase[I64])
    order = prop_def(DenseArrayBase[I64])
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(
        self, input: SSAValue, factors: Sequence[int], order: Sequence[int], shape: Sequence[int]
    ) -> None:
        super().__init__(
            operands=[input],
            properties={"factors": integers(factors), "order": integers(order)},
            result_types=[TensorType(element_type_of(input), shape)],
        )

    def verify_(self) -> None:
        factors, order = self.factors.get_values(), self.order.get_values()
        self.require(sorted(order) == list(range(len(factors))), "order must permute the factors")
        sizes = {prod(shape_of(self.input)), prod(shape_of(self.result)), prod(factors)}
        self.require(len(sizes) == 1, "element counts differ")


@irdl_op_definition
class SliceOp(PlenaOp):
    """Part of the rows and columns of every group.

    input [RG*M, CG*N]; of the M rows of each of the `groups[0]` = RG row groups and the N columns of each of
    the `groups[1]` = CG column groups, those numbered offsets[i] + strides[i] * (0 .. sizes[i] - 1): the
    result is [RG*sizes[0], CG*sizes[1]].
    """

    name = "plena.slice"
    input = operand_def(TensorType)
    groups = prop_def(DenseArrayBase[I64], default_value=integers((1, 1)))
    offsets = prop_def(DenseArrayBase[I64])
    sizes = prop_def(DenseArrayBase[I64])
    strides = prop_def(DenseArrayBase[I64], default_value=integers((1, 1)))
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        input: SSAValue,
        offsets: tuple[int, int],
        sizes: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        groups: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(
            operands=[input],
            properties={
                "groups": integers(groups),
                "offsets": integers(offsets),
                "sizes": integers(sizes),
                "strides": integers(strides),
            },
            result_types=[real(groups[0] * sizes[0], groups[1] * sizes[1])],
        )

    def verify_(self) -> None:
        shape, result = shape_of(self.input), shape_of(self.result)
        settings = [a.get_values() for a in (self.groups, self.offsets, self.sizes, self.strides)]
        self.require(all(len(s) == 2 for s in (shape, result, *settings)), "all have two axes")
        for axis, (groups, offset, size, stride) in enumerate(zip(*settings, strict=True)):
            self.require(groups > 0 and shape[axis] % groups == 0, "groups must divide the axis")
            last = offset + stride * (size - 1)
            inside = offset >= 0 and size > 0 and stride > 0 and last < shape[axis] // groups
            self.require(inside, "the slice leaves the input")
            self.require(result[axis] == groups * size, "the result's shape is wrong")


@irdl_op_definition
class ConcatOp(PlenaOp):
    """Tensors one behind the other, within every group.

    `axis` "rows": inputs [G*Mi, N] to [G*sum(Mi), N], the rows of a group staying together; "features":
    inputs [M, G*Ni] to [M, G*sum(Ni)].
    """

    name = "plena.concat"
    axis = prop_def(StringAttr)
    inputs = var_operand_def(TensorType)
    groups = prop_def(IntegerAttr[I64], default_value=integer(1))
    result = result_def(TensorType)
    assembly_format = "$axis $inputs attr-dict `:` functional-type(operands, results)"

    def __init__(self, axis: ReductionAxis, inputs: Sequence[SSAValue], groups: int = 1) -> None:
        shape = list(shape_of(inputs[0]))
        index = 0 if axis == "rows" else 1
        shape[index] = sum(shape_of(value)[index] for value in inputs)
        super().__init__(
            operands=[list(inputs)],
            properties={"axis": StringAttr(axis), "groups": integer(groups)},
            result_types=[real(*shape)],
        )

    def verify_(self) -> None:
        self.require(self.axis.data in ("features", "rows"), "axis must be features or rows")
        index, groups = (0 if self.axis.data == "rows" else 1), self.groups.value.data
        shapes = [shape_of(value) for value in self.inputs]
        self.require(bool(shapes) and all(len(s) == 2 for s in shapes), "needs inputs of two axes")
        self.require(
            groups > 0 and all(s[index] % groups == 0 for s in shapes), "groups must divide the axis"
        )
        self.require(len({s[1 - index] for s in shapes}) == 1, "the inputs differ in the other axis")
        expected = list(shapes[0])
        expected[index] = sum(s[index] for s in shapes)
        self.require(shape_of(self.result) == tuple(expected), "the result's shape is wrong")


@irdl_op_definition
class ExpandOp(PlenaOp):
    """Axes of size 1 repeated, and new leading axes; any rank. Copies that nothing could absorb."""

    name = "plena.expand"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def __init__(self, input: SSAValue, shape: Sequence[int]) -> None:
        super().__init__(operands=[input], result_types=[TensorType(element_type_of(input), shape)])

    def verify_(self) -> None:
        source, result = shape_of(self.input), shape_of(self.result)
        self.require(len(source) <= len(result), "the result has fewer axes")
        fits = all(a in (1, b) for a, b in zip(source, result[len(result) - len(source) :], strict=True))
        self.require(fits, "the input does not broadcast to the result")


@irdl_op_definition
class RelativeOp(PlenaOp):
    """`factor` times what the host stages plus `offset`, relative to the highest along axis `dim`, which a softmax does
    not see.

    What is far below hides, and what float32 absorbs scores into absorbs them in bf16, too. Minus infinity stays. Part
    "near" has 0 for what is far below, and part "hidden" what is to be added to it: numbers that share a scale with
    large ones lose their bits. With a `number`: that number in the place of any of each row [.., 1, ..].
    """

    name = "plena.relative"
    input = operand_def(TensorType)
    dim = prop_def(IntegerAttr[I64])
    factor = prop_def(FloatAttr, default_value=FloatAttr(1.0, f64))
    offset = prop_def(FloatAttr, default_value=FloatAttr(0.0, f64))
    number = opt_prop_def(FloatAttr)
    part = opt_prop_def(StringAttr)
    result = result_def(TensorType)
    assembly_format = "$input `,` $dim attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        input: SSAValue,
        dim: int,
        factor: float = 1.0,
        offset: float = 0.0,
        number: float | None = None,
        part: str | None = None,
    ) -> None:
        properties: dict[str, Attribute] = {
            "dim": integer(dim),
            "factor": FloatAttr(factor, f64),
            "offset": FloatAttr(offset, f64),
        }
        if number is not None:
            properties["number"] = FloatAttr(number, f64)
        if part is not None:
            properties["part"] = StringAttr(part)
        shape = [1 if number is not None and n == dim else size for n, size in enumerate(shape_of(input))]
        super().__init__(operands=[input], properties=properties, result_types=[real(*shape)])

    @property
    def step(self) -> tuple[int, float, float, float | None, str | None]:
        """dim, factor, offset, number and part."""
        number = None if self.number is None else self.number.value.data
        part = None if self.part is None else self.part.data
        return self.dim.value.data, self.factor.value.data, self.offset.value.data, number, part

    def verify_(self) -> None:
        shape = shape_of(self.input)
        if self.number is not None:
            shape = tuple(1 if n == self.dim.value.data else size for n, size in enumerate(shape))
        self.require(isinstance(element_type_of(self.input), Float32Type), "the input must be real numbers")
        self.require(shape_of(self.result) == shape, "the result's shape is wrong")
        self.require(0 <= self.dim.value.data < len(shape), "there is no such axis")
        whole = self.part is None or (self.part.data in ("near", "hidden") and self.number is None)
        self.require(whole, "the part must be near or hidden, and not of a number")


@irdl_op_definition
class EmbeddingOp(PlenaOp):
    """Rows of table [V, N] by the numbers in ids (any shape, I elements in row-major order): [I, N]."""

    name = "plena.embedding"
    table = operand_def(TensorType)
    ids = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$table `,` $ids attr-dict `:` functional-type(operands, results)"

    def __init__(self, table: SSAValue, ids: SSAValue) -> None:
        super().__init__(operands=[table, ids], result_types=[real(prod(shape_of(ids)), shape_of(table)[1])])

    def verify_(self) -> None:
        table = shape_of(self.table)
        self.require(len(table) == 2, "the table must have two axes")
        self.require(
            shape_of(self.result) == (prod(shape_of(self.ids)), table[1]), "the result's shape is wrong"
        )
