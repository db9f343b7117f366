"""The choice of experts on the machine is torch's stable sort, for every number of experts and machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from plena.api.compile import compile
from plena.api.program import Program
from plena.checking.reference import as_tensors
from plena.dialects import aten, plena
from plena.errors import PlenaError
from plena.machine.target import Target
from plena.passes import convert_aten_to_plena
from plena.tensor.emission import Emitter
from tests.kernels.checking import MACHINES, Function
from tests.poison import check_reads_what_is_defined

Route = Callable[..., Program]


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> Route:
    """Compiles a function in which a softmax stands for the choice of so many."""

    def compiled(chosen: int, function: Callable[..., Any], *inputs: torch.Tensor, target: Target) -> Program:
        def convert(e: Emitter, op: aten.SoftmaxOp) -> None:
            e.replace(e.add(plena.RouteOp(e.flat(op.input), chosen)))

        monkeypatch.setitem(convert_aten_to_plena.CONVERSIONS, aten.SoftmaxOp, convert)
        return compile(Function(function), inputs, target=target)

    return compiled


def expected(scores: torch.Tensor, chosen: int) -> torch.Tensor:
    scores = torch.where(scores.isnan(), -torch.inf, scores)
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(scores).scatter(1, order[:, :chosen], 1.0)


def same_as_torch(program: Program, chosen: int, scores: torch.Tensor, *inputs: torch.Tensor) -> None:
    result = as_tensors(program.run(*inputs, progress=False))[0]
    assert torch.equal(result, expected(scores, chosen))
    assert program.machine_reference is not None
    assert torch.equal(result, as_tensors(program.machine_reference(*inputs))[0])


def whole_numbers(rows: int, experts: int, largest: int = 12) -> torch.Tensor:
    """With many equal ones; all formats hold them exactly."""
    return torch.randint(-largest, largest + 1, (rows, experts)).float()


@pytest.mark.parametrize(
    ("mlen", "experts", "chosen"),
    [
        (64, 32, 4),
        (16, 2, 1),
        (32, 8, 8),
        (64, 128, 8),
        (16, 60, 3),
        (128, 33, 5),
        (64, 256, 8),
        (16, 130, 2),
    ],
)
def test_experts(routed: Route, mlen: int, experts: int, chosen: int) -> None:
    torch.manual_seed(0)
    scores = whole_numbers(3, experts)
    scores[1] = 5.0
    scores[2] = 0.0
    scores[2, 1::3] = -1.0
    # Products with numbers of both signs: zeros are of both signs too.
    program = routed(chosen, lambda x: (x * -1.0).softmax(-1), scores, target=MACHINES[mlen])
    same_as_torch(program, chosen, -scores, scores)
    check_reads_what_is_defined(program, scores)


@pytest.mark.parametrize(("experts", "chosen"), [(12, 6), (150, 8)])
def test_fewer_than_chosen_are_above_minus_infinity(routed: Route, experts: int, chosen: int) -> None:
    """As where all groups but some are masked: what else is chosen are the first ones."""
    torch.manual_seed(1)
    scores, mask = whole_numbers(2, experts), torch.zeros(2, experts)
    mask[0, 4], mask[1, -3:] = 1, 1
    program = routed(
        chosen,
        lambda x, m: x.masked_fill(m == 0, -torch.inf).softmax(-1),
        scores,
        mask,
        target=MACHINES[32],
    )
    same_as_torch(program, chosen, scores.masked_fill(mask == 0, -torch.inf), scores, mask)


def test_two_choices_beside_an_embedding(routed: Route) -> None:
    """They share what they write in INT SRAM with each other and not with the rows that an embedding looks up."""
    torch.manual_seed(2)
    table = torch.nn.Embedding(1000, 48)
    table.weight.data = whole_numbers(1000, 48)
    numbers = torch.tensor([999, 3, 998])

    def twice(ids: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.embedding(ids, table.weight)
        return (x.softmax(-1) * 2.0 - x).softmax(-1)

    program = routed(3, twice, numbers, target=MACHINES[16])
    x = table(numbers).detach()
    same_as_torch(program, 3, expected(x, 3) * 2 - x, numbers)


def test_refusals(routed: Route) -> None:
    scores = torch.zeros(2, 200)
    wide = Target().with_settings(
        {"MLEN": 256, "VLEN": 256, "HLEN": 64, "BROADCAST_AMOUNT": 4, "HBM_M_Prefetch_Amount": 256}
    )
    with pytest.raises(PlenaError, match="V_TOPK looks at 128 of 200 numbers"):
        routed(8, lambda x: x.softmax(-1), scores, target=wide)
    with pytest.raises(PlenaError, match="more than 128 numbers that may be NaN"):
        routed(8, lambda x: (x / x).softmax(-1), scores, target=MACHINES[64])


def _whole(x: Tensor, before: int = 0, put: int = 1) -> Tensor:
    return torch.full_like(x, before, dtype=torch.long).scatter(-1, x.topk(3)[1], put)


def _truths(x: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=torch.bool).scatter(-1, x.topk(3)[1], True)


EXACT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "put": lambda x, m: _whole(x, 2, 7),
    "truths": lambda x, m: ~_truths(x),
    "the rest": lambda x, m: 1 - _whole(x) * _whole(-x),
    "counted": lambda x, m: (_whole(x) + _whole(-x) * 3).sum(0),
    "another number": lambda x, m: (3 * _whole(x) == 1) | (_whole(x) - 2 == -1),
    "in order": lambda x, m: (_whole(x, 5, 2) > 2) & (_whole(x, 5, 2) <= 5),
    "either": lambda x, m: _truths(x) ^ _truths(-x) ^ m,
    "chosen": lambda x, m: torch.where(_whole(x, 4, -4) * 2 >= 8, x, 0.0),
    "not put": lambda x, m: torch.where(torch.ones_like(m).scatter(-1, x.topk(3)[1], False) | m, x, 1.0),
    "real": lambda x, m: torch.where((1 - torch.zeros_like(x).scatter(-1, x.topk(3)[1], 1.0)).bool() & ~m, x, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_integers_of_a_choice_are_exact(name: str) -> None:
    torch.manual_seed(0)
    function = EXACT[name]
    x = torch.stack([torch.randperm(8) for _ in range(6)]) - 4.0  # Which every format holds.
    mask = torch.rand(6, 8) > 0.5

    result, wanted = compile(Function(function), (x, mask)).run(x, mask), function(x, mask)
    assert result.dtype == wanted.dtype and torch.equal(result, wanted)
