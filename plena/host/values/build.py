"""Building host values as torch would: types of operands are promoted, negative dimensions counted from the end."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from plena.host.values.graph import HostValue, Setting
from plena.host.view import Permute, Slice

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def host_input(index: int, dtype: str, shape: Sequence[int]) -> HostValue:
    """Input number `index` of the program."""
    return HostValue.source("input", dtype, tuple(shape), index=index)


def host_constant(symbol: str, dtype: str, shape: Sequence[int]) -> HostValue:
    """A constant of the model by the name it has beside the module."""
    return HostValue.source("constant", dtype, tuple(shape), symbol=symbol)


def full(number: float, dtype: str, shape: Sequence[int] = ()) -> HostValue:
    """A tensor of one number."""
    value = float(number) if dtype.startswith("float") else int(number)
    return HostValue.source("full", dtype, tuple(shape), value=value)


def iota(count: int, dtype: str = "int64", start: float = 0, step: float = 1) -> HostValue:
    """start, start + step, ..."""
    return HostValue.source("iota", dtype, (count,), start=start, step=step)


def cast(value: HostValue, dtype: str) -> HostValue:
    """The elements as another type; booleans are whether they are not 0."""
    return value if value.dtype == dtype else HostValue.of("cast", (value,), dtype, value.shape)


def _category(dtype: str) -> int:
    return 0 if dtype == "bool" else 2 if dtype.startswith("float") else 1


def promoted(values: Sequence[HostValue]) -> str:
    """The type in which torch computes with values; those without dimensions count only by their kind."""
    tensors = [v.dtype for v in values if v.shape]
    numbers = [v.dtype for v in values if not v.shape]
    highest = max(map(_category, [*tensors, *numbers]))
    for group in (tensors, numbers):
        alike = [dtype for dtype in group if _category(dtype) == highest]
        if alike:
            found = alike[0]
            for dtype in alike[1:]:
                found = np.promote_types(found, dtype).name
            return found
    raise AssertionError(values)


def unary(operation: str, value: HostValue, dtype: str | None = None) -> HostValue:
    """A function of each element, computed in `dtype`."""
    value = cast(value, dtype or value.dtype)
    return HostValue.of(operation, (value,), value.dtype, value.shape)


def binary(operation: str, x: HostValue, y: HostValue, dtype: str | None = None) -> HostValue:
    """A function of pairs of elements that broadcast, computed in `dtype`; comparisons give booleans."""
    dtype = dtype or promoted((x, y))
    x, y = cast(x, dtype), cast(y, dtype)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return HostValue.of(operation, (x, y), "bool" if operation in COMPARISONS else dtype, shape)


def compared(predicate: str, value: HostValue, number: float) -> HostValue:
    """A comparison with a number, of integers as integers if the number is whole."""
    kind = "int64" if float(number).is_integer() and not value.dtype.startswith("float") else "float32"
    return binary(predicate, value, full(number, kind))


def bits(value: HostValue) -> HostValue:
    """Zeros and ones as truth values; nothing else is let through."""
    return HostValue.of("bits", (value,), "bool", value.shape)


def where(condition: HostValue, x: HostValue, y: HostValue, dtype: str | None = None) -> HostValue:
    """`x` where the condition is true, `y` elsewhere; all three broadcast."""
    dtype = dtype or promoted((x, y))
    operands = (cast(condition, "bool"), cast(x, dtype), cast(y, dtype))
    shape = np.broadcast_shapes(*(operand.shape for operand in operands))
    return HostValue.of("where", operands, dtype, shape)


def reshape(value: HostValue, shape: Sequence[int]) -> HostValue:
    """The elements in row-major order under another shape."""
    shape = tuple(shape)
    if value.shape == shape:
        return value
    if value.root.operation == "reshape":
        value = value.operand(0)
        if value.shape == shape:
            return value
    return HostValue.of("reshape", (value,), value.dtype, shape)


def permute(value: HostValue, dims: Sequence[int]) -> HostValue:
    """Dimension i of the result is dimension `dims[i]`."""
    dims = tuple(dims)
    if dims == tuple(range(len(dims))):
        return value
    shape = Permute(dims).result_shape(value.shape)
    return HostValue.of("permute", (value,), value.dtype, shape, dims=dims)


def expand(value: HostValue, shape: Sequence[int]) -> HostValue:
    """Dimensions of size 1 repeated, and new leading ones."""
    shape = tuple(shape)
    return value if value.shape == shape else HostValue.of("expand", (value,), value.dtype, shape)


def sliced(value: HostValue, dim: int, start: int, stop: int, step: int = 1) -> HostValue:
    """Elements start, start + step, ... before stop along `dim`."""
    dim %= len(value.shape)
    shape = Slice(dim, start, stop, step).result_shape(value.shape)
    settings: dict[str, Setting] = {"dim": dim, "start": start, "stop": stop, "step": step}
    return HostValue.of("slice", (value,), value.dtype, shape, **settings)


def concat(values: Sequence[HostValue], dim: int) -> HostValue:
    """Values one behind the other along `dim`, in their promoted type."""
    dtype = promoted(values)
    first = values[0].shape
    dim %= len(first)
    total = sum(value.shape[dim] for value in values)
    shape = (*first[:dim], total, *first[dim + 1 :])
    return HostValue.of("concat", tuple(cast(v, dtype) for v in values), dtype, shape, dim=dim)


def reduce(operation: str, value: HostValue, dims: Sequence[int], keepdim: bool) -> HostValue:
    """sum, prod, mean, max, min, any or all over dimensions."""
    rank = len(value.shape)
    axes = tuple(sorted(dim % rank for dim in dims))
    shape = tuple(1 if i in axes else n for i, n in enumerate(value.shape) if keepdim or i not in axes)
    dtype = "bool" if operation in ("any", "all") else value.dtype
    return HostValue.of(operation, (value,), dtype, shape, dims=axes, keepdim=int(keepdim))


def position_of(operation: str, value: HostValue, dim: int | None, keepdim: bool) -> HostValue:
    """argmax or argmin along a dimension, of all elements if it is None."""
    if dim is None:
        flat = reshape(value, (prod(value.shape),))
        found = position_of(operation, flat, 0, False)
        return reshape(found, (1,) * len(value.shape)) if keepdim else found
    dim %= len(value.shape)
    shape = tuple(1 if i == dim else n for i, n in enumerate(value.shape) if keepdim or i != dim)
    return HostValue.of(operation, (value,), "int64", shape, dim=dim, keepdim=int(keepdim))


def running(operation: str, value: HostValue, dim: int) -> HostValue:
    """cumsum or cumprod."""
    return HostValue.of(operation, (value,), value.dtype, value.shape, dim=dim % len(value.shape))


def matmul(x: HostValue, y: HostValue) -> HostValue:
    """Matrices or stacks of them, of one type."""
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return HostValue.of("matmul", (x, y), x.dtype, (*batch, x.shape[-2], y.shape[-1]))


def gather(value: HostValue, dim: int, index: HostValue) -> HostValue:
    """torch.gather."""
    return HostValue.of("gather", (value, index), value.dtype, index.shape, dim=dim % len(value.shape))


def index(value: HostValue, dims: Sequence[int], indices: Sequence[HostValue]) -> HostValue:
    """`value[..., i, ..., j, ...]` with index tensors that broadcast at dimensions `dims`."""
    together = np.broadcast_shapes(*(i.shape for i in indices))
    rest = [n for d, n in enumerate(value.shape) if d not in dims]
    adjacent = list(dims) == list(range(dims[0], dims[0] + len(dims)))
    at = dims[0] if adjacent else 0
    shape = (*rest[:at], *together, *rest[at:])
    return HostValue.of("index", (value, *indices), value.dtype, shape, dims=tuple(dims))
