"""Runs a tile-level module twice, interpreted and as machine words on the emulator, and compares every buffer.

    run_both(text, SMALL).assert_equal()

Buffers start from random numbers that their memory can hold. They are placed one behind the other with gaps between
them, so that nothing shares space and writes beside a buffer are found; those that the text places (`at`) stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import IntAttr, ModuleOp
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.parser import Parser

from plena.assembly import encode
from plena.assembly.stream import instructions_from_module
from plena.dialects.tile import BufferOp, ConstantOp
from plena.driver import context, run_pipeline
from plena.emulator import EmulationResult, Machine
from plena.interpreters.loop import LoopFunctions
from plena.interpreters.tile import TileFunctions
from plena.interpreters.tile_products import ProductFunctions
from plena.interpreters.tile_routing import RoutingFunctions
from plena.interpreters.tile_rows import RowFunctions
from plena.interpreters.tile_values import Region
from plena.machine.number_formats import NumberFormat, bf16_round
from plena.machine.target import Target
from plena.passes.convert_tile_to_isa import SCALE_PLANE
from plena.passes.pipelines import AFFINE_PIPELINE, REGISTER_PIPELINE

Array = npt.NDArray[Any]

VECTOR_ROWS = 4096


def machine(mlen: int, blen: int, hlen: int, broadcast: int, **settings: int) -> Target:
    """A target with memories just large enough for small cases."""
    dimensions = {"MLEN": mlen, "VLEN": mlen, "BLEN": blen, "HLEN": hlen, "BROADCAST_AMOUNT": broadcast}
    memories = {"MATRIX_SRAM_SIZE": 32 * mlen, "VECTOR_SRAM_SIZE": VECTOR_ROWS, "HBM_SIZE": 1 << 20}
    amounts = {"HBM_M_Prefetch_Amount": mlen}
    return Target().with_settings({**dimensions, **memories, **amounts, **settings})


SMALL = machine(16, 4, 4, 4)

TARGETS = {
    "16x4": SMALL,
    "32x8": machine(32, 8, 8, 4),
    "64x4": machine(64, 4, 16, 4),
    "64x16, no broadcast": machine(64, 16, 16, 1),
    "one row at a time": machine(16, 4, 4, 4, HBM_V_Prefetch_Amount=1, HBM_V_Writeback_Amount=1),
    "two rows, slow pipeline": machine(
        16, 4, 4, 4, HBM_V_Prefetch_Amount=2, HBM_V_Writeback_Amount=2, DC_EN=0
    ),
    "eight rows, two tiles": machine(
        16, 4, 4, 4, HBM_V_Prefetch_Amount=8, HBM_V_Writeback_Amount=8, HBM_M_Prefetch_Amount=32
    ),
}


def parse(text: str, target: Target) -> ModuleOp:
    """A module for the target."""
    module = Parser(context(), f"builtin.module {{\n{text}\n}}").parse_module()
    target.attach(module)
    return module


@dataclass(frozen=True)
class Both:
    """Every buffer after both runs, and what lies outside of the buffers before and after on the machine."""

    interpreted: Mapping[str, Array]
    emulated: Mapping[str, Array]
    outside: Mapping[str, tuple[Array, Array]]
    result: EmulationResult

    def assert_equal(self, ulps: Mapping[str, int] | None = None, skip: Sequence[str] = ()) -> None:
        """Bit for bit, or within so many bf16 steps where sums may be added in another order."""
        for name, expected in self.interpreted.items():
            if name in skip:
                continue
            distance = steps_between(expected, self.emulated[name])
            worst = int(distance.max(initial=0))
            allowed = (ulps or {}).get(name, 0)
            place = int(distance.argmax()) if distance.size else 0
            assert worst <= allowed, (
                f"{name}[{place}]: the tile level has {expected[place]}, the machine {self.emulated[name][place]}, "
                f"{worst} bf16 steps apart ({int((distance > allowed).sum())} of {distance.size} differ)"
            )
        for memory, (before, after) in self.outside.items():
            assert (before == after).all(), f"{memory} is written outside of the buffers"


def steps_between(a: Array, b: Array) -> npt.NDArray[np.int64]:
    """How many bf16 numbers lie between the elements; NaN equals NaN."""
    ordered = [_ordered(np.asarray(x, np.float32)) for x in (a, b)]
    same = np.isnan(a) & np.isnan(b)
    return np.where(same, 0, np.abs(ordered[0] - ordered[1]))


def _ordered(x: Array) -> npt.NDArray[np.int64]:
    bits = (np.ascontiguousarray(x, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.int64)
    return np.where(bits & 0x8000, -(bits & 0x7FFF), bits)


def run_both(
    program: str | ModuleOp,
    target: Target,
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
    surplus: bool = False,
) -> Both:
    """Runs a module both ways.

    Args:
        program: a tile-level module, or the text of its body.
        values: initial content of buffers by name; random for the others (0 in INT SRAM).
        surplus: transfers may write a few rows behind their buffer.
    """
    module = parse(program, target) if isinstance(program, str) else program
    target.attach(module)
    module.verify()
    buffers = [op for op in module.body.block.ops if isinstance(op, BufferOp)]
    _place(module, target)
    contents = {op.symbol.data: _content(op, target, values or {}, seed) for op in buffers}
    interpreted = _interpret(module, target, contents)
    lowered = module.clone()
    run_pipeline(lowered, (*AFFINE_PIPELINE, *REGISTER_PIPELINE))
    lowered.verify()
    plane = module.attributes[SCALE_PLANE]
    assert isinstance(plane, IntAttr)
    device = Machine(target)
    memory = _Memory(device, target, plane.data)
    memory.fill_with_noise(seed)
    for op in buffers:
        memory.write(op, contents[op.symbol.data])
    for op in module.body.block.ops:
        if isinstance(op, ConstantOp):
            assert op.address is not None
            memory.words[op.address.data : op.address.data + len(op.numbers)] = _constant(op)
    before = memory.outside(module, surplus)
    result = device.run(encode(instructions_from_module(lowered)))
    after = memory.outside(module, surplus)
    emulated = {op.symbol.data: memory.read(op) for op in buffers}
    return Both(interpreted, emulated, {m: (before[m], after[m]) for m in before}, result)


def element_format(op: BufferOp, target: Target) -> NumberFormat:
    """What the elements of an HBM buffer are stored as."""
    return target.precision["HBM_V_ACT_TYPE"]


def unit_of(op: BufferOp, target: Target) -> int:
    """Address units of an element."""
    return element_format(op, target).element_bits // 8 if op.space == "hbm" else 1


def _place(module: ModuleOp, target: Target) -> None:
    surplus = max(target.hbm_v_prefetch_amount, target.hbm_v_writeback_amount) * target.vlen
    ends = {"hbm": 0, "matrix": 0, "vector": 2 * target.vlen, "fp": 3, "int": 1}
    unit = {"hbm": target.tile, "matrix": target.tile, "vector": target.vlen, "fp": 1, "int": 1}
    gap = {
        "hbm": max(surplus, target.tile),
        "matrix": target.m_prefetch_tiles * target.tile,
        "vector": surplus + 2 * target.vlen,
        "fp": 2,
        "int": 2,
    }
    for op in module.body.block.ops:
        if isinstance(op, BufferOp | ConstantOp):
            space = op.space if isinstance(op, BufferOp) else "fp"
            size = op.size.data if isinstance(op, BufferOp) else len(op.numbers)
            if op.address is None:
                op.address = IntAttr(-(-ends[space] // unit[space]) * unit[space])
            ends[space] = max(ends[space], op.address.data + size + gap[space])
    module.attributes[SCALE_PLANE] = IntAttr(-(-ends["hbm"] // 4096) * 4096)


def _content(op: BufferOp, target: Target, values: Mapping[str, Any], seed: int) -> Array:
    """Numbers that the memory holds exactly; sums of products of a few hundred of them are exact in float32."""
    name = op.symbol.data
    rng = np.random.default_rng([seed, *name.encode()])
    count = -(-op.size.data // unit_of(op, target))
    if op.space == "int":
        return np.asarray(values.get(name, np.zeros(count)), np.float32)
    given = values.get(name)
    numbers = rng.integers(-15, 16, count) / 8 if given is None else np.asarray(given).reshape(-1)
    numbers = np.broadcast_to(numbers, (count,)).astype(np.float32)
    if op.space == "hbm":
        whole = numbers[: count // target.vlen * target.vlen].reshape(-1, target.vlen)
        return element_format(op, target).quantize(whole).reshape(-1)
    return bf16_round(numbers)


def _constant(op: ConstantOp) -> Array:
    return bf16_round(np.array(op.numbers, np.float16).astype(np.float32))


@register_impls
class _Buffers(InterpreterFunctions):
    """Declares buffers with given contents."""

    def __init__(self, regions: Mapping[str, Region]) -> None:
        self.regions = regions

    @impl(BufferOp)
    def run_buffer(self, interpreter: Interpreter, op: BufferOp, args: PythonValues) -> PythonValues:
        return (self.regions[op.symbol.data],)


def _interpret(module: ModuleOp, target: Target, contents: Mapping[str, Array]) -> dict[str, Array]:
    units = {op.symbol.data: unit_of(op, target) for op in module.walk() if isinstance(op, BufferOp)}
    regions = {name: Region(data.copy(), 0, units[name]) for name, data in contents.items()}
    interpreter = Interpreter(module)
    interpreter.register_implementations(LoopFunctions())
    interpreter.register_implementations(TileFunctions(target, lambda placement: np.zeros(0)))
    interpreter.register_implementations(RowFunctions(target))
    interpreter.register_implementations(ProductFunctions(target))
    interpreter.register_implementations(RoutingFunctions(target))
    interpreter.register_implementations(_Buffers(regions), override=True)
    with np.errstate(all="ignore"):
        interpreter.run_ssacfg_region(module.body, (), "program")
    return {name: region.data for name, region in regions.items()}


class _Memory:
    """The machine's memories in the units of buffers."""

    def __init__(self, device: Machine, target: Target, plane: int) -> None:
        self.device, self.target, self.plane = device, target, plane
        self.words = device.fp_sram

    def fill_with_noise(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = rng.integers(-50, 50, (VECTOR_ROWS, self.target.vlen))
        self.device.write_vram(0, rows.astype(np.float32).reshape(-1))
        self.device.mram[:] = rng.integers(-50, 50, self.device.mram.shape)
        self.device.state.mram_touched[:] = 1
        self.words[:] = rng.integers(-50, 50, self.words.shape)

    def write(self, op: BufferOp, data: Array) -> None:
        assert op.address is not None
        start, stop = op.address.data, op.address.data + len(data)
        match op.space:
            case "vector":
                self.device.write_vram(start, data)
            case "matrix":
                self.device.mram.reshape(-1)[start:stop] = data
            case "fp":
                self.words[start:stop] = data
            case "int":
                self.device.int_sram[start:stop] = data.astype(np.uint32)
            case _:
                self._write_hbm(op, data)

    def _write_hbm(self, op: BufferOp, data: Array) -> None:
        assert op.address is not None
        number_format = element_format(op, self.target)
        elements, scales = number_format.encode(data.reshape(-1, self.target.vlen))
        hbm, start = self.device.hbm, op.address.data
        codes = elements.reshape(-1)
        hbm[start : start + len(codes)] = codes
        factors = scales.reshape(-1)
        first = self.plane + start // number_format.ratio
        hbm[first : first + len(factors)] = factors

    def read(self, op: BufferOp) -> Array:
        assert op.address is not None
        start, stop = op.address.data, op.address.data + op.size.data
        match op.space:
            case "vector":
                return self.device.vram.reshape(-1)[start:stop].copy()
            case "matrix":
                return self.device.mram.reshape(-1)[start:stop].copy()
            case "fp":
                return self.words[start:stop].copy()
            case "int":
                return self.device.int_sram[start:stop].astype(np.float32)
            case _:
                return self._read_hbm(op, start, stop)

    def _read_hbm(self, op: BufferOp, start: int, stop: int) -> Array:
        number_format, hbm = element_format(op, self.target), self.device.hbm
        scales = hbm[self.plane + start // number_format.ratio : self.plane + stop // number_format.ratio]
        return number_format.decode(hbm[start:stop], scales).reshape(-1)

    def outside(self, module: ModuleOp, surplus: bool) -> dict[str, Array]:
        """What no buffer owns, the rows behind buffers left out if transfers may write them."""
        behind = max(self.target.hbm_v_prefetch_amount, self.target.hbm_v_writeback_amount) * self.target.vlen
        vector = np.ones(self.device.vram.size, bool)
        words = np.ones(len(self.words), bool)
        for op in module.body.block.ops:
            if isinstance(op, BufferOp) and op.address is not None and op.space in ("vector", "fp"):
                stop = op.address.data + op.size.data
                owned = vector if op.space == "vector" else words
                owned[op.address.data : stop + (behind if surplus and op.space == "vector" else 0)] = False
        return {
            "vector SRAM": self.device.vram.reshape(-1)[vector].copy(),
            "FP SRAM": self.words[words].copy(),
        }
