"""The rtl-v1 profile against the worked examples of its source."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

import plena
from plena.machine.target import Target
from plena.timing import rtl_v1, scoreboard
from plena.timing.registry import profile_named
from plena.timing.scoreboard import Board, new_board
from plena.timing.stream.integers import EVENT, REG_A, REG_B, REG_D
from plena.timing.stream.lines import table_of
from tests.timing.runs import run_of

I64 = NDArray[np.int64]

INTEGERS = Target().with_settings(
    {"HBM_M_WEIGHT_TYPE": {"format": "Plain", "DATA_TYPE": {"type": "Int", "width": 8}}}
)


@numba.njit
def accept(b: Board, line: I64, unit: I64, event: I64, transfer: int, mlen: int) -> int:
    return scoreboard.accept(b, line, unit, event, transfer, mlen)


def accepted(
    program: Sequence[tuple[str, tuple[int, int, int], int]], target: Target
) -> tuple[list[int], int]:
    """The cycles in which instructions are accepted, and the end.

    Args:
        program: assembly; contents of the registers in fields rd, rs1, rs2; what a transfer takes.
    """
    run = run_of("\n".join(text for text, _, _ in program), target)
    lines, units = table_of(run), rtl_v1.unit_table(run)
    board = new_board()
    times: list[int] = []
    for at, (_, registers, transfer) in enumerate(program):
        event = np.zeros(EVENT, np.int64)
        event[REG_D], event[REG_A], event[REG_B] = registers
        times.append(int(accept(board, lines[at], units[at], event, transfer, target.mlen)))
    return times, int(board.slots[scoreboard.MAKESPAN])


B1 = [
    ("S_ADDI_INT gp1, gp0, 1", (0, 0, 0), 0),
    ("M_MM 0, gp1, gp2", (0, 0, 0), 0),
    ("M_MM 0, gp1, gp2", (0, 4096, 4096), 0),
    ("M_MM_WO gp1, gp0, 0", (8192, 0, 0), 0),
    ("S_ADDI_INT gp1, gp0, 1", (0, 0, 0), 0),
    ("V_ADD_VV gp1, gp2, gp3, 0", (12288, 8192, 0), 0),
    ("V_ADD_VV gp1, gp2, gp3, 0", (12352, 64, 128), 0),
    ("V_MUL_VV gp1, gp2, gp3, 0", (12416, 192, 192), 0),
    ("V_RED_SUM f1, gp1", (0, 12416, 0), 0),
    ("S_LD_FP f2, gp0, 0", (0, 0, 0), 0),
    ("S_RECI_FP f1, f1", (0, 0, 0), 0),
    ("V_MUL_VF gp1, gp2, f1, 0", (12480, 0, 0), 0),
]

B2 = [
    ("H_PREFETCH_M gp1, gp0, a0, 0, 0", (0, 0, 0), 100),
    ("H_PREFETCH_M gp1, gp0, a0, 0, 0", (4096, 0, 0), 60),
    ("M_MM 0, gp1, gp2", (0, 0, 0), 0),
    ("M_MM 0, gp1, gp2", (0, 4, 0), 0),
    ("M_MM_WO gp1, gp0, 0", (8192, 0, 0), 0),
    ("H_PREFETCH_M gp1, gp0, a0, 0, 0", (0, 0, 0), 60),
    ("H_PREFETCH_V gp1, gp0, a0, 0, 0", (16384, 0, 0), 30),
    ("V_ADD_VV gp1, gp2, gp3, 0", (12288, 8192, 0), 0),
    ("S_LUI_INT gp1, 1", (0, 0, 0), 0),
    ("S_ADDI_INT gp1, gp0, 1", (0, 0, 0), 0),
]

B3 = [
    ("M_MV 0, gp1, gp2", (0, 0, 0), 0),
    ("M_MV_WO gp1, 0", (8192, 0, 0), 0),
    ("S_EXP_FP f1, f2", (0, 0, 0), 0),
    ("S_LD_FP f3, gp0, 0", (0, 0, 0), 0),
    ("S_ADD_FP f4, f3, f1", (0, 0, 0), 0),
    ("S_ST_FP f4, gp0, 0", (0, 0, 0), 0),
    ("S_MAP_V_FP gp1, gp0, 0", (8256, 0, 0), 0),
    ("V_ADD_VV gp1, gp2, gp3, 0", (8320, 8192, 8256), 0),
    ("S_LD_FP f5, gp0, 0", (0, 0, 0), 0),
]


def test_products_vectors_scalars() -> None:
    assert accepted(B1, Target()) == ([0, 1, 10, 11, 12, 40, 41, 54, 66, 121, 122, 133], 144)


def test_transfers() -> None:
    """One at a time; a false dependence on the tile behind; a product that still reads a tile is not seen."""
    assert accepted(B2, Target()) == ([0, 101, 102, 162, 163, 164, 225, 256, 257, 258], 268)


def test_integer_weights() -> None:
    assert accepted(B3, INTEGERS) == ([0, 1, 2, 3, 23, 33, 34, 102, 103], 114)


def test_acceptance_adds_up_to_the_makespan() -> None:
    text = "\n".join(text for text, _, _ in B1)
    cycles = profile_named("rtl-v1").line_cycles(run_of(text))
    assert cycles is not None and (cycles >= 0).all()
    times, end = accepted([(text, (0, 0, 0), 0) for text, _, _ in B1], Target())
    # From reset every register holds 0, so all of them work on the same row.
    assert cycles.sum() == end and cycles[1] == times[1] - times[0]


def test_back_to_back_products_start_every_blen_and_five_cycles() -> None:
    text = "C_LOOP_START gp1, 100\n" + "M_MM 0, gp0, gp0\n" * 2 + "C_LOOP_END gp1\n"
    for blen in (4, 8, 16):
        target = Target().with_settings({"BLEN": blen})
        cycles = profile_named("rtl-v1").line_cycles(run_of(text, target))
        assert cycles is not None and cycles.sum() == pytest.approx(200 * (blen + 5), rel=0.02)


def test_what_the_rtl_does_not_do() -> None:
    assert {"M_BTMM", "M_MM_WO"} <= rtl_v1.unsupported(Target())
    assert "M_MM_WO" not in rtl_v1.unsupported(INTEGERS) and "M_MV" in rtl_v1.unsupported(INTEGERS)
    assert profile_named("rtl-v1").line_cycles(run_of("V_MIN_VF gp0, gp0, f1, 0\n")) is None


def test_the_break_that_ends_a_program_for_the_rtl_is_timed() -> None:
    """Outside of a loop it is no end on the emulator, so only as the last word."""
    work = "S_ADDI_INT gp1, gp0, 64\nV_ADD_VV gp1, gp1, gp1, 0\n"
    alone, ended = plena.stats(work), plena.stats(work + "C_BREAK\n")
    assert not ended.unavailable
    for name, cycles in alone.latency.items():
        assert cycles is not None and ended.latency[name] is not None and ended.latency[name] >= cycles
    assert plena.stats("C_BREAK\n" + work).cycles["rtl-v1"] is None
