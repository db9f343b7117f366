"""DMA times without running."""

from __future__ import annotations

import pytest

from plena.assembly import parse_asm
from plena.machine.target import Target
from plena.timing.dma_model import stream_picoseconds, transfer_picoseconds

TARGET = Target()
TILE = TARGET.dma_load_latency_ps + 128 * TARGET.dma_load_word_ps
STRIDED_TILE = TILE + 63 * TARGET.dma_load_gap_ps


def times(text: str) -> list[int]:
    return stream_picoseconds(parse_asm(text), TARGET).tolist()


def test_the_stated_times_of_the_public_emulator() -> None:
    """Issue 2: about 122 cycles for a contiguous tile, 178 for a strided one, 110 for a store."""
    assert (
        transfer_picoseconds("H_PREFETCH_M", 0, 0, None, TARGET) == TILE == pytest.approx(122_000, rel=0.01)
    )
    assert (
        transfer_picoseconds("H_PREFETCH_M", 0, 1, 384, TARGET)
        == STRIDED_TILE
        == pytest.approx(178_000, rel=0.01)
    )
    assert transfer_picoseconds("H_STORE_V", 0, 0, None, TARGET) == pytest.approx(110_000, rel=0.01)


def test_a_stride_of_one_row_is_contiguous() -> None:
    load = "H_PREFETCH_M gp0, gp0, a0, 1, 0"
    assert times(load) == [STRIDED_TILE]
    assert times(f"S_ADDI_INT gp1, gp0, 64\nC_SET_STRIDE_REG gp1\n{load}") == [0, 0, TILE]
    assert times(f"S_LUI_INT gp1, 1\nC_SET_STRIDE_REG gp1\n{load}") == [0, 0, STRIDED_TILE]
    assert times(f"S_LD_INT gp1, gp0, 0\nC_SET_STRIDE_REG gp1\n{load}")[-1] == STRIDED_TILE


def test_registers_that_a_loop_changes_are_not_known_in_it() -> None:
    load = "H_PREFETCH_M gp0, gp0, a0, 1, 0"
    head = "S_ADDI_INT gp1, gp0, 64\nC_LOOP_START gp2, 3\n"
    assert times(f"{head}C_SET_STRIDE_REG gp1\n{load}\nC_LOOP_END gp2")[3] == TILE
    assert (
        times(f"{head}C_SET_STRIDE_REG gp1\n{load}\nS_ADD_INT gp1, gp1, gp1\nC_LOOP_END gp2")[3]
        == STRIDED_TILE
    )


def test_other_number_formats() -> None:
    plain = TARGET.with_settings({"PRECISION.HBM_V_KV_TYPE": TARGET.precision["VECTOR_SRAM_TYPE"].table()})
    assert transfer_picoseconds("H_PREFETCH_V", 1, 1, 128, plain) == (
        TARGET.dma_load_latency_ps + 4 * 2 * TARGET.dma_load_word_ps
    )
    assert transfer_picoseconds("H_STORE_V", 1, 1, 128, plain) == 4 * 2 * 13_750
