"""A tensor that the host computes, as data: a graph of operations over inputs and constants.

The nodes of a graph stand in an order in which operands come before those that read them, so there are no cycles, and
the last one is the value. Every node says the type of its result; operands of arithmetic have one type, whoever builds
a graph casts them (`HostValue.of`). What an operation computes is in `plena.host.values.operations`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

Setting: TypeAlias = int | float | str | tuple[int, ...]
"""What an operation takes beside its operands."""

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
"""Types of elements, as numpy and torch name them."""


@dataclass(frozen=True)
class Node:
    """One operation on earlier nodes.

    Attributes:
        operation: its name in `plena.host.values.operations`.
        operands: numbers of the nodes it reads.
        settings: by name, sorted.
        dtype, shape: of its result.
    """

    operation: str
    operands: tuple[int, ...]
    settings: tuple[tuple[str, Setting], ...]
    dtype: str
    shape: tuple[int, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Kept: a graph is looked through again for every operation on it."""
        return hash((self.operation, self.operands, self.settings, self.dtype, self.shape))

    @property
    def named(self) -> dict[str, Setting]:
        """The settings by name."""
        return dict(self.settings)

    def __str__(self) -> str:
        return f"{self.operation} : {self.dtype}{list(self.shape)}"


_OF_BITS = (
    "cast", "reshape", "permute", "expand", "slice", "flip", "concat", "tril", "triu", "mul", "maximum", "minimum",
)  # fmt: skip
"""Operations that make zeros and ones of zeros and ones."""


@dataclass(frozen=True)
class HostValue:
    """A tensor that the host computes: the last of `nodes`."""

    nodes: tuple[Node, ...]

    @staticmethod
    def source(operation: str, dtype: str, shape: tuple[int, ...], **settings: Setting) -> HostValue:
        """A value without operands: an `input`, a `constant`, `full` or `iota`."""
        return HostValue((Node(operation, (), tuple(sorted(settings.items())), dtype, shape),))

    @staticmethod
    def of(
        operation: str,
        operands: tuple[HostValue, ...],
        dtype: str,
        shape: tuple[int, ...],
        **settings: Setting,
    ) -> HostValue:
        """An operation on values; nodes that they have in common stand once."""
        places: dict[Node, int] = {}
        numbers = [operand._placed(places) for operand in operands]
        node = Node(operation, tuple(numbers), tuple(sorted(settings.items())), dtype, shape)
        places.pop(node, None)
        return HostValue((*places, node))

    def _placed(self, places: dict[Node, int]) -> int:
        """Adds the nodes to numbered ones; the number of the last."""
        if not places:
            places.update((node, number) for number, node in enumerate(self.nodes))
            if len(places) == len(self.nodes):
                return len(self.nodes) - 1
            places.clear()
        moved: list[int] = []
        for node in self.nodes:
            operands = tuple(moved[n] for n in node.operands)
            placed = Node(node.operation, operands, node.settings, node.dtype, node.shape)
            moved.append(places.setdefault(placed, len(places)))
        return moved[-1]

    @property
    def root(self) -> Node:
        """The node that is the value."""
        return self.nodes[-1]

    @property
    def dtype(self) -> str:
        """Type of the elements."""
        return self.root.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self.root.shape

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.nodes)

    @property
    def inputs(self) -> frozenset[int]:
        """Numbers of the inputs that it is computed of."""
        return frozenset(int(str(node.named["index"])) for node in self.nodes if node.operation == "input")

    @property
    def real_inputs(self) -> frozenset[int]:
        """Numbers of those that hold real numbers among the inputs that it is computed of."""
        read = (node for node in self.nodes if node.operation == "input" and node.dtype.startswith("float"))
        return frozenset(int(str(node.named["index"])) for node in read)

    @property
    def constants(self) -> Iterator[str]:
        """Symbols of the constants that it is computed of."""
        return (str(node.named["symbol"]) for node in self.nodes if node.operation == "constant")

    def operand(self, number: int) -> HostValue:
        """The value that operand `number` of the last node is."""
        return self.part(self.root.operands[number])

    def part(self, number: int) -> HostValue:
        """The value of a node, with the nodes that it needs."""
        needed: set[int] = set()
        waiting = [number]
        while waiting:
            n = waiting.pop()
            if n not in needed:
                needed.add(n)
                waiting.extend(self.nodes[n].operands)
        places: Mapping[int, int] = {n: i for i, n in enumerate(sorted(needed))}
        return HostValue(
            tuple(
                Node(
                    node.operation,
                    tuple(places[o] for o in node.operands),
                    node.settings,
                    node.dtype,
                    node.shape,
                )
                for node in (self.nodes[n] for n in sorted(needed))
            )
        )

    @property
    def is_whole(self) -> bool:
        """Whether the elements are integers, or integers as real numbers, moved or not."""
        node = self.root
        if not node.dtype.startswith("float"):
            return node.dtype != "bool"
        moves = ("cast", "reshape", "permute", "expand", "slice", "flip")
        return node.operation in moves and self.operand(0).is_whole

    def has_number_beyond(self, limit: float) -> bool:
        """Whether it is computed of a number that is larger than a limit, infinite or NaN."""
        numbers = (node.named["value"] for node in self.nodes if node.operation in ("full", "pad"))
        return any(isinstance(n, float) and not abs(n) <= limit for n in numbers)

    @cached_property
    def is_zero_one(self) -> bool:
        """Whether the elements are booleans, or booleans as numbers, moved, multiplied or taken off 1.

        Every format holds them.
        """
        bits: list[bool] = []
        for node in self.nodes:
            first = self.nodes[node.operands[0]] if node.operands else node
            if node.operation == "full":
                found = node.named["value"] in (0, 1)
            elif node.operation == "sub":
                found = first.operation == "full" and first.named["value"] == 1 and bits[node.operands[1]]
            else:
                found = node.operation in _OF_BITS and all(bits[n] for n in node.operands)
            bits.append(found or node.dtype == "bool")
        return bits[-1]

    def with_inputs(self, numbers: Mapping[int, int]) -> HostValue:
        """The value with other numbers for its inputs."""

        def renumbered(node: Node) -> Node:
            if node.operation != "input":
                return node
            return replace(node, settings=(("index", numbers[int(str(node.named["index"]))]),))

        return HostValue(tuple(renumbered(node) for node in self.nodes))

    def __str__(self) -> str:
        return "; ".join(f"%{n} = {node.operation}{node.operands}" for n, node in enumerate(self.nodes))
