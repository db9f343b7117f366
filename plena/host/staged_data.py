"""The parameters and constants of a program: staging expressions over the tensors of the user's model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute

from plena.dialects.plena.staging import symbols_of
from plena.errors import PlenaError
from plena.host.image import source_array
from plena.host.layout import CHUNK, TensorPlacement
from plena.host.lazy_tensor import LazyTensor
from plena.machine.formats import CLASSES

if TYPE_CHECKING:
    import torch

    from plena.host.view import Array


@dataclass(frozen=True)
class StagedData:
    """Evaluates expressions when the image is written, so that compiling costs nothing.

    Attributes:
        expressions: symbol that placements name -> expression (plena.dialects.plena.staging).
        tensors: parameters, buffers and constants by name; the model's own tensors, not copies.
        constants: matrices that kernels bring themselves (mask tables, packing tiles) by symbol.
        calibrated: what layers stage instead of a weight, by its symbol (plena.host.calibration).
    """

    expressions: Mapping[str, Attribute]
    tensors: Mapping[str, torch.Tensor]
    constants: Mapping[str, Array] = field(default_factory=dict[str, "Array"])
    calibrated: Mapping[str, torch.Tensor] = field(default_factory=dict[str, "torch.Tensor"])

    def __call__(self, symbol: str) -> torch.Tensor:
        """The tensor that a symbol names.

        Raises:
            PlenaError: an unknown symbol.
        """
        from plena.host.expressions import materialize

        if symbol in self.constants:
            import torch

            return torch.from_numpy(self.constants[symbol])
        if symbol not in self.expressions:
            raise PlenaError(f"no tensor is called {symbol}", "staging")
        return materialize(self.expressions[symbol], self.tensors)

    def lazy(self, symbol: str) -> torch.Tensor | LazyTensor:
        """The tensor that a symbol names, to be computed part by part if it is a matrix that can be.

        Raises:
            PlenaError: an unknown symbol.
        """
        expression = self.expressions.get(symbol)
        found = None if expression is None else LazyTensor.of(expression, self.tensors)
        return self(symbol) if found is None else found

    def marks(self, symbol: str, known: dict[str, int]) -> tuple[int, ...]:
        """Checksums of the model's tensors that a symbol stands for; `known` has those that were computed before."""
        expression = self.expressions.get(symbol)
        names = sorted(set(symbols_of(expression))) if expression is not None else []
        for name in names:
            if name not in known:
                known[name] = checksum(self.tensors[name])
        return tuple(known[name] for name in names)


def checksum(tensor: Any) -> int:
    """Of the values of a tensor, without a copy of all of them."""
    array = np.atleast_1d(source_array(tensor)[0])
    found, rows = 0, max(1, CHUNK * len(array) // max(1, array.size))
    for start in range(0, len(array), rows):
        found = crc32(np.ascontiguousarray(array[start : start + rows]).data, found)
    return found


def staged_tensor(data: Callable[[str], Any], placement: TensorPlacement, known: Any = None) -> Any:
    """The tensor that is staged at a placement of a "data" source; `known`: what its symbol names, if asked."""
    symbol = placement.source.symbol
    if isinstance(data, StagedData) and symbol in data.calibrated and is_weight(placement):
        return data.calibrated[symbol]
    return data(symbol) if known is None else known


def is_weight(placement: TensorPlacement) -> bool:
    """Whether a placement is that of a matrix of a layer."""
    return placement.memory == "hbm" and placement.format in CLASSES["weights"]


def data_of_module(tensors: Mapping[str, torch.Tensor], symbols: Iterable[str]) -> StagedData:
    """The data of a program that was loaded from a folder.

    Args:
        tensors: of its module: parameters, buffers and what was folded at import.
        symbols: what its placements name; constants of the compiler are left out.
    """
    expressions: dict[str, Attribute] = {}
    for symbol in symbols:
        expression = SymbolRefAttr(symbol) if symbol in tensors else _parsed(symbol)
        if expression is not None and set(symbols_of(expression)) <= set(tensors):
            expressions[symbol] = expression
    return StagedData(expressions, tensors)


def symbol_of(expression: Attribute) -> str:
    """The name of an expression in placements, messages and manifests: a parameter's own name, else its text."""
    return expression.string_value() if isinstance(expression, SymbolRefAttr) else str(expression)


def _parsed(symbol: str) -> Attribute | None:
    """The staging expression that a symbol of `symbol_of` is the text of."""
    from xdsl.context import Context
    from xdsl.dialects.builtin import Builtin
    from xdsl.parser import Parser
    from xdsl.utils.exceptions import ParseError

    from plena.dialects.plena import Plena

    if not symbol.startswith("#"):
        return None
    context = Context()
    context.load_dialect(Builtin)
    context.load_dialect(Plena)
    try:
        return Parser(context, symbol).parse_attribute()
    except ParseError:
        return None
