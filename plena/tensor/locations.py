"""The place in the user's model that an op comes from, for error messages."""

from __future__ import annotations

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation


def describe(op: Operation) -> str | None:
    """`file:line (module.path)` of an op, whichever of it is known."""
    source, module = op.attributes.get("plena.source"), op.attributes.get("plena.module")
    parts = [source.data] if isinstance(source, StringAttr) else []
    if isinstance(module, StringAttr):
        parts.append(f"({module.data})" if parts else module.data)
    return " ".join(parts) or None
