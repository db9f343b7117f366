"""Rolling a lifted program before there is IR: hundreds of thousands of instructions become a few loops."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plena.dialects.derived import derived
from plena.dialects.loop import Linear
from plena.dialects.plena_isa import Integer
from plena.lifting.build import kept_bits
from plena.lifting.records import layout, opcode_doing
from plena.lifting.tree import LiftedInstruction, LiftedItem, LiftedLoop, LiftedProgram, Number
from plena.loops.rolling.search import roll_stream
from plena.loops.rolling.stream import Node, Repeat, Span, Stream, weights

LOAD = opcode_doing(Integer.LOAD)


def rolled(program: LiftedProgram) -> LiftedProgram:
    """The same program with repeated blocks of its outermost level folded into loops; see `roll_stream`."""
    tokens = _Tokens(program)
    tokens.read(program.body)
    stream = tokens.stream()
    nodes = roll_stream(stream)
    if not any(isinstance(node, Repeat) for node in nodes):
        return program
    emitter = _Emitter(tokens, stream.constants, list(program.bounds))
    body: list[LiftedItem] = []
    emitter.nodes(nodes, body, [])
    return LiftedProgram(program.code, program.target, body, emitter.bounds)


@derived
def _pointers(op: int) -> int:
    """The addresses of an instruction that take no immediate."""
    shape = layout(op)
    return sum(shape.spec.immediate_for(name) is None for name in shape.addresses)


@dataclass
class _Tokens:
    """The tokens of a program: instructions, a loop at its begin, None at its end."""

    program: LiftedProgram
    items: list[LiftedItem | None] = field(default_factory=list["LiftedItem | None"])
    ids: dict[object, int] = field(default_factory=dict["object", int])
    signature: list[int] = field(default_factory=list[int])
    rows: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    depth: list[int] = field(default_factory=list[int])
    pointers: list[int] = field(default_factory=list[int])
    open: list[int] = field(default_factory=list[int])
    loads: dict[int, int] = field(default_factory=dict[int, int])
    """Where the number with an index is loaded."""
    loaded: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """The loads that a token hangs on, by token."""

    def read(self, items: list[LiftedItem]) -> None:
        """Appends the tokens of a body."""
        code = self.program.code
        ops, words = code.op, code.words.tolist()
        for item in items:
            if isinstance(item, LiftedLoop):
                self._push(item, ("for", item.trips), (), 0)
                self.open.append(item.index)
                self.read(item.body)
                self._push(None, "end", (), 0)
                self.open.pop()
                continue
            pc = item[0]
            op = ops[pc]
            key: list[object] = [words[pc] & kept_bits(op)]
            numbers = item[1:]
            if op == LOAD:
                self.loads[_index_of(item)] = len(self.items)
                numbers = item[1:2]
            row: list[int] = []
            for number in numbers:
                if type(number) is int:
                    row.append(number)
                else:
                    assert isinstance(number, Linear)
                    row.append(number.constant)
                    key.append((len(row), self._variable_part(number)))
            self._push(item, tuple(key) if len(key) > 1 else key[0], tuple(row), _pointers(op))

    def _push(self, item: LiftedItem | None, key: object, row: tuple[int, ...], pointers: int) -> None:
        self.items.append(item)
        self.signature.append(self.ids.setdefault(key, len(self.ids)))
        self.rows.append(row)
        self.depth.append(len(self.open))
        self.pointers.append(pointers)

    def _variable_part(self, number: Linear[int]) -> object:
        """Terms by loop level; coefficients of loaded numbers, whose loads are noted apart."""
        levels: list[tuple[int, int]] = []
        loaded: list[tuple[int, int]] = []
        for index, coefficient in number.terms:
            if index in self.loads:
                loaded.append((self.loads[index], coefficient))
            else:
                levels.append((len(self.open) - self.open.index(index), coefficient))
        if loaded:
            loaded.sort(reverse=True)
            self.loaded.setdefault(len(self.items), []).extend(position for position, _ in loaded)
        return tuple(sorted(levels)), tuple(c for _, c in loaded)

    def stream(self) -> Stream:
        """The tokens as arrays."""
        width = max((len(row) for row in self.rows), default=0)
        padding = [(0,) * n for n in range(width + 1)]
        flat = [row + padding[width - len(row)] for row in self.rows]
        symbols = np.full((len(flat), max((len(p) for p in self.loaded.values()), default=0)), -1, np.int64)
        for token, positions in self.loaded.items():
            symbols[token, : len(positions)] = positions
        return Stream.of(
            self.signature,
            np.array(flat, np.int64).reshape(len(flat), width),
            symbols=symbols,
            depth=self.depth,
            weight=weights(np.array(self.pointers, np.int64)),
        )


@dataclass
class _Emitter:
    """Makes the rolled body: a token is taken from its first iteration, with its indices."""

    tokens: _Tokens
    constants: NDArray[np.int64]
    bounds: list[tuple[int, int]]

    def nodes(
        self, nodes: tuple[Node, ...] | list[Node], out: list[LiftedItem], levels: list[tuple[int, int]]
    ) -> None:
        """Appends rolled code; `levels` are the new loops around, as (index, period in tokens)."""
        for node in nodes:
            if isinstance(node, Span):
                self._span(node, out, levels)
                continue
            self.bounds.append((0, node.count - 1))
            index = len(self.bounds) - 1
            first = next(i for i in self.tokens.items[node.start : node.stop] if i is not None)
            loop = LiftedLoop(node.count, index, first.pc if isinstance(first, LiftedLoop) else first[0])
            self.nodes(node.body, loop.body, [*levels, (index, node.period)])
            out.append(loop)

    def _span(self, span: Span, out: list[LiftedItem], levels: list[tuple[int, int]]) -> None:
        here = self.constants[span.start : span.stop]
        steps = [
            (index, (self.constants[span.start + period : span.stop + period] - here).tolist())
            for index, period in levels
        ]
        bodies = [out]
        for place, item in enumerate(self.tokens.items[span.start : span.stop]):
            if item is None:
                bodies.pop()
            elif isinstance(item, LiftedLoop):
                copy = LiftedLoop(item.trips, item.index, item.pc)
                bodies[-1].append(copy)
                bodies.append(copy.body)
            else:
                bodies[-1].append(self._moved(item, [(index, rows[place]) for index, rows in steps]))

    def _moved(self, item: LiftedInstruction, steps: list[tuple[int, list[int]]]) -> LiftedInstruction:
        is_load = self.tokens.program.code.op[item[0]] == LOAD
        numbers: list[Number] = list(item[1:])
        for column in range(1 if is_load else len(numbers)):
            advances = tuple((index, row[column]) for index, row in steps if row[column])
            if advances:
                number = numbers[column]
                if isinstance(number, int):
                    numbers[column] = Linear(number, advances)
                else:
                    numbers[column] = Linear(number.constant, number.terms + advances)
        return (item[0], *numbers)


def _index_of(load: LiftedInstruction) -> int:
    index = load[2]
    assert isinstance(index, int)
    return index
