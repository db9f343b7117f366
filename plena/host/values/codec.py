"""Host values as plain data, and back with every check that keeps a manifest from doing harm."""

from __future__ import annotations

from math import prod
from typing import Any, cast

from plena.errors import PlenaError
from plena.host.values.evaluation import verify_types
from plena.host.values.graph import DTYPES, HostValue, Node, Setting
from plena.host.values.operations import OPERATIONS

LARGEST = 1 << 28
"""Elements that a tensor of a saved graph may have."""


def to_json(value: HostValue) -> list[Any]:
    """A list of ``[operation, operands, settings, dtype, shape]``, operands by their places in it."""
    return [
        [
            node.operation,
            list(node.operands),
            {name: list(s) if isinstance(s, tuple) else s for name, s in node.settings},
            node.dtype,
            list(node.shape),
        ]
        for node in value.nodes
    ]


def from_json(document: object, where: str) -> HostValue:
    """Inverse of ``to_json``.

    Raises:
        PlenaError: an unknown operation or type, settings that do not fit, an operand that does not come before,
            shapes that are not what the operations give.
    """
    if not isinstance(document, list) or not document:
        raise PlenaError("a host value must be a list of operations", where)
    nodes: list[Node] = []
    for number, entry in enumerate(cast("list[object]", document)):
        nodes.append(_node(entry, number, f"{where}, operation {number}"))
    value = HostValue(tuple(nodes))
    try:
        verify_types(value)
    except PlenaError as error:
        raise PlenaError(error.what, where, "Compile the program again.") from None
    return value


def _node(entry: object, number: int, where: str) -> Node:
    match entry:
        case [str(name), [*operands], dict() as settings, str(dtype), [*shape]]:
            pass
        case _:
            raise PlenaError("needs a name, operands, settings, a type and a shape", where)
    known = OPERATIONS.get(name)
    if known is None:
        raise PlenaError(f"unknown operation {name!r}", where)
    if dtype not in DTYPES:
        raise PlenaError(f"unknown type {dtype!r}", where)
    if not all(_is_whole(n) and 0 <= n < number for n in operands):
        raise PlenaError(f"operands {operands} do not come before it", where)
    if not all(_is_whole(n) and n >= 0 for n in shape) or prod(shape) > LARGEST:
        raise PlenaError(f"{shape} is no shape", where)
    if set(settings) != set(known.settings):
        raise PlenaError(
            f"`{name}` takes {', '.join(known.settings) or 'no settings'}, not {', '.join(settings)}", where
        )
    read = {key: _setting(settings[key], kind, f"{where}, {key}") for key, kind in known.settings.items()}
    return Node(name, tuple(operands), tuple(sorted(read.items())), dtype, tuple(shape))


def _setting(value: object, kind: str, where: str) -> Setting:
    match kind, value:
        case "integer", int() if _is_whole(value):
            return value
        case "number", int() | float():
            return value
        case "word", str():
            return value
        case "integers", [*numbers] if all(_is_whole(n) for n in numbers):
            return tuple(numbers)
        case _:
            raise PlenaError(f"must be {kind}, not {value!r}", where)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
