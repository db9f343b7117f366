"""Choosing by masks reads one side only, infinities stay infinities: against PyTorch, element by element."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad, relu, sigmoid

from plena.api.compile import compile
from plena.errors import CompileError, PlenaError
from tests.covering import in_turn
from tests.kernels.against_torch import against_torch, bits, exact
from tests.kernels.checking import MACHINES, Function

INF = float("inf")
SOFTMAX_ERROR = 0.01

CHOICES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "quotient": lambda x, y, m: torch.where(m, y / x, 0.0),
    "turned": lambda x, y, m: torch.where(~m, 2.0, y / x),
    "filled": lambda x, y, m: (y / x).masked_fill(~m, 0.0),
    "reciprocal": lambda x, y, m: torch.where(m, 1 / x, y),
    "root": lambda x, y, m: torch.where(m, torch.rsqrt(x * x), y),
    "chain": lambda x, y, m: torch.where(m, sigmoid(y / x) * 2 + 1, y),
    "nested": lambda x, y, m: torch.where(m, torch.where(m, y / x, 3.0) + 1, y),
    "of infinities": lambda x, y, m: torch.where(m, y.masked_fill(~m, INF), y),
    "of a difference": lambda x, y, m: torch.where(m, 1 - y / x, 1.0),
}


def inputs(columns: int, *, zeros: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Divisors that are 0 where the mask is false, and with `zeros` also elsewhere."""
    mask = bits(2, 5, columns)
    x = exact(2, 5, columns) * mask
    return x * bits(2, 5, columns, share=0.7, seed=9) if zeros else x, exact(2, 5, columns, seed=3), mask


@pytest.mark.parametrize(("choice", "mlen"), in_turn(CHOICES, MACHINES))
def test_choices_read_one_side(choice: str, mlen: int) -> None:
    """Divisions by zero where it counts give infinity."""
    columns = mlen + 5
    values = [inputs(columns), inputs(columns, zeros=True)]
    if choice == "root":
        values = values[:1]
    against_torch(CHOICES[choice], *values, target=MACHINES[mlen], error=0.008)


def test_choices_by_constant_masks_rows_and_columns() -> None:
    x, y, mask = inputs(40)
    against_torch(lambda x, y: torch.where(mask, y / x, 0.0), (x, y))
    row, column = mask[0, 0], mask[..., :1]
    against_torch(lambda x, y, m: torch.where(m, y / x, 0.0), (exact(2, 5, 40) * row, y, row))
    against_torch(lambda x, y, m: torch.where(m, y / x, 0.0), (exact(2, 5, 40) * column, y, column))
    kept = exact(2, 5, 40) * column
    against_torch(lambda x, y, m: torch.where(m, y / x.abs().amax(-1, keepdim=True), 0.0), (kept, y, column))
    # Only the selection keeps infinity out: with another mask in the product it is NaN as in PyTorch.
    against_torch(lambda x, y, m: (y / x) * m, (x, y, mask))


def test_what_a_choice_cannot_leave_out_is_refused() -> None:
    x, y, mask = inputs(40)
    for function in (
        lambda x, y, m: torch.where(m[..., :1], (y / x).sum(-1, keepdim=True), 0.0),
        lambda x, y, m: torch.where(m, y / x @ torch.ones(40, 40), 0.0),
    ):
        with pytest.raises(CompileError, match=r"may be infinite or NaN|no kernel"):
            compile(Function(function), (x, y, mask))


FILLED: dict[str, Callable[[Tensor], Tensor]] = {
    "returned": lambda x: x,
    "softmax": lambda x: x.softmax(-1),
    "scaled softmax": lambda x: (x * 0.125 + 1).softmax(-1),
    "largest": lambda x: x.amax(-1),
    "largest of dim": lambda x: x.max(-1, keepdim=True)[0],
    "exponential": torch.exp,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "clamp": lambda x: x.clamp(min=-3.0),
    "negated": lambda x: -x,
    "shifted": lambda x: x - 2.0,
    "without the largest": lambda x: (x - x.amax(-1, keepdim=True)).exp(),
}
BEHIND = (0, 5)
"""Columns behind those of whole row blocks: sizes are those of the machine's rows, so machines take turns."""

EXACT = {"returned", "largest", "largest of dim", "relu", "negated", "shifted"}


def hidden(rows: int, columns: int, empty: bool) -> Tensor:
    mask = bits(2, rows, columns)
    mask[..., 0] = False
    if empty:
        mask[:, 1] = True
    return mask


@pytest.mark.parametrize(("case", "mlen"), in_turn(product(FILLED, BEHIND), MACHINES))
def test_infinities_filled_in(case: tuple[str, int], mlen: int) -> None:
    """By an argument and by constants, also rows of nothing else: PyTorch's NaN there, and in no other row."""
    use, columns = case[0], mlen + case[1]
    x, masks = exact(2, 6, columns), [hidden(6, columns, empty) for empty in (False, True)]
    if use == "without the largest":
        masks = masks[:1]
    error = 0.0 if use in EXACT else SOFTMAX_ERROR
    against_torch(
        lambda x, m: FILLED[use](x.masked_fill(m, -INF)),
        *((x, m) for m in masks),
        target=MACHINES[mlen],
        error=error,
    )
    for mask in masks:
        against_torch(
            lambda x, mask=mask: FILLED[use](torch.where(mask, -INF, x)),
            (x,),
            target=MACHINES[mlen],
            error=error,
        )


LOW = [-1e9, torch.finfo(torch.float32).min]


@pytest.mark.parametrize(("case", "mlen"), in_turn(product(LOW, BEHIND), MACHINES))
def test_very_low_numbers_filled_in(case: tuple[float, int], mlen: int) -> None:
    """A row of nothing else has a uniform softmax, and its largest number is this one."""
    number, columns = case[0], mlen + case[1]
    x, mask = exact(2, 6, columns), hidden(6, columns, empty=True)
    for use in ("softmax", "largest"):
        against_torch(
            lambda x, m, use=use: FILLED[use](x.masked_fill(m, number)),
            (x, mask),
            target=MACHINES[mlen],
            error=SOFTMAX_ERROR,
        )


def test_weights_of_hidden_rows_chosen_away() -> None:
    """The NaN of a row without a visible key is not selected."""
    x, masks = exact(2, 6, 40), [hidden(6, 40, empty) for empty in (True, False)]
    against_torch(
        lambda x, m: x.masked_fill(m, -INF).softmax(-1).masked_fill(m, 0.0),
        *((x, m) for m in masks),
        error=SOFTMAX_ERROR,
    )


JOINED: dict[str, Callable[[Tensor], Tensor]] = {
    "behind": lambda x: torch.cat([x, torch.full((2, 6, 3), -INF)], -1),
    "before": lambda x: torch.cat([torch.full((2, 6, 1), -INF), x], -1),
    "around": lambda x: pad(x, (2, 3), value=-INF),
    "largest": lambda x: pad(x, (3, 0), value=INF),
    "both": lambda x: torch.cat([torch.full((2, 6, 1), INF), x, torch.full((2, 6, 2), -INF)], -1),
    "rows": lambda x: torch.cat([torch.full((2, 1, x.shape[-1]), -INF), x], 1),
    "rows and columns": lambda x: pad(x, (0, 1, 1, 0), value=-INF),
}


@pytest.mark.parametrize(("join", "mlen"), in_turn(JOINED, MACHINES))
def test_infinities_joined(join: str, mlen: int) -> None:
    x = exact(2, 6, mlen - 3)
    against_torch(JOINED[join], (x,), target=MACHINES[mlen], error=0.0)
    if "both" != join != "largest" and "rows" not in join:
        softmax = lambda x: JOINED[join](x).softmax(-1)  # noqa: E731
        against_torch(softmax, (x,), target=MACHINES[mlen], error=SOFTMAX_ERROR)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_random_fills(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70))
    seed, share = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    sign = data.draw(st.sampled_from([1, -1]))
    use = data.draw(st.sampled_from(sorted(EXACT - {"largest", "largest of dim"}) + ["softmax"] * (sign < 0)))
    shape = data.draw(st.sampled_from([(rows, columns), (1, columns), (rows, 1)]))
    mask = bits(*shape, share=share, seed=seed)
    error = 0.0 if use in EXACT else SOFTMAX_ERROR
    function = lambda x, m: FILLED[use](x.masked_fill(m, sign * INF))  # noqa: E731
    target = MACHINES[data.draw(st.sampled_from([16, 64]))]
    x = exact(rows, columns, seed=seed)
    against_torch(function, (x, mask), (x, ~mask), target=target, error=error)


def test_infinities_that_no_kernel_moves_are_refused() -> None:
    x, mask = exact(2, 6, 64), hidden(6, 64, False)
    for function in (
        lambda x, m: torch.cat([x[..., :5], x.masked_fill(m, -INF)], -1),
        lambda x, m: x.masked_fill(m, -INF).amax(1),
        lambda x, m: x.masked_fill(m, -INF).view(2, 6, 4, 16).softmax(-1),
        lambda x, m: x.masked_fill(m, float("nan")),
        lambda x, m: (x / x.sum(-1, keepdim=True))[..., ::2],
        lambda x, m: torch.cat([x[..., :5], x / x], -1),
        lambda x, m: (x / x).view(2, 6, 4, 16).sum(-1),
        lambda x, m: (x / x).view(2, 6, 4, 16).amax(-1),
        lambda x, m: torch.nn.functional.rms_norm((x / x).view(2, 6, 4, 16), (16,)),
        lambda x, m: (x / x).amax(1),
        lambda x, m: (x + x.new_zeros(64).masked_fill(torch.arange(64) < 3, -INF))[..., 1:5],
    ):
        with pytest.raises(CompileError, match=r"infinit|no kernel"):
            compile(Function(function), (x, mask))


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum])
def test_the_larger_of_two_that_may_be_infinite(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Every pair of finite numbers, the largest ones included, infinities and NaN; also a column beside a matrix."""
    most = torch.finfo(torch.bfloat16).max
    top = torch.tensor([1.0, -1.0, 0.0, 1.0, -1.0, 0.5, -0.5])
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7)).T
    x, y = top[pairs][:, None], bottom[pairs][:, None]
    for scale in (1.0, most):

        def forward(x: Tensor, y: Tensor, scale: float = scale) -> tuple[Tensor, Tensor]:
            first, second = x[0] / y[0] * scale, x[1] / y[1]
            return function(first, second), function(first, second[:, :1])

        found = compile(Function(forward), (x, y)).run(x, y, progress=False)
        torch.testing.assert_close(found, forward(x, y), rtol=0, atol=0, equal_nan=True)
    mask = bits(7, 40)
    against_torch(lambda x, m: function(x.masked_fill(m, -INF), x * 0.5), (exact(7, 40), mask), error=0.0)


def normalised(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)


FINITE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: x.softmax(-1),
    "softmax by hand": lambda x: normalised((x - x.amax(-1, keepdim=True)).exp()),
    "norm": lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt(),
    "unit": lambda x: torch.nn.functional.normalize(x, dim=-1),
    "sigmoid": lambda x: x * sigmoid(x),
    "quotient": lambda x: x / (1 + torch.relu(x)),
    "negative": lambda x: x / -(x.square() + 0.5),
    "hidden": lambda x: x.masked_fill(torch.arange(64) > 40, -INF).softmax(-1),
    "hidden and bounded": lambda x: torch.relu(x.masked_fill(torch.arange(64) > 40, -INF)),
    "parameter": lambda x: x / (torch.arange(64.0) + 1),
}


@pytest.mark.parametrize("name", FINITE)
def test_columns_of_what_is_finite_are_moved(name: str) -> None:
    """What is proven to be finite is not refused."""
    against_torch(lambda x: FINITE[name](x)[..., 3:50:2], (exact(2, 6, 64),), error=0.03)


SIGNED_ZEROS = torch.tensor([[0.0, -0.0, 2.0, -2.0, 0.0, -0.0, 2.0, -2.0]]).repeat(4, 1)
OTHERS = torch.tensor([[1.0, 1.0, -0.0, 0.0, -1.0, -1.0, 0.0, -0.0]]).repeat(4, 1)
EITHER = torch.tensor([[True] * 8, [False] * 8, [True, False] * 4, [False, True] * 4])

DIVISORS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "of tensors": torch.where,
    "of zero": lambda m, x, y: torch.where(m, x, 0.0),
    "of minus zero": lambda m, x, y: torch.where(m, -0.0, x),
    "of a number": lambda m, x, y: torch.where(m, x, 1.5),
    "of a negative number": lambda m, x, y: torch.where(m, -2.0, x),
    "filled": lambda m, x, y: x.masked_fill(m, 0.0),
    "rows": lambda m, x, y: torch.where(EITHER[2], x, y),
    "columns": lambda m, x, y: torch.where(EITHER[:, 2:3], x, y),
    "moved and scaled": lambda m, x, y: -2 * torch.where(m, x, y),
    "of quotients": lambda m, x, y: torch.where(m, x, 1 / y),
}


@pytest.mark.parametrize("name", DIVISORS)
def test_what_is_divided_by_keeps_the_sign_of_zeros(name: str) -> None:
    """The other side's product with 0 has the sign of that side."""
    against_torch(
        lambda m, x, y: (x + 5.0) / DIVISORS[name](m, x, y), (EITHER, SIGNED_ZEROS, OTHERS), error=0.008
    )


def test_division_by_zeros_that_the_host_knows_is_refused_when_they_are_staged() -> None:
    """A choice between numbers by an input is the host's, and so is its reciprocal, infinity."""
    program = compile(
        Function(lambda m, x: (x + 5.0) / torch.where(m, -2.0, 0.0)), (torch.ones_like(EITHER), SIGNED_ZEROS)
    )
    with pytest.raises(PlenaError, match="is not finite, as of a division by zero"):
        program.run(EITHER, SIGNED_ZEROS)


LARGEST: dict[str, Callable[[Tensor, Tensor, float, Tensor], Tensor]] = {
    "columns": lambda x, m, n, rows: torch.cat([x * 2, torch.full((4, 2), n)], -1),
    "rows": lambda x, m, n, rows: torch.cat([x * 2, torch.full((1, x.shape[1]), n)], 0),
    "padded": lambda x, m, n, rows: pad(x * 2, (1, 2), value=n),
    "everywhere": lambda x, m, n, rows: x * 0 + n,
    "chosen": lambda x, m, n, rows: torch.where(m, x * 2, n),
    "cut": lambda x, m, n, rows: (x * 0 + rows)[:, 1:5],
    "joined": lambda x, m, n, rows: torch.cat([x * 2, rows], -1),
}


@pytest.mark.parametrize(("case", "mlen"), in_turn(product(LARGEST, (1, -1)), MACHINES))
def test_the_largest_numbers_of_float32(case: tuple[str, int], mlen: int) -> None:
    """bf16 has none as large: they are its largest, and move as others do."""
    number = case[1] * torch.finfo(torch.float32).max
    rows = torch.zeros(4, mlen - 3)
    rows[:, ::2] = number
    against_torch(
        lambda x, m: LARGEST[case[0]](x, m, number, rows),
        (exact(4, mlen - 3), bits(4, mlen - 3)),
        target=MACHINES[mlen],
        error=0.005,
    )


def test_the_largest_number_of_a_row_with_nan() -> None:
    x = torch.tensor([[0.0, 1.0, 2.0, 0.0], [1.0, 2.0, 4.0, 0.5], [0.0, 0.0, 1.0, 1.0]])
    y = torch.tensor([[0.0, 1.0, -2.0, 1.0], [1.0, 2.0, 4.0, -1.0], [1.0, -1.0, 0.0, 0.0]])
    for repeats in (1, 30):
        wide = x.repeat(1, repeats), y.repeat(1, repeats)
        against_torch(lambda x, y: (y / x).amax(-1), wide, error=0.008)
        against_torch(lambda x, y: y / x - (y / x).amax(-1, keepdim=True), wide, error=0.008)


def test_zeros_keep_their_sign_where_they_are_moved() -> None:
    x, y = SIGNED_ZEROS, OTHERS
    against_torch(lambda x, y: 1 / torch.cat([x * 2, y * 0.5], 0), (x, y), error=0.008)
    against_torch(lambda x, y: 1 / (x * 2)[1:3], (x, y), error=0.008)
    against_torch(lambda x, y: 1 / (x.abs() * -0.0) + 0.0 * y, (x, y), error=0.008)
    against_torch(lambda x, y: y / x.abs(), (x, y + 5), error=0.008)
    against_torch(lambda x, y: y / (x * 2), (x[:, 1:2].clone(), y + 5), error=0.008)


@pytest.mark.parametrize("how", ["sum", "difference", "product"])
def test_the_maximum_of_opposite_infinities(how: str) -> None:
    """Infinity beside minus infinity is NaN, and so is the row's maximum."""
    torch.manual_seed(0)
    high = torch.full((9, 2), float("inf"))
    low = torch.zeros(9, 35).masked_fill(torch.rand(9, 35) < 0.4, -float("inf"))
    assert low[:, -2:].isinf().any() and not low[:, -2:].isinf().all()

    def forward(x: Tensor) -> Tensor:
        t = torch.cat([x, high], -1)
        match how:
            case "sum":
                return (t + low).amax(-1)
            case "difference":
                return (t - -low).amax(-1)
            case _:
                return (t * low).amax(-1)

    against_torch(forward, (torch.randn(9, 33),))


def test_numbers_of_a_comparison_say_what_to_write() -> None:
    with pytest.raises(
        CompileError, match=r"\.py:\d+: no kernel .* makes numbers of a comparison .*torch.where\(x > c"
    ):
        compile(Function(lambda x, y: y * (x @ y > 0.5).float()), (exact(16, 16), exact(16, 16)))


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, y: y * x.long().float(),
        lambda x, y: torch.where(x.long() != 0, y, 0.0),
        lambda x, y: y * (x.int() == 0),
    ],
    ids=["number", "comparison", "mask"],
)
def test_integers_of_real_numbers_are_refused(forward: Callable[[Tensor, Tensor], Tensor]) -> None:
    """They cut fractions off: 0.5 is not 0, but 0 as an integer."""
    x = torch.tensor([[0.5, -0.5, 1.5, 0.0] * 4] * 4)
    with pytest.raises(CompileError, match=r"no kernel for aten\.to"):
        compile(Function(forward), (x, exact(4, 16)))


CONTINUOUS: dict[str, Callable[[Tensor], Tensor]] = {
    "corner": lambda z: torch.where(z > 0, z, z * 0.25),
    "a limit": lambda z: torch.where(z < 1.5, 1.5, z),
    "powers": lambda z: torch.where(z >= 1.5, z * z, z * 1.5),
    "filled": lambda z: z.masked_fill(z <= -1.5, -1.5),
    "xielu": lambda z: torch.where(z > 0, z * z + z, (torch.expm1(z.clamp(max=-1e-6)) - z) * 0.5 + z),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_choices_by_what_is_computed(name: str) -> None:
    """Both sides agree where the choice changes; zeros and the smallest numbers are on the right side of it."""
    x, y = exact(3, 8), exact(3, 8, seed=2)
    y[0] = x[0]
    x[1, 0], y[1, 0] = 2.0**-126, 0.0
    against_torch(lambda x, y: CONTINUOUS[name](x - y), (x, y), target=MACHINES[16], error=0.01)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.where(x > 0, x, 0.25 * x),
        lambda x: relu(x).masked_fill(relu(x) <= 0.5, 0.5),
        lambda x: torch.where(~(relu(x) - 1 > 0), 0.0, (relu(x) - 1) * 2),
        lambda x: torch.where(x.abs() < 1, 0.5 * x * x, x.abs() - 0.5),
    ],
    ids=["an input", "computed", "an expression that is written twice", "a magnitude"],
)
def test_choices_by_inputs_and_expressions(forward: Callable[[Tensor], Tensor]) -> None:
    against_torch(forward, (exact(3, 40),), (-exact(3, 40, seed=5),))


def test_choices_by_inputs_are_told_infinities() -> None:
    x = exact(2, 8)
    program = compile(Function(lambda x: torch.where(x > 0, x, 0.25 * x)), (x,))
    with pytest.raises(PlenaError, match="-inf at"):
        program.run(torch.full((2, 8), -torch.inf))


@pytest.mark.parametrize(
    "function",
    [
        lambda z, y: torch.where(z > 0, z, 1.0),
        lambda z, y: torch.where(z > 0, z, y),
        lambda z, y: torch.where(z > 0, z - z.mean(-1, keepdim=True), 0.0),
        lambda z, y: torch.where(z > y, z, y),
        lambda z, y: torch.where(z.abs() < 1, z, 1.0),
    ],
    ids=["a jump", "another tensor", "a mean", "two tensors", "of a magnitude"],
)
def test_choices_that_rounding_could_change_are_refused(function: Callable[..., Tensor]) -> None:
    with pytest.raises(CompileError, match=r"no kernel for aten\.where.* a computed number decides"):
        compile(Function(lambda x, y: function(x - y, y)), (exact(2, 8), exact(2, 8, seed=2)))


def test_what_exponentials_make_of_minus_infinity_can_be_left_out() -> None:
    """Decays between steps of a state space model, layer after layer: sums are moved before they are hidden."""
    causal = torch.ones(8, 8).tril() > 0

    def decays(x: Tensor) -> Tensor:
        for _ in range(2):
            steps = x.sum(-1, keepdim=True).expand(8, 8).masked_fill(~causal, 0.0) * -0.125
            x = steps.masked_fill(~causal, -torch.inf).exp() * 0.5
        return x

    against_torch(decays, (exact(8, 8),), target=MACHINES[16], error=0.02)


class FilledBehindAttention(torch.nn.Module):
    """Attention whose first query sees no key, and a choice among what it gives."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor, chosen: Tensor) -> Tensor:
        seen = keep[:, None, None, :] & torch.ones(5, 5, dtype=torch.bool).tril(-1)
        weights = (q @ k.transpose(-2, -1)).masked_fill(~seen, -torch.inf).softmax(-1)
        return (weights @ v).masked_fill(~chosen, 0.0)


def test_queries_without_keys_are_not_left_out() -> None:
    """Their NaN times 0 would be NaN."""
    q, k, v = (torch.randn(1, 2, 5, 16) for _ in range(3))
    keep, chosen = torch.ones(1, 5, dtype=torch.bool), torch.ones(5, 16, dtype=torch.bool)
    with pytest.raises(PlenaError, match="queries of attention that see no key are NaN"):
        compile(FilledBehindAttention(), (q, k, v, keep, chosen))


def _largest(x: Tensor) -> Tensor:
    """Whether a number is among the three largest of its row."""
    return torch.zeros_like(x, dtype=torch.bool).scatter(-1, x.topk(3, -1)[1], True)


OF_LARGEST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "the others": lambda x, m: (x * 1).masked_fill(~_largest(x), -INF).softmax(-1),
    "both": lambda x, m: torch.where(_largest(x) & m, x * 2, 0.0),
    "either": lambda x, m: torch.where(_largest(x) | m, x, -1.0),
}


@pytest.mark.parametrize("name", OF_LARGEST)
def test_choices_by_the_largest_numbers_of_rows(name: str) -> None:
    torch.manual_seed(0)
    x, mask = torch.stack([torch.randperm(15) for _ in range(9)]).float() - 7, torch.rand(9, 15) > 0.5
    function = OF_LARGEST[name]
    found = compile(Function(function), (x, mask)).run(x, mask, progress=False)
    torch.testing.assert_close(found, function(x, mask), rtol=0.01, atol=0.01)


INVERTED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "reciprocal": lambda t, y: 1 / t,
    "logarithm": lambda t, y: t.log(),
    "divisor": lambda t, y: y / t,
    "root": lambda t, y: torch.rsqrt(t),
}


@pytest.mark.parametrize(("use", "mlen"), in_turn(INVERTED, MACHINES))
def test_inverted_exponentials_of_minus_infinity(use: str, mlen: int) -> None:
    """The machine's e to the power of minus infinity is 6e-39; nothing inverts that."""
    x, mask = exact(4, 16), hidden(4, 16, empty=True)
    against_torch(
        lambda x, y, m: INVERTED[use](x.masked_fill(m, -INF).exp(), y),
        (x, exact(4, 16, seed=3), mask),
        target=MACHINES[mlen],
        error=0.01,
    )
