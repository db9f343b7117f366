"""Parameters that are staged in several ways: a value for each node that reads them.

A table that is tied to the last layer is staged as it is, and once more times the gain of the norm before that layer.
The module is imported again with a symbol of its own for each reader, and the staging expressions that come out say
what each reader gets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node
from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr
from xdsl.ir import Attribute, SSAValue

from plena.checking.module_graph import ModuleGraph
from plena.checking.staged_values import choose
from plena.dialects import aten
from plena.dialects.plena import ParameterOp
from plena.dialects.plena.staging import with_symbols
from plena.frontend import operators
from plena.frontend.graph_builder import Parameter
from plena.frontend.importer import GraphImporter
from plena.frontend.program import ImportedProgram
from plena.host.staged_data import symbol_of
from plena.machine.target import Target


@dataclass
class Uses:
    """Values by reader.

    Attributes:
        edges: (reader, node) -> what the reader sees of a parameter or constant, or of a view of one.
        added: node name -> what its value lacks.
    """

    edges: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict[tuple[str, str], torch.Tensor])
    added: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])


@dataclass(frozen=True)
class _Use:
    """A node that reads a tensor of the side table, directly or through nodes that only move its elements."""

    reader: Node
    argument: Node
    leaf: Node
    symbol: str


@dataclass
class _SeparateUses(GraphImporter):
    """Gives the tensors called `separate` a symbol for each reader.

    Attributes:
        leaves: of the first import.
        uses: by the new symbol.
    """

    separate: frozenset[str] = frozenset()
    leaves: Mapping[str, str] = field(default_factory=dict[str, str])
    uses: dict[str, _Use] = field(default_factory=dict[str, _Use])
    reader: Node | None = None

    def value_of(self, argument: Any) -> Any:
        if not isinstance(argument, Node):
            return super().value_of(argument)
        leaf = argument if self.reader is not None else self._leaf(argument)
        if leaf is None or (self._is_view(self.node) and self.reader is None):
            return super().value_of(argument)
        if self.leaves.get(argument.name) in self.separate:
            return self._separate(argument)
        reader, location = self.node, self.location
        if self.reader is None:
            self.reader, self.argument = reader, argument
        self.node = argument
        value = operators.import_node(self, argument)
        self.node, self.location = reader, location
        if self.reader is reader:
            self.reader = None
        return value

    def _leaf(self, node: Node) -> Node | None:
        """The separate tensor that a node is a view of."""
        while self.leaves.get(node.name) not in self.separate:
            if not self._is_view(node):
                return None
            node = node.all_input_nodes[0]
        return node

    def _is_view(self, node: Node) -> bool:
        """Whether a node only moves the elements of a parameter."""
        return node.op == "call_function" and node in self.plan.moved

    def _separate(self, leaf: Node) -> SSAValue:
        reader = self.reader or self.node
        argument = self.argument if self.reader is not None else leaf
        name = self.leaves[leaf.name]
        symbol = f"{name} of {reader.name}"
        value = self.values[leaf]
        tensor = value.tensor if isinstance(value, Parameter) else value
        assert isinstance(tensor, torch.Tensor)
        self.uses[symbol] = _Use(reader, argument, leaf, name)
        self.tensors[symbol] = tensor
        operation = aten.ParameterOp.build(
            properties={"symbol": SymbolRefAttr(symbol)}, result_types=[self.tensor_type(tensor, None)]
        )
        return self.insert(operation)


def values_by_reader(
    imported: ImportedProgram,
    graph: ModuleGraph,
    target: Target,
    separate: Collection[str],
    rounded: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
) -> Uses:
    """What each reader of the `separate` tensors sees.

    Args:
        rounded: the values of staging expressions as the program stages them, by their symbol.
        tensors: the parameters and constants before rounding.
    """
    from plena.driver import run_pipeline
    from plena.passes.pipelines import TENSOR_PIPELINE

    importer = _SeparateUses(imported.exported, separate=frozenset(separate), leaves=imported.leaves)
    again = importer.run()
    target.attach(again.module)
    run_pipeline(again.module, TENSOR_PIPELINE)
    original = {symbol: use.symbol for symbol, use in importer.uses.items()}
    renamed = {symbol: SymbolRefAttr(name) for symbol, name in original.items()}
    expressions, values = dict[str, Attribute](), dict[str, torch.Tensor]()
    for expression in _expressions(again.module):
        symbol = symbol_of(with_symbols(expression, renamed))
        if symbol in rounded:
            expressions[str(expression)] = expression
            values[str(expression)] = rounded[symbol]
    own = {symbol: tensors.get(name, importer.tensors[symbol]) for symbol, name in original.items()}
    choice = choose(expressions, values, {**tensors, **own})
    uses = Uses()
    for symbol, use in importer.uses.items():
        if symbol in choice.tensors:
            seen = graph.view(use.argument, use.leaf, choice.tensors[symbol])
            uses.edges[use.reader.name, use.argument.name] = seen
    for symbol, lacking in choice.offsets:
        if symbol in importer.uses:
            uses.added[importer.uses[symbol].reader.name] = lacking
    return uses


def _expressions(module: ModuleOp) -> list[Attribute]:
    return [op.value for op in module.walk() if isinstance(op, ParameterOp)]
