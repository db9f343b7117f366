"""The abstract loop tree that address planning works on: what is read where, nothing about instructions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from plena.registers.addressing.reads import Reads
from plena.registers.addressing.values import CONSTANT, ClassTable, Value, number


@dataclass(frozen=True, slots=True)
class Read:
    """An address slot: a register must hold `value`, or at most REACH - 1 less when the slot has an immediate.

    `adds_to`: the slot of the same instruction whose register is added to this one's.
    """

    slot: str
    value: Value
    has_immediate: bool = False
    adds_to: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """One instruction: all its reads need registers at once; `defines` is a value it leaves in a new register.

    `arithmetic` names the instruction when the planner has to emit it itself (a sum or product of the two reads).
    """

    reads: tuple[Read, ...]
    defines: Value | None = None
    key: Hashable = None
    arithmetic: str | None = None


@dataclass(frozen=True, eq=False)
class Loop:
    """A counted loop: `index` runs from 0 to trips - 1 over the body."""

    index: Hashable
    trips: int
    body: Block
    key: Hashable = None


Node = Use | Loop


@dataclass(frozen=True, eq=False)
class Block:
    """A straight sequence of uses and loops.

    `exposed` maps the classes that must exist when the block begins to the lowest constant read in them. A block for
    an estimate has `reads` in place of nodes.
    """

    nodes: tuple[Node, ...]
    exposed: dict[int, int]
    reads: Reads | None = None

    @property
    def length(self) -> int:
        """How many nodes it has."""
        return len(self.nodes) if self.reads is None else self.reads.length

    def loops(self) -> Iterator[Loop]:
        """The loops directly in this block."""
        for node in self.nodes:
            if isinstance(node, Loop):
                yield node


@dataclass(frozen=True)
class Program:
    """A block at the outermost level and the table of its classes."""

    block: Block
    classes: ClassTable


def block_of(reads: Reads) -> Block:
    """Instructions that define nothing as a block."""
    return Block((), reads.exposed, reads)


def make_block(nodes: Iterable[Node], classes: ClassTable) -> Block:
    """A block in which every class that involves a run-time symbol defined in it is built before its first read.

    A symbol enters a class by a product with its coefficient and a sum with the rest of the class; loop indices
    never need this, their classes begin as the class without them when the loop begins.
    """
    return _Establishing(classes).block(nodes)


class _Establishing:
    def __init__(self, classes: ClassTable) -> None:
        self.classes = classes
        self.done: list[Node] = []
        self.symbols: list[Hashable] = []
        self.available: set[int] = {CONSTANT}
        self.exposed: dict[int, int] = {}

    def block(self, nodes: Iterable[Node]) -> Block:
        for node in nodes:
            for cls, constant in reads_of(node, self.classes):
                self.require(cls, constant)
            self.done.append(node)
            if isinstance(node, Use) and node.defines is not None:
                cls = node.defines[0]
                self.available.add(cls)
                if node.arithmetic is None:
                    self.symbols.extend(v for v, _ in self.classes.terms(cls))
        return Block(tuple(self.done), self.exposed)

    def require(self, cls: int, constant: int) -> None:
        if cls in self.available:
            return
        terms = self.classes.terms(cls)
        local = [s for s in self.symbols if any(v == s for v, _ in terms)]
        if not local:
            self.exposed[cls] = min(constant, self.exposed.get(cls, constant))
            return
        symbol = local[-1]
        coefficient = self.classes.coefficient(cls, symbol)
        single, scaled = self.classes.of([(symbol, 1)]), self.classes.of([(symbol, coefficient)])
        if scaled not in self.available:
            factors = (Read("a", (single, 0)), Read("b", number(coefficient)))
            self.done.append(Use(factors, (scaled, 0), arithmetic="S_MUL_INT"))
            self.available.add(scaled)
        rest = self.classes.without(cls, symbol)
        if rest != CONSTANT:
            self.require(rest, constant)
            parts = (Read("a", (scaled, 0)), Read("b", (rest, constant)))
            self.done.append(Use(parts, (cls, constant), arithmetic="S_ADD_INT"))
        self.available.add(cls)


def reads_of(node: Node, classes: ClassTable) -> Iterator[Value]:
    """The values a node needs: for a loop one per exposed class, at index 0."""
    if isinstance(node, Use):
        for read in node.reads:
            yield read.value
    else:
        for cls, constant in node.body.exposed.items():
            yield classes.without(cls, node.index), constant
