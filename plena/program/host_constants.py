"""The host values of a program in its folder: their graphs in the manifest, the constants they read in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.host.ports import Port
from plena.host.step import Array
from plena.host.values.codec import from_json, to_json
from plena.host.values.graph import DTYPES
from plena.host.values.program import HostProgram

ALIGNMENT = 8
"""Constants start at multiples of it in the file."""

ABSENT = (-1,)
"""The shape of what there is not."""

HINT = "Compile the program again."


def host_values_to_json(program: HostProgram) -> dict[str, Any]:
    """The graphs by symbol, and where the constants lie in the file."""
    constants: list[dict[str, Any]] = []
    offset = 0
    for symbol, array in _constants(program):
        entry = {"symbol": symbol, "dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        constants.append(entry)
        offset += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    return {
        "values": {name: to_json(value) for name, value in program.values.items()},
        "constants": constants,
    }


def host_constants(program: HostProgram) -> bytes:
    """The file of the constants; empty if there are none."""
    parts: list[bytes] = []
    for _, array in _constants(program):
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        parts.append(data + bytes(-len(data) % ALIGNMENT))
    return b"".join(parts)


def _constants(program: HostProgram) -> Iterable[tuple[str, Array]]:
    return ((symbol, program.constant(symbol)) for symbol in program.symbols)


def read_host_values(document: Mapping[str, Any], file: Path, where: str) -> HostProgram:
    """Inverse of the two functions above.

    Raises:
        PlenaError: a graph that is none, a constant that does not lie in the file.
    """
    data = file.read_bytes() if file.exists() else b""
    tensors: dict[str, Array] = {}
    for entry in document["constants"]:
        symbol, dtype, shape, offset = (entry[key] for key in ("symbol", "dtype", "shape", "offset"))
        if dtype not in DTYPES:
            raise PlenaError(f"constant {symbol} has the unknown type {dtype!r}", where, HINT)
        count = prod(shape)
        if offset + count * np.dtype(dtype).itemsize > len(data):
            raise PlenaError(f"constant {symbol} reaches beyond the end of {file.name}", where, HINT)
        little = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), count, offset)
        tensors[symbol] = little.astype(dtype).reshape(shape)
    values = {
        name: from_json(graph, f"{where}, host value {name}") for name, graph in document["values"].items()
    }
    return HostProgram(values, tensors)


def verify_host_values(
    program: HostProgram, inputs: Sequence[Port], placements: Iterable[TensorPlacement], where: str
) -> None:
    """Checks that graphs fit the inputs and constants that they read, and that placements name graphs.

    Raises:
        PlenaError: which does not.
    """
    for name, value in program.values.items():
        for node in value.nodes:
            found = _source(program, inputs, node.operation, node.named)
            if found is not None and found != node.shape:
                problem = "reads what there is not" if found == ABSENT else f"reads a tensor of {list(found)}"
                raise PlenaError(f"`{node}` of host value {name} {problem}", where, HINT)
    for placement in placements:
        if placement.source.symbol not in program.values:
            raise PlenaError(f"{placement.name} is {placement.source}, which there is not", where, HINT)


def _source(
    program: HostProgram, inputs: Sequence[Port], operation: str, settings: Mapping[str, Any]
) -> tuple[int, ...] | None:
    """The shape of what a node reads from outside, None if it reads nothing from there."""
    match operation:
        case "input":
            index = settings["index"]
            return inputs[index].shape if 0 <= index < len(inputs) else ABSENT
        case "constant":
            tensor = program.tensors.get(settings["symbol"])
            return ABSENT if tensor is None else tuple(tensor.shape)
        case _:
            return None
