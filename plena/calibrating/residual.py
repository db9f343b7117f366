"""Rotation of the residual stream: what layers hand on, turned by one orthogonal matrix in all weights around it.

An RMS norm divides by a length, which turning keeps. So what writes the stream (embeddings, linear layers) may write it
turned, and what reads it behind a norm may turn it back in its weights, with the norm's gain: the function is the same,
and outliers of a few features are spread over all of them. Whether all of a graph's stream can be turned is seen by
following it from node to node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from plena.calibrating.graph import LINEAR, name_of, owner_of

_ATEN = torch.ops.aten

_EMBEDDING, _RMS_NORM = _ATEN.embedding.default, _ATEN.rms_norm.default

_KEEPING = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "flatten",
        "unflatten",
        "transpose",
        "permute",
        "contiguous",
        "clone",
        "unsqueeze",
        "squeeze",
        "alias",
        "detach",
        "slice",
        "select",
        "to",
        "_to_copy",
        "dropout",
        "lift_fresh_copy",
    ]
)
"""Operators that change nothing but the place of rows, where the last axis stays."""

_SUMS = frozenset(["mean", "sum"])

_IGNORED = frozenset(["_assert_tensor_metadata"])


class NotTurnable(Exception):
    """Why a stream cannot be turned."""


@dataclass(frozen=True)
class Use:
    """A parameter at one of its readers.

    Attributes:
        parameter: its name.
        owner: the path of the module that reads it.
        kind: "rows" [n, D] are written to the stream (embeddings), "outputs" [D, n] or [D] write it (weights and biases
            of linear layers), "inputs" [n, D] read it, "gain" [D] is moved into those.
        gains: of "inputs", the gains before it.
    """

    parameter: str
    owner: str
    kind: str
    gains: tuple[str, ...] = ()


@dataclass
class Stream:
    """What is one stream of `features`: nodes that hold it, and the parameters around it."""

    features: int
    nodes: dict[Node, None] = field(default_factory=dict[Node, None])
    uses: list[Use] = field(default_factory=list[Use])


def streams_of(program: ExportedProgram) -> Iterator[Stream | str]:
    """Every stream with an RMS norm that starts at an embedding or a linear layer.

    Of one that starts at an embedding and cannot be turned: why.
    """
    known: set[Node] = set()
    for node in program.graph.nodes:
        if node in known or not _is_start(node):
            continue
        search = _Search(program, Stream(_last(node) or 0))
        try:
            search.run(node)
        except NotTurnable as reason:
            if node.target == _EMBEDDING:
                yield f"the stream of {node.name} is left as it is: {reason}"
            continue
        known |= search.stream.nodes.keys()
        if search.has_norm:
            yield search.stream


class _Search:
    """Follows a stream in both directions until nothing is left, or something is met that turning would change."""

    def __init__(self, program: ExportedProgram, stream: Stream) -> None:
        self.stream, self.has_norm = stream, False
        self._parameters = program.graph_signature.inputs_to_parameters
        self._pending: list[Node] = []
        self._scalars: set[Node] = set()
        self._readers: dict[Node, set[Node]] = {}

    def run(self, start: Node) -> None:
        self._want(start)
        while self._pending:
            node = self._pending.pop()
            self._written(node)
            for user in node.users:
                self._read(node, user)
        for parameter, readers in self._readers.items():
            others = [u for u in parameter.users if u not in readers and name_of(u) not in _IGNORED]
            if others:
                raise NotTurnable(f"{others[0].name} reads {self._parameters[parameter.name]} too")

    def _want(self, node: Any) -> None:
        """A node that must hold the stream."""
        if not isinstance(node, Node) or _last(node) != self.stream.features:
            raise NotTurnable(f"{node} is added to it")
        if node not in self.stream.nodes:
            self.stream.nodes[node] = None
            self._pending.append(node)

    def _written(self, node: Node) -> None:
        """Where a node of the stream comes from."""
        name = name_of(node)
        if node.target == _EMBEDDING:
            self._use(node, node.args[0], "rows")
        elif node.target == LINEAR:
            for argument in node.args[1:]:
                if argument is not None:
                    self._use(node, argument, "outputs")
        elif name == "add":
            if node.kwargs.get("alpha", 1) != 1:
                raise NotTurnable(f"{node.name} adds multiples")
            for argument in node.args[:2]:
                self._want(argument)
        elif name in ("mul", "div"):
            first, second = node.args[:2]
            if not self._is_scalar(second):
                first, second = second, first
            if not self._is_scalar(second) or (name == "div" and first is not node.args[0]):
                raise NotTurnable(f"{node.name} multiplies it by features of another tensor")
            self._want(first)
        elif _keeps(node):
            self._want(node.args[0])
        else:
            raise NotTurnable(f"{node.name} ({name or node.op}) writes it")

    def _read(self, node: Node, user: Node) -> None:
        """What a reader makes of the stream."""
        name = name_of(user)
        if user in self.stream.nodes or name in _IGNORED or self._is_square(user):
            return
        if user.target == _RMS_NORM:
            self.has_norm = True
            gain = user.args[2] if len(user.args) > 2 else None
            if user.args[0] is not node or list(user.args[1]) != [self.stream.features]:  # type: ignore[call-overload]
                raise NotTurnable(f"{user.name} norms other features")
            self._gain(user, None if gain is None else gain)
        elif name == "add" or _keeps(user):
            self._want(user)
        elif name in ("mul", "div"):
            other = user.args[1] if user.args[0] is node else user.args[0]
            if self._is_scalar(other) and (name == "mul" or user.args[0] is node):
                self._want(user)
            elif name == "mul" and isinstance(other, Node) and self._is_gain(other):
                self._gain(user, other)
            else:
                raise NotTurnable(f"{user.name} multiplies it by features of another tensor")
        elif user.target == LINEAR and user.args[0] is node:
            self._use(user, user.args[1], "inputs")
        else:
            raise NotTurnable(f"{user.name} ({name or user.op}) reads it")

    def _gain(self, node: Node, gain: Any) -> None:
        """What follows a norm: the weights of linear layers alone, which take the gain."""
        gains: tuple[str, ...] = ()
        if gain is not None:
            if not self._is_gain(gain):
                raise NotTurnable(f"the gain of {node.name} is computed")
            gains = (self._parameters[gain.name],)
            self._use(node, gain, "gain")
        pending = [node]
        while pending:
            read = pending.pop()
            for user in read.users:
                if name_of(user) in _IGNORED:
                    continue
                if user.target == LINEAR and user.args[0] is read and user.args[1] is not read:
                    self._use(user, user.args[1], "inputs", gains)
                elif _keeps(user) and _last(user) == self.stream.features:
                    pending.append(user)
                else:
                    raise NotTurnable(
                        f"{user.name} ({name_of(user) or user.op}) reads what {node.name} has normed"
                    )

    def _is_gain(self, node: Node) -> bool:
        return node.name in self._parameters and tuple(node.meta["val"].shape) == (self.stream.features,)

    def _is_scalar(self, value: Any) -> bool:
        """Whether it is one number for each row, which turning does not change."""
        if isinstance(value, int | float):
            return True
        if not isinstance(value, Node):
            return False
        if value.op != "call_function":
            return isinstance(value.meta.get("val"), torch.Tensor) and value.meta["val"].numel() == 1
        if value in self._scalars:
            return True
        name = name_of(value)
        if name in _SUMS:
            square: Any = value.all_input_nodes[0] if value.all_input_nodes else None
            found = _adds_features(value) and self._is_square(square) and _last(value) == 1
            if found:
                self._want(square.args[0])
                self.has_norm = True
        else:
            inputs = value.all_input_nodes
            found = _last(value) == 1 and bool(inputs) and all(self._is_scalar(i) for i in inputs)
        if found:
            self._scalars.add(value)
        return found

    def _is_square(self, node: Node) -> bool:
        """Whether it is the squares of the stream, all of whose readers add them up."""
        arguments: tuple[Any, ...] = node.args
        squares = (name_of(node) == "pow" and arguments[1:2] == (2,)) or (
            name_of(node) == "mul" and arguments[0] is arguments[1]
        )
        return squares and all(name_of(u) in _IGNORED or _adds_features(u) for u in node.users)

    def _use(self, node: Node, parameter: Any, kind: str, gains: tuple[str, ...] = ()) -> None:
        if not isinstance(parameter, Node) or parameter.name not in self._parameters:
            raise NotTurnable(f"a weight of {node.name} is computed")
        self._readers.setdefault(parameter, set()).add(node)
        self.stream.uses.append(Use(self._parameters[parameter.name], owner_of(node), kind, gains))


def _adds_features(node: Node) -> bool:
    """Whether it is a sum or a mean over the last axis alone."""
    arguments: tuple[Any, ...] = node.args
    if name_of(node) not in _SUMS or len(arguments) < 2 or not isinstance(arguments[0], Node):
        return False
    return list(arguments[1] or ()) in ([-1], [arguments[0].meta["val"].dim() - 1])


def _is_start(node: Node) -> bool:
    starts: tuple[Any, ...] = (_EMBEDDING, LINEAR)
    return node.op == "call_function" and node.target in starts and (_last(node) or 0) > 1


def _last(node: Node) -> int | None:
    """The features of a row."""
    value = node.meta.get("val")
    return value.shape[-1] if isinstance(value, torch.Tensor) and value.dim() else None


def _keeps(node: Node) -> bool:
    """Whether it moves rows and leaves them whole."""
    name = name_of(node)
    arguments: tuple[Any, ...] = node.args
    if name not in _KEEPING or not isinstance(arguments[0], Node) or _last(node) != _last(arguments[0]):
        return False
    if name == "dropout":
        return arguments[2] is False
    rank: int = arguments[0].meta["val"].dim()
    axes = arguments[1:3] if name == "transpose" else arguments[1:2]
    if name == "permute":
        return axes[0][-1] % rank == rank - 1
    if name in ("transpose", "slice", "select"):
        return all(axis % rank != rank - 1 for axis in (axes or (0,)))
    return not (name == "unsqueeze" and axes[0] % (rank + 1) == rank)
