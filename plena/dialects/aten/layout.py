"""Operators that move elements without computing: views, permutations, slices, concatenation, lookup."""

from __future__ import annotations

from math import prod
from typing import ClassVar

from xdsl.dialects.builtin import I64, DenseArrayBase, IntegerAttr, TensorType, UnitAttr
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, var_operand_def

from plena.dialects.aten.base import AtenOp
from plena.dialects.tensor_shapes import broadcast_shapes, shape_of


@irdl_op_definition
class ViewOp(AtenOp):
    """The same elements in row-major order under another shape (view, reshape, unsqueeze, flatten)."""

    name = "aten.view"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        self.require(prod(shape_of(self.input)) == prod(shape_of(self.result)), "element counts differ")


@irdl_op_definition
class PermuteOp(AtenOp):
    """Axes reordered: result axis i is input axis dims[i] (permute, transpose, t).

    `channels_last` says that the input is an image's pixels with their channels last, the result the image.
    """

    name = "aten.permute"
    OVERLOAD: ClassVar[str] = "aten.permute.default"
    input = operand_def(TensorType)
    dims = prop_def(DenseArrayBase[I64])
    channels_last = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        shape, dims = shape_of(self.input), self.dims.get_values()
        self.require(sorted(dims) == list(range(len(shape))), "dims must be a permutation of the axes")
        self.require(tuple(shape[d] for d in dims) == shape_of(self.result), "the result's shape is wrong")


@irdl_op_definition
class ExpandOp(AtenOp):
    """Axes of size 1 repeated, and new leading axes, to the result's shape."""

    name = "aten.expand"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        shapes = [shape_of(self.input), shape_of(self.result)]
        self.require(broadcast_shapes(shapes) == shapes[1], "the input does not broadcast to the result")


@irdl_op_definition
class SliceOp(AtenOp):
    """Elements start, start + step, ... before end along `dim`; 0 <= start < end <= size, step > 0."""

    name = "aten.slice"
    OVERLOAD: ClassVar[str] = "aten.slice.Tensor"
    input = operand_def(TensorType)
    dim = prop_def(IntegerAttr[I64])
    start = prop_def(IntegerAttr[I64])
    end = prop_def(IntegerAttr[I64])
    step = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(dim, start, end, step) as numbers."""
        start, end, step = (a.value.data for a in (self.start, self.end, self.step))
        return self.dim.value.data, start, end, step

    def verify_(self) -> None:
        shape, (dim, start, end, step) = list(shape_of(self.input)), self.bounds
        self.require(0 <= dim < len(shape), "dim is not an axis of the input")
        self.require(0 <= start < end <= shape[dim] and step > 0, "bounds do not lie in the input")
        shape[dim] = -(-(end - start) // step)
        self.require(tuple(shape) == shape_of(self.result), "the result's shape is wrong")


@irdl_op_definition
class CatOp(AtenOp):
    """Tensors one behind the other along `dim`."""

    name = "aten.cat"
    OVERLOAD: ClassVar[str] = "aten.cat.default"
    tensors = var_operand_def(TensorType)
    dim = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    assembly_format = "$tensors attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        self.require(len(self.tensors) > 0, "needs a tensor")
        dim, shape = self.dim.value.data, list(shape_of(self.result))
        self.require(0 <= dim < len(shape), "dim is not an axis of the result")
        shapes = [list(shape_of(tensor)) for tensor in self.tensors]
        self.require(all(len(s) == len(shape) for s in shapes), "ranks differ")
        self.require(sum(s[dim] for s in shapes) == shape[dim], "the result's shape is wrong")
        rest = {(*s[:dim], *s[dim + 1 :]) for s in [*shapes, shape]}
        self.require(len(rest) == 1, "shapes differ outside dim")


@irdl_op_definition
class EmbeddingOp(AtenOp):
    """Rows of `weight` [V, N] by number: the result has the shape of `indices` followed by N."""

    name = "aten.embedding"
    OVERLOAD: ClassVar[str] = "aten.embedding.default"
    weight = operand_def(TensorType)
    indices = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$weight `,` $indices attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        weight = shape_of(self.weight)
        self.require(len(weight) == 2, "weight must have two axes")
        self.require(
            (*shape_of(self.indices), weight[1]) == shape_of(self.result), "the result's shape is wrong"
        )


@irdl_op_definition
class IndexSelectOp(AtenOp):
    """The slices of `input` along `dim` numbered by the 1-D `index`."""

    name = "aten.index_select"
    OVERLOAD: ClassVar[str] = "aten.index_select.default"
    input = operand_def(TensorType)
    index = operand_def(TensorType)
    dim = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    assembly_format = "$input `,` $index attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        shape, dim, index = list(shape_of(self.input)), self.dim.value.data, shape_of(self.index)
        self.require(0 <= dim < len(shape), "dim is not an axis of the input")
        self.require(len(index) == 1, "index must have one axis")
        shape[dim] = index[0]
        self.require(tuple(shape) == shape_of(self.result), "the result's shape is wrong")
