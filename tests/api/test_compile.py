"""plena.compile: options, budgets, what cannot be compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.errors import CompileError, PlenaError
from plena.timing.registry import profile_named
from tests.levels import SMALL, Attention, qkv


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


def attention(target: plena.Target = SMALL, **options: Any) -> plena.Program:
    return plena.compile(Attention(), qkv(1, 32, 16), target=target, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "beauty"}, "objective must be one of cycles, size, not 'beauty'"),
        (
            {"timing": "fast"},
            "timing must be one of transactional, pipelined, serialized, rtl-v1, not 'fast'",
        ),
        ({"matmul": "strassen"}, "matmul must be one of auto, mm, broadcast, vector, not 'strassen'"),
        ({"attention": "linear"}, "attention must be one of auto, online, rows, not 'linear'"),
        ({"staging": "best"}, "staging must be one of public, nearest, calibrated, not 'best'"),
        ({"max_instructions": 0}, "max_instructions must be positive, got 0"),
        ({"max_instructions": -5}, "max_instructions must be positive, got -5"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        attention(**options)


def test_a_budget_that_cannot_be_met_names_the_smallest_program() -> None:
    smallest = attention(objective="size").stats().static
    with pytest.raises(CompileError) as error:
        attention(objective="size", max_instructions=smallest - 1)
    assert f"no program of at most {smallest - 1} instructions" in str(error.value)
    assert f"The smallest has {smallest}." in str(error.value)
    assert attention(objective="size", max_instructions=smallest).stats().static == smallest


@pytest.mark.parametrize("budget", [80, 150, 600])
def test_budgets_are_kept(budget: int) -> None:
    assert attention(max_instructions=budget, matmul="mm").stats().static <= budget


def test_more_instructions_buy_cycles() -> None:
    cycles = [
        attention(max_instructions=n, matmul="mm").stats().cycles["transactional"] for n in (80, 200, 1000)
    ]
    assert cycles[0] > cycles[1] > cycles[2]


def test_objectives() -> None:
    small, fast = attention(objective="size", matmul="mm").stats(), attention(matmul="mm").stats()
    assert small.static <= fast.static
    assert fast.cycles["transactional"] <= small.cycles["transactional"]


@pytest.mark.parametrize("form", ["rows", "online"])
@pytest.mark.parametrize("product", ["mm", "broadcast"])
@pytest.mark.parametrize("timing", ["transactional", "pipelined"])
def test_every_schedule_is_right(timing: str, product: str, form: str) -> None:
    program = attention(timing=timing, matmul=product, attention=form)
    assert program.check(quiet=True).passed
    if form == "rows":
        assert ("M_MM_WO" in program.asm) == (product == "mm")


@pytest.mark.parametrize("shape", [(1, 32, 16), (2, 48, 8)])
def test_nearest_staging_is_closer_to_pytorch_at_the_same_cost(shape: tuple[int, int, int]) -> None:
    inputs = qkv(*shape)
    public, nearest = (
        plena.compile(Attention(), inputs, target=SMALL, staging=how) for how in ("public", "nearest")
    )
    assert public.asm == nearest.asm
    reports = [program.check(quiet=True) for program in (public, nearest)]
    assert all(report.passed for report in reports), "the references round as the program's host does"
    errors = [report.float32.relative_rms for report in reports if report.float32 is not None]
    assert errors[1] < 0.9 * errors[0]


def test_the_same_input_gives_the_same_program() -> None:
    assert attention().asm == attention().asm


def test_the_watchdog_is_respected() -> None:
    """An iteration of any loop stays within the limit, by other loop orders if need be."""
    target = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 800})
    program = attention(target, matmul="mm")
    assert program.check(quiet=True).passed
    assert max(loop.dynamic // loop.trip_count for loop in program.stats().loops if loop.depth == 0) <= 800


def test_a_watchdog_that_no_loop_respects_leaves_straight_code() -> None:
    program = attention(SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 3}), matmul="mm")
    assert program.check(quiet=True).passed
    assert all(loop.dynamic // loop.trip_count <= 3 for loop in program.stats().loops)


def test_a_memory_that_is_too_small() -> None:
    with pytest.raises(CompileError) as error:
        attention(SMALL.with_settings({"VECTOR_SRAM_SIZE": 16}))
    message = str(error.value)
    assert (
        "vector memory" in message
        and "needed, 256 available" in message
        and "the largest buffers are" in message
    )


def test_a_machine_that_cannot_be() -> None:
    with pytest.raises(PlenaError, match="BLEN must divide MLEN"):
        attention(SMALL.with_settings({"BLEN": 5}))


def test_an_operator_without_kernel_is_named_with_its_line() -> None:
    with pytest.raises(PlenaError) as error:
        plena.compile(Doubled(), (torch.randn(4, 16),), target=SMALL)
    message = str(error.value)
    assert "bessel_j0" in message and "test_compile.py:" in message and "4x16" in message.replace(", ", "x")


def test_instructions_that_a_machine_does_not_execute_right_are_left_out() -> None:
    """The RTL that rtl-v1 was measured on has no broadcast unit."""
    torch.manual_seed(0)
    module, x = nn.Linear(64, 64), torch.randn(64, 64)
    careful = plena.compile(module, (x,), timing="rtl-v1")
    marked = profile_named("rtl-v1").unsupported(careful.target)
    assert set(careful.stats().opcodes) & marked == {"M_MM_WO"}
    assert set(careful.stats().unsupported) == {"rtl-v1"} and "rtl-v1" not in careful.stats().utilization
    free = plena.compile(module, (x,), timing="rtl-v1", allow_unsupported=True)
    assert {"M_BTMM", "M_BTMV"} & set(free.stats().opcodes)
    (line,) = (d for d in careful.decisions if ": mm " in d)
    assert (
        "mm by rtl-v1, without broadcast and vector: its machine does not execute M_BTMM and M_BTMV right"
        in line
    )
    assert not any("without" in d for d in free.decisions)
    with pytest.raises(CompileError, match=r"matmul broadcast makes products by M_BTMM, .* under rtl-v1"):
        plena.compile(module, (x,), timing="rtl-v1", matmul="broadcast")
    asked = plena.compile(module, (x,), timing="rtl-v1", matmul="broadcast", allow_unsupported=True)
    assert "M_BTMM" in asked.stats().opcodes
    with pytest.raises(CompileError, match="allow_unsupported must be True or False, not 1"):
        plena.compile(module, (x,), allow_unsupported=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("timing", ["serialized", "rtl-v1"])
def test_a_profile_without_cycles_for_an_instruction_cannot_choose(timing: str) -> None:
    x = torch.randn(4, 64)
    with pytest.raises(
        CompileError, match=rf"{timing} cannot choose this program: no cycles .* V_MAX_VF"
    ) as found:
        plena.compile(nn.ReLU(), (x,), timing=timing)
    assert "a ReLU does without V_MAX_VF. Choose by another profile, which counts it: tran" in str(
        found.value.hint
    )
    assert plena.compile(nn.ReLU(), (x,)).stats().cycles[timing] is None
    assert plena.compile(nn.GELU(), (x,), timing=timing).check(x).passed
