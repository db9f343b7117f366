"""A module with its example call, imported: what every compilation of it begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plena.frontend import ImportedProgram


@dataclass(frozen=True)
class ImportedCall:
    """A module with its example call, imported: what does not hang on the machine."""

    module: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    imported: ImportedProgram

    @staticmethod
    def of(
        module: Any, example_inputs: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> ImportedCall:
        """Exports and imports a module; arguments as of `compile`.

        Raises:
            PlenaError: it cannot be exported, or has an operator that is not known.
        """
        from plena.frontend import import_module
        from plena.host.call_inputs import example_call

        args, keywords = example_call(module, example_inputs, kwargs)
        return ImportedCall(module, args, keywords, import_module(module, args, keywords))

    @cached_property
    def text_digest(self) -> str:
        """A digest of the imported module as text: what passes see of it, folded constants among it."""
        return hashlib.sha256(str(self.imported.module).encode()).hexdigest()

    def fresh(self) -> ImportedProgram:
        """The imported program with a module of its own, for passes to change."""
        return replace(self.imported, module=self.imported.module.clone())
