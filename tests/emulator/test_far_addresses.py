"""Transfers at 4, 8 and 15 GiB, and across 4 GiB, do what they do at low addresses, on every level.

HBM is mapped lazily: only the pages that a test writes exist.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from plena.assembly import encode, parse_asm
from plena.assembly.stream import module_from_instructions
from plena.emulator import EmulationResult, Machine
from plena.host.layout import Source, TensorPlacement
from plena.interpreters.plena_isa import run_module
from plena.lifting.preloaded import Preloaded
from plena.machine.number_formats import MX_E4M3
from plena.machine.target import Target
from plena.program.traffic import classified
from plena.verification import verify

GIB = 1 << 30
TARGET = Target()
SCALE = (3 << 30) + 4096
"""Scales are three GiB behind their elements: in another segment of 4 GiB for most of the bases."""

OFFSET = 8192
STORED = 1 << 20
"""Where the program reads, and where it stores, from the base on."""

LOW = 4096
BASES = [4 * GIB, 8 * GIB, 8 * GIB + 12 * 4096, 15 * GIB // 4096 * 4096 - 4 * GIB, 4 * GIB - OFFSET - 4096]
TOP = [TARGET.hbm_size - SCALE - 2 * STORED]
"""Nearly 15 GiB after SCALE: the highest base whose scales lie inside."""


def program(base: int) -> str:
    """A tile of weights and four rows of activations are loaded, the rows stored elsewhere."""
    return f"""
    S_LUI_INT gp1, {SCALE >> 12}
    C_SET_SCALE_REG gp1
    S_ADDI_INT gp1, gp0, {base >> 32}
    S_LUI_INT gp2, {(base & 0xFFFFFFFF) >> 12}
    C_SET_ADDR_REG a1, gp1, gp2
    S_ADDI_INT gp3, gp0, {OFFSET}
    H_PREFETCH_M gp0, gp3, a1, 0, 0
    S_LUI_INT gp4, {STORED >> 12}
    C_LOOP_START gp5, 4
    H_PREFETCH_V gp6, gp3, a1, 0, 0
    H_STORE_V gp6, gp4, a1, 0, 0
    S_ADDI_INT gp3, gp3, 256
    S_ADDI_INT gp4, gp4, 256
    S_ADDI_INT gp6, gp6, 256
    C_LOOP_END gp5
    """


def machine(base: int) -> Machine:
    """Numbers where the program reads."""
    numbers = np.random.default_rng(3).normal(size=(64, 64)).astype(np.float32)
    elements, scales = MX_E4M3.encode(numbers)
    found = Machine(TARGET)
    start = base + OFFSET
    found.hbm[start : start + elements.size] = elements.reshape(-1)
    start = base + SCALE + OFFSET // 8
    found.hbm[start : start + scales.size] = scales.reshape(-1)
    return found


@cache
def run(base: int) -> EmulationResult:
    return machine(base).run(program(base))


def left(result: EmulationResult, base: int) -> list[bytes]:
    """What it loaded, and what it stored: 16 rows and their scales."""
    stored = result.hbm[base + STORED : base + STORED + 1024].tobytes()
    scales = base + SCALE + STORED // 8
    return [
        result.mram_bits[0].tobytes(),
        result.vram_bits[:16].tobytes(),
        stored,
        result.hbm[scales : scales + 128].tobytes(),
    ]


@pytest.mark.parametrize("base", [*BASES, *TOP])
def test_the_emulator(base: int) -> None:
    low, high = run(LOW), run(base)
    assert all(any(part) for part in left(low, LOW))
    assert left(high, base) == left(low, LOW)
    assert high.hb[1] == base
    assert (high.dma_cycles, high.hbm_bytes_read) == (low.dma_cycles, low.hbm_bytes_read)


@pytest.mark.parametrize("base", [4 * GIB, 8 * GIB])
def test_the_device_counts_the_same(base: int) -> None:
    """Whole GiB away the banks are the same ones."""
    near, far = run(0), run(base)
    assert near.latency["transactional"] is not None
    assert dict(far.latency) == dict(near.latency)


def test_the_interpreter_of_instructions() -> None:
    (base,) = TOP
    module = module_from_instructions(parse_asm(program(base)))
    result = run_module(module, TARGET, hbm=machine(base).hbm, in_place=True)
    assert left(result, base) == left(run(base), base)


@pytest.mark.parametrize(("base", "count"), [(TOP[0], 0), (TARGET.hbm_size - STORED, 1), (1 << 40, 1)])
def test_what_would_abort_is_found(base: int, count: int) -> None:
    found = verify(program(base), TARGET)
    assert [f.code for f in found if f.severity.name == "ERROR"] == ["hbm-write-range"] * count


def test_what_nobody_wrote_is_found_at_its_address() -> None:
    base = 8 * GIB
    start, scales = base + OFFSET, base + SCALE + OFFSET // 8
    loaded = [(start, start + 4096), (scales, scales + 512)]
    assert not verify(program(base), TARGET, {"hbm": loaded})
    missing = verify(program(base), TARGET, {"hbm": [(start, start + 4095), loaded[1]]})
    assert [f.code for f in missing] == ["unwritten-hbm"] and str(start + 4095) in str(missing[0])


def test_traffic_goes_to_the_tensor_that_lies_there() -> None:
    base = 8 * GIB
    states = [
        TensorPlacement(
            name,
            "hbm",
            address,
            (64, 64),
            "rows",
            "HBM_V_ACT_TYPE",
            Source("state", symbol=name),
            base=where,
            scale_offset=SCALE,
        )
        for name, address, where in (("read", OFFSET, base), ("elsewhere", OFFSET, 4 * GIB))
    ]
    words = encode(parse_asm(program(base)))
    moved = classified(words, TARGET, states, Preloaded.of(None))
    kinds = [list(kinds) for _, kinds in moved.values()]
    assert kinds == [["keys_values"], ["keys_values"], ["activations"]]
