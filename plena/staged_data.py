"""The parameters and constants of a program: staging expressions over the tensors of the user's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute

from plena.errors import PlenaError

if TYPE_CHECKING:
    import torch

    from plena.backend.view import Array


@dataclass(frozen=True)
class StagedData:
    """Evaluates expressions when the image is written, so that compiling costs nothing.

    Attributes:
        expressions: symbol that placements name -> expression (plena.dialects.plena.staging).
        tensors: parameters, buffers and constants by name; the model's own tensors, not copies.
        constants: matrices that kernels bring themselves (mask tables, packing tiles) by symbol.
    """

    expressions: Mapping[str, Attribute]
    tensors: Mapping[str, torch.Tensor]
    constants: Mapping[str, Array] = field(default_factory=dict[str, "Array"])

    def __call__(self, symbol: str) -> torch.Tensor:
        """The tensor that a symbol names.

        Raises:
            PlenaError: an unknown symbol.
        """
        from plena.frontend.weights import materialize

        if symbol in self.constants:
            import torch

            return torch.from_numpy(self.constants[symbol])
        if symbol not in self.expressions:
            raise PlenaError(f"no tensor is called {symbol}", "staging")
        return materialize(self.expressions[symbol], self.tensors)


def symbol_of(expression: Attribute) -> str:
    """The name of an expression in placements, messages and manifests: a parameter's own name, else its text."""
    return expression.string_value() if isinstance(expression, SymbolRefAttr) else str(expression)
