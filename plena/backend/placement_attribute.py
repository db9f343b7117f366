"""Placements in the IR: the dictionary that a `tile.buffer` carries, in the form of `TensorPlacement.to_json`."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, IntegerAttr, StringAttr, f64, i64
from xdsl.ir import Attribute

from plena.backend.layout import TensorPlacement
from plena.errors import PlenaError

ROLE = "role"
"""Key of the dictionary that repeats the kind of the source: "input", "output", "data" or "scratch"."""


def to_attribute(placement: TensorPlacement) -> DictionaryAttr:
    """The dictionary of a placement; the buffer's own address counts, so it has none."""
    document = placement.at(0).to_json()
    del document["address"]
    return DictionaryAttr(
        {ROLE: StringAttr(placement.source.kind), **{key: _attribute(v) for key, v in document.items()}}
    )


def from_attribute(
    attribute: DictionaryAttr, address: int, scale_offset: int = 0, base: int = 0
) -> TensorPlacement:
    """The placement that a dictionary describes, at a buffer's address.

    Raises:
        PlenaError: not such a dictionary.
    """
    document = {key: _value(value) for key, value in attribute.data.items() if key != ROLE}
    return TensorPlacement.from_json({**document, "address": address}).at(address, scale_offset, base)


def _attribute(value: Any) -> Attribute:
    match value:
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, f64)
        case str():
            return StringAttr(value)
        case list():
            return ArrayAttr([_attribute(entry) for entry in value])
        case dict():
            return DictionaryAttr({str(key): _attribute(entry) for key, entry in value.items()})
        case _:
            raise TypeError(f"no attribute for {value!r}")


def _value(attribute: Attribute) -> Any:
    match attribute:
        case IntegerAttr():
            return attribute.value.data
        case FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case ArrayAttr():
            return [_value(entry) for entry in attribute.data]
        case DictionaryAttr():
            return {key: _value(entry) for key, entry in attribute.data.items()}
        case _:
            raise PlenaError(f"unexpected attribute {attribute}", "placement of a buffer")
