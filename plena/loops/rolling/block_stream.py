"""Reading a block of the affine form as a token stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, YieldOp, linear_of
from plena.dialects.plena_isa.control import RegisterOp
from plena.dialects.plena_isa.instruction import Instruction, operand_slots, property_slots
from plena.dialects.plena_isa.spec import Kind
from plena.dialects.provenance import MODULE_ATTRIBUTE, STEP_ATTRIBUTE
from plena.loops.rolling.stream import Ints, Stream, weights
from plena.machine.constants import INT_LIMIT


@dataclass(frozen=True)
class BlockStream:
    """A stream and its tokens: instructions, a `loop.for` at its begin, its terminator at its end."""

    stream: Stream
    tokens: list[Operation]


@dataclass(frozen=True)
class _Shape:
    """How the operands of one kind of op are read.

    `offset_by`: operand position -> the immediate added to it; `pointers`: addresses that take no immediate; `bases`:
    positions of HBM base addresses, whose upper halves no loop changes.
    """

    names: tuple[str, ...]
    offset_by: dict[int, str]
    pointers: int
    flags: tuple[str, ...]
    bases: frozenset[int]


class _BlockReader:
    def __init__(self, by_origin: bool) -> None:
        self.by_origin = by_origin
        self.tokens: list[Operation] = []
        self.ids: dict[object, int] = {}
        self.signature: list[int] = []
        self.rows: list[tuple[int, ...]] = []
        self.loaded: dict[int, list[int]] = {}
        self.depth: list[int] = []
        self.pointers: list[int] = []
        self.open: list[SSAValue] = []
        self.position_of: dict[SSAValue, int] = {}
        self.shapes: dict[object, _Shape] = {}
        self.numbers: dict[int, tuple[Attribute, int]] = {}

    def read(self, block: Block) -> None:
        for op in block.ops:
            if isinstance(op, Instruction):
                self._instruction(op)
            elif isinstance(op, ForOp):
                self._push(op, ("for", op.trips, op.counter), (), 0)
                self.open.append(op.index)
                self.read(op.body.block)
                self._push(op.body.block.last_op or op, "end", (), 0)
                self.open.pop()
            elif not isinstance(op, AffineOp | RegisterOp | YieldOp):
                self._push(op, op, (), 0)

    def _push(self, op: Operation, key: object, row: tuple[int, ...], pointers: int) -> None:
        self.tokens.append(op)
        if self.by_origin:
            key = key, op.attributes.get(MODULE_ATTRIBUTE), op.attributes.get(STEP_ATTRIBUTE)
        self.signature.append(self.ids.setdefault(key, len(self.ids)))
        self.rows.append(row)
        self.depth.append(len(self.open))
        self.pointers.append(pointers)

    def _instruction(self, op: Instruction) -> None:
        operands = tuple(op.operands)
        shape = self._shape(op, len(operands))
        key: list[object] = [type(op), shape.names]
        row: list[int] = []
        for place, value in enumerate(operands):
            if not isinstance(value.type, IndexType):
                key.append(value)
                continue
            name = shape.offset_by.get(place)
            constant = 0 if name is None else self._number(op.properties[name])
            owner = value.owner
            if isinstance(owner, AffineOp) and not owner.coefficients.data:
                constant += owner.constant.data
                row.append(constant)
                key.append(constant // INT_LIMIT if place in shape.bases else None)
                continue
            expression = linear_of(value)
            constant += expression.constant
            row.append(constant)
            key.append(self._variable_part(expression.terms))
            if place in shape.bases:
                key.append(constant // INT_LIMIT)
        for name in shape.flags:
            key.append(self._number(op.properties[name]))
        if op.results:
            self.position_of[op.results[0]] = len(self.tokens)
        self._push(op, tuple(key), tuple(row), shape.pointers)

    def _variable_part(self, terms: tuple[tuple[SSAValue, int], ...]) -> object:
        """The terms as part of a signature: surrounding values, loops of the stream by level, loaded numbers apart."""
        plain: list[tuple[int, int]] = []
        levels: list[tuple[int, int]] = []
        loaded: list[tuple[int, int]] = []
        for value, coefficient in terms:
            if value in self.position_of:
                loaded.append((self.position_of[value], coefficient))
            elif value in self.open:
                levels.append((len(self.open) - self.open.index(value), coefficient))
            else:
                plain.append((id(value), coefficient))
        if loaded:
            loaded.sort(reverse=True)
            self.loaded.setdefault(len(self.tokens), []).extend(position for position, _ in loaded)
        return tuple(sorted(plain)), tuple(sorted(levels)), tuple(c for _, c in loaded)

    def _number(self, attribute: Attribute) -> int:
        known = self.numbers.get(id(attribute))
        if known is None:
            known = (attribute, attribute.value.data)  # type: ignore[attr-defined]
            self.numbers[id(attribute)] = known
        return known[1]

    def _shape(self, op: Instruction, count: int) -> _Shape:
        key = (type(op), count, op.properties.get("operandSegmentSizes"))
        shape = self.shapes.get(key)
        if shape is None:
            names = tuple(slot.name for slot, _ in op.named_operands())
            slots = {slot.name: slot for slot in operand_slots(op.SPEC)}
            offsets = {s.offsets: s.name for s in op.SPEC.slots if s.offsets is not None}
            addresses = [n for n in names if slots[n].is_address and n not in op.SPEC.sticky]
            shape = _Shape(
                names,
                {place: offsets[name] for place, name in enumerate(names) if name in offsets},
                sum(op.SPEC.immediate_for(name) is None for name in addresses),
                tuple(s.name for s in property_slots(op.SPEC) if s.offsets is None),
                frozenset(place for place, n in enumerate(names) if slots[n].kind is Kind.A),
            )
            self.shapes[key] = shape
        return shape

    def finish(self) -> BlockStream:
        width = max((len(row) for row in self.rows), default=0)
        padding = [(0,) * n for n in range(width + 1)]
        padded = [row + padding[width - len(row)] for row in self.rows]
        constants = np.array(padded, dtype=np.int64).reshape(len(padded), width)
        stream = Stream.of(
            self.signature,
            constants,
            symbols=self._symbols(),
            depth=self.depth,
            weight=weights(np.array(self.pointers, dtype=np.int64)),
        )
        return BlockStream(stream, self.tokens)

    def _symbols(self) -> Ints:
        width = max((len(p) for p in self.loaded.values()), default=0)
        symbols = np.full((len(self.tokens), width), -1, dtype=np.int64)
        for token, positions in self.loaded.items():
            symbols[token, : len(positions)] = positions
        return symbols


def read_block(block: Block, *, by_origin: bool = False) -> BlockStream | None:
    """The instructions and loops of a block as tokens; declarations and address arithmetic are none.

    None if no two of them are alike, as in most bodies of loops. An operation that is neither is a token unlike any
    other. `by_origin`: instructions for different modules or steps of the model are different, so that what each of
    them costs can still be told.
    """
    reader = _BlockReader(by_origin)
    reader.read(block)
    return None if len(reader.ids) == len(reader.tokens) else reader.finish()
