"""Hypothesis strategy for modules in affine form that run: aligned addresses in range, every register written first.

An address is drawn as a constant and a coefficient per index value in scope, in the unit that the operand is aligned
to, so that its largest value stays inside the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import OP_OF_MNEMONIC, FRegister, GPRegister, RegisterOp
from plena.machine.target import Target
from tests.properties.strategies_isa import Text

SMALL = Target().with_settings(
    {
        "MLEN": 8,
        "VLEN": 8,
        "BLEN": 4,
        "HLEN": 4,
        "BROADCAST_AMOUNT": 2,
        "MATRIX_SRAM_SIZE": 32,
        "VECTOR_SRAM_SIZE": 64,
        "HBM_SIZE": 65536,
        "HBM_M_Prefetch_Amount": 8,
        "HBM_V_Prefetch_Amount": 2,
        "HBM_V_Writeback_Amount": 2,
    }
)

T, ROW, BLOCK = SMALL.tile, SMALL.vlen, SMALL.blen
TILES, ROWS = SMALL.matrix_tiles, SMALL.vector_sram_size
WORDS = 256
"""FP and INT SRAM words that programs use; the compiler may spill behind them."""

SYMBOL_WORDS = 8
"""INT SRAM words 0.. hold small numbers that programs load as symbols and never overwrite."""

LARGEST_SYMBOL = 3
SCALES = 32768
"""HBM: element bytes below, scale bytes from here on."""


def inputs(seed: int) -> dict[str, Any]:
    """Keyword arguments of `emulate` and `run_module`: every memory filled."""
    random = np.random.default_rng(seed)
    hbm = random.integers(0, 0x70, SMALL.hbm_size, np.uint8)
    hbm[SCALES:] = random.integers(124, 130, SMALL.hbm_size - SCALES, np.uint8)
    words = random.integers(0, 2**32, 1024, np.uint32)
    words[:SYMBOL_WORDS] = random.integers(0, LARGEST_SYMBOL + 1, SYMBOL_WORDS)
    return {
        "hbm": hbm,
        "fp_sram": random.normal(0, 1, 1024).astype(np.float16),
        "int_sram": words,
        "vram": random.normal(0, 1, ROWS * ROW).astype(np.float32),
        "target": SMALL,
    }


@dataclass
class _Place:
    """A block that is being filled: index values in scope with their largest value, and the f cells."""

    block: Block
    fs: list[SSAValue]
    zero: SSAValue
    largest: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])


@dataclass
class _Drawer:
    draw: st.DrawFn
    most: int

    def fill(self, place: _Place, depth: int) -> None:
        for _ in range(self.draw(st.integers(1, 4))):
            if self.most <= 0:
                return
            self.most -= 1
            if depth and self.draw(st.integers(0, 2)) == 0:
                self.loop(place, depth)
            else:
                INSTRUCTIONS_DRAWN[self.draw(st.sampled_from(sorted(INSTRUCTIONS_DRAWN)))](self, place)

    def loop(self, place: _Place, depth: int) -> None:
        trips = self.draw(st.integers(1, 4))
        loop = ForOp(trips)
        body = loop.body.block
        terminator = body.last_op
        assert terminator is not None
        terminator.detach()
        self.fill(_Place(body, place.fs, place.zero, {**place.largest, loop.index: trips - 1}), depth - 1)
        body.add_op(terminator)
        place.block.add_op(loop)

    def address(self, place: _Place, unit: int, last: int, constant: int = 0) -> SSAValue:
        """constant + a multiple of unit, at most constant + last."""
        left = last // unit
        terms: list[tuple[SSAValue, int]] = []
        for value, largest in place.largest.items():
            if self.draw(st.booleans()):
                coefficient = self.draw(st.integers(0, min(left // max(largest, 1), 8)))
                terms.append((value, coefficient * unit))
                left -= coefficient * largest
        return self.emit(place, constant + unit * self.draw(st.integers(0, left)), terms)

    def emit(self, place: _Place, constant: int, terms: list[tuple[SSAValue, int]] | None = None) -> SSAValue:
        op = AffineOp(Linear.of(constant, terms or []))
        place.block.add_op(op)
        return op.result

    def row(self, place: _Place, count: int = 1) -> SSAValue:
        """A vector row with `count - 1` more behind it."""
        return self.address(place, ROW, (ROWS - count) * ROW)

    def tile(self, place: _Place, offset: int = 0) -> SSAValue:
        return self.address(place, T, (TILES - 1) * T, offset)

    def word(self, place: _Place, count: int = 1) -> SSAValue:
        """A word of FP or INT SRAM that programs may write."""
        return self.address(place, 1, WORDS - SYMBOL_WORDS - count, SYMBOL_WORDS)

    def f(self, place: _Place) -> SSAValue:
        return self.draw(st.sampled_from(place.fs))

    def head(self) -> int:
        return SMALL.hlen * self.draw(st.integers(0, SMALL.broadcast_amount - 1))

    def add(self, place: _Place, mnemonic: str, **values: SSAValue | int) -> None:
        op = OP_OF_MNEMONIC[mnemonic].named(values)
        place.block.add_op(op)
        for result in op.results:
            place.largest[result] = LARGEST_SYMBOL

    def masked(self, place: _Place, mnemonic: str, **values: SSAValue | int) -> None:
        if self.draw(st.integers(0, 3)) == 0:
            values |= {"mask": 1, "v_mask": self.emit(place, self.draw(st.integers(0, 3)))}
        self.add(place, mnemonic, **values)


def _product(mnemonic: str) -> Callable[[_Drawer, _Place], None]:
    step = BLOCK * SMALL.mlen

    def one(d: _Drawer, p: _Place) -> None:
        d.add(p, mnemonic, mat=d.address(p, step, TILES * T - step), vec=d.row(p, BLOCK))

    return one


def _broadcast(mnemonic: str) -> Callable[[_Drawer, _Place], None]:
    return lambda d, p: d.add(p, mnemonic, mat=d.tile(p, d.head()), vec=d.row(p, SMALL.mlen))


def _rows(mnemonic: str, *sources: str) -> Callable[[_Drawer, _Place], None]:
    def one(d: _Drawer, p: _Place) -> None:
        operands = {name: d.row(p) for name in ("dst", "a", *sources)}
        if mnemonic.endswith("F"):
            operands["b"] = d.f(p)
        d.masked(p, mnemonic, **operands)

    return one


def _reduction(mnemonic: str) -> Callable[[_Drawer, _Place], None]:
    return lambda d, p: d.add(p, mnemonic, acc=d.f(p), a=d.row(p))


def _scalar(mnemonic: str, *sources: str) -> Callable[[_Drawer, _Place], None]:
    return lambda d, p: d.add(p, mnemonic, **{name: d.f(p) for name in ("dst", *sources)})


def _transfer(mnemonic: str, sram: str) -> Callable[[_Drawer, _Place], None]:
    rows = 8

    def one(d: _Drawer, p: _Place) -> None:
        at = d.tile(p) if mnemonic == "H_PREFETCH_M" else d.row(p, 2)
        values: dict[str, SSAValue | int] = {sram: at, "precision": d.draw(st.integers(0, 1))}
        pitch = ROW
        if d.draw(st.booleans()):
            pitch = ROW * d.draw(st.integers(1, 4))
            values |= {"rstride": 1, "stride": d.emit(p, pitch)}
        elements = SCALES - rows * pitch - 4096
        values["base"] = d.emit(p, d.draw(st.sampled_from([0, 0, 2048, 4096])))
        values["off"] = d.address(p, ROW, elements)
        d.add(p, mnemonic, scale=d.emit(p, SCALES), **values)

    return one


def _topk(d: _Drawer, p: _Place) -> None:
    d.add(p, "V_TOPK", fp_base=d.word(p, 4), logits=d.row(p, 4), int_base=d.word(p, 4))


def _sub_vf(d: _Drawer, p: _Place) -> None:
    order = d.draw(st.integers(0, 1))
    d.masked(p, "V_SUB_VF", dst=d.row(p), a=d.row(p), b=d.f(p), order=order)


INSTRUCTIONS_DRAWN: dict[str, Callable[[_Drawer, _Place], None]] = {
    "M_MM": _product("M_MM"),
    "M_TMM": _product("M_TMM"),
    "M_BMM": _broadcast("M_BMM"),
    "M_BTMM": _broadcast("M_BTMM"),
    "M_BMM_WO": lambda d, p: d.add(p, "M_BMM_WO", dst=d.row(p, SMALL.broadcast_amount * SMALL.mlen)),
    "M_MM_WO": lambda d, p: d.add(p, "M_MM_WO", dst=d.address(p, BLOCK, (ROWS - BLOCK) * ROW), stride=p.zero),
    "M_MV": lambda d, p: d.add(p, "M_MV", mat=d.tile(p, BLOCK * d.draw(st.integers(0, 1))), vec=d.row(p)),
    "M_TMV": lambda d, p: d.add(p, "M_TMV", mat=d.tile(p), vec=d.row(p)),
    "M_BTMV": lambda d, p: d.add(p, "M_BTMV", off=d.emit(p, d.head()), mat=d.tile(p), vec=d.row(p)),
    "M_MV_WO": lambda d, p: d.add(p, "M_MV_WO", dst=d.address(p, BLOCK, (ROWS - 1) * ROW)),
    "M_BMV_WO": lambda d, p: d.add(p, "M_BMV_WO", dst=d.row(p, SMALL.broadcast_amount)),
    "V_ADD_VV": _rows("V_ADD_VV", "b"),
    "V_ADD_VF": _rows("V_ADD_VF"),
    "V_SUB_VV": _rows("V_SUB_VV", "b"),
    "V_SUB_VF": _sub_vf,
    "V_MUL_VV": _rows("V_MUL_VV", "b"),
    "V_MUL_VF": _rows("V_MUL_VF"),
    "V_EXP_V": _rows("V_EXP_V"),
    "V_RECI_V": _rows("V_RECI_V"),
    "V_RED_SUM": _reduction("V_RED_SUM"),
    "V_RED_MAX": _reduction("V_RED_MAX"),
    "V_SHFT_V": lambda d, p: d.add(p, "V_SHFT_V", dst=d.row(p), a=d.row(p), amount=d.address(p, 1, 9)),
    "V_MAX_VF": _rows("V_MAX_VF"),
    "V_MIN_VF": _rows("V_MIN_VF"),
    "V_TOPK": _topk,
    "S_ADD_FP": _scalar("S_ADD_FP", "a", "b"),
    "S_SUB_FP": _scalar("S_SUB_FP", "a", "b"),
    "S_MAX_FP": _scalar("S_MAX_FP", "a", "b"),
    "S_MUL_FP": _scalar("S_MUL_FP", "a", "b"),
    "S_EXP_FP": _scalar("S_EXP_FP", "a"),
    "S_RECI_FP": _scalar("S_RECI_FP", "a"),
    "S_SQRT_FP": _scalar("S_SQRT_FP", "a"),
    "S_LD_FP": lambda d, p: d.add(p, "S_LD_FP", dst=d.f(p), base=d.word(p)),
    "S_ST_FP": lambda d, p: d.add(p, "S_ST_FP", src=d.f(p), base=d.word(p)),
    "S_MAP_V_FP": lambda d, p: d.add(p, "S_MAP_V_FP", dst=d.row(p), base=d.word(p, ROW)),
    "S_LD_INT": lambda d, p: d.add(p, "S_LD_INT", base=d.address(p, 1, SYMBOL_WORDS - 1)),
    "S_ST_INT": lambda d, p: d.add(p, "S_ST_INT", src=d.address(p, 1, 5000), base=d.word(p)),
    "H_PREFETCH_M": _transfer("H_PREFETCH_M", "dst"),
    "H_PREFETCH_V": _transfer("H_PREFETCH_V", "dst"),
    "H_STORE_V": _transfer("H_STORE_V", "src"),
}
"""Every instruction of the affine form that runs, and how it is drawn; sticky state is in its operands."""

NOT_DRAWN = ("M_BMV", "V_PS_V", "C_HADAMARD_TRANSFORM", "C_BREAK", "C_SET_ADDR_REG")
SETTERS = ("C_SET_SCALE_REG", "C_SET_STRIDE_REG", "C_SET_V_MASK_REG")
"""What `set-state` makes of sticky operands."""


@st.composite
def runnable_modules(draw: st.DrawFn, most: int = 24, depth: int = 3) -> Text:
    """Modules in affine form for the target SMALL, with `SMALL` attached; run them on `inputs(seed)`."""
    module = ModuleOp([])
    SMALL.attach(module)
    block = module.body.block
    zero = RegisterOp(GPRegister.at(0))
    fs = [RegisterOp(FRegister.unallocated()) for _ in range(4)]
    block.add_ops([zero, *fs])
    place = _Place(block, [op.cell for op in fs], zero.cell)
    drawer = _Drawer(draw, most)
    for number, cell in enumerate(place.fs):
        drawer.add(place, "S_LD_FP", dst=cell, base=drawer.emit(place, SYMBOL_WORDS + number))
    drawer.fill(place, depth)
    return Text(module)
