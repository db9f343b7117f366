"""Biases of a softmax that others read as well: staged twice, and references read each as it is staged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.fx import Node

from plena.checking.rounding_sites import LAYOUT, PARTS, argument, packet

if TYPE_CHECKING:
    from plena.checking.module_graph import ModuleGraph, Rounding

_SOFTMAX = ("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
_FILLS = ("masked_fill", "where")
_LINES = ("add", "sub", "neg", "mul", "div")
"""What scores and biases go through; products and quotients by numbers."""


@dataclass(frozen=True)
class StagedTwice:
    """A tensor as the host stages it for a softmax, and for other readers."""

    shifted: torch.Tensor
    plain: torch.Tensor


def staged_biases(graph: ModuleGraph, seen: Mapping[str, StagedTwice]) -> dict[str, dict[int, Rounding]]:
    """What the readers of such biases read instead, by their names and the positions of their arguments.

    Args:
        seen: tensors by the names of their nodes.
    """
    found: dict[str, dict[int, Rounding]] = {}
    for node, position, leaf in _biases(graph, seen):
        operand = argument(node, position)
        assert operand is not None
        shifted, plain = (
            graph.view(operand, leaf, x) for x in (seen[leaf.name].shifted, seen[leaf.name].plain)
        )
        readers = [user for user in node.users if _reaches_softmax_alone(user, node)]
        if packet(node) not in ("add", "sub") or len(readers) == len(node.users):
            found.setdefault(node.name, {})[position] = lambda _, shifted=shifted: shifted
            continue
        sign = -1 if packet(node) == "sub" and position else 1
        for reader in readers:
            for place, read in enumerate(reader.args):
                if read is node:
                    at = found.setdefault(reader.name, {})
                    at[place] = _Moved(sign * (shifted - plain), at.get(place))
    return found


@dataclass(frozen=True)
class _Moved:
    """Sums of which a bias is another, where both are numbers."""

    by: torch.Tensor
    before: Rounding | None

    def __call__(self, sums: torch.Tensor) -> torch.Tensor:
        if self.before is not None:
            sums = self.before(sums)
        return torch.where(self.by.isfinite(), sums + self.by, sums)


def _biases(graph: ModuleGraph, seen: Mapping[str, StagedTwice]) -> Iterator[tuple[Node, int, Node]]:
    """Readers, the positions of what they add, and the tensor that it comes of."""
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        positions: tuple[int, ...] = ()
        if packet(node) == "scaled_dot_product_attention":
            positions = (3,)
        elif packet(node) in ("add", "sub") and any(_reaches_softmax_alone(u, node) for u in node.users):
            positions = (0, 1)
        for position in positions:
            operand = argument(node, position)
            leaf = None if operand is None else _leaf(operand)
            if leaf is not None and leaf.name in seen:
                yield node, position, leaf


def _leaf(node: Node) -> Node | None:
    """The one tensor of which a bias is a line, viewed in some way."""
    while node.op == "call_function" and packet(node) in (*LAYOUT, *PARTS, *_LINES):
        sources = node.all_input_nodes
        if len(sources) != 1:
            return None
        node = sources[0]
    return node


def _reaches_softmax_alone(node: Node, read: Node) -> bool:
    """Whether what a node reads reaches nothing but a softmax, or what is left of the highest of each row."""
    kind = packet(node) if node.op == "call_function" else ""
    if kind in _SOFTMAX:
        return True
    if kind == "sub" and isinstance(highest := node.args[1], Node) and highest.args[:1] == (node.args[0],):
        return packet(highest) == "amax" and node.args[0] is read
    if kind == "amax":
        return all(u.args[:1] == (read,) and _reaches_softmax_alone(u, read) for u in node.users)
    if kind in ("mul", "div") and len(node.all_input_nodes) > 1:
        return False
    if kind not in (*_FILLS, *LAYOUT, *_LINES) or not node.users:
        return False
    return all(_reaches_softmax_alone(user, node) for user in node.users)
