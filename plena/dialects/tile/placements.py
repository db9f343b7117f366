"""Placements of buffers as attributes: plain data (see backend/layout.py) in IR and back."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, IntegerAttr, StringAttr, f64, i64
from xdsl.ir import Attribute


def to_attribute(data: Any) -> Any:
    """Dictionaries, lists, strings, integers and floats as builtin attributes."""
    match data:
        case dict():
            return DictionaryAttr({key: to_attribute(value) for key, value in data.items()})
        case list():
            return ArrayAttr([to_attribute(value) for value in data])
        case str():
            return StringAttr(data)
        case int():
            return IntegerAttr(data, i64)
        case float():
            return FloatAttr(data, f64)
        case _:
            raise TypeError(f"no attribute for {data!r}")


def from_attribute(attribute: Attribute) -> Any:
    """Inverse of `to_attribute`."""
    match attribute:
        case DictionaryAttr():
            return {key: from_attribute(value) for key, value in attribute.data.items()}
        case ArrayAttr():
            return [from_attribute(value) for value in attribute.data]
        case StringAttr():
            return attribute.data
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case _:
            raise TypeError(f"{attribute} is not plain data")


def source_kind(placement: DictionaryAttr) -> str:
    """One of input, output, data and scratch."""
    source = from_attribute(placement.data["source"])
    return source if isinstance(source, str) else next(iter(source))


def format_key(placement: DictionaryAttr) -> str:
    """The key of the number format in the target's settings, or the name of a scalar format."""
    return from_attribute(placement.data["format"])
