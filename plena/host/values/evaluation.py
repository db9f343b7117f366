"""Evaluation of host values on numpy arrays, and the check of a graph that came from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from plena.errors import PlenaError
from plena.host.step import Array
from plena.host.values.graph import HostValue, Node
from plena.host.values.operations import OPERATIONS, StructureError, operands_of, size_of

HINT = "Give the program other numbers, or clamp them in the model."


def evaluate(
    value: HostValue,
    inputs: Sequence[Array] | Mapping[int, Array],
    constant: Callable[[str], Array],
    names: Sequence[str] = (),
) -> Array:
    """The tensor that a value is.

    Args:
        inputs: by number, of whatever width; they become what the graph says.
        constant: the array of a symbol.
        names: of the inputs, for messages.

    Raises:
        PlenaError: numbers for which an operation has no result (an index beyond its table, a division by zero): the
            operation, the number and its place, and the inputs that it was computed of.
    """
    arrays: list[Array] = []
    for number, node in enumerate(value.nodes):
        operands = [arrays[n] for n in node.operands]
        try:
            arrays.append(_computed(node, operands, inputs, constant))
        except StructureError as error:
            raise PlenaError(f"`{node}` of host value %{number}: {error}", "host values") from None
        except ValueError as error:
            origin = sorted(value.part(number).inputs)
            given = ", ".join(names[n] if n < len(names) else f"input {n}" for n in origin) or "constants"
            raise PlenaError(
                f"`{node.operation}` of what is computed of {given}: {error}", f"staging {given}", HINT
            ) from None
    return arrays[-1]


def _computed(
    node: Node,
    operands: Sequence[Array],
    inputs: Sequence[Array] | Mapping[int, Array],
    constant: Callable[[str], Array],
) -> Array:
    settings = {**node.named, "dtype": node.dtype, "shape": node.shape}
    match node.operation:
        case "input":
            array = np.asarray(inputs[int(str(settings["index"]))]).astype(node.dtype, copy=False)
        case "constant":
            array = np.asarray(constant(str(settings["symbol"]))).astype(node.dtype, copy=False)
        case name:
            operands_of(name, operands)
            if size_of(name, settings, operands) not in (None, prod(node.shape)):
                raise StructureError("it gives another number of elements")
            with np.errstate(all="ignore"):
                array = np.asarray(OPERATIONS[name].compute(settings, *operands))
    if array.shape != node.shape or array.dtype.name != node.dtype:
        raise StructureError(f"it gives {array.dtype}{list(array.shape)}")
    return array


def _no_constant(symbol: str) -> Array:
    raise AssertionError(symbol)


def verify_types(value: HostValue) -> None:
    """Checks that every node gives what it says, by evaluating on zeros; numbers out of range are no fault of a graph.

    Raises:
        PlenaError: naming the node.
    """
    arrays: list[Array] = []
    for number, node in enumerate(value.nodes):
        zeros = np.zeros(node.shape, node.dtype)
        try:
            if node.operation not in ("input", "constant"):
                _computed(node, [arrays[n] for n in node.operands], (), _no_constant)
        except StructureError as error:
            raise PlenaError(f"`{node}` of host value %{number}: {error}", "host values") from None
        except ValueError:
            pass  # Zeros are out of range where nothing else is wrong: division by zero, an empty table.
        arrays.append(zeros)
