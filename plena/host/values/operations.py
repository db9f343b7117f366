"""What the operations of host values compute: one table, on numpy arrays, with torch's meaning of each.

Integers are exact and wrap around at their width; division rounds as torch's does; real results are float32 (or
float64 where the model says so). An operation gets its operands and settings and raises `ValueError` for values it has
no result for, `StructureError` for operands and settings that never fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from plena.host.step import Array, Step
from plena.host.view import Expand, Permute, Reshape, Slice

Settings: TypeAlias = Mapping[str, Any]
Function: TypeAlias = Callable[..., Array]


class StructureError(ValueError):
    """Operands or settings that an operation never takes."""


@dataclass(frozen=True)
class Operation:
    """An operation of the language.

    Attributes:
        compute: `compute(settings, *operands)`; `dtype` and `shape` of the result are among the settings.
        operands: how many it takes; None for any number but none.
        settings: name -> "integer", "number", "word" or "integers".
        alike: whether the operands have one type of elements (all but the first of `where`).
    """

    compute: Function
    operands: int | None
    settings: Mapping[str, str]
    alike: bool = True


OPERATIONS: dict[str, Operation] = {}
"""Every operation by name; `input` and `constant` are what the evaluator gives."""


def operation(
    name: str, operands: int | None, *, alike: bool = True, **settings: str
) -> Callable[[Function], Function]:
    """Registers what an operation computes."""

    def register(function: Function) -> Function:
        OPERATIONS[name] = Operation(function, operands, settings, alike)
        return function

    return register


def _given(settings: Settings, *operands: Array) -> Array:
    raise StructureError("a source has no operands")


OPERATIONS["input"] = Operation(_given, 0, {"index": "integer"})
OPERATIONS["constant"] = Operation(_given, 0, {"symbol": "word"})


@operation("full", 0, value="number")
def _full(settings: Settings) -> Array:
    return np.full(settings["shape"], settings["value"], settings["dtype"])


@operation("iota", 0, start="number", step="number")
def _iota(settings: Settings) -> Array:
    count = np.arange(settings["shape"][0])
    return (settings["start"] + count * settings["step"]).astype(settings["dtype"])


# Elements.


def _checked(divide: Callable[[Array, Array], Array]) -> Function:
    """Division of integers, which has no result for 0."""

    def compute(settings: Settings, x: Array, y: Array) -> Array:
        if (
            x.dtype.kind != "f"
            and (zeros := np.argwhere(np.broadcast_to(y == 0, np.broadcast(x, y).shape))).size
        ):
            raise ValueError(f"integers are divided by zero at {zeros[0].tolist()}")
        return divide(x, y)

    return compute


def _truncated(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.trunc(x / y)
    quotient = np.floor_divide(x, y)
    inexact = (quotient * y != x) & ((x < 0) != (y < 0))
    return quotient + inexact.astype(x.dtype)


def _power(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.power(x, y)
    negative = y < 0
    whole = np.power(x, np.where(negative, 0, y).astype(x.dtype))
    alternating = np.where(y % 2 == 0, 1, x).astype(x.dtype)
    inverse = np.where(x == 1, 1, np.where(x == -1, alternating, 0)).astype(x.dtype)
    return np.where(negative, inverse, whole)


def _shifted(left: bool) -> Callable[[Array, Array], Array]:
    def shift(x: Array, y: Array) -> Array:
        bits = 8 * x.dtype.itemsize
        beyond = (y < 0) | (y >= bits)
        by = np.where(beyond, 0, y).astype(x.dtype)
        if left:
            return np.where(beyond, 0, np.left_shift(x, by)).astype(x.dtype)
        return np.where(beyond, np.where(x < 0, -1, 0).astype(x.dtype), np.right_shift(x, by)).astype(x.dtype)

    return shift


_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "pow": _power,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": _shifted(left=True),
    "shr": _shifted(left=False),
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "atan2": np.arctan2,
    "div": np.true_divide,
}

_DIVISIONS: dict[str, Callable[[Array, Array], Array]] = {
    "floor_div": np.floor_divide,
    "trunc_div": _truncated,
    "remainder": np.remainder,
    "fmod": np.fmod,
}


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _rounded(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Integers are whole already."""
    return lambda x: function(x) if x.dtype.kind == "f" else x


_UNARY: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "not": np.invert,
    "cos": np.cos,
    "sin": np.sin,
    "tan": np.tan,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "floor": _rounded(np.floor),
    "ceil": _rounded(np.ceil),
    "round": _rounded(np.round),
    "trunc": _rounded(np.trunc),
}


def _pair(function: Callable[[Array, Array], Array]) -> Function:
    return lambda settings, x, y: function(x, y)


def _single(function: Callable[[Array], Array]) -> Function:
    return lambda settings, x: function(x)


for _name, _function in _BINARY.items():
    operation(_name, 2)(_pair(_function))
for _name, _function in _DIVISIONS.items():
    operation(_name, 2)(_checked(_function))
for _name, _of_one in _UNARY.items():
    operation(_name, 1)(_single(_of_one))


@operation("cast", 1)
def _cast(settings: Settings, x: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        return (x != 0) if settings["dtype"] == "bool" else x.astype(settings["dtype"])


@operation("where", 3, alike=False)
def _where(settings: Settings, condition: Array, x: Array, y: Array) -> Array:
    if condition.dtype != np.bool_ or x.dtype != y.dtype:
        raise StructureError(f"chooses by {condition.dtype} between {x.dtype} and {y.dtype}")
    return np.where(condition, x, y)


@operation("bits", 1)
def _bits(settings: Settings, x: Array) -> Array:
    """Zeros and ones as truth values; nothing else is let through."""
    wrong = np.argwhere((x != 0) & (x != 1))
    if wrong.size:
        at = tuple(int(n) for n in wrong[0])
        raise ValueError(f"{x[at]} at {list(at)} is no element of a mask of zeros and ones")
    return x != 0


@operation("finite", 1)
def _finite(settings: Settings, x: Array) -> Array:
    """Numbers as they are; infinities and NaN are not let through."""
    wrong = np.argwhere(~np.isfinite(x))
    if wrong.size:
        at = tuple(int(n) for n in wrong[0])
        raise ValueError(f"{x[at]} at {list(at)} is not finite, as of a division by zero")
    return x


# Movement.


def _moving(name: str, operands: int | None = 1, **settings: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        def compute(given: Settings, *arrays: Array) -> Array:
            try:
                return function(given, *arrays)
            except (ValueError, IndexError, TypeError) as error:
                raise StructureError(str(error)) from None

        OPERATIONS[name] = Operation(compute, operands, settings)
        return function

    return register


def _step(name: str, of: Callable[[Settings], Step], **settings: str) -> None:
    """What a step of a view does (plena.host.view)."""

    def move(given: Settings, x: Array) -> Array:
        moved = of(given)
        moved.result_shape(x.shape)
        return moved.apply(x)

    _moving(name, 1, **settings)(move)


_step("reshape", lambda given: Reshape(given["shape"]))
_step("permute", lambda given: Permute(given["dims"]), dims="integers")
_step("expand", lambda given: Expand(given["shape"]))
_step(
    "slice",
    lambda given: Slice(given["dim"], given["start"], given["stop"], given["step"]),
    dim="integer",
    start="integer",
    stop="integer",
    step="integer",
)


@_moving("pad", dim="integer", before="integer", after="integer", value="number")
def _pad(settings: Settings, x: Array) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[settings["dim"]] = (settings["before"], settings["after"])
    return np.pad(x, widths, constant_values=settings["value"])


@_moving("flip", dims="integers")
def _flip(settings: Settings, x: Array) -> Array:
    return np.flip(x, settings["dims"])


@_moving("concat", None, dim="integer")
def _concat(settings: Settings, *arrays: Array) -> Array:
    return np.concatenate(arrays, settings["dim"])


def _triangle(keep: Callable[[Array, int], Array]) -> Function:
    def compute(settings: Settings, x: Array) -> Array:
        if x.ndim < 2:
            raise StructureError(f"{list(x.shape)} has no last two dimensions")
        return keep(x, settings["diagonal"])

    return compute


operation("tril", 1, diagonal="integer")(_triangle(np.tril))
operation("triu", 1, diagonal="integer")(_triangle(np.triu))


# Along dimensions.


def _along(reduce: Callable[..., Array]) -> Function:
    def compute(settings: Settings, x: Array) -> Array:
        dims = tuple(settings["dims"])
        if any(not 0 <= dim < x.ndim for dim in dims):
            raise StructureError(f"{list(dims)} are no dimensions of {list(x.shape)}")
        return np.asarray(reduce(x, dims, bool(settings["keepdim"])))

    return compute


_REDUCTIONS: dict[str, Callable[[Array, tuple[int, ...], bool], Array]] = {
    "sum": lambda x, dims, keep: np.sum(x, dims, x.dtype, keepdims=keep),
    "prod": lambda x, dims, keep: np.prod(x, dims, x.dtype, keepdims=keep),
    "mean": lambda x, dims, keep: np.mean(x, dims, x.dtype, keepdims=keep),
    "max": lambda x, dims, keep: np.max(x, dims, keepdims=keep),
    "min": lambda x, dims, keep: np.min(x, dims, keepdims=keep),
    "any": lambda x, dims, keep: np.any(x, dims, keepdims=keep),
    "all": lambda x, dims, keep: np.all(x, dims, keepdims=keep),
}
for _name, _reduction in _REDUCTIONS.items():
    operation(_name, 1, dims="integers", keepdim="integer")(_along(_reduction))


def _dimension(settings: Settings, x: Array) -> int:
    dim = settings["dim"]
    if not 0 <= dim < x.ndim:
        raise StructureError(f"{dim} is no dimension of {list(x.shape)}")
    return int(dim)


@operation("argmax", 1, dim="integer", keepdim="integer")
def _argmax(settings: Settings, x: Array) -> Array:
    return np.argmax(x, _dimension(settings, x), keepdims=bool(settings["keepdim"])).astype(np.int64)


@operation("argmin", 1, dim="integer", keepdim="integer")
def _argmin(settings: Settings, x: Array) -> Array:
    return np.argmin(x, _dimension(settings, x), keepdims=bool(settings["keepdim"])).astype(np.int64)


@operation("cumsum", 1, dim="integer")
def _cumsum(settings: Settings, x: Array) -> Array:
    return np.cumsum(x, _dimension(settings, x), x.dtype)


@operation("cumprod", 1, dim="integer")
def _cumprod(settings: Settings, x: Array) -> Array:
    return np.cumprod(x, _dimension(settings, x), x.dtype)


@operation("matmul", 2)
def _matmul(settings: Settings, x: Array, y: Array) -> Array:
    try:
        return np.matmul(x, y)
    except ValueError as error:
        raise StructureError(str(error)) from None


# Lookup by number.


def _require_inside(index: Array, size: int, what: str, low: int = 0) -> None:
    if index.dtype.kind not in "iu":
        raise StructureError(f"{what} by {index.dtype}")
    outside = np.argwhere((index < low) | (index >= size))
    if outside.size:
        at = tuple(int(n) for n in outside[0])
        raise ValueError(
            f"{index[at]} at {list(at)} is out of range: {what} has {size}, from {low} to {size - 1}"
        )


@operation("gather", 2, alike=False, dim="integer")
def _gather(settings: Settings, x: Array, index: Array) -> Array:
    """x[index along dim, other places as in index]."""
    dim = _dimension(settings, x)
    fits = index.ndim == x.ndim and all(
        i <= n for d, (i, n) in enumerate(zip(index.shape, x.shape, strict=True)) if d != dim
    )
    if not fits:
        raise StructureError(f"{list(index.shape)} does not index {list(x.shape)} along {dim}")
    _require_inside(index, x.shape[dim], f"dimension {dim} of {list(x.shape)}")
    cut = x[tuple(slice(None) if d == dim else slice(0, n) for d, n in enumerate(index.shape))]
    return np.take_along_axis(cut, index.astype(np.int64), dim)


@operation("index", None, alike=False, dims="integers")
def _index(settings: Settings, x: Array, *indices: Array) -> Array:
    """x with dimensions `dims` indexed by tensors that broadcast, as numpy and torch do."""
    dims = settings["dims"]
    if len(dims) != len(indices) or any(not 0 <= dim < x.ndim for dim in dims):
        raise StructureError(
            f"{len(indices)} tensors do not index dimensions {list(dims)} of {list(x.shape)}"
        )
    key: list[Any] = [slice(None)] * x.ndim
    for dim, index in zip(dims, indices, strict=True):
        _require_inside(index, x.shape[dim], f"dimension {dim} of {list(x.shape)}", -x.shape[dim])
        key[dim] = index.astype(np.int64)
    try:
        return x[tuple(key)]
    except IndexError as error:
        raise StructureError(str(error)) from None


@operation("one_hot", 1, classes="integer")
def _one_hot(settings: Settings, x: Array) -> Array:
    classes = settings["classes"]
    _require_inside(x, classes, "one_hot")
    return (x[..., None] == np.arange(classes)).astype(np.int64)


def size_of(name: str, settings: Settings, arrays: Sequence[Array]) -> int | None:
    """Elements of the result of what makes more of them than it gets, told before they are made; else None.

    Raises:
        StructureError: shapes do not broadcast.
    """
    shapes = [array.shape for array in arrays]
    try:
        match name:
            case "pad":
                dim = _dimension(settings, arrays[0])
                widened = shapes[0][dim] + settings["before"] + settings["after"]
                return prod(widened if d == dim else n for d, n in enumerate(shapes[0]))
            case "one_hot":
                return int(arrays[0].size * settings["classes"])
            case "concat":
                return sum(array.size for array in arrays)
            case "matmul":
                batch = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
                return prod((*batch, *shapes[0][-2:-1], *(shapes[1][-1:] if len(shapes[1]) > 1 else ())))
            case "index":
                rest = prod(n for d, n in enumerate(shapes[0]) if d not in settings["dims"])
                return prod(np.broadcast_shapes(*shapes[1:])) * rest
            case "gather":
                return arrays[1].size
            case _ if len(arrays) > 1:
                return prod(np.broadcast_shapes(*shapes))
            case _:
                return None
    except ValueError as error:
        raise StructureError(str(error)) from None


def operands_of(name: str, arrays: Sequence[Array]) -> None:
    """Checks number and types of the operands of an operation.

    Raises:
        StructureError: they do not fit.
    """
    known = OPERATIONS[name]
    if (len(arrays) != known.operands) if known.operands is not None else not arrays:
        raise StructureError(f"{len(arrays)} operands instead of {known.operands or 'some'}")
    if known.alike and len({array.dtype for array in arrays}) > 1:
        raise StructureError(f"operands of {', '.join(str(array.dtype) for array in arrays)}")
