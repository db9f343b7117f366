"""The user's module as torch captured it, run by torch itself in float32, before any IR of ours.

The graph is what torch.export made of the module. What the program stages can be replaced where the graph reads it,
and operands of products can be rounded: see plena.reference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.fx import Interpreter, Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from plena.checking.choices import Choices, chosen_by
from plena.checking.plain_torch import plain_torch
from plena.frontend.folding import evaluate_node, plan_folding, reads_values

Rounding = Callable[[torch.Tensor], torch.Tensor]
"""What becomes of an operand that passes through HBM."""


@dataclass(frozen=True)
class Replacement:
    """What is different from the module in float32.

    Attributes:
        nodes: node name -> the value that nodes which are not constant folded read.
        edges: (reader's name, node name) -> the value that this reader reads; counts more than `nodes`.
        operands: reader's name -> position of an argument -> its rounding.
        added: node name -> what its value lacks.
        choices: of experts, if they are not left to torch.
    """

    nodes: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    edges: Mapping[tuple[str, str], torch.Tensor] = field(default_factory=dict[tuple[str, str], torch.Tensor])
    operands: dict[str, dict[int, Rounding]] = field(default_factory=dict[str, dict[int, Rounding]])
    added: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    choices: Choices | None = None


class ModuleGraph:
    """An exported program with the tensors that its module has now.

    Args:
        program: the graph.
        module: its module, whose parameters count; without one those of the program.
    """

    def __init__(self, program: ExportedProgram, module: torch.nn.Module | None = None) -> None:
        self.program = program
        self.graph = program.graph_module.graph
        self.module = module
        self.foldable = frozenset(node.name for node in plan_folding(program).foldable)

    def outputs(
        self,
        inputs: Sequence[torch.Tensor],
        replacement: Replacement | None = None,
        states: dict[str, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """The tensors that the module returns, in the order of the program's outputs; computed in float32.

        `states` are the buffers that it changes, by name; the dictionary is updated.
        """
        states = {} if states is None else states
        results = self.results(GraphRun(self, replacement or Replacement()), inputs, states)
        specs = self.program.graph_signature.output_specs
        for spec, value in zip(specs, results, strict=True):
            if spec.kind == OutputKind.BUFFER_MUTATION and spec.target in states:
                states[spec.target] = value.detach()
        return tuple(
            value
            for spec, value in zip(specs, results, strict=True)
            if spec.kind == OutputKind.USER_OUTPUT and isinstance(spec.arg, TensorArgument)
        )

    def results(
        self, run: GraphRun, inputs: Sequence[torch.Tensor], states: Mapping[str, torch.Tensor]
    ) -> Sequence[Any]:
        """All that a run of the graph gives, states among it."""
        with plain_torch():
            return run.run(*self._arguments(inputs, states), enable_io_processing=False)

    @property
    def chooses(self) -> bool:
        """Whether experts are chosen in it."""
        return any(chosen_by(node) is not None for node in self.graph.nodes)

    @property
    def input_names(self) -> list[str]:
        """The nodes of the inputs, in the order of the program's inputs."""
        return [
            spec.arg.name
            for spec in self.program.graph_signature.input_specs
            if spec.kind == InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument)
        ]

    def constants(self, names: Collection[str]) -> dict[str, torch.Tensor]:
        """The values of parameters, buffers and nodes that depend on no input, in the module's own precision."""
        values: dict[Node, Any] = {node: value for node, value in self._held()}
        wanted = [node for node in self.graph.nodes if node.name in names]
        needed, pending = set[Node](), list(wanted)
        while pending:
            node = pending.pop()
            if node not in needed and node not in values:
                needed.add(node)
                pending.extend(node.all_input_nodes if reads_values(node) else ())
        for node in self.graph.nodes:
            if node in needed:
                values[node] = evaluate_node(node, values.__getitem__)
        return {n.name: values[n] for n in wanted if isinstance(values.get(n), torch.Tensor)}

    def view(self, node: Node, leaf: Node, tensor: torch.Tensor) -> torch.Tensor:
        """What a node that only moves the elements of `leaf` is if `leaf` is `tensor`."""
        if node is leaf:
            return tensor
        seen = {source: self.view(source, leaf, tensor) for source in node.all_input_nodes}
        return _call(node, map_arg(node.args, seen.__getitem__), map_arg(node.kwargs, seen.__getitem__))

    def _held(self) -> Iterator[tuple[Node, Any]]:
        """The placeholders that are no inputs, with what they stand for."""
        placeholders = {node.name: node for node in self.graph.nodes if node.op == "placeholder"}
        own: dict[str, torch.Tensor] = {}
        if self.module is not None:
            own = dict(
                [
                    *self.module.named_parameters(remove_duplicate=False),
                    *self.module.named_buffers(remove_duplicate=False),
                ]
            )
        for spec in self.program.graph_signature.input_specs:
            if spec.kind == InputKind.USER_INPUT:
                continue
            name = spec.target or ""
            value = own.get(name)
            if value is None:
                value = self.program.state_dict.get(name, self.program.constants.get(name))
            yield placeholders[spec.arg.name], value

    def _arguments(self, inputs: Sequence[torch.Tensor], states: Mapping[str, torch.Tensor]) -> Iterator[Any]:
        held = {node.name: _float32(value) for node, value in self._held()}
        given = iter(inputs)
        for spec in self.program.graph_signature.input_specs:
            if isinstance(spec.arg, ConstantArgument):
                yield spec.arg.value
            elif spec.kind == InputKind.USER_INPUT:
                yield _float32(next(given))
            elif (name := spec.target or "") in states:
                yield _float32(states[name])
            else:
                yield held[spec.arg.name]


class GraphRun(Interpreter):
    """One run of a graph."""

    def __init__(self, graph: ModuleGraph, replacement: Replacement) -> None:
        super().__init__(graph.program.graph_module)
        self.foldable = graph.foldable
        self.replacement = replacement

    def run_node(self, n: Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        operands = self.replacement.operands.get(n.name)
        if operands:
            args = tuple(operands[i](x) if i in operands else x for i, x in enumerate(args))
            kwargs = {
                name: operands[i](x) if (i := _position(n, name)) in operands else x
                for name, x in kwargs.items()
            }
        value = _call(n, args, kwargs)
        if self.replacement.choices is not None and isinstance(value, tuple | torch.Tensor):
            value = self.replacement.choices.result(n, args[0], value)
        added = self.replacement.added.get(n.name)
        return value if added is None else value + added

    def fetch_args_kwargs_from_env(self, n: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def seen(argument: Node) -> Any:
            edge = self.replacement.edges.get((n.name, argument.name))
            if edge is not None:
                return edge
            if n.name not in self.foldable and argument.name in self.replacement.nodes:
                return self.replacement.nodes[argument.name]
            return self.env[argument]

        return map_arg(n.args, seen), map_arg(n.kwargs, seen)


def _position(node: Node, name: str) -> int:
    schema = getattr(node.target, "_schema", None)
    names = [] if schema is None else [argument.name for argument in schema.arguments]
    return names.index(name) if name in names else -1


def _call(node: Node, args: Any, kwargs: Any) -> Any:
    """The operator in float32, whatever precision the module asks for."""
    if "_assert_tensor_metadata" in str(node.target):
        return None
    assert callable(node.target)
    args, kwargs = pytree.tree_map(_float32_type, (tuple(args), dict(kwargs)))
    with plain_torch():
        return node.target(*args, **kwargs)


def _float32(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    return value.float() if value.is_floating_point() else value


def _float32_type(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value.is_floating_point else value
