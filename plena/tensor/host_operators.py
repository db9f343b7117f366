"""Operators that have no op of their own and that the host computes: one entry per overload.

An entry takes the operator's arguments in the order of its schema, those that are tensors as host values, and the type
of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from plena.host.values import build
from plena.host.values.graph import HostValue


@dataclass(frozen=True)
class Call:
    """A call of an operator: its arguments, and what it returns."""

    arguments: Sequence[Any]
    dtype: str
    shape: tuple[int, ...]
    result: int = 0
    """Which of several results is wanted."""

    def value(self, number: int) -> HostValue:
        """A tensor argument; a number is one without dimensions."""
        given = self.arguments[number]
        if isinstance(given, HostValue):
            return given
        return build.full(
            given, "bool" if isinstance(given, bool) else "int64" if isinstance(given, int) else "float32"
        )

    def other(self, number: int, otherwise: Any = None) -> Any:
        """An argument that is no tensor, or a default where it is absent."""
        given = self.arguments[number] if number < len(self.arguments) else None
        return otherwise if given is None else given


Entry: TypeAlias = Callable[[Call], HostValue]


def _unary(operation: str) -> Entry:
    """A function of real numbers, or of numbers that keep their type."""
    return lambda call: build.unary(operation, call.value(0), call.dtype)


def _binary(operation: str) -> Entry:
    return lambda call: build.binary(operation, call.value(0), call.value(1), call.dtype)


def _truth(operation: str) -> Entry:
    def entry(call: Call) -> HostValue:
        x, y = (build.cast(call.value(n), "bool") for n in (0, 1))
        return build.binary(operation, x, y)

    return entry


def _divided(call: Call) -> HostValue:
    mode = call.other(2)
    operation = {"floor": "floor_div", "trunc": "trunc_div", None: "div"}[mode]
    return build.binary(operation, call.value(0), call.value(1), call.dtype)


def _running(operation: str) -> Entry:
    return lambda call: build.running(operation, build.cast(call.value(0), call.dtype), call.other(1))


def _position(operation: str) -> Entry:
    def entry(call: Call) -> HostValue:
        return build.position_of(operation, call.value(0), call.other(1), bool(call.other(2, False)))

    return entry


def _reduced(operation: str, dims: int | None, keepdim: int, *, through: str | None = None) -> Entry:
    """A reduction; `dims` and `keepdim` are places of arguments, `through` a type that the elements get before."""

    def entry(call: Call) -> HostValue:
        x = call.value(0)
        given = None if dims is None else call.other(dims)
        axes = [given] if isinstance(given, int) else given or list(range(len(x.shape)))
        keep = bool(call.other(keepdim, False)) if dims is not None else False
        return build.reduce(operation, build.cast(x, through or call.dtype), axes, keep)

    return entry


def _extreme_along(operation: str, position: str) -> Entry:
    """max or min along a dimension: the values and where they are."""

    def entry(call: Call) -> HostValue:
        x, dim, keep = call.value(0), int(call.other(1)), bool(call.other(2, False))
        if call.result == 1:
            return build.position_of(position, x, dim, keep)
        return build.reduce(operation, x, (dim,), keep)

    return entry


def _clamped(lower: int | None, upper: int | None) -> Entry:
    def entry(call: Call) -> HostValue:
        value = build.cast(call.value(0), call.dtype)
        for operation, place in (("maximum", lower), ("minimum", upper)):
            if place is not None and call.other(place) is not None:
                value = build.binary(operation, value, call.value(place), call.dtype)
        return value

    return entry


def _index(call: Call) -> HostValue:
    """x[i, :, j]: index tensors that broadcast; masks pick a number of elements that depends on values, they do not."""
    value = call.value(0)
    dims = [dim for dim, given in enumerate(call.arguments[1]) if isinstance(given, HostValue)]
    indices = [call.arguments[1][dim] for dim in dims]
    if any(index.dtype == "bool" for index in indices):
        raise NotImplementedError
    return build.index(value, dims, indices)


def _index_select(call: Call) -> HostValue:
    value, dim = call.value(0), call.other(1)
    return build.index(value, [dim % len(value.shape)], [call.value(2)])


def _take_along(call: Call) -> HostValue:
    value, index, dim = call.value(0), call.value(1), call.other(2)
    if dim is None:
        value, dim = build.reshape(value, (prod(value.shape),)), 0
    dim %= len(value.shape)
    shape = np.broadcast_shapes(*((*v.shape[:dim], 1, *v.shape[dim + 1 :]) for v in (value, index)))
    value, index = (build.expand(v, (*shape[:dim], v.shape[dim], *shape[dim + 1 :])) for v in (value, index))
    return build.gather(value, dim, index)


def _embedding(call: Call) -> HostValue:
    return build.index(call.value(0), [0], [call.value(1)])


def _one_hot(call: Call) -> HostValue:
    value = call.value(0)
    return HostValue.of("one_hot", (value,), "int64", call.shape, classes=call.shape[-1])


def _triangle(operation: str) -> Entry:
    def entry(call: Call) -> HostValue:
        value = call.value(0)
        return HostValue.of(operation, (value,), value.dtype, value.shape, diagonal=int(call.other(1, 0)))

    return entry


def _flip(call: Call) -> HostValue:
    value = call.value(0)
    dims = tuple(dim % len(value.shape) for dim in call.other(1))
    return HostValue.of("flip", (value,), value.dtype, value.shape, dims=dims)


def _roll(call: Call) -> HostValue:
    value = call.value(0)
    shifts, dims = call.other(1), call.other(2)
    shape = value.shape
    if not dims:
        value, dims = build.reshape(value, (prod(shape),)), [0]
    for shift, dim in zip(shifts, dims, strict=True):
        size = value.shape[dim]
        cut = -shift % size
        if cut:
            parts = [build.sliced(value, dim, cut, size), build.sliced(value, dim, 0, cut)]
            value = build.concat(parts, dim)
    return build.reshape(value, shape)


_REAL = (
    *(
        "cos",
        "sin",
        "tan",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log1p",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "tanh",
    ),
    *("sigmoid", "floor", "ceil", "round", "trunc", "neg", "abs", "sign"),
)

OPERATORS: dict[str, Entry] = {
    **{f"aten.{name}.default": _unary(name) for name in _REAL},
    **{f"aten.cum{kind}.default": _running(f"cum{kind}") for kind in ("sum", "prod")},
    **{f"aten.{name}.default": _position(name) for name in ("argmax", "argmin")},
    **{f"aten.remainder.{kind}": _binary("remainder") for kind in ("Tensor", "Scalar")},
    **{f"aten.fmod.{kind}": _binary("fmod") for kind in ("Tensor", "Scalar")},
    **{f"aten.div.{kind}": _divided for kind in ("Tensor_mode", "Scalar_mode")},
    "aten.floor_divide.default": _binary("floor_div"),
    "aten.floor_divide.Scalar": _binary("floor_div"),
    "aten.pow.Scalar": _binary("pow"),
    **{
        f"aten.bitwise_{name}.{kind}": _binary(name)
        for name in ("and", "or", "xor")
        for kind in ("Tensor", "Scalar")
    },
    **{
        f"aten.__{name}__.{kind}": _binary(name)
        for name in ("and", "or", "xor")
        for kind in ("Tensor", "Scalar")
    },
    **{f"aten.bitwise_left_shift.{kind}": _binary("shl") for kind in ("Tensor", "Tensor_Scalar")},
    **{f"aten.bitwise_right_shift.{kind}": _binary("shr") for kind in ("Tensor", "Tensor_Scalar")},
    **{f"aten.__lshift__.{kind}": _binary("shl") for kind in ("Tensor", "Scalar")},
    **{f"aten.__rshift__.{kind}": _binary("shr") for kind in ("Tensor", "Scalar")},
    "aten.bitwise_not.default": _unary("not"),
    "aten.logical_xor.default": _truth("xor"),
    "aten.logical_or.default": _truth("or"),
    "aten.minimum.default": _binary("minimum"),
    "aten.maximum.default": _binary("maximum"),
    "aten.clamp.default": _clamped(1, 2),
    "aten.clamp.Tensor": _clamped(1, 2),
    "aten.clamp_min.default": _clamped(1, None),
    "aten.clamp_max.default": _clamped(None, 1),
    "aten.any.default": _reduced("any", None, 0, through="bool"),
    "aten.any.dim": _reduced("any", 1, 2, through="bool"),
    "aten.any.dims": _reduced("any", 1, 2, through="bool"),
    "aten.all.default": _reduced("all", None, 0, through="bool"),
    "aten.all.dim": _reduced("all", 1, 2, through="bool"),
    "aten.all.dims": _reduced("all", 1, 2, through="bool"),
    "aten.amin.default": _reduced("min", 1, 2),
    "aten.amax.default": _reduced("max", 1, 2),
    "aten.min.default": _reduced("min", None, 0),
    "aten.max.default": _reduced("max", None, 0),
    "aten.prod.default": _reduced("prod", None, 0),
    "aten.prod.dim_int": _reduced("prod", 1, 2),
    "aten.max.dim": _extreme_along("max", "argmax"),
    "aten.min.dim": _extreme_along("min", "argmin"),
    "aten.gather.default": lambda call: build.gather(call.value(0), call.other(1), call.value(2)),
    "aten.take_along_dim.default": _take_along,
    "aten.index.Tensor": _index,
    "aten.index_select.default": _index_select,
    "aten.embedding.default": _embedding,
    "aten.one_hot.default": _one_hot,
    "aten.tril.default": _triangle("tril"),
    "aten.triu.default": _triangle("triu"),
    "aten.flip.default": _flip,
    "aten.roll.default": _roll,
}
"""What the host makes of operators, by overload."""


__all__ = ["OPERATORS", "Call", "Entry"]
