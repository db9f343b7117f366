"""State: buffers that a run changes and the next run finds as they were left, as matrices in HBM."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, Float32Type, IntegerAttr, SymbolRefAttr, TensorType
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue
from xdsl.irdl import (
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect

from plena.dialects.plena.base import PlenaOp, integer, real
from plena.dialects.plena.staging import symbols_of
from plena.dialects.tensor_shapes import element_type_of, shape_of


@irdl_attr_definition
class StateAttr(ParametrizedAttribute):
    """A buffer by its state_dict name, or a rearrangement of it: `#plena.state<@keys>`."""

    name = "plena.state"
    operand: Attribute

    @property
    def symbol(self) -> str:
        """The name of the buffer."""
        return next(iter(symbols_of(self.operand)))


@irdl_op_definition
class StateOp(PlenaOp):
    """A buffer of the model as a matrix, as the run before left it."""

    name = "plena.state"
    value = prop_def(StateAttr)
    result = result_def(TensorType)
    traits = traits_def(MemoryReadEffect())
    assembly_format = "$value attr-dict `:` type($result)"

    def __init__(self, value: SymbolRefAttr | Attribute, shape: Sequence[int]) -> None:
        super().__init__(
            properties={"value": StateAttr(value)}, result_types=[TensorType(Float32Type(), shape)]
        )


@irdl_op_definition
class WriteRowsOp(PlenaOp):
    """Writes rows into a state, in place: for each of `batch` row groups, row positions[i] = row i.

    state [batch*T, C], rows [batch*n, C], positions [n] below T, known only at run time. `state` is a plena.state or
    the result of another plena.write_rows on it; the result is the state from now on.
    """

    name = "plena.write_rows"
    state = operand_def(TensorType)
    rows = operand_def(TensorType)
    positions = operand_def(TensorType)
    batch = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$state `,` $rows `,` $positions attr-dict `:` functional-type(operands, results)"

    def __init__(self, state: SSAValue, rows: SSAValue, positions: SSAValue, batch: int) -> None:
        super().__init__(
            operands=[state, rows, positions],
            properties={"batch": integer(batch)},
            result_types=[real(*shape_of(state))],
        )

    @property
    def length(self) -> int:
        """T: rows of the state per row group."""
        return shape_of(self.state)[0] // self.batch.value.data

    def verify_(self) -> None:
        state, rows, positions = (shape_of(v) for v in (self.state, self.rows, self.positions))
        batch = self.batch.value.data
        self.require(len(state) == 2 and len(rows) == 2, "state and rows must have two axes")
        self.require(len(positions) == 1, "positions must have one axis")
        self.require(batch > 0 and state[0] % batch == 0, "rows must divide by batch")
        self.require(rows == (batch * positions[0], state[1]), "rows do not fit the state and the positions")
        self.require(shape_of(self.result) == state, "the result's shape is wrong")
        self.require(not isinstance(element_type_of(self.positions), Float32Type), "positions are integers")


@irdl_op_definition
class PickSampleOp(PlenaOp):
    """The rows of one of `batch` samples of a state: state [batch*T, C], number [1] below batch -> [T, C].

    The number is known only at run time. `state` is a plena.state or the result of a plena.write_rows.
    """

    name = "plena.pick_sample"
    state = operand_def(TensorType)
    number = operand_def(TensorType)
    batch = prop_def(IntegerAttr[I64])
    result = result_def(TensorType)
    traits = traits_def(MemoryReadEffect())
    assembly_format = "$state `,` $number attr-dict `:` functional-type(operands, results)"

    def __init__(self, state: SSAValue, number: SSAValue, batch: int) -> None:
        rows, columns = shape_of(state)
        super().__init__(
            operands=[state, number],
            properties={"batch": integer(batch)},
            result_types=[real(rows // batch, columns)],
        )

    def verify_(self) -> None:
        state, batch = shape_of(self.state), self.batch.value.data
        self.require(len(state) == 2, "state must have two axes")
        self.require(batch > 0 and state[0] % batch == 0, "rows must divide by batch")
        self.require(shape_of(self.number) == (1,), "there must be one number")
        self.require(not isinstance(element_type_of(self.number), Float32Type), "the number is an integer")
        self.require(shape_of(self.result) == (state[0] // batch, state[1]), "the result's shape is wrong")


@irdl_op_definition
class WriteStateOp(PlenaOp):
    """Writes a whole state: what the next run finds is `value`."""

    name = "plena.write_state"
    state = operand_def(TensorType)
    value = operand_def(TensorType)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$state `,` $value attr-dict `:` type($state) `,` type($value)"

    def __init__(self, state: SSAValue, value: SSAValue) -> None:
        super().__init__(operands=[state, value])

    def verify_(self) -> None:
        self.require(shape_of(self.state) == shape_of(self.value), "state and value differ in shape")
