"""The place in the user's model that an op comes from, for error messages."""

from __future__ import annotations

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from plena.dialects.provenance import MODULE_ATTRIBUTE, SOURCE_ATTRIBUTE


def describe(op: Operation) -> str | None:
    """`file:line (module.path)` of an op, whichever of it is known."""
    source, module = op.attributes.get(SOURCE_ATTRIBUTE), op.attributes.get(MODULE_ATTRIBUTE)
    parts = [source.data] if isinstance(source, StringAttr) else []
    if isinstance(module, StringAttr):
        parts.append(f"({module.data})" if parts else module.data)
    return " ".join(parts) or None
