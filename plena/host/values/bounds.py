"""Between which numbers the elements of a host value lie, whatever the inputs are."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod, trunc

from plena.host.values.graph import HostValue, Node

Bounds = tuple[float, float]
"""The least and the largest number; infinite if there is none, or if an element may be no number."""

_UNKNOWN: Bounds = (-inf, inf)

_MOVING = ("reshape", "permute", "expand", "slice", "flip", "index", "gather", "max", "min", "mean")
"""Operations whose elements lie where those of their first operand do."""

_HOLDS = {"bool": (0, 1), "uint8": (0, 2**8 - 1)} | {
    f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)
}
"""What integers of a type are; results beyond come back from the other end."""

_EXACT = 2**24
"""Integers up to this are themselves in float32."""


def bounds_of(value: HostValue) -> Bounds:
    """Of the elements of a value."""
    known: list[Bounds] = []
    for node in value.nodes:
        shapes = [value.nodes[n].shape for n in node.operands]
        found = _bounds(node, [known[n] for n in node.operands], shapes)
        low, high = _HOLDS.get(node.dtype, (-_EXACT, _EXACT))
        if node.dtype == "bool" or not low <= found[0] <= found[1] <= high:
            found = (low, high) if node.dtype in _HOLDS else _UNKNOWN
        known.append(found)
    return known[-1]


def _bounds(node: Node, operands: Sequence[Bounds], shapes: Sequence[tuple[int, ...]]) -> Bounds:
    """What a node makes of its operands, of these shapes, if there is room for it."""
    match node.operation:
        case "full":
            number = float(str(node.named["value"]))
            return number, number
        case "one_hot":
            return 0, 1
        case operation if operation in _MOVING:
            return operands[0]
        case "cast":
            low, high = operands[0]
            if node.dtype.startswith("float"):
                return low, high
            return (trunc(low), trunc(high)) if -inf < low and high < inf else _UNKNOWN
        case "concat" | "where":
            joined = operands if node.operation == "concat" else operands[1:]
            return min(low for low, _ in joined), max(high for _, high in joined)
        case "add":
            return sum(low for low, _ in operands), sum(high for _, high in operands)
        case "mul":
            ends = [a * b if a and b else 0.0 for a in operands[0] for b in operands[1]]
            return min(ends), max(ends)
        case "sum":
            count = prod(shapes[0]) // max(1, prod(node.shape))
            return operands[0][0] * count, operands[0][1] * count
        case _:
            return _UNKNOWN
