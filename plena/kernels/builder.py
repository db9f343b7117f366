"""Builds tile-level programs: buffers, constants, views and tile operations inside counted loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects.loop import Address, Linear, LoopBuilder
from plena.dialects.tile import (
    BufferOp,
    ConstantOp,
    DataOp,
    ElementwiseOp,
    HostOp,
    LanesYieldOp,
    LanewiseOp,
    LoadIdOp,
    MatrixAttr,
    PanelRows,
    PlacementAttr,
    ViewOp,
)
from plena.dialects.tile.operation import TileOp, TileOpT
from plena.host.view import Array
from plena.kernels.usable import require_on_rtl
from plena.machine.choices import Machine
from plena.machine.target import Target


class TileBuilder(LoopBuilder):
    """A loop builder for tile operations; those that `machine` does not execute right are refused."""

    def __init__(self, target: Target, machine: Machine = "emulator") -> None:
        super().__init__()
        self.target, self.machine = target, machine
        self._constants: dict[tuple[tuple[float, float], ...], SSAValue] = {}
        self._names: dict[str, int] = {}

    def buffer(
        self,
        name: str,
        space: str,
        size: int,
        placements: Sequence[PlacementAttr] = (),
        anchor: tuple[BufferOp, int] | None = None,
    ) -> SSAValue:
        """Declares a buffer of `size` units under a unique name derived from `name`.

        `anchor`: another buffer and how far behind it this one must lie, in the address space of either.
        """
        count = self._names[name] = self._names.get(name, 0) + 1
        unique = name if count == 1 else f"{name}_{count}"
        op = BufferOp(
            unique,
            space,
            size,
            placements=placements,
            anchor=None if anchor is None else (anchor[0].symbol.data, anchor[1]),
        )
        self.declare(op)
        return op.buffer

    def data(self, name: str, matrix: Array) -> None:
        """Declares a matrix that placements can name as a constant."""
        self.declare(DataOp(name, MatrixAttr.of(matrix)))

    def host_value(self, name: str, value: Attribute) -> None:
        """Declares what the host computes of inputs, for placements to name."""
        self.declare(HostOp(name, value))

    def constant(self, *values: float) -> SSAValue:
        """FP SRAM words with these values; equal ones are shared."""
        op = ConstantOp(values)
        known = self._constants.get(op.key)
        if known is None:
            self.declare(op)
            known = self._constants[op.key] = op.buffer
        return known

    def append(self, op: Operation) -> None:
        """Adds an operation at the insertion point.

        Raises:
            CompileError: the RTL does not do what its instructions do on the emulator.
        """
        if self.machine == "rtl" and isinstance(op, TileOp):
            require_on_rtl(op, self.target)
        super().append(op)

    def view(self, buffer: SSAValue, offset: Address) -> SSAValue:
        """The part of a buffer that starts `offset` units after its beginning."""
        expression = Linear(offset) if isinstance(offset, int) else offset
        if expression == Linear(0):
            return buffer
        op = ViewOp(buffer, self.value(expression))
        self.append(op)
        return op.view

    def by_groups(self, count: int, together: int, emit: Callable[[Linear, int], None]) -> None:
        """`count` things, `together` at a time: `emit(number, size)` in a loop over whole groups, then for the rest."""
        full, rest = divmod(count, together)
        if full:
            with self.loop(full) as group:
                emit(group, together)
        if rest:
            emit(Linear(full), rest)

    def insert(self, op: TileOpT) -> TileOpT:
        """Appends a tile operation, which gets the provenance of what is being emitted."""
        op.attributes.update(self.provenance)
        self.append(op)
        return op

    def load_id(self, ids: SSAValue) -> Linear:
        """Appends the load of an id from INT SRAM: its number, for addresses."""
        return Linear.index(self.insert(LoadIdOp(ids)).id)

    def map(
        self,
        kind: str,
        out: PanelRows,
        a: PanelRows,
        b: PanelRows | SSAValue | None = None,
        *,
        size: tuple[int, int],
    ) -> None:
        """Appends out = kind(a) or kind(a, b) for every row, an elementwise operation of one instruction.

        `b` is a panel or a word of FP SRAM, `size` rows and blocks.
        """
        inputs = [a, b] if isinstance(b, PanelRows) else [a]
        body = ElementwiseOp.empty_body(len(inputs))
        rows = body.block.args
        step = LanewiseOp(kind, rows[0], rows[1] if isinstance(b, PanelRows) else b)
        body.block.add_ops([step, LanesYieldOp(step.result)])
        self.insert(ElementwiseOp([out], inputs, None, size, body))
