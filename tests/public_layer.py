"""A decoder layer as the public compiler writes it: unrolled rows and tiles, literal addresses, surplus zeros.

Normalisation, a projection, attention of one head with a row softmax, a gate; thousands of lines, most of them the
same few with other addresses. Nothing of `plena` writes it: it is other people's assembly for tests to read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from plena.machine.target import Target

MLEN, BLEN, ROWS, BLOCKS = 64, 4, 64, 2
"""Shipped tile sizes; a row block of activations of two column blocks."""

TILE = MLEN * MLEN
X, NORMED, PROJECTED, SCORES, MIXED, SCRATCH, GATED = (i * BLOCKS * TILE for i in range(7))
"""Element addresses of the buffers in vector SRAM."""

INVERSE, EPS, ONE, SCALE, LOWEST = range(5)
"""Words of FP SRAM."""

WEIGHTS = BLOCKS * BLOCKS + 2
"""Tiles in HBM: the projection, K, V."""

TARGET = Target().with_settings({"HBM_SIZE": 1 << 16, "VECTOR_SRAM_SIZE": 1024})


def lines() -> Iterator[str]:
    """The whole layer."""
    yield "; === public style layer ==="
    yield from _set("gp15", WEIGHTS * TILE)
    yield "C_SET_SCALE_REG gp15, 0"
    yield "C_SET_ADDR_REG a1, gp0, gp0, 0"
    yield from _norm()
    for n in range(BLOCKS):
        yield from _load([n * BLOCKS + k for k in range(BLOCKS)])
        yield from _product("M_MM", NORMED, BLOCKS, PROJECTED + n * TILE)
    yield from _load([BLOCKS * BLOCKS])
    yield from _product("M_TMM", PROJECTED, 1, SCORES)
    yield from _softmax()
    yield from _load([BLOCKS * BLOCKS + 1])
    yield from _product("M_MM", SCORES, 1, MIXED)
    yield from _gate()


def text() -> str:
    """The whole layer as a file's text."""
    return "\n".join(lines()) + "\n"


def memories() -> dict[str, object]:
    """What the host loads, as keyword arguments of `plena.emulate`; finite everywhere."""
    chance = np.random.default_rng(11)
    elements = chance.integers(0x20, 0x40, WEIGHTS * TILE) | chance.integers(0, 2, WEIGHTS * TILE) << 7
    scales = np.full(WEIGHTS * TILE // 8, 127)
    return {
        "hbm": np.concatenate([elements, scales]).astype(np.uint8),
        "fp_sram": [1 / (MLEN * BLOCKS), 1e-5, 1.0, 0.125, -60000.0],
        "vram": chance.standard_normal((ROWS * BLOCKS, MLEN), np.float32),
    }


def _set(register: str, value: int) -> Iterator[str]:
    """A constant: two instructions when it needs more than 18 bits."""
    if value < 1 << 18:
        yield f"S_ADDI_INT {register}, gp0, {value}"
    else:
        yield f"S_LUI_INT {register}, {value >> 12}"
        yield f"S_ADDI_INT {register}, {register}, {value & 0xFFF}"


def _norm() -> Iterator[str]:
    yield f"S_LD_FP f3, gp0, {INVERSE}, 0"
    yield f"S_LD_FP f4, gp0, {EPS}, 0"
    for row in range(ROWS):
        yield "S_ADD_FP f2, f0, f0, 0"
        for block in range(BLOCKS):
            yield from _set("gp1", X + block * TILE + row * MLEN)
            yield from _set("gp2", SCRATCH)
            yield "V_MUL_VV gp2, gp1, gp1, 0, 0"
            yield "V_RED_SUM f2, gp2, 0, 0"
        yield from (
            "S_MUL_FP f2, f2, f3",
            "S_ADD_FP f2, f2, f4",
            "S_SQRT_FP f2, f2, 0",
            "S_RECI_FP f2, f2, 0",
        )
        for block in range(BLOCKS):
            yield from _set("gp1", X + block * TILE + row * MLEN)
            yield from _set("gp2", NORMED + block * TILE + row * MLEN)
            yield "V_MUL_VF gp2, gp1, f2, 0"


def _load(tiles: list[int]) -> Iterator[str]:
    for slot, tile in enumerate(tiles):
        yield from _set("gp1", slot * TILE)
        yield from _set("gp2", tile * TILE)
        yield "H_PREFETCH_M gp1, gp2, a1, 0, 0, 0"


def _product(mnemonic: str, source: int, k_tiles: int, result: int) -> Iterator[str]:
    """Sub-columns and row blocks unrolled, tiles of the reduction in a loop."""
    for j in range(MLEN // BLEN):
        for r in range(ROWS // BLEN):
            yield from _set("gp3", source + r * BLEN * MLEN)
            yield from _set("gp4", j * BLEN * MLEN)
            operands = "gp4, gp3" if mnemonic == "M_MM" else "gp3, gp4"
            if k_tiles > 1:
                yield f"C_LOOP_START gp5, {k_tiles}"
            yield f"{mnemonic} 0, {operands}, 0"
            if k_tiles > 1:
                yield from (
                    f"S_ADDI_INT gp3, gp3, {TILE}",
                    f"S_ADDI_INT gp4, gp4, {TILE}",
                    "C_LOOP_END gp5, 0",
                )
            yield from _set("gp6", result + r * BLEN * MLEN + j * BLEN)
            yield "M_MM_WO gp6, gp0, 0, 0"


def _softmax() -> Iterator[str]:
    yield f"S_LD_FP f6, gp0, {SCALE}"
    for row in range(ROWS):
        yield from _set("gp1", SCORES + row * MLEN)
        yield "V_MUL_VF gp1, gp1, f6, 0, 0"
        yield f"S_LD_FP f1, gp0, {LOWEST}"
        yield "V_RED_MAX f1, gp1, 0, 0"
        yield "V_SUB_VF gp1, gp1, f1, 0, 0, 0"
        yield "V_EXP_V gp1, gp1, 0, 0"
        yield "S_ADD_FP f4, f0, f0"
        yield "V_RED_SUM f4, gp1, 0, 0"
        yield "S_RECI_FP f4, f4, 0"
        yield "V_MUL_VF gp1, gp1, f4, 0"


def _gate() -> Iterator[str]:
    yield f"S_LD_FP f5, gp0, {ONE}"
    for row in range(ROWS):
        yield from _set("gp1", MIXED + row * MLEN)
        yield from _set("gp2", GATED + row * MLEN)
        yield "V_SUB_VF gp2, gp1, f0, 0, 1"
        yield "V_EXP_V gp2, gp2, 0, 0"
        yield "V_ADD_VF gp2, gp2, f5, 0, 0"
        yield "V_RECI_V gp2, gp2, 0, 0"
        yield "V_MUL_VV gp2, gp2, gp1, 0"
