"""State: buffers that a run changes and the next run finds as they were left."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import I64, IntegerAttr, SymbolRefAttr, TensorType
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import MemoryWriteEffect

from plena.dialects.aten.base import AtenOp
from plena.dialects.tensor_shapes import shape_of


@irdl_op_definition
class StateOp(AtenOp):
    """A buffer of the model as the run before left it, by its state_dict name."""

    name = "aten.state"
    symbol = prop_def(SymbolRefAttr)
    result = result_def(TensorType)
    assembly_format = "$symbol attr-dict `:` type($result)"


@irdl_op_definition
class WriteStateOp(AtenOp):
    """What the next run finds in the buffer `symbol`."""

    name = "aten.write_state"
    symbol = prop_def(SymbolRefAttr)
    value = operand_def(TensorType)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$symbol `,` $value attr-dict `:` type($value)"


@irdl_op_definition
class IndexCopyOp(AtenOp):
    """`input` with the slices along `dim` numbered by the 1-D `index` replaced by those of `source`."""

    name = "aten.index_copy"
    OVERLOAD: ClassVar[str] = "aten.index_copy.default"
    input = operand_def(TensorType)
    index = operand_def(TensorType)
    source = operand_def(TensorType)
    dim = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    assembly_format = "$input `,` $index `,` $source attr-dict `:` functional-type(operands, results)"

    def verify_(self) -> None:
        shape, dim, index = list(shape_of(self.input)), self.dim.value.data, shape_of(self.index)
        self.require(0 <= dim < len(shape), "dim is not an axis of the input")
        self.require(len(index) == 1, "index must have one axis")
        self.require(tuple(shape) == shape_of(self.result), "the result's shape is wrong")
        shape[dim] = index[0]
        self.require(tuple(shape) == shape_of(self.source), "the source's shape is wrong")
