"""The host values of a program: what it stages beside its inputs, computed of them in every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plena.host.step import Array
from plena.host.values.evaluation import evaluate
from plena.host.values.graph import HostValue


@dataclass(frozen=True)
class HostProgram:
    """Host values by the symbols that placements name, and the constants that they read.

    Attributes:
        values: computed of the program's inputs by their numbers.
        tensors: constants by symbol, numpy or torch.
    """

    values: Mapping[str, HostValue] = field(default_factory=dict[str, HostValue])
    tensors: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, inputs: Sequence[Any], names: Sequence[str] = ()) -> Callable[[str], Array]:
        """The values for a call, each computed when it is first asked for.

        Args:
            inputs: tensors of the call, numpy or torch.
            names: of the inputs, for messages.

        Raises:
            PlenaError: (the function that is returned) numbers for which an operation has no result.
        """
        found: dict[str, Array] = {}
        arrays: dict[int, Array] = {}

        def value(symbol: str) -> Array:
            if symbol not in found:
                wanted = self.values[symbol]
                for number in wanted.inputs - arrays.keys():
                    arrays[number] = plain_array(inputs[number])
                found[symbol] = evaluate(wanted, arrays, self.constant, names)
            return found[symbol]

        return value

    def constant(self, symbol: str) -> Array:
        """The array of a constant."""
        return plain_array(self.tensors[symbol])

    @property
    def symbols(self) -> list[str]:
        """The constants that values read, in order."""
        return sorted({symbol for value in self.values.values() for symbol in value.constants})


def plain_array(values: Any) -> Array:
    """Numpy or torch numbers as an array; floating-point ones of 16 bits are widened."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()
