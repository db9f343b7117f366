"""What a program returns beside matrices: numbers without axes, None, integers of any size, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import plena
from plena.api.compile import compile
from plena.api.program import Program
from plena.errors import CompileError, PlenaError
from tests.covering import in_turn
from tests.kernels.against_torch import against_torch, exact
from tests.kernels.checking import MACHINES, Function, check

X = exact(2, 3, 20)
IDS = torch.tensor([[0, 1, 49_151], [-100, 257, 2**31 - 1]])


RESULTS: list[Callable[..., Any]] = [
    lambda x, i: x.mean(),
    lambda x, i: (x.sum(), x * 2),
    lambda x, i: x.amax(),
    lambda x, i: torch.dot(x[0, 0], x[0, 1]),
    lambda x, i: (x * 2, None),
    lambda x, i: (None, x * 2, 3, x.shape[0], 2.5, None, x + 1),
    lambda x, i: (x * 2, i),
    lambda x, i: (i.t().unsqueeze(-1), x[0, 0, 0] * 2),
    lambda x, i: (x * 2, i != 1, i.bool(), i.flatten() == 0),
    lambda x, i: (x * 2, torch.arange(257, 300), torch.tensor(7)),
    lambda x, i: (x * (i != 0)[..., None], i != 0),
]


@pytest.mark.parametrize(("function", "mlen"), in_turn(RESULTS, MACHINES, each=2))
def test_results(function: Callable[..., Any], mlen: int) -> None:
    against_torch(function, (X, IDS), (X * 2, IDS // 2), target=MACHINES[mlen])


def test_numbers_without_axes_agree_with_every_reference() -> None:
    check(lambda x: (x.mean(), x.sum() * 2), X)
    program = check(lambda x, i: (x * 2, i), X, IDS)
    assert program.check(X, IDS, quiet=True).passed


def test_saved_programs_return_the_same(tmp_path: Path) -> None:
    program = compile(Function(lambda x, i: (None, x.mean(), 3, i)), (X, IDS))
    program.save(tmp_path / "program")
    loaded = Program.load(tmp_path / "program")
    none, mean, three, ids = loaded.run_saved()
    assert none is None and three == 3 and mean.shape == () and torch.equal(ids, IDS)
    assert torch.equal(loaded.run(X, IDS)[1], mean)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: x.mean(),
        lambda x, i: (x.mean(), None, x * 2),
        lambda x, i: (x * 2, i, i != 1, 3),
        lambda x, i: {"a": x.sum(), "b": None, "n": 3},
    ],
)
def test_under_torch_compile(function: Callable[..., Any], recwarn: pytest.WarningsRecorder) -> None:
    torch._dynamo.reset()
    module = Function(function)
    with torch.no_grad():
        wanted = pytree.tree_leaves(module(X, IDS))
        found = pytree.tree_leaves(torch.compile(module, backend="plena")(X, IDS))
    assert not [w for w in recwarn if "runs a graph eagerly" in str(w.message)]
    for result, expected in zip(found, wanted, strict=True):
        if not isinstance(expected, Tensor):
            assert result == expected
            continue
        assert result.shape == expected.shape and result.dtype == expected.dtype
        torch.testing.assert_close(result, expected, rtol=0.006, atol=1e-6)


def test_masks_of_integers_under_torch_compile(recwarn: pytest.WarningsRecorder) -> None:
    torch._dynamo.reset()

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 32)
            self.table.weight.data = exact(50, 32)

        def forward(self, ids: Tensor) -> Tensor:
            return self.table(ids) * (ids != 1).unsqueeze(-1)

    module, ids = Masked(), torch.tensor([[1, 0, 49, 1, 7]])
    with torch.no_grad():
        torch.testing.assert_close(
            torch.compile(module, backend="plena")(ids), module(ids), rtol=0.006, atol=0
        )
    assert not [w for w in recwarn if "runs a graph eagerly" in str(w.message)]


def test_computed_integers_come_back_exactly() -> None:
    def function(x: Tensor, i: Tensor) -> tuple[Tensor, ...]:
        below = i < i.roll(1, 1)
        return (
            x * 2,
            i[0, 2],
            i + 1,
            i.argmax(-1),
            below,
            below.int().cumsum(1),
            i.to(torch.int8),
            (i % 1000).sum(),
        )

    against_torch(function, (X, IDS - 2), (X, (IDS - 5) // 3))


def test_integers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CompileError, match="2000 integers of shape"):
        compile(Function(lambda x, i: (x * 2, i)), (X, torch.zeros(2, 1000, dtype=torch.long)))
    with pytest.raises(CompileError, match=r"no kernel for aten\.\w+"):
        compile(Function(lambda x, i: x.argmax()), (X, IDS))
    program = plena.compile(Function(lambda x, i: (x * 2, i)), (X, IDS))
    with pytest.raises(PlenaError, match="out of range"):
        program.run(X, IDS + 2**31)
