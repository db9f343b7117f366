"""Products with few rows by M_BTMV: any rows and sizes on any machine, to the bit; where they are chosen; figures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import plena
from plena.errors import PlenaError
from plena.kernels.product_cost import CYCLES, ProductShape, preferred_unit
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from tests.covering import in_turn
from tests.kernels import checking
from tests.kernels.checking import FUNCTION_ERROR, check
from tests.poison import check_reads_what_is_defined


def machine(mlen: int, blen: int, hlen: int, broadcast: int, tiles: int = 16, **settings: int) -> Target:
    sizes = {"BLEN": blen, "HLEN": hlen, "BROADCAST_AMOUNT": broadcast, "MATRIX_SRAM_SIZE": tiles * mlen}
    return checking.machine(mlen, **sizes, **settings)


MACHINES = {
    "shipped": Target(),
    "16": machine(16, 4, 4, 4),
    "two slots": machine(32, 8, 16, 2),
    "eight slots": machine(16, 4, 2, 8),
    "one slot": machine(16, 4, 16, 1),
    "128": machine(128, 16, 32, 4, 64),
    "two tiles a prefetch": machine(
        16, 4, 4, 4, HBM_M_Prefetch_Amount=32, HBM_V_Prefetch_Amount=8, HBM_V_Writeback_Amount=2
    ),
    "three tiles of matrix SRAM": machine(16, 4, 4, 4, 3),
}
on_machines = pytest.mark.parametrize("target", MACHINES.values(), ids=MACHINES)
NO_UNIT = machine(16, 4, 4, 2)


class Chain(nn.Module):
    """Two layers of one input with a sum of their own, one of them followed by a third."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(features, hidden), nn.Linear(features, 24)
        self.c = nn.Linear(hidden, 24, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(nn.functional.silu(self.a(x))) + self.b(x)


SIZES = [(1, 40, 50), (3, 16, 16), (5, 100, 33), (9, 130, 70)]


@pytest.mark.parametrize(("name", "sizes"), in_turn(MACHINES, SIZES, each=2))
def test_linear_layers(name: str, sizes: tuple[int, int, int]) -> None:
    rows, k, n = sizes
    torch.manual_seed(rows)
    x = torch.randn(rows, k)
    program = check(nn.Linear(k, n, bias=rows % 3 == 0), x, target=MACHINES[name], matmul="vector")
    assert "vector as asked" in program.decisions[0]
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize(("rows", "k"), [(1, 40), (5, 100), (64, 64)])
def test_an_input_that_products_alone_read_comes_packed(rows: int, k: int) -> None:
    """It takes no packing tile and no instruction; the packed rows are those that the unit would make."""
    x = torch.randn(rows, k)
    layer = nn.Linear(k, 70, bias=False)
    program = check(layer, x, matmul="vector")
    assert "pack" not in program.asm and program.asm.count("load constant tile") == 0
    check_reads_what_is_defined(program, x)
    read_twice = check(lambda x: (layer(x), x * 2), x, matmul="vector")
    assert "pack" in read_twice.asm


@on_machines
def test_layers_that_follow_each_other(target: Target) -> None:
    """The second finds zeros or finite numbers in the rows that the first writes beyond its own."""
    torch.manual_seed(0)
    x = torch.randn(3, 40)
    program = check(Chain(40, 70), x, target=target, matmul="vector", error=2 * FUNCTION_ERROR)
    check_reads_what_is_defined(program, x)


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.sampled_from([(16, 4, 4, 4), (16, 4, 8, 2), (16, 4, 2, 8), (32, 8, 8, 4), (16, 8, 16, 1)]),
    tiles=st.sampled_from([3, 8, 32]),
    rows=st.integers(1, 40),
    k=st.integers(1, 90),
    n=st.integers(1, 90),
    objective=st.sampled_from(["cycles", "size"]),
)
def test_any_rows_and_columns(
    sizes: tuple[int, int, int, int], tiles: int, rows: int, k: int, n: int, objective: str
) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(k, n, bias=False), torch.randn(rows, k)
    check(layer, x, target=machine(*sizes, tiles), matmul="vector", objective=objective)


def test_a_row_of_infinities_stays_alone() -> None:
    """The unit would make NaN of the rows beside it: M_MM takes them."""

    class Divided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x / x.sum(-1, keepdim=True))

    x = torch.ones(2, 16)
    x[0, ::2] = -1.0
    program = plena.compile(Divided(), (x,), target=MACHINES["16"], matmul="vector")
    found = program.run(x)
    assert isinstance(found, torch.Tensor)
    assert torch.isfinite(found[1]).all() and not torch.isfinite(found[0]).any()


@pytest.mark.parametrize("matmul", ["vector", "broadcast"])
def test_a_machine_without_the_unit_is_named(matmul: str) -> None:
    with pytest.raises(PlenaError, match=f"matmul {matmul} needs the broadcast unit") as raised:
        plena.compile(nn.Linear(16, 16), (torch.zeros(1, 16),), target=NO_UNIT, matmul=matmul)  # type: ignore[arg-type]
    assert "Leave matmul out" in str(raised.value)


def test_a_machine_without_the_unit_falls_back() -> None:
    x = torch.randn(1, 40)
    program = check(nn.Linear(40, 20), x, target=NO_UNIT)
    assert "mm (no broadcast unit)" in program.decisions[0]


@pytest.mark.parametrize(
    ("rows", "timing", "unit"),
    [
        (1, "transactional", "vector"),
        (64, "transactional", "vector"),
        (256, "transactional", "broadcast"),
        (1, "pipelined", "vector"),
        (64, "pipelined", "vector"),
    ],
)
def test_the_fastest_unit_is_chosen(rows: int, timing: str, unit: str) -> None:
    shape = ProductShape(rows, 9, 24, 9, 9, 36, 61)
    schedule = Schedule(timing=timing)
    assert preferred_unit(shape, Target(), schedule) == unit
    figures = {name: cycles(shape, Target(), timing) for name, cycles in CYCLES.items()}
    assert min(figures.values()) == {str(name): cycles for name, cycles in figures.items()}[unit]


def test_reloading_weights_for_every_group_of_rows_counts() -> None:
    """A reduction that matrix SRAM does not hold: its tiles come once for 4 rows, or once for 256."""
    held, streamed = (ProductShape(64, 90, 24, 90, 90, 360, held) for held in (100, 61))
    assert preferred_unit(held, Target(), Schedule()) == "vector"
    assert preferred_unit(streamed, Target(), Schedule()) == "broadcast"


def test_code_for_groups_of_rows_is_not_for_size() -> None:
    one, many = (ProductShape(rows, 9, 24, 9, 9, 36, 61) for rows in (4, 5))
    assert preferred_unit(one, Target(), Schedule("size")) == "vector"
    assert preferred_unit(many, Target(), Schedule("size")) == "broadcast"


@pytest.mark.parametrize(
    ("rows", "budget", "cycles"), [(1, 75, 3_300), (4, 75, 3_400), (16, 120, 10_500), (64, 120, 40_000)]
)
def test_figures(rows: int, budget: int, cycles: int) -> None:
    """Linear 576 -> 1536 (issue 14)."""
    x = torch.randn(rows, 576)
    statistics = plena.compile(nn.Linear(576, 1536, bias=False), (x,), max_instructions=budget).stats()
    assert statistics.static <= budget and statistics.cycles["transactional"] <= cycles
    assert statistics.utilization["pipelined"] <= 1


def test_a_small_budget_has_the_program_that_fits() -> None:
    """Groups of rows take more text than one product of all rows: a budget without room for it does without."""
    layer, x = nn.Linear(384, 1408, bias=False), torch.zeros(64, 384)
    cycles = [
        plena.compile(layer, (x,), max_instructions=budget).stats().cycles["transactional"]
        for budget in (40, 60, 100)
    ]
    assert cycles[0] <= 37_051 and cycles == sorted(cycles, reverse=True) and cycles[2] < 20_000


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 192, bias=False), nn.Linear(192, 64, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


def test_layers_stay_a_loop_under_the_watchdog() -> None:
    """As many products by M_BTMV as an iteration has room for."""
    torch.manual_seed(0)
    layers, x = nn.Sequential(*[Residual() for _ in range(3)]), torch.randn(32, 64)
    roomy, tight = (
        check(layers, x, target=Target().with_settings({"MAX_LOOP_INSTRUCTIONS": limit}), error=0.02)
        for limit in (100_000, 1_100)
    )
    assert not any("M_BTMM instead of M_BTMV" in line for line in roomy.decisions)
    assert any("1 of 2 products of a layer by M_BTMM" in line for line in tight.decisions), tight.decisions
    assert 3 in [loop.trip_count for loop in tight.stats().loops]
