"""Parameters that are staged in several ways: a value for each node that reads them.

A table that is tied to the last layer is staged as it is, and once more times the gain of the norm before that layer.
The module is imported again with a symbol of its own for each reader, and the staging expressions that come out say
what each reader gets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch.fx import Node
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, SymbolRefAttr
from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.plena import ParameterOp
from plena.dialects.plena.staging import StagingAttr
from plena.frontend.importer import GraphImporter, Parameter
from plena.frontend.program import ImportedProgram
from plena.rounding_sites import packet
from plena.staged_data import symbol_of
from plena.staged_values import choose
from plena.target import Target


@dataclass
class Uses:
    """Values by reader.

    Attributes:
        edges: (reader, placeholder) -> what the reader sees of the parameter.
        added: node name -> what its value lacks.
    """

    edges: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict[tuple[str, str], torch.Tensor])
    added: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])


@dataclass
class _SeparateUses(GraphImporter):
    """Gives the parameters called `separate` a symbol for each reader."""

    separate: frozenset[str] = frozenset()
    readers: dict[str, tuple[Node, str]] = field(default_factory=dict[str, tuple[Node, str]])

    def _parameter(self, parameter: Parameter) -> SSAValue:
        node = getattr(self, "node", None)
        if parameter.symbol not in self.separate or node is None:
            return super()._parameter(parameter)
        symbol = f"{parameter.symbol} of {node.name}"
        if symbol not in self.emitted:
            self.readers[symbol] = node, parameter.symbol
            self.tensors[symbol] = parameter.tensor
            operation = aten.ParameterOp.build(
                properties={"symbol": SymbolRefAttr(symbol)},
                result_types=[self.tensor_type(parameter.tensor, None)],
            )
            self.emitted[symbol] = self.insert(operation)
        return self.emitted[symbol]


def values_by_reader(
    imported: ImportedProgram,
    target: Target,
    separate: Collection[str],
    rounded: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
) -> Uses:
    """What each reader of the `separate` parameters sees.

    Args:
        rounded: the values of staging expressions as the program stages them, by their symbol.
        tensors: the parameters and constants before rounding.
    """
    from plena.driver import run_pipeline
    from plena.passes.pipelines import TENSOR_PIPELINE

    importer = _SeparateUses(imported.exported, separate=frozenset(separate))
    again = importer.run()
    target.attach(again.module)
    run_pipeline(again.module, TENSOR_PIPELINE)
    original = {symbol: name for symbol, (_, name) in importer.readers.items()}
    expressions, values = dict[str, Attribute](), dict[str, torch.Tensor]()
    for expression in _expressions(again.module):
        symbol = symbol_of(_renamed(expression, original))
        if symbol in rounded:
            expressions[str(expression)] = expression
            values[str(expression)] = rounded[symbol]
    own = {symbol: tensors.get(name, importer.tensors[symbol]) for symbol, name in original.items()}
    choice = choose(expressions, values, {**tensors, **own})
    uses = Uses()
    placeholders: dict[str, list[str]] = {}
    for node, symbol in imported.leaves.items():
        placeholders.setdefault(symbol, []).append(node)
    for symbol, (reader, name) in importer.readers.items():
        if symbol in choice.tensors:
            for placeholder in placeholders.get(name, ()):
                uses.edges[reader.name, placeholder] = choice.tensors[symbol]
    for symbol, lacking in choice.offsets:
        product = _product(importer.readers[symbol][0]) if symbol in importer.readers else None
        if product is not None:
            uses.added[product] = lacking
    return uses


def _expressions(module: ModuleOp) -> list[Attribute]:
    return [op.value for op in module.walk() if isinstance(op, ParameterOp)]


def _renamed(expression: Attribute, names: Mapping[str, str]) -> Attribute:
    """The expression with other symbols."""
    match expression:
        case SymbolRefAttr():
            name = expression.string_value()
            return SymbolRefAttr(names.get(name, name))
        case ArrayAttr():
            return ArrayAttr([_renamed(element, names) for element in expression.data])
        case StagingAttr():
            return type(expression).new([_renamed(parameter, names) for parameter in expression.parameters])
        case _:
            return expression


def _product(reader: Node) -> str | None:
    """The product at the end of a chain of single readers that only turn the matrix."""
    while packet(reader) in ("t", "permute", "transpose", "detach", "to", "_to_copy"):
        if len(reader.users) != 1:
            return None
        reader = next(iter(reader.users))
    return reader.name
