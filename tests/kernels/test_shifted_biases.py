"""A softmax of scores plus biases sees the scores beside large biases, where float32 does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import plena

LARGE = -1e4
"""bf16 loses what is added to it, float32 does not."""

LOST = -1e9
"""float32 loses it, too."""


class Weights(nn.Module):
    """The weights of an attention, with a bias made of what is given."""

    def __init__(self, bias: Callable[[Tensor], Tensor | float], constant: Tensor | None = None) -> None:
        super().__init__()
        self.bias = bias
        self.constant = None if constant is None else nn.Buffer(constant)

    def forward(self, q: Tensor, k: Tensor, given: Tensor) -> Tensor:
        bias = self.bias(given if self.constant is None else self.constant)
        return (q @ k.transpose(-2, -1) + bias).softmax(-1)


def hidden(number: float) -> Tensor:
    """A row with nothing else, one with some, and rows without."""
    bias = torch.zeros(5, 5)
    bias[0], bias[1, 2:] = number, number
    return bias


CASES: dict[str, tuple[Callable[[Tensor], Tensor | float], Tensor, bool]] = {
    "input": (lambda b: b, hidden(LARGE), False),
    "absorbed input": (lambda b: b, hidden(LOST), False),
    "constant": (lambda b: b, hidden(LARGE), True),
    "computed": (lambda keep: (1.0 - keep) * LARGE, (hidden(LARGE) == 0).float(), False),
    "number": (lambda b: -500.0, hidden(0.0), False),
}


@pytest.mark.parametrize("kind", CASES)
def test_scores_are_seen_beside_biases(kind: str) -> None:
    torch.manual_seed(0)
    bias, given, constant = CASES[kind]
    module = Weights(bias, given if constant else None)
    inputs = (torch.randn(1, 2, 5, 16), torch.randn(1, 2, 5, 16), torch.zeros(5, 5) if constant else given)
    program = plena.compile(module, inputs)
    result, wanted = program.run(*inputs, progress=False), module(*inputs)
    assert (result - wanted).abs().max() < 0.1
    if kind == "absorbed input":
        torch.testing.assert_close(result[0, 0, 0], torch.full((5,), 0.2), rtol=0.01, atol=0)
    assert program.check(quiet=True).passed


class Scores(nn.Module):
    """Softmax of scores plus large biases that differ by little, of one row for all or of each."""

    def __init__(self, biases: Tensor | None, turned: bool = False, trained: bool = False) -> None:
        super().__init__()
        kind = nn.Parameter if trained else nn.Buffer
        self.biases = None if biases is None else kind(biases)
        self.turned = turned

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        biases = given if self.biases is None else self.biases
        return (x + (biases.transpose(-2, -1) if self.turned else biases)).softmax(-1)


@pytest.mark.parametrize("level", [-300.0, -7035.0, 900.0])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_biases_are_taken_off_their_row_before_they_are_rounded(
    level: float, constant: bool, turned: bool
) -> None:
    torch.manual_seed(0)
    x, biases = torch.randn(2, 17, 17), level + 10 * torch.rand(17, 17)
    module = Scores(biases if constant else None, turned)
    program = plena.compile(module, (x, biases))
    assert (program.run(x, biases, progress=False) - module(x, biases)).abs().max() < 0.12
    report = program.check(quiet=True)
    assert report.passed and report.quantized is not None and report.quantized.relative_rms < 0.02


def test_biases_may_be_parameters() -> None:
    torch.manual_seed(0)
    x, biases = torch.randn(2, 17, 17), -3000 + 10 * torch.rand(17, 17)
    module = Scores(biases, trained=True)
    program = plena.compile(module, (x, biases))
    assert (program.run(x, biases, progress=False) - module(x, biases)).abs().max() < 0.12
    assert program.check(quiet=True).passed


class Filled(Scores):
    """The same where keys are hidden behind the biases."""

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        assert self.biases is not None
        return (x + self.biases).masked_fill(given > 5, -torch.inf).softmax(-1)


def test_biases_are_shifted_before_keys_are_hidden() -> None:
    torch.manual_seed(0)
    x, flags = torch.randn(2, 9, 17), 10 * torch.rand(9, 17).round()
    module = Filled(-1556 + 10 * torch.rand(9, 17))
    program = plena.compile(module, (x, flags))
    assert (program.run(x, flags, progress=False) - module(x, flags)).abs().max() < 0.12


@pytest.mark.parametrize("fill", [-1e9, -1e4])
def test_numbers_are_filled_in_beside_rows_of_nothing_else(fill: float) -> None:
    """A row of a billion less and -1e9 in it are equal, and so is all of another."""
    torch.manual_seed(0)
    x, biases, flags = torch.randn(2, 9, 17), -1200 + 10 * torch.rand(9, 17), torch.zeros(9, 17)
    biases[2], flags[:, 3], flags[4] = fill, 1.0, 1.0

    class Filled(nn.Module):
        def forward(self, x: Tensor, biases: Tensor, flags: Tensor) -> Tensor:
            return (x + biases).masked_fill(flags > 0, fill).softmax(-1)

    program, wanted = plena.compile(Filled(), (x, biases, flags)), Filled()(x, biases, flags)
    assert (program.run(x, biases, flags, progress=False) - wanted).abs().max() < 0.12
    assert program.check(quiet=True).passed


EITHER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "second": lambda x, b: x + b,
    "first": lambda x, b: b + x,
    "a multiple first": lambda x, b: b * 2 + x * 0.5,
    "less": lambda x, b: b - x,
}


@pytest.mark.parametrize("name", EITHER)
def test_either_of_two_inputs_may_be_the_bias(name: str) -> None:
    torch.manual_seed(0)
    x, biases, function = torch.randn(9, 17), -1200 + 10 * torch.rand(9, 17), EITHER[name]

    class Sum(nn.Module):
        def forward(self, x: Tensor, biases: Tensor) -> Tensor:
            return function(x, biases).softmax(-1)

    program, wanted = plena.compile(Sum(), (x, biases)), function(x, biases).softmax(-1)
    assert (program.run(x, biases, progress=False) - wanted).abs().max() < 0.12
    assert program.check(quiet=True).passed


def test_infinity_among_biases_hides_and_nan_is_refused() -> None:
    torch.manual_seed(0)
    x, biases = torch.randn(2, 9, 16), torch.zeros(9, 16)
    module, program = Scores(None), plena.compile(Scores(None), (x, biases))
    biases[:, 8:], biases[3] = -torch.inf, 0
    result, wanted = program.run(x, biases, progress=False), module(x, biases)
    torch.testing.assert_close(result, wanted, atol=0.02, rtol=0.05)
    assert result[:, 0, 8:].max() < 1e-38
    for wrong in (torch.nan, torch.inf):
        biases[2, 2] = wrong
        with pytest.raises(plena.PlenaError, match=r"at \[2, 2\]"):
            program.run(x, biases, progress=False)


WRITTEN: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "a number less": lambda x, b, m: (x - 500.0).softmax(-1),
    "a number more": lambda x, b, m: (x + 1e4).softmax(-1),
    "number and bias": lambda x, b, m: (x + b - 3000.0).softmax(-1),
    "mask of rows, then bias": lambda x, b, m: ((x + m) + b).softmax(-1),
    "hidden first": lambda x, b, m: torch.where(m < -1, -torch.inf, x + b).softmax(-1),
    "softmin": lambda x, b, m: nn.functional.softmin(x + b, -1),
    "subtracted": lambda x, b, m: (x - b).softmax(-1),
    "negative": lambda x, b, m: (x + (-b)).softmax(-1),
    "a bias first": lambda x, b, m: (b - x).softmax(-1),
    "a multiple of biases": lambda x, b, m: (x + (b / 2 + 100)).softmax(-1),
    "a multiple of scores": lambda x, b, m: ((x + b) * 0.5).softmax(-1),
    "a row of biases": lambda x, b, m: (x + b[1]).softmax(-1),
    "two biases": lambda x, b, m: (x + (b - m / 8)).softmax(-1),
    "another view": lambda x, b, m: (x + b).reshape(18, 17).softmax(-1).reshape(2, 9, 17),
    "axes exchanged": lambda x, b, m: (x + b).transpose(1, 2).softmax(1).transpose(1, 2),
    "by hand": lambda x, b, m: _by_hand(x + b),
    "log": lambda x, b, m: (x + b).log_softmax(-1).exp(),
    "a number between": lambda x, b, m: torch.where(m < -1, -1203.0, x + b).softmax(-1),
}


def _by_hand(scores: Tensor) -> Tensor:
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


READ_TWICE: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, ...]]] = {
    "sums": lambda x, b: _twice(x + b),
    "subtracted": lambda x, b: ((x - b).softmax(-1), b * 2),
}


def _twice(sums: Tensor) -> tuple[Tensor, Tensor]:
    return sums.softmax(-1), sums


@pytest.mark.parametrize("name", READ_TWICE)
def test_sums_that_others_read_too(name: str) -> None:
    torch.manual_seed(0)
    function = READ_TWICE[name]
    x, biases = torch.randn(2, 9, 9), -1200 + 3 * torch.rand(9, 9)

    class Read(nn.Module):
        def forward(self, x: Tensor, biases: Tensor) -> tuple[Tensor, ...]:
            return function(x, biases)

    program = plena.compile(Read(), (x, biases))
    for result, wanted in zip(program.run(x, biases, progress=False), function(x, biases), strict=True):
        assert ((result - wanted).abs() <= 0.12 + 0.07 * wanted.abs()).all()
    report = program.check(quiet=True)
    assert report.passed and report.quantized is not None and report.quantized.relative_rms < 0.02


class Across(nn.Module):
    """Shares of the same sums along two axes."""

    def __init__(self, biases: Tensor) -> None:
        super().__init__()
        self.biases = nn.Buffer(biases)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        sums = x + self.biases
        return sums.softmax(-1), sums.softmax(-2)


def test_biases_of_two_axes_are_taken_off_each() -> None:
    torch.manual_seed(0)
    module, x = Across(-1200 + 3 * torch.rand(9, 9)), torch.randn(2, 9, 9)
    program = plena.compile(module, (x,))
    for result, wanted in zip(program.run(x, progress=False), module(x), strict=True):
        assert (result - wanted).abs().max() < 0.12
    assert program.check(quiet=True).passed


@pytest.mark.parametrize("level", [-3000.0, 3000.0])
def test_a_number_of_no_axes(level: float) -> None:
    """All of a row: a softmax does not see it."""
    torch.manual_seed(0)
    x, number = torch.randn(2, 9, 17), torch.tensor(level)
    program = plena.compile(Scores(None), (x, number))
    assert (program.run(x, number, progress=False) - x.softmax(-1)).abs().max() < 0.12


@pytest.mark.parametrize("name", WRITTEN)
def test_forms_of_biases(name: str) -> None:
    torch.manual_seed(0)
    function = WRITTEN[name]
    x, biases, mask = torch.randn(2, 9, 17), -1200 + 10 * torch.rand(9, 17), torch.zeros(9, 17)
    if name == "hidden first":
        mask[:, 9:] = -1e4
    else:
        mask[4] = -1e4

    class Written(nn.Module):
        def forward(self, x: Tensor, biases: Tensor, mask: Tensor) -> Tensor:
            return function(x, biases, mask)

    program = plena.compile(Written(), (x, biases, mask))
    wanted = function(x, biases, mask)
    assert (program.run(x, biases, mask, progress=False) - wanted).abs().max() < 0.12
    assert program.check(quiet=True).passed


def _row_and_column(level: float) -> Tensor:
    """A row of one number, and some of it in two others."""
    biases = torch.zeros(5, 5)
    biases[0], biases[1, 3:], biases[2, :2] = level, level, level
    return biases


ABSORBED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "huge": (lambda x, b: (x + b).softmax(-1), 1e9),
    "huge, subtracted": (lambda x, b: (x - b).softmax(-1), -1e9),
    "the least float32, by softmin": (lambda x, b: nn.functional.softmin(x + b, -1), -3.4028e38),
    "times a number": (lambda x, b: ((x + b) * -3).softmax(-1), -1e9),
    "times a small number": (lambda x, b: ((x + b) * 0.1).softmax(-1), -3.4028e38),
    "with its transpose": (lambda x, b: (x + (b + b.T)).softmax(-1), 1e4),
    "its transpose behind": (lambda x, b: ((x + b) + b.T).softmax(-1), 1e4),
}


@pytest.mark.parametrize("name", ABSORBED)
def test_what_float32_absorbs_and_what_not(name: str) -> None:
    torch.manual_seed(0)
    function, level = ABSORBED[name]
    x, biases = torch.randn(2, 5, 5), _row_and_column(level)

    class Sums(nn.Module):
        def forward(self, x: Tensor, biases: Tensor) -> Tensor:
            return function(x, biases)

    program = plena.compile(Sums(), (x, biases))
    assert (program.run(x, biases, progress=False) - function(x, biases)).abs().max() < 0.12
    assert program.check(quiet=True).passed


def test_integers_are_biases() -> None:
    torch.manual_seed(0)
    x, biases = torch.randn(2, 9, 17), (-3000 + 10 * torch.rand(9, 17)).long()
    program = plena.compile(Scores(None), (x, biases))
    assert (program.run(x, biases, progress=False) - (x + biases).softmax(-1)).abs().max() < 0.12
    assert program.check(quiet=True).passed


def test_an_input_may_be_a_bias_along_two_axes() -> None:
    torch.manual_seed(0)
    x, biases = torch.randn(9, 9), -1200 + 3 * torch.rand(9, 9)

    class Both(nn.Module):
        def forward(self, x: Tensor, biases: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return (x + biases).softmax(-1), (x * 2 + biases.T).softmax(1), (x + biases).softmax(0)

    program = plena.compile(Both(), (x, biases))
    for result, wanted in zip(program.run(x, biases, progress=False), Both()(x, biases), strict=True):
        assert (result - wanted).abs().max() < 0.12
    report = program.check(quiet=True)
    assert report.passed and report.quantized is not None and report.quantized.relative_rms < 0.02


COVERED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "hidden": lambda x, b, m: (x + b).masked_fill(m, -torch.inf).softmax(-1),
    "a number": lambda x, b, m: (b + x).masked_fill(m, -1e9).softmax(-1),
    "a number that is near": lambda x, b, m: torch.where(~m, x.tanh() + b, -183.0).softmax(-1),
    "two biases": lambda x, b, m: (x * x + b * 2 - b[0]).masked_fill(m, -1e4).softmax(-1),
    "twice": lambda x, b, m: (x * x + b).masked_fill(m, -1e9).masked_fill(m.flip(0), -torch.inf).softmax(-1),
    "another view": lambda x, b, m: (x + b).view(3, 3, 17).masked_fill(m.view(3, 3, 17), -torch.inf).softmax(-1),
    "axes exchanged": lambda x, b, m: (x + b).view(3, 3, 17).transpose(0, 1)
    .masked_fill(m.view(3, 3, 17).transpose(0, 1), -1e9).softmax(-1),
    "log": lambda x, b, m: (x + b).masked_fill(m, -1e9).log_softmax(-1).clamp(-9),
}  # fmt: skip


@pytest.mark.parametrize("name", COVERED)
def test_a_mask_hides_the_largest_bias_of_a_row(name: str) -> None:
    """What is left keeps its bits: the host takes the largest of what is seen off."""
    torch.manual_seed(0)
    x, biases = torch.randn(9, 17), torch.randn(9, 17) * 3 - 190
    biases[:, 4], mask = 30.0, torch.zeros(9, 17, dtype=torch.bool)
    mask[:, 4], mask[3:5, 2:9] = True, True
    function = COVERED[name]

    class Masked(nn.Module):
        def forward(self, x: Tensor, biases: Tensor, mask: Tensor) -> Tensor:
            return function(x, biases, mask)

    program = plena.compile(Masked(), (x, biases, mask))
    mask[7:] = name in ("a number", "two biases")
    report = program.check(x, biases, mask, quiet=True)
    assert report.passed, report.failures
    torch.testing.assert_close(program.run(x, biases, mask), function(x, biases, mask), atol=0.05, rtol=0.1)


@pytest.mark.parametrize("trained", [True, False])
def test_constant_masks_hide_the_largest_bias_of_a_row(trained: bool) -> None:
    torch.manual_seed(0)
    biases = torch.randn(9, 17) * 3 - 190
    biases[:, 4] = 30.0
    x, mask = torch.randn(9, 17), torch.arange(17) == 4

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.biases = nn.Parameter(biases) if trained else nn.Buffer(biases)

        def forward(self, x: Tensor) -> Tensor:
            return (x + self.biases).masked_fill(mask, -torch.inf).softmax(-1)

    program = plena.compile(Masked(), (x,))
    torch.testing.assert_close(program.run(x), Masked()(x), atol=0.05, rtol=0.1)


@pytest.mark.parametrize("number", [-300.0, -1e4, -1e9, torch.finfo(torch.float32).min])
@pytest.mark.parametrize("kind", ["input", "constant", "of integers"])
def test_large_biases_hide_no_bits_of_their_neighbours(number: float, kind: str) -> None:
    """They share a scale in a block of numbers."""
    torch.manual_seed(0)
    x, ids = torch.randn(9, 17), torch.randint(0, 5, (9, 17))

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.biases = nn.Buffer(torch.where(ids == 0, number, ids * 0.7))

        def forward(self, x: Tensor, biases: Tensor, ids: Tensor) -> Tensor:
            made = {
                "input": biases,
                "constant": self.biases,
                "of integers": torch.where(ids == 0, number, ids * 0.7),
            }
            return (x * 0 + made[kind]).softmax(-1)

    inputs = x, Sum().biases, ids
    program = plena.compile(Sum(), inputs)
    torch.testing.assert_close(program.run(*inputs), Sum()(*inputs), atol=0.003, rtol=0.03)


SUMS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "two": lambda s, a, h, m: (s + a + h).softmax(-1),
    "added before": lambda s, a, h, m: (s - (h * -1 - a)).softmax(-1),
    "three": lambda s, a, h, m: (s + a * 2 + h - a).softmax(-1),
    "a number between": lambda s, a, h, m: ((s + a).masked_fill(m, -1e9) + h).softmax(-1),
    "infinity between": lambda s, a, h, m: ((s + a).masked_fill(m, -torch.inf) + h).softmax(-1),
    "filled first": lambda s, a, h, m: (s.masked_fill(m, -1e9) + h + a).softmax(-1),
    "a view between": lambda s, a, h, m: ((s + a).view(3, 3, 17) + h.view(3, 3, 17)).softmax(-1).view(9, 17),
    "columns": lambda s, a, h, m: ((s + a).T + h.T).softmax(-2).T,
    "over numbers": lambda s, a, h, m: ((s + a + h) / (a[:, :1] * 0 + 2.5)).softmax(-1),
    "times a mask": lambda s, a, h, m: ((s + a + h) * (1 - m.float()) - 1e9 * m.float()).softmax(-1),
    "log": lambda s, a, h, m: (s + a + h).log_softmax(-1).clamp(-9),
}


OF_NUMBERS = ("over numbers", "times a mask", "log")
"""Those that are refused minus infinity."""


@pytest.mark.parametrize(
    ("name", "infinite"),
    [
        (name, infinite)
        for name in SUMS
        for infinite in (False, True)
        if not infinite or name not in OF_NUMBERS
    ],
)
def test_of_several_biases_the_largest_is_that_of_their_sum(name: str, infinite: bool) -> None:
    """One may hide the largest of another, and a row may be hidden by all of them together."""
    torch.manual_seed(0)
    function, linear = SUMS[name], nn.Linear(8, 17)
    x, biases, hiding = torch.randn(9, 8), torch.randn(9, 17) * 3 - 190, torch.zeros(9, 17)
    mask = torch.zeros(9, 17, dtype=torch.bool)
    biases[:, 4], hiding[:, 4], mask[5, 9:] = (
        30.0,
        -torch.inf if infinite else -1e9,
        True,
    )
    if not infinite:
        biases[3, :8], hiding[3, 8:] = -1e9, -1e9

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, x: Tensor, biases: Tensor, hiding: Tensor, mask: Tensor) -> Tensor:
            return function(self.linear(x), biases, hiding, mask)

    inputs = x, biases, hiding, mask
    program = plena.compile(Sums(), (x, biases, torch.zeros(9, 17), mask))
    report = program.check(*inputs, quiet=True)
    assert report.passed, report.failures
    torch.testing.assert_close(program.run(*inputs), Sums()(*inputs), atol=0.05, rtol=0.1)


def test_of_inputs_over_numbers_the_host_makes_the_biases() -> None:
    torch.manual_seed(0)
    x, numbers = torch.randn(9, 17) - 200, torch.rand(9, 1) / 2 + 0.1

    class Quotient(nn.Module):
        def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
            return (x / numbers).softmax(-1)

    program = plena.compile(Quotient(), (x, numbers))
    torch.testing.assert_close(program.run(x, numbers), Quotient()(x, numbers), atol=0.01, rtol=0.05)
    assert program.check(quiet=True).passed


def test_constants_that_hide_are_not_exchanged_with_columns_beside_other_biases() -> None:
    """Their sum would lose what is small in the number format between."""
    hiding = torch.zeros(9, 9)
    hiding[:, 4] = -1e9

    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(9, 9)

        def forward(self, x: Tensor, biases: Tensor) -> Tensor:
            return (self.linear(x) + hiding - biases).softmax(-2)

    with pytest.raises(plena.PlenaError, match="rows and columns are exchanged"):
        plena.compile(Columns(), (torch.randn(2, 9, 9), torch.randn(9, 9)))
