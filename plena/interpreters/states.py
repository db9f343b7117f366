"""The states of one run of a module at the tensor level: what it finds, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xdsl.ir import Attribute

from plena.dialects.plena.staging import symbols_of

if TYPE_CHECKING:
    import torch


@dataclass
class States:
    """Buffers by name, in the shape of the module.

    Attributes:
        before: what the run finds.
        after: what it has written, the names of `before` that it changes.
    """

    before: Mapping[str, torch.Tensor] = field(default_factory=dict[str, Any])
    after: dict[str, torch.Tensor] = field(default_factory=dict[str, Any])
    _handles: list[tuple[torch.Tensor, Attribute]] = field(
        default_factory=list[tuple["torch.Tensor", Attribute]], init=False, repr=False
    )

    def read(self, expression: Attribute) -> torch.Tensor:
        """The buffer that a symbol names, or a rearrangement of it, as the run finds it.

        Raises:
            CompileError: there is none of that name.
        """
        from plena.host.expressions import materialize

        value = materialize(expression, self.before).clone()
        self._handles.append((value, expression))
        return value

    def write(self, expression: Attribute, value: torch.Tensor) -> None:
        """The buffer that a symbol names, or a rearrangement of it, as the run leaves it."""
        from plena.host.expressions import moved_back

        (name,) = set(symbols_of(expression))
        self.after[name] = moved_back(expression, value, self.before[name]).clone()

    def replace(self, handle: torch.Tensor, value: torch.Tensor) -> None:
        """Writes the state that `handle` was read from, or is the last value of; `value` stands for it from now on."""
        expression = next(e for tensor, e in reversed(self._handles) if tensor is handle)
        self._handles.append((value, expression))
        self.write(expression, value)
