"""Streams of matrix loads: what is moved ahead of the products that need it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear, linear_of
from plena.dialects.loop.nests import largest_value
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Memory
from plena.integers import ceil_div
from plena.loops.cloning import Scope
from plena.machine.target import Target
from plena.timing.dma_model import PICOSECONDS, transfer_picoseconds


@dataclass(frozen=True)
class Stream:
    """One matrix load in a perfect nest of loops, on its own: it stays when the operations it came from are erased.

    Attributes:
        kind: the operation that loads.
        operands: in their order; addresses in terms of `indices` and of values outside.
        indices: the loops of the nest with their trip counts, outermost first.
        properties, attributes: of the operation.
    """

    kind: type[Instruction]
    operands: tuple[SSAValue | Linear, ...]
    indices: tuple[tuple[SSAValue, int], ...]
    properties: Mapping[str, Attribute]
    attributes: Mapping[str, Attribute]

    @property
    def trips(self) -> int:
        """How often it loads."""
        return prod(count for _, count in self.indices)

    def around(self, index: SSAValue, trips: int) -> Stream:
        """The same in one more loop, whose index its addresses may hang on."""
        return replace(self, indices=((index, trips), *self.indices))

    def at(self, values: Mapping[SSAValue, Linear]) -> Stream:
        """The same with values around it replaced."""
        operands = (substituted(v, values) if isinstance(v, Linear) else v for v in self.operands)
        return replace(self, operands=tuple(operands))

    def flat(self) -> Stream:
        """The same with two loops as one wherever all addresses go on evenly from one to the other."""
        indices, operands = list(self.indices), self.operands
        addresses = [v for v in operands if isinstance(v, Linear)]
        at = len(indices) - 2
        while at >= 0:
            (outer, trips), (inner, steps) = indices[at], indices[at + 1]
            if all(a.coefficient(outer) == steps * a.coefficient(inner) for a in addresses):
                operands = tuple(v.without(outer) if isinstance(v, Linear) else v for v in operands)
                addresses = [v for v in operands if isinstance(v, Linear)]
                indices[at : at + 2] = [(inner, trips * steps)]
            at -= 1
        return replace(self, indices=tuple(indices), operands=operands)

    def first(self, trips: int) -> tuple[Stream, Stream | None]:
        """The first iterations of its outermost loop and the rest, None if there is none."""
        (index, count), *inner = self.indices
        if trips >= count:
            return self, None
        later = self.at({index: Linear(trips, ((index, 1),))})
        return replace(self, indices=((index, trips), *inner)), replace(
            later, indices=((index, count - trips), *inner)
        )

    def emit(self, scope: Scope, positions: Mapping[SSAValue, Linear]) -> None:
        """Appends one load, its indices at `positions`."""
        placed = self.at(positions)
        operands = [v if isinstance(v, SSAValue) else scope.value(v) for v in placed.operands]
        scope.operations.append(
            self.kind.create(
                operands=operands, properties=dict(self.properties), attributes=dict(self.attributes)
            )
        )

    def emit_all(self, scope: Scope) -> None:
        """Appends the whole nest."""
        self.emit_nest(scope, self.emit)

    def emit_nest(
        self,
        scope: Scope,
        body: Callable[[Scope, Mapping[SSAValue, Linear]], None],
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Appends the loops of the nest around what `body` appends, which is told what its indices have become."""
        _nest(scope, self.indices, {}, body, attributes)


def _nest(
    scope: Scope,
    left: Sequence[tuple[SSAValue, int]],
    known: Mapping[SSAValue, Linear],
    body: Callable[[Scope, Mapping[SSAValue, Linear]], None],
    attributes: Mapping[str, Attribute] | None,
) -> None:
    if not left:
        body(scope, known)
        return
    (index, trips), *inner = left
    if trips == 1:
        _nest(scope, inner, {**known, index: Linear(0)}, body, attributes)
        return
    loop = scope.loop(trips, attributes)
    _nest(loop, inner, {**known, index: Linear.index(loop.index)}, body, attributes)
    loop.close()


def substituted(address: Linear, values: Mapping[SSAValue, Linear]) -> Linear:
    """An address with several values replaced at once."""
    total = Linear(address.constant)
    for index, coefficient in address.terms:
        total += values.get(index, Linear.index(index)) * coefficient
    return total


def is_load(op: Operation) -> bool:
    """Whether an operation loads matrix tiles from HBM."""
    if not isinstance(op, Instruction) or op.SPEC.transfer is None:
        return False
    return op.SPEC.transfer.is_load and op.SPEC.may_write(Memory.MATRIX)


def load_in(op: Operation) -> tuple[Instruction, tuple[tuple[SSAValue, int], ...]] | None:
    """The load that is all an operation does besides address arithmetic, and the loops around it; else None."""
    indices: list[tuple[SSAValue, int]] = []
    while isinstance(op, ForOp):
        inside = [o for o in op.operations if not isinstance(o, AffineOp)]
        if len(inside) != 1:
            return None
        indices.append((op.index, op.trips))
        (op,) = inside
    return (op, tuple(indices)) if isinstance(op, Instruction) and is_load(op) else None


def stream_of(op: Operation) -> Stream | None:
    """The stream that an operation is, None if it is none."""
    found = load_in(op)
    if found is None:
        return None
    load, indices = found
    operands = tuple(linear_of(v) if isinstance(v.type, IndexType) else v for v in load.operands)
    return Stream(type(load), operands, indices, dict(load.properties), dict(load.attributes))


def streams_in(operations: Iterable[Operation]) -> list[Stream]:
    """The streams among operations."""
    return [stream for stream in map(stream_of, operations) if stream is not None]


def cycles_of(stream: Stream, target: Target) -> int:
    """What one load takes, about: its rows VLEN bytes apart."""
    precision = stream.properties["precision"]
    assert isinstance(precision, IntegerAttr)
    time = transfer_picoseconds(stream.kind.SPEC.mnemonic, precision.value.data, 0, None, target)
    return ceil_div(time, PICOSECONDS)


def shift_tiles(op: Operation, target: Target, reach: tuple[int, int], by: Linear) -> None:
    """Moves every access of matrix SRAM in an operation that lies in `reach` by an address, in place."""
    first, last = reach
    for inner in list(op.walk()):
        if not isinstance(inner, Instruction):
            continue
        for touch in inner.SPEC.touches or ():
            if touch.memory is not Memory.MATRIX or touch.address is None:
                continue
            low, high = span(inner.whole_address(touch.address))
            if low >= first and high < last:
                _shift(inner, touch.address, by)


def span(address: Linear) -> tuple[int, int]:
    """The smallest and the largest value of an address over the loops around it."""
    return address.range({v: (0, largest_value(v)) for v, _ in address.terms})


def _shift(op: Instruction, slot: str, by: Linear) -> None:
    value = op.operand_named(slot)
    assert value is not None
    moved = AffineOp(linear_of(value) + by)
    block = op.parent_block()
    assert block is not None
    block.insert_op_before(moved, op)
    position = [s.name for s, _ in op.named_operands()].index(slot)
    op.operands[position] = moved.results[0]
