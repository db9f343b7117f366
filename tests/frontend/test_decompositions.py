"""Operators that we take apart ourselves: what torch computes, and right in programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import plena
from plena.frontend.decompositions import DECOMPOSITIONS
from tests.kernels.checking import Function, check, machine

ATEN = torch.ops.aten
small = st.integers(0, 3)


def _same(overload: Any, *args: Any, **kwargs: Any) -> None:
    found, wanted = (f(*args, **kwargs) for f in (DECOMPOSITIONS[overload], overload))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@given(st.tuples(small, small, small, small), st.integers(3, 6), st.integers(3, 6))
def test_circular_padding(pad: tuple[int, ...], height: int, width: int) -> None:
    x = torch.arange(2.0 * height * width).view(1, 2, height, width)
    _same(ATEN.pad.default, x, pad, "circular")


@given(st.integers(1, 6), st.integers(1, 6), st.integers(-5, 5), st.permutations([0, 1, 2]))
def test_diagonals(rows: int, columns: int, offset: int, axes: list[int]) -> None:
    x = torch.arange(2.0 * rows * columns).view(rows, columns, 2).permute(axes)
    if not -x.shape[0] < offset < x.shape[2]:
        offset = 0
    _same(ATEN.diagonal.default, x, offset, 0, 2)


@given(st.tuples(*[st.integers(1, 3)] * 3), st.tuples(*[st.integers(1, 2)] * 3), st.booleans(), st.booleans())
def test_pooling_of_three_axes(
    kernel: tuple[int, ...], stride: tuple[int, ...], padded: bool, maximum: bool
) -> None:
    x = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    padding = tuple(n // 2 if padded else 0 for n in kernel)
    overload = ATEN.max_pool3d.default if maximum else ATEN.avg_pool3d.default
    _same(overload, x, kernel, stride, padding)
    _same(overload, x[0], kernel[:1], ceil_mode=True)
    if maximum:
        _same(overload, x, (*kernel[:2], 2), stride, (*padding[:2], 1), (1, 2, 1), True)
    else:
        _same(overload, x, kernel, stride, padding, True, False)


class _TurnedByPositions(nn.Module):
    """Rotary embeddings as Llama 4 and DeepSeek-V2 write them."""

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        angles = positions[:, None].float() * torch.tensor([1.0, 0.3, 0.1, 0.01])
        turned = torch.view_as_complex(x.unflatten(1, (4, 2))) * torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(turned).flatten(1)


def test_polar_coordinates() -> None:
    length, angle = torch.rand(3, 4), torch.randn(3, 4)
    _same(ATEN.polar.default, length, angle)
    x, positions = (
        torch.randn(6, 8, generator=torch.Generator().manual_seed(0)),
        torch.tensor([5, 0, 3, 9, 1, 2]),
    )
    check(_TurnedByPositions(), x, positions, target=machine(16))


def test_distances_and_divergences() -> None:
    x, y = torch.randn(2, 5, 8), torch.rand(2, 4, 8)
    for p in (1.0, 2.0, 3.0):
        _same(ATEN.cdist.default, x, y, p)
    _same(ATEN.hypot.default, x[:, :4], y)
    _same(ATEN.logaddexp.default, 20 * x[:, :4], y)
    _same(ATEN.bilinear.default, x[0], x[1], torch.randn(3, 8, 8), torch.randn(3))
    _same(ATEN.exp2.default, x)
    _same(ATEN.pow.Scalar, 10.0, x)
    target = y.clone()
    target[0, 0] = 0
    for reduction in range(3):
        _same(ATEN.kl_div.default, x[:, :4], target, reduction)
        _same(ATEN.kl_div.default, x[:, :4], target, reduction, log_target=True)


def test_what_is_left_to_torch() -> None:
    x = torch.randn(1, 1, 4, 5, 5)
    _same(ATEN.pad.default, x[0, 0], [1, 2], "reflect")
    _same(ATEN.pad.default, x, [2, -1, 0, 0, 0, 0], "circular")
    assert DECOMPOSITIONS[ATEN.avg_pool3d.default](x, [2], divisor_override=3) is NotImplemented
    assert DECOMPOSITIONS[ATEN.prod.dim_int](torch.ones(2, 0), 1) is NotImplemented
    assert DECOMPOSITIONS[ATEN.cumprod.default](torch.ones(2, dtype=torch.int64), 0) is NotImplemented
    assert DECOMPOSITIONS[ATEN.pow.Scalar](-2.0, x) is NotImplemented


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_products_and_interpolation(size: int) -> None:
    x, y = torch.rand(3, size, 4) + 0.5, torch.rand(3, size, 4)
    for dim in (1, -2):
        _same(ATEN.prod.dim_int, x, dim, True)
        _same(ATEN.cumprod.default, x, dim)
    _same(ATEN.prod.default, x)
    _same(ATEN.lerp.Tensor, x, y, y)
    _same(ATEN.dist.default, x, y, 3.0)
    _same(ATEN.narrow_copy.default, x, -1, -2, 1)
    for beta in (0, 0.5):
        _same(ATEN.addmv.default, torch.rand(size), x[0], y[0, 0], beta=beta, alpha=2)


INVERSES: dict[Any, tuple[float, float]] = {
    ATEN.acos.default: (-1, 1),
    ATEN.asin.default: (-1, 1),
    ATEN.atan.default: (-50, 50),
    ATEN.asinh.default: (-50, 50),
    ATEN.acosh.default: (1, 9),
    ATEN.atanh.default: (-1, 1),
    ATEN.logit.default: (0, 1),
}


@pytest.mark.parametrize("overload", INVERSES, ids=str)
def test_inverse_functions(overload: Any) -> None:
    """The polynomials are closer than bf16, also beside zeros of the results, at the ends and beyond them."""
    low, high = INVERSES[overload]
    x = torch.linspace(low, high, 4001, dtype=torch.float64)
    for numbers in (x, x * 1e-4, torch.tensor([low, high, 0.0, -3.0, 1e30], dtype=torch.float64)):
        found, wanted = DECOMPOSITIONS[overload](numbers), overload(numbers)
        torch.testing.assert_close(found, wanted, rtol=2e-4, atol=0, equal_nan=True)
    torch.testing.assert_close(
        DECOMPOSITIONS[ATEN.logit.default](x, 0.01), torch.logit(x, 0.01), rtol=1e-6, atol=1e-9
    )


def _inverses(x: Tensor) -> tuple[Tensor, ...]:
    return x.acos(), x.asin(), (30 * x).atan()


def test_programs_of_inverse_functions() -> None:
    """Errors are those of bf16; of x.acos() of a clamped product no NaN is feared where it is stored as a matrix."""
    x = torch.linspace(-1, 1, 32).view(2, 16)
    check(_inverses, x, target=machine(16), error=0.012)
    check(lambda q: (q @ q.T).clamp(-1, 1).acos() @ q, x / 2, target=machine(16), error=0.02)


def _far_from_one(x: Tensor) -> tuple[Tensor, ...]:
    roots = x.sqrt(), x.rsqrt(), x.pow(1.5), x.log(), x.log1p()
    return (
        *roots,
        x.asinh(),
        (-x).asinh(),
        x.acosh(),
        (-x).acosh(),
        x.logit(1e-6),
        x.logit(1e-3),
        x.logit(0.01),
    )


def test_functions_of_very_large_and_very_small_numbers() -> None:
    """bf16 has 1 for 1 - eps, the root of 1e18 is far from where its iteration starts, squares overflow."""
    x = (
        torch.tensor([m * 10.0**n for n in range(-36, 38) for m in (1, 3)] + [2e38, 0.5, 0.75, 1.0, 1.5])
        .bfloat16()
        .float()
    )
    found = plena.compile(Function(_far_from_one), (x[None],), formats="bf16").run(x[None], progress=False)
    for n, (got, wanted) in enumerate(zip(found, _far_from_one(x), strict=True)):
        message = f"{n}: {{}}".format
        normal = (wanted.abs() > 2.0**-126) | (wanted == 0)
        torch.testing.assert_close(
            got[0, normal | wanted.isnan()],
            wanted[normal | wanted.isnan()],
            rtol=0.01,
            atol=1e-38,
            equal_nan=True,
            msg=message,
        )


def _distances(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    likeness = x @ y.T
    return (
        torch.cdist(x, y),
        torch.hypot(x, y),
        torch.logaddexp(x, y),
        F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction="batchmean"),
        likeness.diagonal().sum(),
        likeness.amin(-1),
        likeness.min(0).values,
        torch.mv(x, y[0]),
    )


def _statistics(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    positive = y.abs() + 0.1
    powers = [positive**p for p in (1.5, 0.25, 1.7, -1.25, 5, -2)]
    # 0 to the power of what needs a logarithm is 0, of a negative number NaN as in PyTorch.
    return (
        *powers,
        F.relu(x) ** 1.7,
        torch.exp2(x),
        *torch.var_mean(x, -1),
        torch.std_mean(x, -1, correction=0)[0],
        x.norm(p=3, dim=-1),
        x.min(),
    )


@pytest.mark.parametrize("function", [_distances, _statistics])
def test_programs(function: Callable[..., tuple[Tensor, ...]]) -> None:
    torch.manual_seed(0)
    check(function, torch.randn(5, 32), torch.randn(5, 32), target=machine(16), error=0.02)


def test_powers_of_negative_numbers_are_not_numbers() -> None:
    module = Function(lambda x: x**1.5)
    x = torch.tensor([[-1.0, 4.0, 0.0, 1.0]])
    found = plena.compile(module, (x,), target=machine(16)).run(x)
    assert torch.isnan(found[0, 0]) and torch.equal(found[0, 1:], torch.tensor([8.0, 0.0, 1.0]))


class Volumes(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.max_pool3d(x, 3, 2, 1),
            F.avg_pool3d(x, (2, 3, 3), (1, 2, 2), (0, 1, 1)),
            F.pad(x[:, :, 0], (2, 1, 0, 1), mode="circular"),
        )


def test_volumes() -> None:
    check(Volumes(), torch.randn(1, 2, 4, 6, 6), target=machine(16))


def test_memory_that_is_written_in_parts() -> None:
    """What torch.empty gives is no constant of the program: a check finds it as it was."""

    def interleaved(x: Tensor) -> Tensor:
        whole = torch.empty(3, 32)
        whole[:, 0::2], whole[:, 1::2] = x, -x
        like = torch.empty_like(whole)
        like[:, :16], like[:, 16:] = whole[:, 16:], whole[:, :16]
        return like

    x = torch.randn(3, 16)
    program = plena.compile(Function(interleaved), (x,), target=machine(16))
    assert program.check(x, quiet=True).passed
    again = plena.compile(Function(interleaved), (x,), target=machine(16))
    assert torch.equal(program.run(x), again.run(x))
    assert bytes(program.image.hbm) == bytes(again.image.hbm)


def test_logarithms_of_integers_are_the_hosts() -> None:
    """t log(t + 1e-30) of a one-hot t: in a number format 1e-30 is 0."""

    def crossed(x: Tensor, ids: Tensor) -> Tensor:
        target = F.one_hot(ids, 16).float()
        return x - target * (target + 1e-30).log() + torch.log1p(ids[:, None].float())

    check(crossed, torch.randn(4, 16), torch.tensor([1, 0, 15, 3]), target=machine(16))


@pytest.mark.parametrize("least", [lambda m: m.amin(-1), lambda m: m.min(), lambda m: m.min(-1).values])
def test_least_integers_are_the_hosts(least: Callable[[Tensor], Tensor]) -> None:
    """Their largest negative is none: bytes come back from the other end, and booleans have no sign."""
    x, mask = torch.ones(2, 4), torch.tensor([[True, False], [True, True]])
    for kind in (torch.bool, torch.uint8):
        module = Function(lambda x, m, kind=kind: x * least(m.to(kind))[..., None])
        program = plena.compile(module, (x, mask))
        assert torch.equal(program.run(x, mask), module(x, mask))


@pytest.mark.parametrize("indices", [([[0, 9]],), ([0, 4], [1, 2]), ([0, -7],)])
def test_constant_numbers_outside_of_an_axis(indices: tuple[list[Any], ...]) -> None:
    """torch.export does not notice them."""
    numbers = tuple(torch.tensor(index) for index in indices)
    with pytest.raises(plena.PlenaError, match=r"index -?\d is out of bounds for an axis of \d"):
        plena.compile(
            Function(lambda x: x[(slice(None),) * (2 - len(numbers)) + numbers]), (torch.zeros(4, 6),)
        )


@pytest.mark.parametrize("picked", [torch.index_select, torch.gather])
def test_constant_numbers_outside_of_the_axis_that_they_pick_from(picked: Callable[..., Tensor]) -> None:
    number = torch.tensor([1, 9]) if picked is torch.index_select else torch.tensor([[1, 9]] * 4)
    with pytest.raises(plena.PlenaError, match="index 9 is out of bounds for an axis of 6"):
        plena.compile(Function(lambda x: picked(x, 1, number)), (torch.zeros(4, 6),))
