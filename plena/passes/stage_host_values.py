"""`stage-host-values`: what depends on integer inputs and constants alone is computed by the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, IntegerType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import dce

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.host.values.graph import HostValue
from plena.machine.target import Target
from plena.tensor.emission import location_of
from plena.tensor.host_divisors import MultiplyByReciprocal
from plena.tensor.host_values import HostValues, host_op
from plena.tensor.rewriting import rewrite
from plena.tensor.selected_rows import SelectRows
from plena.tensor.tracing import LAYOUT_OPS

_LARGEST = 1e30
"""Larger numbers stand for infinity."""


@dataclass(frozen=True)
class StageHostValues(ModulePass):
    """Replaces what the machine reads of integer inputs by `plena.host`: values that the host computes and stages.

    Arguments that are only moved, or only become numbers, stay as they are: they are staged themselves.

    Before::

        builtin.module {
          func.func @main(%ids: tensor<2x4xi64>) -> tensor<2x4x8xf32> {
            %0 = aten.parameter @table : tensor<6x8xf32>
            %1 = aten.full 1 : i64 : tensor<i64>
            %2 = aten.add %ids, %1 : (tensor<2x4xi64>, tensor<i64>) -> tensor<2x4xi64>
            %3 = aten.embedding %0, %2 : (tensor<6x8xf32>, tensor<2x4xi64>) -> tensor<2x4x8xf32>
            func.return %3 : tensor<2x4x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%ids: tensor<2x4xi64>) -> tensor<2x4x8xf32> {
            %0 = plena.host <[input {index = 0 : i64} : tensor<2x4xi64>, full {value = 1 : i64} : tensor<i64>, add(0, 1) : tensor<2x4xi64>]>(%ids) : (tensor<2x4xi64>) -> tensor<2x4xi64>
            %1 = aten.parameter @table : tensor<6x8xf32>
            %2 = aten.embedding %1, %0 : (tensor<6x8xf32>, tensor<2x4xi64>) -> tensor<2x4x8xf32>
            func.return %2 : tensor<2x4x8xf32>
          }
        }
    """

    name = "stage-host-values"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, [SelectRows(), MultiplyByReciprocal()])
        words = Target.from_module(op).int_sram_size
        for function in op.ops:
            if isinstance(function, FuncOp):
                _Staging(function.body.block, words).run()
        dce(op)


@dataclass
class _Staging:
    """One function.

    Attributes:
        words: of INT SRAM, where the ids of a lookup have to be for the machine to make it.
        values: what the host computes.
        staged: the operations made so far, by what they compute.
        machine: values that the host could compute and the machine had better.
    """

    block: Block
    words: int
    values: HostValues = field(default_factory=HostValues)
    staged: dict[HostValue, plena.HostOp] = field(default_factory=dict[HostValue, plena.HostOp])
    machine: set[SSAValue] = field(default_factory=set[SSAValue])

    def run(self) -> None:
        """Replace what operations of the machine read."""
        for op in list(self.block.ops):
            self._take_table(op)
        for op in reversed(list(self.block.ops)):
            if self._is_lookup_of_machine(op) or self._is_infinite_for_machine(op):
                self.machine.update(op.results)
        self.values = HostValues(dict.fromkeys(self.machine))
        for op in list(self.block.ops):
            if self._is_of_host(op):
                continue
            for number, operand in enumerate(op.operands):
                value = self.values.of(operand)
                if value is not None and value.inputs and not _is_direct(operand):
                    op.operands[number] = self._staged(operand, value)

    def _take_table(self, op: Operation) -> None:
        """Has the host look up rows of a parameter where their ids are more than the machine has words for."""
        lookup = _Lookup.of(op)
        if (
            lookup is None
            or lookup.count <= self.words
            or not isinstance(lookup.table.owner, aten.ParameterOp)
        ):
            return
        ids = self.values.of(lookup.ids)
        if ids is None or not ids.inputs:
            return
        parameter = lookup.table.owner
        constant = aten.ConstantOp.build(
            properties={"symbol": parameter.symbol}, result_types=[parameter.result.type]
        )
        Rewriter.insert_op(constant, InsertPoint.after(parameter))
        op.operands[lookup.table_index] = constant.result

    def _is_of_host(self, op: Operation) -> bool:
        return bool(op.results) and all(self._computed(result) for result in op.results)

    def _is_infinite_for_machine(self, op: Operation) -> bool:
        """Whether a choice of infinity, which no number format holds, reaches more than masks of attention."""
        if len(op.results) != 1 or not isinstance(element_type_of(op.results[0]), Float32Type):
            return False
        value = self.values.of(op.results[0])
        if value is None or not value.inputs or not value.has_number_beyond(_LARGEST):
            return False
        return not all(
            isinstance(reader, plena.AttentionOp) or self._is_of_host(reader)
            for reader in _readers(op.results[0])
        )

    def _computed(self, value: SSAValue) -> bool:
        if value in self.machine:
            return False
        found = self.values.of(value)
        return found is not None and (bool(found.inputs) or isinstance(value.owner, aten.AtenOp))

    def _staged(self, operand: SSAValue, value: HostValue) -> SSAValue:
        """The operation of a value at the front of the function, where all layers share it."""
        if value not in self.staged:
            made = host_op(value, self.block.args)
            if isinstance(operand.owner, Operation):
                made.attributes.update(location_of(operand.owner))
            last = next(reversed(self.staged.values()), None)
            Rewriter.insert_op(
                made, InsertPoint.at_start(self.block) if last is None else InsertPoint.after(last)
            )
            self.staged[value] = made
        return self.staged[value].result

    def _is_lookup_of_machine(self, op: Operation) -> bool:
        """Whether rows of a constant table reach the machine as they are: it gathers them itself."""
        lookup = _Lookup.of(op)
        if lookup is None or lookup.count > self.words or not isinstance(lookup.table.owner, aten.ConstantOp):
            return False
        readers = list(_readers(op.results[0]))
        return not any(
            isinstance(r, plena.RotaryOp | plena.AttentionOp) or self._is_of_host(r) for r in readers
        )


@dataclass(frozen=True)
class _Lookup:
    """Rows of a table of real numbers by ids."""

    table: SSAValue
    table_index: int
    ids: SSAValue

    @property
    def count(self) -> int:
        """How many rows."""
        return prod(shape_of(self.ids))

    @staticmethod
    def of(op: Operation) -> _Lookup | None:
        """None if the operation is none."""
        match op:
            case aten.EmbeddingOp():
                found = _Lookup(op.weight, op.operands.index(op.weight), op.indices)
            case aten.IndexSelectOp() if op.dim.value.data == 0 and len(shape_of(op.input)) >= 2:
                found = _Lookup(op.input, op.operands.index(op.input), op.index)
            case _:
                return None
        return found if isinstance(element_type_of(found.table), Float32Type) else None


def _readers(value: SSAValue) -> Iterator[Operation]:
    """What reads a value, moved or not."""
    for use in value.uses:
        if isinstance(use.operation, LAYOUT_OPS):
            yield from _readers(use.operation.results[0])
        else:
            yield use.operation


def _is_direct(value: SSAValue) -> bool:
    """Whether a value is an argument, perhaps moved, or its integers or booleans as numbers."""
    while not isinstance(value, BlockArgument):
        op = value.owner
        assert isinstance(op, Operation)
        as_number = isinstance(op, aten.ToOp | plena.CastOp) and isinstance(
            element_type_of(value), Float32Type
        )
        if not (
            isinstance(op, LAYOUT_OPS)
            or (as_number and isinstance(element_type_of(op.operands[0]), IntegerType))
        ):
            return False
        value = op.operands[0]
    return True
