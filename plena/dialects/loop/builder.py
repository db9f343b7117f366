"""Builds loop nests: an insertion point that moves into loop bodies, and index values for linear expressions."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp, StringAttr, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from plena.dialects.loop.linear import Linear
from plena.dialects.loop.ops import AffineOp, ForOp, YieldOp
from plena.dialects.provenance import STEP_ATTRIBUTE

Address = Linear | int

_INDEX = IndexType()


class LoopBuilder:
    """Appends operations to a module at an insertion point that `loop` moves into loop bodies.

    Attributes put into `provenance` are copied onto every loop and operation (model module path, kernel step).
    """

    def __init__(self) -> None:
        self.module = ModuleOp([])
        self.provenance: dict[str, Attribute] = {}
        self._declarations: list[Operation] = []
        self._block: Block = self.module.body.block
        self._before: Operation | None = None
        self._outermost: Operation | None = None
        self._values: dict[Linear, SSAValue] = {}
        self._outer_values: dict[Linear, SSAValue] = {}

    @contextmanager
    def loop(self, trips: int, attributes: dict[str, Attribute] | None = None) -> Generator[Linear]:
        """Opens a counted loop and yields its index; a single trip opens none and yields 0."""
        if trips == 1:
            yield Linear(0)
            return
        block = Block(arg_types=(_INDEX,))
        op = ForOp.create(
            properties={"trip_count": IntegerAttr(trips, i64)},
            attributes={**self.provenance, **(attributes or {})},
            regions=[Region(block)],
        )
        self.append(op)
        if self._outermost is None:
            self._outermost, self._outer_values = op, self._values
        outer, outer_values, before = self._block, self._values, self._before
        self._block, self._values, self._before = block, {}, None
        yield Linear.index(op.index)
        self._block.add_op(YieldOp.create())
        self._block, self._values, self._before = outer, outer_values, before
        if self._outermost is op:
            self._outermost = None

    @contextmanager
    def prologue(self) -> Generator[None]:
        """Moves the insertion point in front of the outermost open loop, for what does not depend on it."""
        if self._outermost is None:
            yield
            return
        saved = self._block, self._values, self._before
        self._block, self._values, self._before = self.module.body.block, self._outer_values, self._outermost
        yield
        self._block, self._values, self._before = saved

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        """Names the kernel step that the operations appended inside belong to."""
        before = self.provenance
        self.provenance = {**before, STEP_ATTRIBUTE: StringAttr(name)}
        yield
        self.provenance = before

    def append(self, op: Operation) -> None:
        """Adds an operation at the insertion point."""
        if self._before is None:
            self._block.add_op(op)
        else:
            self._block.insert_op_before(op, self._before)

    def declare(self, op: Operation) -> None:
        """Adds an operation to the declarations that `finish` puts first."""
        self._declarations.append(op)

    def value(self, address: Address) -> SSAValue:
        """An `index` value for an expression, shared within the block."""
        expression = Linear(address) if isinstance(address, int) else address
        known = self._values.get(expression)
        if known is None:
            op = AffineOp(expression)
            self.append(op)
            known = self._values[expression] = op.results[0]
        return known

    def finish(self) -> ModuleOp:
        """The module, declarations first."""
        block = self.module.body.block
        if (first := block.first_op) is None:
            block.add_ops(self._declarations)
        else:
            block.insert_ops_before(self._declarations, first)
        self._declarations = []
        return self.module
