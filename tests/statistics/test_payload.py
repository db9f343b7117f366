"""Bytes between HBM and the chip, against sizes counted by hand and against what the emulator touches."""

from __future__ import annotations

import pytest
import torch

import plena
from plena.assembly import decode, parse_asm
from plena.machine.target import Target
from plena.statistics.payload import payload_bytes
from tests.kernels.checking import machine


def test_rows_of_each_type_in_loops() -> None:
    plain = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
    target = Target().with_settings({"PRECISION.HBM_V_KV_TYPE": plain})
    text = """
    C_LOOP_START gp1, 3
    H_PREFETCH_M gp0, gp2, a0, 0, 0
    H_PREFETCH_V gp0, gp2, a0, 0, 1
    H_STORE_V gp0, gp2, a0, 0, 0
    C_LOOP_END gp1
    """
    read, written = payload_bytes(parse_asm(text), target)
    tile, row = 64 * (64 + 8), 64 + 8
    assert read == 3 * (tile + target.hbm_v_prefetch_amount * 2 * 64)
    assert written == 3 * target.hbm_v_writeback_amount * row


@pytest.mark.parametrize("mlen", [16, 64])
def test_words_are_more_than_what_is_in_them(mlen: int) -> None:
    program = plena.compile(torch.nn.Linear(mlen, mlen), (torch.randn(4, mlen),), target=machine(mlen))
    result = program.emulate(torch.randn(4, mlen), progress=False)
    read, written = payload_bytes(decode(program.words), program.target)
    assert mlen * mlen <= read < result.hbm_bytes_read
    assert 0 <= written <= result.hbm_bytes_written
