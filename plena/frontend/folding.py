"""Which nodes of the graph do not depend on the inputs, and their values.

Rotary tables, masks and position ids become constants here. A parameter that is only moved (transposed,
sliced) is not folded: it keeps its name, and the passes turn the movement into a staging expression.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg

_MOVES = frozenset(
    {
        "aten.t", "aten.transpose", "aten.permute", "aten.movedim", "aten.numpy_T", "aten.mT", "aten.swapaxes",
        "aten.view", "aten.reshape", "aten._unsafe_view", "aten.unsqueeze", "aten.squeeze", "aten.flatten",
        "aten.unflatten", "aten.expand", "aten.slice", "aten.select", "aten.split", "aten.split_with_sizes",
        "aten.chunk", "aten.unbind", "aten.narrow", "aten.alias", "aten.detach", "aten.clone", "aten.contiguous",
        "aten.to", "aten._to_copy", "aten.type_as", "aten.lift_fresh_copy",
    }
)  # fmt: skip

_REPEATS = frozenset(
    {
        "aten.alias", "aten.detach", "aten.clone", "aten.contiguous", "aten.to", "aten._to_copy", "aten.type_as",
        "aten.lift_fresh_copy", "aten.copy",
    }
)  # fmt: skip
"""Operators that give what they are given unless they change its type."""

_SHAPE_ONLY = frozenset(
    {
        "aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.new_zeros", "aten.new_ones", "aten.new_full",
        "aten.empty_like", "aten.new_empty", "aten.new_empty_strided", "aten.sym_size", "aten.size",
    }
)  # fmt: skip
"""Operators whose result depends on their tensor's shape only."""

_UNWRITTEN = frozenset(
    {
        "aten.empty", "aten.empty_like", "aten.empty_permuted", "aten.empty_strided", "aten.new_empty",
        "aten.new_empty_strided",
    }
)  # fmt: skip
"""Operators that give whatever lies in memory: zeros here, so that a program is the same each time."""


@dataclass
class FoldingPlan:
    """What the importer does with each node.

    Attributes:
        needed: nodes that an output depends on.
        foldable: needed nodes to be evaluated at import.
        host: needed nodes that depend on integer inputs and constants alone: the host computes them in every call.
        constants: buffers and lifted constants by placeholder.
        moved: parameters and needed nodes that only move their elements.
        names: names of constants by identity of the tensor.
    """

    needed: set[Node] = field(default_factory=set[Node])
    foldable: set[Node] = field(default_factory=set[Node])
    host: set[Node] = field(default_factory=set[Node])
    constants: dict[Node, torch.Tensor] = field(default_factory=dict[Node, torch.Tensor])
    moved: set[Node] = field(default_factory=set[Node])
    names: dict[int, str] = field(default_factory=dict[int, str])


def plan_folding(program: ExportedProgram) -> FoldingPlan:
    """Classify the nodes of an exported graph."""
    plan = FoldingPlan()
    nodes = list(program.graph_module.graph.nodes)
    parameters = _placeholders(program, plan, nodes)
    _mark_needed(plan, nodes)
    known = set(plan.constants)
    plan.moved = moved = set(parameters)
    of_integers = _integer_inputs(program, nodes)
    for node in nodes:
        if node.op != "call_function" or node not in plan.needed:
            continue
        inputs = node.all_input_nodes
        shape_only = _packet(node) in _SHAPE_ONLY
        if _is_random(node):
            continue
        if not shape_only and not all(i in known or i in moved for i in inputs):
            if all(i in known or i in of_integers for i in inputs):
                of_integers.add(node)
                plan.host.add(node)
            continue
        is_move = _packet(node) in _MOVES or node.target is operator.getitem
        if is_move and any(i in moved for i in inputs):
            moved.add(node)
            continue
        known.add(node)
        plan.foldable.add(node)
    return plan


def mutated_buffers(program: ExportedProgram) -> frozenset[str]:
    """The buffers that a run changes, by state_dict name; in a functional graph.

    Not those that it assigns to themselves, as in `self.table = self.table.to(x.dtype)`.
    """
    signature = program.graph_signature
    buffers = signature.inputs_to_buffers
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    return frozenset(
        name
        for output, name in signature.buffers_to_mutate.items()
        if buffers.get(_copied_from(nodes[output]).name) != name
    )


def _copied_from(node: Node) -> Node:
    """The node whose value, shape and type a node repeats."""
    while node.op == "call_function":
        source = node.args[1] if _packet(node) == "aten.copy" else node.args[0] if node.args else None
        if not (
            _packet(node) in _REPEATS and isinstance(source, Node) and _type_of(source) == _type_of(node)
        ):
            break
        node = source
    return node


def _type_of(node: Node) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return (value.dtype, tuple(value.shape)) if isinstance(value, torch.Tensor) else (node,)


def _placeholders(program: ExportedProgram, plan: FoldingPlan, nodes: list[Node]) -> list[Node]:
    states = mutated_buffers(program)
    by_name = {node.name: node for node in nodes if node.op == "placeholder"}
    parameters: list[Node] = []
    for spec in program.graph_signature.input_specs:
        node = by_name[spec.arg.name]
        if spec.kind == InputKind.PARAMETER:
            parameters.append(node)
        elif spec.kind in (InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            assert spec.target is not None
            if spec.target in states:
                continue
            source = program.state_dict if spec.target in program.state_dict else program.constants
            tensor = source[spec.target]
            assert isinstance(tensor, torch.Tensor)
            plan.constants[node] = tensor
            plan.names[id(tensor)] = spec.target
    return parameters


def _integer_inputs(program: ExportedProgram, nodes: list[Node]) -> set[Node]:
    """The inputs and states that are integers or booleans."""
    states = mutated_buffers(program)
    names = {
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind == InputKind.USER_INPUT or spec.target in states
    }
    found: set[Node] = set()
    for node in nodes:
        value = node.meta.get("val")
        if node.op != "placeholder" or node.name not in names or not isinstance(value, torch.Tensor):
            continue
        if not value.is_floating_point() and not value.is_complex():
            found.add(node)
    return found


def _mark_needed(plan: FoldingPlan, nodes: list[Node]) -> None:
    pending = [node for node in nodes if node.op == "output"]
    while pending:
        for source in pending.pop().all_input_nodes:
            if source not in plan.needed:
                plan.needed.add(source)
                pending.append(source)


def _packet(node: Node) -> str:
    return str(getattr(node.target, "overloadpacket", node.target))


def _is_random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def reads_values(node: Node) -> bool:
    """Whether the node's value depends on more than the shapes of its operands."""
    return _packet(node) not in _SHAPE_ONLY


def evaluate_node(node: Node, value_of: Callable[[Node], Any]) -> Any:
    """The node's value on known inputs; a shape-only operator sees an empty tensor of the right shape."""

    def resolve(argument: Node) -> Any:
        meta = argument.meta.get("val")
        if _packet(node) in _SHAPE_ONLY and isinstance(meta, torch.Tensor):
            return torch.empty(tuple(meta.shape), dtype=meta.dtype)
        return value_of(argument)

    args = map_arg(node.args, resolve)
    kwargs = map_arg(node.kwargs, resolve)
    assert callable(node.target)
    with torch.no_grad():
        value = node.target(*args, **kwargs)
    return torch.zeros_like(value) if _packet(node) in _UNWRITTEN else value
