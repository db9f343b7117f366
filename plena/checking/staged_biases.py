"""Biases of a softmax that others read as well: staged for each, and references read each as it is staged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.fx import Node

from plena.checking.rounding_sites import LAYOUT, PARTS, argument, packet
from plena.checking.staged_values import axis_along

if TYPE_CHECKING:
    from plena.checking.module_graph import ModuleGraph, Rounding

_SOFTMAX = ("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
_ATTENTION = "scaled_dot_product_attention"
_FILLS = ("masked_fill", "where")
_PRODUCTS = ("mul", "div")
_LINES = ("add", "sub", "neg", "mul", "div")
"""What scores and biases go through; products and quotients by numbers."""


@dataclass(frozen=True)
class StagedApart:
    """A tensor as the host stages it for a softmax along each of some axes, and for other readers."""

    shifted: Mapping[int, torch.Tensor]
    plain: torch.Tensor

    @property
    def is_exact(self) -> bool:
        """Whether the host computes biases of it, without rounding it."""
        return set(self.shifted) == {-1}


def staged_biases(graph: ModuleGraph, seen: Mapping[str, StagedApart]) -> dict[str, dict[int, Rounding]]:
    """What the readers of such biases read instead, by their names and the positions of their arguments.

    Args:
        seen: tensors by the names of their nodes.
    """
    found: dict[str, dict[int, Rounding]] = {}
    for node, position, leaf in _biases(graph, seen):
        operand = argument(node, position)
        assert operand is not None
        staged = _Read(graph, node, operand, leaf, seen[leaf.name])
        if _is_direct(node):
            shifted = staged.shifted(staged.own_axis())
            found.setdefault(node.name, {})[position] = lambda _, shifted=shifted: shifted
            continue
        readers = [user for user in node.users if _reaches_softmax_alone(user, node)]
        own = packet(node) in (_ATTENTION, *_PRODUCTS)
        axes = {} if own else {reader: staged.axis(reader) for reader in readers}
        if not axes or (len(readers) == len(node.users) and len(set(axes.values())) == 1):
            axis = next(iter(axes.values()), staged.last_axis)
            shifted = staged.shifted(axis)
            found.setdefault(node.name, {})[position] = lambda _, shifted=shifted: shifted
            continue
        sign = -1 if packet(node) == "sub" and position else 1
        for reader, axis in axes.items():
            for place, read in enumerate(reader.args):
                if read is node:
                    at = found.setdefault(reader.name, {})
                    at[place] = _Moved(sign * (staged.shifted(axis) - staged.plain), at.get(place))
    return found


@dataclass(frozen=True)
class _Read:
    """A tensor that a node adds to something, in some view."""

    graph: ModuleGraph
    node: Node
    operand: Node
    leaf: Node
    seen: StagedApart

    def shifted(self, axis: int) -> torch.Tensor:
        """As it is staged for a softmax along an axis of it; along one where it repeats any will do."""
        of_axis = self.seen.shifted.get(axis)
        found = next(iter(self.seen.shifted.values())) if of_axis is None else of_axis
        return self.graph.view(self.operand, self.leaf, found)

    @property
    def plain(self) -> torch.Tensor:
        return self.graph.view(self.operand, self.leaf, self.seen.plain)

    @property
    def last_axis(self) -> int:
        """That of the tensor which is the last of its view."""
        return self._axis(self._numbers(), -1)

    def own_axis(self) -> int:
        """That of the tensor along which the node itself is a softmax."""
        dim = _softmax_dim(self.node)
        assert dim is not None
        return self._axis(self._numbers(), dim)

    def axis(self, reader: Node) -> int:
        """That of the tensor along which a softmax behind a reader of the node runs."""
        numbers = self._numbers().expand(self.node.meta["val"].shape)
        node, read = reader, self.node
        while (dim := -1 if packet(node) == _ATTENTION else _softmax_dim(node)) is None:
            if packet(node) in LAYOUT:
                numbers = self.graph.view(node, read, numbers)
            else:
                numbers = numbers.expand(node.meta["val"].shape)
            node, read = next(iter(node.users)), node
        return self._axis(numbers, dim)

    def _numbers(self) -> torch.Tensor:
        """The numbers of the elements that a line of the tensor, viewed in some way, is made of."""
        shape = self.seen.plain.shape
        elements = torch.arange(shape.numel(), dtype=torch.float64).reshape(shape)
        line, none, one = (
            self.graph.view(self.operand, self.leaf, x)
            for x in (elements, torch.zeros_like(elements), torch.ones_like(elements))
        )
        return ((line - none) / (one - none)).round().long()

    def _axis(self, numbers: torch.Tensor, dim: int) -> int:
        return axis_along(numbers.numpy(), dim, tuple(self.seen.plain.shape))


def _softmax_dim(node: Node) -> int | None:
    """Of a softmax, or of the highest numbers of rows; None of others."""
    if packet(node) == "sub" and isinstance(highest := node.args[1], Node) and packet(highest) == "amax":
        node = highest
    if packet(node) not in (*_SOFTMAX, "amax"):
        return None
    dim = node.args[1] if len(node.args) > 1 else node.kwargs["dim"]
    (found,) = dim if isinstance(dim, list | tuple) else (dim,)
    assert isinstance(found, int)
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


def _biases(graph: ModuleGraph, seen: Mapping[str, StagedApart]) -> Iterator[tuple[Node, int, Node]]:
    """Readers, the positions of what they add, and the tensor that it comes of."""
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        positions: tuple[int, ...] = ()
        if packet(node) == _ATTENTION:
            positions = (3,)
        elif _is_direct(node):
            positions = (0,)
        elif packet(node) in ("add", "sub", *_FILLS) and any(
            _reaches_softmax_alone(u, node) for u in node.users
        ):
            positions = (0, 1, 2) if packet(node) in _FILLS else (0, 1)
        products = packet(node) in _PRODUCTS and _is_made(node) and _makes_biases(node)
        for position in (0, 1) if products else ():
            operand = argument(node, position)
            leaf = None if operand is None else _leaf(operand)
            if leaf is not None and leaf.name in seen and seen[leaf.name].is_exact:
                yield node, position, leaf
        for position in positions:
            operand = argument(node, position)
            leaf = None if operand is None else _leaf(operand)
            if leaf is not None and leaf.name in seen:
                yield node, position, leaf


def _is_made(node: Node) -> bool:
    """Whether a node is computed of inputs and constants by a few operators, as the host makes biases."""
    if node.op != "call_function":
        return True
    return packet(node) in (*_FILLS, *LAYOUT, *PARTS, *_LINES) and all(map(_is_made, node.all_input_nodes))


def _makes_biases(node: Node) -> bool:
    """Whether a node reaches nothing but softmaxes, by products and quotients too."""
    return bool(node.users) and all(
        _makes_biases(user) if packet(user) in _PRODUCTS else _reaches_softmax_alone(user, node)
        for user in node.users
    )


def _is_direct(node: Node) -> bool:
    """Whether a node is a softmax of its first argument, or part of one that is written out."""
    kind = packet(node)
    read = node.args[0] if node.args else None
    written = kind == "amax" or (kind == "sub" and _softmax_dim(node) is not None)
    return kind in _SOFTMAX or (written and isinstance(read, Node) and _reaches_softmax_alone(node, read))


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
    if kind == _ATTENTION:
        return argument(node, 3) is read
    if kind == "sub" and isinstance(highest := node.args[1], Node) and highest.args[:1] == (node.args[0],):
        return packet(highest) == "amax" and node.args[0] is read
    if kind == "amax":
        return all(u.args[:1] == (read,) and _reaches_softmax_alone(u, read) for u in node.users)
    if kind in ("mul", "div") and len(node.all_input_nodes) > 1:
        return False
    if kind not in (*_FILLS, *LAYOUT, *_LINES) or not node.users:
        return False
    return all(_reaches_softmax_alone(user, node) for user in node.users)
