"""NaN, signed zeros and overflow where the public emulator was seen to differ from ours: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from plena.emulator import emulate
from plena.interpreters.row_maximum import row_maximum
from plena.machine.number_formats import E8M0, MX_E4M3, Fp, bf16_bits, bf16_from_bits
from plena.machine.scalar_codes import decode_table, scalar_bf16_round
from plena.machine.target import Target

TARGET = Target().with_settings({"HBM_SIZE": 1 << 16, "VECTOR_SRAM_SIZE": 1024})


def machine_of(mlen: int, hlen: int = 4) -> Target:
    sizes = {"MLEN": mlen, "VLEN": mlen, "HLEN": hlen, "BROADCAST_AMOUNT": mlen // hlen, "BLEN": min(4, mlen)}
    prefetch = {"HBM_M_Prefetch_Amount": mlen, "MATRIX_SRAM_SIZE": mlen * 2}
    return Target().with_settings({**sizes, **prefetch, "HBM_SIZE": 1 << 16, "VECTOR_SRAM_SIZE": mlen * mlen})


# --- FP SRAM preload: the public emulator's values ------------------------------------------------------

PRELOADED = {0x7C01: 0x7FC0, 0x7FFF: 0x7FFF, 0x7D55: 0x7FEA, 0x7C08: 0x7FC1, 0xFC01: 0xFFC0, 0x7C00: 0x7F80}
"""bf16 bits of the word by the fp16 bits of the preload file."""


def test_a_preloaded_fp16_nan_becomes_quiet() -> None:
    halves = np.array(list(PRELOADED), np.uint16).view(np.float16)
    result = emulate([], fp_sram=halves, target=TARGET)
    assert result.fp_sram_bits[: len(PRELOADED)].tolist() == list(PRELOADED.values())


def test_every_fp16_value_by_the_scalar_rule() -> None:
    """Upper 16 bits, quiet, of what the exact widening of an fp16 NaN gives; all else rounded to even."""
    codes = np.arange(1 << 16, dtype=np.uint16)
    wide = ((codes & np.uint32(0x8000)).astype(np.uint32) << 16) | 0x7F800000
    wide |= (codes & np.uint32(0x3FF)).astype(np.uint32) << 13
    found = bf16_bits(scalar_bf16_round(codes.view(np.float16).astype(np.float32)))
    nan = np.isnan(codes.view(np.float16))
    np.testing.assert_array_equal(found[nan], (wide[nan] >> 16 | 0x40).astype(np.uint16))
    exact = torch.from_numpy(codes.view(np.float16).copy()).to(torch.bfloat16).view(torch.int16).numpy()
    np.testing.assert_array_equal(found[~nan], exact.view(np.uint16)[~nan])


# --- decoded NaN ----------------------------------------------------------------------------------------

DECODED = {0x7F: 0x7FF0, 0x7E: 0x7FE0, 0x79: 0x7FD0, 0xF9: 0xFFD0, 0x78: 0x7F80}
"""bf16 bits of an E4M3 code at scale 1, as the public emulator loads it."""


def test_a_decoded_nan_keeps_its_mantissa() -> None:
    hbm = np.zeros(8192, np.uint8)
    hbm[: len(DECODED)] = list(DECODED)
    hbm[4096 : 4096 + 512] = 127
    text = (
        "S_ADDI_INT gp1, gp0, 4096\nC_SET_SCALE_REG gp1\n"
        "H_PREFETCH_V gp0, gp0, a0, 0, 0\nH_PREFETCH_M gp0, gp0, a0, 0, 0\n"
    )
    result = emulate(text, hbm=hbm, target=TARGET)
    assert result.vram_bits[0, : len(DECODED)].tolist() == list(DECODED.values())
    assert result.mram_bits[0, 0, : len(DECODED)].tolist() == list(DECODED.values())
    values = MX_E4M3.decode(hbm[:8], np.array([127], np.uint8))
    assert bf16_bits(values)[: len(DECODED)].tolist() == list(DECODED.values())


@pytest.mark.parametrize("fp", [Fp(True, 4, 3), Fp(True, 5, 2), Fp(True, 5, 10), Fp(True, 8, 7), E8M0])
def test_specials_of_every_type_have_their_own_bits(fp: Fp) -> None:
    table = decode_table(fp)
    ones = ((1 << fp.exponent) - 1) << fp.mantissa
    for mantissa in {0, 1, (1 << fp.mantissa) - 1} & set(range(1 << fp.mantissa)):
        bits = int(table[ones | mantissa : (ones | mantissa) + 1].view(np.uint32)[0])
        assert bits == 0x7F800000 | mantissa << (23 - fp.mantissa)
        if fp.sign:
            code = 1 << (fp.width - 1) | ones | mantissa
            assert int(table[code : code + 1].view(np.uint32)[0]) == bits | 0x80000000


def test_a_stored_plain_bf16_row_is_the_same_bits() -> None:
    plain = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
    target = TARGET.with_settings({"PRECISION.HBM_V_ACT_TYPE": plain})
    rows = np.array([0x7F81, 0xFFC1, 0x7FFF, 0x7F80, 0x8000, 0x0001] + [0x3F80] * 58, np.uint16)
    text = "S_ADDI_INT gp2, gp0, 128\nC_SET_STRIDE_REG gp2\nH_STORE_V gp0, gp0, a0, 1, 0\n"
    text += "S_ADDI_INT gp1, gp0, 256\nH_PREFETCH_V gp1, gp0, a0, 1, 0\n"
    result = emulate(text, vram=rows, target=target)
    np.testing.assert_array_equal(result.hbm[:128].view(np.uint16), rows)
    np.testing.assert_array_equal(result.vram_bits[4], rows)


# --- V_RED_MAX ------------------------------------------------------------------------------------------


def maxima(rows: NDArray[np.float32], start: float, target: Target) -> NDArray[np.uint16]:
    """bf16 bits of V_RED_MAX over each row."""
    lines: list[str] = []
    for row in range(len(rows)):
        lines += [
            f"S_ADDI_INT gp1, gp0, {row * target.vlen}",
            "S_LD_FP f1, gp0, 1000",
            "V_RED_MAX f1, gp1, 0",
        ]
        lines += [f"S_ST_FP f1, gp0, {row}"]
    fp = np.zeros(1001, np.float16)
    fp[1000] = start
    return emulate("\n".join(lines), vram=rows, fp_sram=fp, target=target).fp_sram_bits[: len(rows)]


def test_alternating_zeros_give_a_negative_one() -> None:
    rows = np.tile(np.array([0.0, -0.0], np.float32), (1, 32))
    assert maxima(rows, -60000, TARGET).tolist() == [0x8000]
    assert maxima(-rows, -60000, TARGET).tolist() == [0]


@pytest.mark.parametrize("vlen", [4, 8, 12, 16, 20, 64, 128])
def test_which_zero_wins_is_libtorchs_choice(vlen: int) -> None:
    target, chance = machine_of(vlen), np.random.default_rng(vlen)
    shares = [(0.2, 0.2, 0.6), (0.5, 0.5, 0.0), (0.04, 0.04, 0.92)]
    count = min(240, target.vector_sram_size)
    rows = np.stack(
        [chance.choice(np.array([0.0, -0.0, -1.0], np.float32), vlen, p=shares[i % 3]) for i in range(count)]
    )
    expected = np.array([torch.from_numpy(row).max().item() for row in rows], np.float32)
    np.testing.assert_array_equal(maxima(rows, -60000, target), bf16_bits(expected))
    start = np.full(count, -60000, np.float32)
    np.testing.assert_array_equal(bf16_bits(row_maximum([rows], start)), bf16_bits(expected))


def test_the_tile_level_ignores_nan_as_the_machine_does() -> None:
    rows = np.full((3, 64), -1.0, np.float32)
    rows[0, 5], rows[2, 7] = np.nan, 3.0
    np.testing.assert_array_equal(row_maximum([rows], np.zeros(3, np.float32)), [0, 0, 3])
    assert maxima(rows, 0, TARGET).tolist() == bf16_bits(np.array([0, 0, 3.0], np.float32)).tolist()
    two = row_maximum([rows, rows[::-1]], np.full(3, -9, np.float32))
    np.testing.assert_array_equal(two, [3, -1, 3])


# --- products beyond float32 ----------------------------------------------------------------------------


def products(mnemonic: str, target: Target, queries: NDArray[Any], tile: NDArray[Any]) -> NDArray[np.uint16]:
    """bf16 bits of a product's write-out, ``[BROADCAST, MLEN, MLEN]``; the tile comes as E4M3 codes of scale 2^120."""
    m = target.mlen
    hbm = np.zeros(m * m + m * m // 8, np.uint8)
    hbm[: m * m] = tile.reshape(-1)
    hbm[m * m :] = 127 + 120
    text = f"S_ADDI_INT gp1, gp0, {m * m}\nC_SET_SCALE_REG gp1\nH_PREFETCH_M gp0, gp0, a0, 0, 0\n"
    text += f"{mnemonic} 0, gp0, gp0\nM_BMM_WO gp1, 0\n"
    rows = emulate(text, hbm=hbm, vram=queries, target=target).vram_bits[m : m + target.broadcast_amount * m]
    return rows.reshape(target.broadcast_amount, m, m)


@pytest.mark.parametrize(("mlen", "hlen"), [(16, 4), (32, 8), (64, 16)])
@pytest.mark.parametrize("mnemonic", ["M_BMM", "M_BTMM"])
def test_products_beyond_the_range_are_fused_with_their_sum(mnemonic: str, mlen: int, hlen: int) -> None:
    """torch.bmm fuses them as the public emulator does: only the sum has to fit."""
    target, chance = machine_of(mlen, hlen), np.random.default_rng(mlen)
    codes = chance.choice(np.array([0x00, 0x38, 0xB8, 0x40, 0xC8], np.uint8), (mlen, mlen))
    tile = torch.from_numpy(decode_table(MX_E4M3.elem)[codes] * np.float32(2.0**120))
    values = np.array([0, 1, -1, 300, -300, 2.0**100, -(2.0**100)], np.float32)
    queries = chance.choice(values, (mlen, mlen), p=[0.2, 0.2, 0.2, 0.18, 0.18, 0.02, 0.02])
    q = torch.from_numpy(bf16_from_bits(bf16_bits(queries)))
    heads = target.broadcast_amount
    if mnemonic == "M_BTMM":
        left = torch.stack([q[:, b * hlen : (b + 1) * hlen] for b in range(heads)])
        right = tile[:, :hlen].T.expand(heads, -1, -1)
    else:
        left = torch.stack([q[:, b::heads] for b in range(heads)])
        right = tile[:hlen].expand(heads, -1, -1)
    expected = bf16_bits((torch.bmm(left, right) * 0.25).numpy())
    found = products(mnemonic, target, queries, codes)
    nan = np.isnan(bf16_from_bits(expected))
    np.testing.assert_array_equal(np.isnan(bf16_from_bits(found)), nan)
    np.testing.assert_array_equal(found[~nan], expected[~nan])
    assert (found == 0x7F80).any() and (found == 0xFF80).any() and ((found & 0x7F80) != 0x7F80).any()


@pytest.mark.parametrize("mnemonic", ["M_BMM", "M_BTMM"])
def test_two_products_that_overflow_apart(mnemonic: str) -> None:
    """+2^220 - 2^220: the first makes the sum infinite, the second is finite beside it."""
    target = machine_of(16)
    queries = np.full((16, 16), 2.0**100, np.float32)
    codes = np.zeros((16, 16), np.uint8)
    first = np.array([0x38, 0xB8, 0x00, 0x00], np.uint8)
    if mnemonic == "M_BMM":
        codes[:4] = first[:, None]
    else:
        codes[:, :4] = first
    assert (products(mnemonic, target, queries, codes) == 0x7F80).all()
