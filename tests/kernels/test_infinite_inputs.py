"""Minus infinity in an input that is added to scores: right as in PyTorch, or refused when it is staged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from plena.api.compile import compile
from plena.api.program import Program
from plena.errors import PlenaError
from plena.host.image import StagingWarning
from tests.kernels.against_torch import exact
from tests.kernels.checking import MACHINES, Function

INF = float("inf")

MASK = torch.tensor(
    [[0.0, -INF, 0.0, 0.0], [0.0, 0.0, -INF, -INF], [0.0, -INF, 0.0, -INF], [0.0, 0.0, 0.0, 0.0]]
)
EMPTY = MASK.clone()
EMPTY[1] = -INF

RIGHT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "last axis": lambda x, m: (x + m).softmax(-1),
    "axis before": lambda x, m: (x + m).softmax(-2),
    "transposed mask": lambda x, m: (x + m.T).softmax(-2),
    "twice": lambda x, m: (x + m + m).softmax(-1),
    "four times, one body": lambda x, m: (x + m + m + m + m).softmax(-1),
    "mask and its transpose": lambda x, m: (x + m + m.T).softmax(-1),
    "computed scores": lambda x, m: (x @ x.mT / 2 + m).softmax(-2),
    "two before": lambda x, m: (x @ x.mT / 2 + m + m.T).softmax(-2),
    "log": lambda x, m: (x + m).log_softmax(-1),
    "logsumexp": lambda x, m: (x + m).logsumexp(-1),
    "less logsumexp": lambda x, m: x - (x + m).logsumexp(-1, keepdim=True),
    "logsumexp less": lambda x, m: (x + m).logsumexp(-1, keepdim=True) - x,
    "largest": lambda x, m: (x + m).amax(-1),
    "returned": lambda x, m: x + m,
    "bounded": lambda x, m: (x + m).clamp(-3),
    "attention": lambda x, m: (x @ x.mT + m).softmax(-1) @ x,
}


@pytest.mark.parametrize("name", RIGHT)
def test_masks_that_hold_minus_infinity(name: str) -> None:
    """Every row has a number, and one has none: masks of one program."""
    x = exact(2, 4, 4)
    program = compile(Function(RIGHT[name]), (x, torch.zeros(4, 4)))
    for mask in (MASK, EMPTY):
        report = program.check(x, mask, quiet=True)
        assert report.passed, report.failures
        result, wanted = program.run(x, mask), RIGHT[name](x, mask)
        assert torch.equal(result.isnan(), wanted.isnan())
        assert torch.equal(result.isneginf(), wanted.isneginf())
        assert torch.allclose(result.nan_to_num(0, 0, 0), wanted.nan_to_num(0, 0, 0), atol=0.3)


REFUSED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "largest of a column": lambda x, m: (x + m).amax(-2),
    "logarithm along columns": lambda x, m: (x + m).log_softmax(-2),
    "product": lambda x, m: x * m,
    "selection": lambda x, m: torch.where(x[0] > 0, x[0], m).softmax(-1),
    "right operand": lambda x, m: x @ m,
    "difference": lambda x, m: (x - m).softmax(-1),
    "joined": lambda x, m: torch.cat([x, m[None].expand(2, 4, 4)], -1),
    "parts of rows": lambda x, m: (x + m).reshape(8, 2, 2).softmax(-1),
    "a number a row": lambda x, m: (x + m[:, 1:2]).softmax(-1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_minus_infinity_that_a_program_would_lose(name: str) -> None:
    x = exact(2, 4, 4)
    try:
        program = compile(Function(REFUSED[name]), (x, torch.zeros(4, 4)))
    except PlenaError:
        return
    with pytest.raises(PlenaError, match=r"input 1 \(\w+\): -inf at \[0, 1\]: .* finite numbers alone"):
        program.run(x, MASK)
    assert program.check(x, torch.zeros(4, 4), quiet=True).passed


def test_rows_of_nothing_but_minus_infinity_are_refused_where_their_nan_would_be_lost() -> None:
    x, zeros = exact(2, 4, 4), torch.zeros(4, 4)
    function = Function(lambda x, m, n: (x + m).softmax(-1)[0].T @ (x + n).softmax(-1)[1])
    program = compile(function, (x, zeros, zeros))
    assert program.check(x, MASK, zeros, quiet=True).passed
    with pytest.raises(PlenaError, match=r"input 1 .*row \[1\] of \[4, 4\] is minus infinity throughout"):
        program.run(x, EMPTY, zeros)
    with pytest.raises(PlenaError, match=r"input 1 .* and input 2 .*: together they may leave no number"):
        program.run(x, MASK, MASK)


def test_sums_of_masks_must_leave_a_number_in_a_row_whose_nan_would_be_lost() -> None:
    x, zeros = exact(2, 4, 4), torch.zeros(4, 4)
    program = compile(Function(lambda x, m, n: (x + m + n).softmax(-1)[0].T @ x[1]), (x, zeros, zeros))
    assert program.check(x, MASK, MASK, quiet=True).passed
    other = torch.where(MASK == 0, -INF, 0.0)
    for masks in ((EMPTY, zeros), (MASK, other)):
        with pytest.raises(PlenaError, match="minus infinity throughout"):
            program.run(x, *masks)


def test_a_row_of_shares_that_is_multiplied_must_have_a_number() -> None:
    """A product may be a selection, which does not read NaN on its other side."""
    x = exact(2, 4, 4)
    program = compile(Function(lambda x, m: ((x @ x.mT + m).softmax(-1) * x) @ x), (x, MASK))
    assert program.check(x, MASK, quiet=True).passed
    with pytest.raises(PlenaError, match="minus infinity throughout"):
        program.run(x, EMPTY)


@pytest.mark.parametrize("number", [INF, float("nan")])
def test_what_no_format_holds_is_refused(number: float) -> None:
    x = exact(2, 4, 4)
    program = compile(Function(RIGHT["last axis"]), (x, MASK))
    with pytest.raises(PlenaError, match=r"at \[2, 3\]: the program is right for numbers and minus infinity"):
        wrong = MASK.clone()
        wrong[2, 3] = number
        program.run(x, wrong)


def test_numbers_that_share_a_scale_with_infinity() -> None:
    """Either they survive or they are named; of other machines' blocks, too."""
    x, mask, far = exact(2, 4, 4), MASK.clone(), MASK.clone()
    mask[0, 0], far[0, 0] = -1.5, -1500.0
    for target in (None, MACHINES[16]):
        program = compile(Function(RIGHT["last axis"]), (x, mask.clamp(min=-4)), target=target)
        assert (program.run(x, mask) - RIGHT["last axis"](x, mask)).abs().max() < 0.01
        with pytest.raises(PlenaError, match=r"-1536 becomes -?0 beside minus infinity: 8 numbers in a row"):
            program.run(x, far)


def test_a_mask_that_is_right_is_no_warning() -> None:
    x = exact(2, 4, 4)
    program = compile(Function(RIGHT["last axis"]), (x, MASK))
    with warnings.catch_warnings():
        warnings.simplefilter("error", StagingWarning)
        program.run(x, MASK)


def test_a_saved_program_knows_its_masks(tmp_path: Path) -> None:
    x = exact(2, 4, 4)
    compile(Function(RIGHT["axis before"]), (x, MASK)).save(tmp_path / "program")
    program = Program.load(tmp_path / "program")
    wanted = RIGHT["axis before"](x, MASK)
    assert torch.allclose(program.run(x, MASK), wanted, atol=0.1)
    with pytest.raises(PlenaError, match="nan at"):
        program.run(x, MASK * 0)
