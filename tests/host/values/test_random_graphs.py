"""Random graphs compute what torch computes, before and after a round trip through JSON."""

import json
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plena.host.values import build, codec
from plena.host.values.bounds import bounds_of
from plena.host.values.evaluation import evaluate
from plena.host.values.graph import HostValue
from plena.host.values.operations import OPERATIONS

Pair = tuple[HostValue, torch.Tensor]

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
ARITHMETIC: dict[str, Callable[..., torch.Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
}
BITWISE = {"and": torch.bitwise_and, "or": torch.bitwise_or, "xor": torch.bitwise_xor}
SHIFTS = {"shl": torch.bitwise_left_shift, "shr": torch.bitwise_right_shift}
DIVISIONS: dict[str, Callable[..., torch.Tensor]] = {
    "floor_div": torch.floor_divide,
    "trunc_div": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "remainder": torch.remainder,
    "fmod": torch.fmod,
}
COMPARISONS = {name: getattr(operator, name) for name in build.COMPARISONS}
WHOLE = {"floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc}
REAL = {"cos": torch.cos, "sin": torch.sin, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "exp": torch.exp}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Pair, list[torch.Tensor]]:
    """A value, what torch computes for it, and the inputs; operations draw operands from all values so far."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    inputs: list[torch.Tensor] = []
    known: list[Pair] = []
    for number in range(draw(st.integers(1, 2))):
        dtype = draw(st.sampled_from(("bool", *INTEGERS)))
        info = torch.iinfo(getattr(torch, dtype)) if dtype != "bool" else None
        low, high = (0, 1) if info is None else (info.min, info.max)
        numbers = st.integers(low, high) if draw(st.booleans()) else st.integers(max(low, -9), min(high, 9))
        flat = draw(st.lists(numbers, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        tensor = torch.tensor(flat, dtype=getattr(torch, dtype)).reshape(shape)
        inputs.append(tensor)
        known.append((build.host_input(number, dtype, shape), tensor))
    for _ in range(draw(st.integers(1, 8))):
        known.append(draw(_steps(known)))
    return known[-1], inputs


@st.composite
def _steps(draw: st.DrawFn, known: list[Pair]) -> Pair:
    value, tensor = draw(st.sampled_from(known))
    if tensor.dtype == torch.bool and draw(st.booleans()):
        return _logic(draw, known, value, tensor)
    kind = draw(
        st.sampled_from(
            ["binary", "compare", "choose", "cast", "move", "reduce", "running", "lookup", "real"]
        )
    )
    dim = draw(st.integers(0, max(tensor.ndim - 1, 0)))
    match kind:
        case "binary" | "compare":
            other, second = _partner(draw, known, tensor)
            return _binary(draw, kind, (value, tensor), (other, second))
        case "choose":
            other, second = _partner(draw, known, tensor)
            condition = build.binary("gt", value, build.full(1, "int64"))
            x, y = build.where(condition, value, other), torch.where(tensor > 1, tensor, second)
            return x, y
        case "cast" if not tensor.is_floating_point():
            dtype = draw(st.sampled_from(("bool", *INTEGERS, "float32", "float64")))
            return build.cast(value, dtype), tensor.to(getattr(torch, dtype))
        case "move" if tensor.ndim:
            return _moved(draw, value, tensor, dim)
        case "reduce" if tensor.ndim and not tensor.is_floating_point():
            return _reduced(draw, value, tensor, dim)
        case "running" if tensor.ndim and not tensor.is_floating_point():
            name = draw(st.sampled_from(["cumsum", "cumprod"]))
            return build.running(name, build.cast(value, "int64"), dim), getattr(torch, name)(tensor, dim)
        case "lookup" if tensor.ndim:
            return _looked_up(draw, value, tensor, dim)
        case "real" if not tensor.is_floating_point():
            small = torch.remainder(tensor.to(torch.int64), 50)
            whole = build.binary("remainder", build.cast(value, "int64"), build.full(50, "int64"))
            name = draw(st.sampled_from(sorted(REAL)))
            return build.unary(name, whole, "float32"), REAL[name](small)
        case _:
            return build.binary("mul", value, value), tensor * tensor


def _partner(draw: st.DrawFn, known: list[Pair], tensor: torch.Tensor) -> Pair:
    """An operand that broadcasts with a tensor; a number of its kind if none does."""
    fitting = [(v, t) for v, t in known if t.shape == tensor.shape or t.ndim == 0]
    chosen = draw(st.sampled_from(fitting)) if fitting else None
    if chosen is None or draw(st.integers(0, 3)) == 0:
        number = draw(st.integers(-5, 5))
        return build.full(number, "int64"), torch.tensor(number)
    return chosen


def _binary(draw: st.DrawFn, kind: str, a: Pair, b: Pair) -> Pair:
    (x, s), (y, t) = a, b
    if kind == "compare":
        name = draw(st.sampled_from(build.COMPARISONS))
        return build.binary(name, x, y), COMPARISONS[name](s, t)
    dtype = torch.result_type(s, t)
    if dtype == torch.bool:
        name = draw(st.sampled_from(sorted(BITWISE)))
        return build.binary(name, x, y), BITWISE[name](s, t)
    tables = [ARITHMETIC] if dtype.is_floating_point else [ARITHMETIC, BITWISE, SHIFTS, DIVISIONS]
    table = draw(st.sampled_from(tables))
    is_boolean = torch.bool in (s.dtype, t.dtype)
    name = draw(st.sampled_from([n for n in sorted(table) if n != "sub" or not is_boolean]))
    if table is SHIFTS or table is DIVISIONS:
        number = draw(st.integers(1, 6)) * (1 if table is SHIFTS or draw(st.booleans()) else -1)
        if dtype == torch.uint8 or number == -1:
            number = abs(number)
        return build.binary(
            name, x, build.full(number, x.dtype if s.dtype != torch.bool else "int64")
        ), table[name](s, torch.tensor(number, dtype=s.dtype if s.dtype != torch.bool else torch.int64))
    return build.binary(name, x, y), table[name](s, t)


def _logic(draw: st.DrawFn, known: list[Pair], value: HostValue, tensor: torch.Tensor) -> Pair:
    others = [(v, t) for v, t in known if t.dtype == torch.bool and t.shape == tensor.shape]
    other, second = draw(st.sampled_from(others))
    name = draw(st.sampled_from(["not", *sorted(BITWISE)]))
    if name == "not":
        return build.unary("not", value), ~tensor
    return build.binary(name, value, other), BITWISE[name](tensor, second)


def _moved(draw: st.DrawFn, value: HostValue, tensor: torch.Tensor, dim: int) -> Pair:
    match draw(st.sampled_from(["reshape", "permute", "slice", "expand", "concat", "flip", "pad", "tril"])):
        case "reshape":
            return build.reshape(value, (tensor.numel(),)), tensor.reshape(-1)
        case "permute":
            dims = draw(st.permutations(range(tensor.ndim)))
            return build.permute(value, dims), tensor.permute(tuple(dims))
        case "slice":
            step = draw(st.integers(1, 2))
            start = draw(st.integers(0, tensor.shape[dim] - 1))
            cut = tensor[(*[slice(None)] * dim, slice(start, tensor.shape[dim], step))]
            return build.sliced(value, dim, start, tensor.shape[dim], step), cut
        case "expand" if tensor.numel() < 200:
            return build.expand(value, (2, *tensor.shape)), tensor.expand(2, *tensor.shape)
        case "concat" if tensor.numel() < 200:
            return build.concat([value, value], dim), torch.cat([tensor, tensor], dim)
        case "flip":
            return HostValue.of("flip", (value,), value.dtype, value.shape, dims=(dim,)), tensor.flip(dim)
        case "pad" if tensor.dtype != torch.bool:
            shape = (*value.shape[:-1], value.shape[-1] + 3)
            last = len(shape) - 1
            padded = HostValue.of("pad", (value,), value.dtype, shape, dim=last, before=1, after=2, value=3)
            return padded, torch.nn.functional.pad(tensor, (1, 2), value=3)
        case "tril" if tensor.ndim >= 2:
            name = draw(st.sampled_from(["tril", "triu"]))
            diagonal = draw(st.integers(-2, 2))
            cut = HostValue.of(name, (value,), value.dtype, value.shape, diagonal=diagonal)
            return cut, getattr(torch, name)(tensor, diagonal)
        case _:
            return build.reshape(value, (1, *value.shape)), tensor[None]


def _reduced(draw: st.DrawFn, value: HostValue, tensor: torch.Tensor, dim: int) -> Pair:
    keep = draw(st.booleans())
    match draw(st.sampled_from(["sum", "max", "min", "any", "all", "argmax", "argmin", "prod", "mean"])):
        case ("max" | "min") as name:
            return build.reduce(name, value, (dim,), keep), getattr(tensor, f"a{name}")(dim, keep)
        case ("any" | "all") as name:
            truth = build.reduce(name, build.cast(value, "bool"), (dim,), keep)
            return truth, getattr(tensor.bool(), name)(dim, keep)
        case ("argmax" | "argmin") as name:
            numbers = tensor.to(torch.int64)
            return build.position_of(name, build.cast(value, "int64"), dim, keep), getattr(numbers, name)(
                dim, keep
            )
        case "mean":
            real = build.reduce("mean", build.cast(value, "float64"), (dim,), keep)
            return real, tensor.double().mean(dim, keep)
        case name:
            total = build.reduce(name, build.cast(value, "int64"), (dim,), keep)
            return total, getattr(tensor, name)(dim, keepdim=keep)


def _looked_up(draw: st.DrawFn, value: HostValue, tensor: torch.Tensor, dim: int) -> Pair:
    size = tensor.shape[dim]
    match draw(st.sampled_from(["gather", "index", "one_hot"])):
        case "gather":
            numbers = torch.arange(tensor.numel()).reshape(tensor.shape) % size
            places = build.reshape(build.iota(tensor.numel()), tensor.shape)
            places = build.binary("remainder", places, build.full(size, "int64"))
            return build.gather(value, dim, places), tensor.gather(dim, numbers)
        case "index":
            numbers = torch.tensor([-1, 0]).reshape(1, 2)
            places = build.reshape(build.iota(2, start=-1), (1, 2))
            if tensor.ndim == 1 or draw(st.booleans()):
                key = (*[slice(None)] * dim, numbers)
                return build.index(value, [dim], [places]), tensor[key]
            return build.index(value, [0, tensor.ndim - 1], [places, places]), tensor[
                (numbers, *[slice(None)] * (tensor.ndim - 2), numbers)
            ]
        case _:
            small = build.binary("remainder", build.cast(value, "int64"), build.full(4, "int64"))
            if value.dtype.startswith("float"):
                return value, tensor
            hot = HostValue.of("one_hot", (small,), "int64", (*value.shape, 4), classes=4)
            return hot, torch.nn.functional.one_hot(torch.remainder(tensor.to(torch.int64), 4), 4)


@given(graphs())
def test_random_graphs_compute_what_torch_computes(drawn: tuple[Pair, list[torch.Tensor]]) -> None:
    (value, expected), inputs = drawn
    arrays = [tensor.numpy() for tensor in inputs]
    found = evaluate(value, arrays, _no_constants)
    again = codec.from_json(json.loads(json.dumps(codec.to_json(value))), "test")
    assert again == value
    assert str(expected.dtype) == f"torch.{value.dtype}"
    assert found.shape == tuple(expected.shape)
    if expected.is_floating_point():
        torch.testing.assert_close(
            torch.from_numpy(np.array(found)), expected, rtol=2e-6, atol=2e-6, equal_nan=True
        )
    else:
        assert np.array_equal(found, expected.numpy())
    low, high = bounds_of(value)
    assert not found.size or low - 1e-6 <= found.min() <= found.max() <= high + 1e-6 or low == -np.inf
    repeated: Any = evaluate(again, arrays, _no_constants)
    assert np.array_equal(repeated, found, equal_nan=found.dtype.kind == "f")


def _no_constants(symbol: str) -> Any:
    raise AssertionError(symbol)


def test_every_operation_is_in_some_test() -> None:
    """A new operation needs a case in this file or in test_values.py."""
    here = {*ARITHMETIC, *BITWISE, *SHIFTS, *DIVISIONS, *COMPARISONS, *REAL, *WHOLE}
    others = {
        *(
            "input",
            "constant",
            "full",
            "iota",
            "not",
            "where",
            "cast",
            "bits",
            "reshape",
            "permute",
            "expand",
            "slice",
        ),
        *(
            "pad",
            "flip",
            "concat",
            "tril",
            "triu",
            "sum",
            "prod",
            "mean",
            "max",
            "min",
            "any",
            "all",
            "argmax",
        ),
        *("argmin", "cumsum", "cumprod", "matmul", "gather", "index", "one_hot"),
        *(
            "div",
            "pow",
            "atan2",
            "neg",
            "abs",
            "sign",
            "tan",
            "exp2",
            "expm1",
            "log",
            "log2",
            "log1p",
            "sqrt",
        ),
        *("rsqrt", "reciprocal", "finite"),
    }
    assert here | others == set(OPERATIONS)


@pytest.mark.parametrize(
    "name", ["tan", "exp2", "expm1", "log", "log2", "log1p", "sqrt", "rsqrt", "reciprocal", *WHOLE]
)
def test_functions_of_real_numbers(name: str) -> None:
    x = torch.tensor([-2.5, -0.5, 0.0, 0.5, 1.5, 2.5, 40.0, float("inf"), float("nan")])
    value = build.unary(name, build.host_input(0, "float32", x.shape))
    found = torch.from_numpy(evaluate(value, [x.numpy()], _no_constants))
    torch.testing.assert_close(found, getattr(torch, name)(x), equal_nan=True)


@pytest.mark.parametrize("name", ["neg", "abs", "sign"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32])
def test_functions_of_signed_numbers(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([-128, -1, 0, 1, 127]).to(dtype)
    value = build.unary(name, build.host_input(0, str(dtype).removeprefix("torch."), x.shape))
    assert torch.equal(torch.from_numpy(evaluate(value, [x.numpy()], _no_constants)), getattr(torch, name)(x))


@pytest.mark.parametrize("name", ["floor_div", "trunc_div", "remainder", "fmod", "div", "pow", "atan2"])
def test_division_of_real_numbers(name: str) -> None:
    x = torch.tensor([-7.5, -1.0, 0.0, 2.0, 7.5]).repeat_interleave(5)
    y = torch.tensor([-2.0, -0.5, 0.5, 2.0, 3.0]).repeat(5)
    value = build.binary(
        name, build.host_input(0, "float32", x.shape), build.host_input(1, "float32", x.shape)
    )
    found = torch.from_numpy(evaluate(value, [x.numpy(), y.numpy()], _no_constants))
    expected = {**DIVISIONS, "div": torch.div, "pow": torch.pow, "atan2": torch.atan2}[name](x, y)
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_whole_powers_wrap_around_and_have_inverses_as_torch() -> None:
    x = torch.tensor([-3, -1, 0, 1, 3]).repeat_interleave(5)
    y = torch.tensor([-2, -1, 0, 3, 63]).repeat(5)
    x, y = x[~((x == 0) & (y < 0))], y[~((x == 0) & (y < 0))]
    value = build.binary("pow", build.host_input(0, "int64", x.shape), build.host_input(1, "int64", x.shape))
    found = torch.from_numpy(evaluate(value, [x.numpy(), y.numpy()], _no_constants))
    assert torch.equal(found, torch.pow(x, y))
