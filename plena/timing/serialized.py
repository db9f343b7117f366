"""The serialized profile: matrix times measured on the RTL, one instruction after the other, loads in the background.

Source: `timing_models.md` section 4, the emulator of a public branch (revision b7a2645e). A load costs its issue cycle,
then runs beside what follows: products and write-outs wait for loads of both kinds, vector instructions and stores for
vector loads, a load for the one of its kind before it, the end of the program for all. The names of instructions
decide, not their addresses, so a second tile never loads during a product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plena.dialects.derived import derived
from plena.dialects.plena_isa import OPCODES
from plena.dialects.plena_isa.spec import Cost, InstructionSpec, Memory
from plena.jit import Int, compiled, entry_point
from plena.timing.hbm import background
from plena.timing.hbm.background import Slots, new_slots
from plena.timing.hbm.device import Device
from plena.timing.hbm.memory import Memory as KnownLoads
from plena.timing.hbm.words import is_known, words_in_order
from plena.timing.latencies import LATENCIES, constant
from plena.timing.profile import StreamProfile, TableProfile
from plena.timing.recorder import (
    MATRIX_LOAD,
    NO_WAIT,
    VECTOR_TRANSFER,
    Recorder,
    nothing_recorded,
    passes,
    waits,
    works,
)
from plena.timing.run import Run
from plena.timing.simulation import STAMP, event_buffer, fresh_device, word_buffer
from plena.timing.stream.integers import LINE, LOST, RUNNING, RUNS, Integers, before, follow
from plena.timing.stream.lines import I64, table_of

_ESTIMATE = TableProfile(
    "serialized",
    "matrix times measured on the RTL, one instruction after the other",
    {
        **LATENCIES,
        Cost.TILE_PRODUCT: lambda t, _: 3 * t.blen + 11,
        Cost.BROADCAST_PRODUCT: lambda t, _: 3 * t.blen + 11,
        Cost.BROADCAST_ROW_PRODUCT: lambda t, _: t.blen + 9,
        Cost.ROW_PRODUCT: lambda t, _: t.blen + 9,
        Cost.WRITE_OUT: lambda t, _: t.blen + 6,
        Cost.ROW_WRITE_OUT: lambda t, _: t.mlen + 6,
        Cost.TWO_VLEN: lambda t, _: 2 * t.vlen,
        Cost.TOPK: constant(0),
        Cost.HBM: constant(1),
    },
    skips_f0=True,
)

_MATRIX, _VECTOR, _STORE, _OTHER, _LOAD_M, _LOAD_V = range(6)

MISSING = ("V_MAX_VF", "V_MIN_VF", "V_TOPK")
"""Instructions that the machine of this model does not have."""


@derived
def _role(spec: InstructionSpec) -> int:
    """What an instruction waits for."""
    if spec.transfer is not None:
        if not spec.transfer.is_load:
            return _STORE
        return _LOAD_M if spec.may_write(Memory.MATRIX) else _LOAD_V
    if spec.mnemonic.startswith("M_"):
        return _MATRIX
    return _VECTOR if spec.mnemonic.startswith("V_") or spec.may_touch(Memory.VECTOR) else _OTHER


@compiled
def _ended(d: Device, known: KnownLoads, slots: Slots, slot: Int, now: Int, of_slot: I64, r: Recorder) -> Int:
    """Waits for a slot and writes its load down, of the line `of_slot[slot]`."""
    was_running = slots.loads[slot, background.WORDS] > 0
    end = background.wait(d, known, slots, slot, now)
    if was_running:
        load = slots.loads[slot]
        begin = load[background.STARTED]
        works(r, of_slot[slot], begin, load[background.ENDED])
    return end


def _make_simulate(stamp: int) -> Callable[..., bool]:
    @entry_point
    def simulate(
        lines: I64,
        roles: I64,
        costs: I64,
        s: Integers,
        d: Device,
        known: KnownLoads,
        slots: Slots,
        words: I64,
        events: I64,
        took: I64,
        r: Recorder,
    ) -> bool:
        """Adds up by line what passes until each instruction is done."""
        now = stamp * 0
        last = 0
        of_slot = np.zeros(2, np.int64)
        while s.position[RUNNING] == RUNS:
            for k in range(follow(lines, s, events)):
                event = events[k]
                at = event[LINE]
                last = at
                start = now
                role = roles[at]
                cause = NO_WAIT
                if role in (_MATRIX, _LOAD_M):
                    now = _ended(d, known, slots, 0, now, of_slot, r)
                    if now > start:
                        cause = MATRIX_LOAD
                if role in (_MATRIX, _VECTOR, _STORE, _LOAD_V):
                    until = now
                    now = _ended(d, known, slots, 1, now, of_slot, r)
                    if now > until:
                        cause = VECTOR_TRANSFER
                begun = now
                if role in (_LOAD_M, _LOAD_V):
                    if not is_known(lines[at], event):
                        return False
                    slot = 0 if role == _LOAD_M else 1
                    count = words_in_order(lines[at], event, False, slots.words[slot])
                    background.start(d, known, slots, slot, count, now)
                    of_slot[slot] = at
                    now += 1
                elif role == _STORE:
                    if not is_known(lines[at], event):
                        return False
                    count = words_in_order(lines[at], event, True, words)
                    now = background.store(d, known, slots, words[:count], now)
                else:
                    now += costs[at]
                took[at] += now - start
                passes(r, at, start, now)
                waits(r, at, start, begun, cause)
                if role not in (_LOAD_M, _LOAD_V):
                    works(r, at, begun, now)
        if s.position[RUNNING] == LOST:
            return False
        start = now
        now = _ended(d, known, slots, 0, now, of_slot, r)
        now = _ended(d, known, slots, 1, now, of_slot, r)
        took[last] += now - start
        passes(r, last, start, now)
        return True

    return simulate


_simulate = _make_simulate(STAMP)


def record(run: Run, into: Recorder) -> I64 | None:
    """Cycles of each line with transfers, what happened written down; None if an address hangs on data."""
    lines = table_of(run)
    took = np.zeros(len(lines), np.int64)
    roles = np.array([_role(OPCODES[o]) if o in OPCODES else _OTHER for o in run.opcodes.tolist()], np.int64)
    device, known_loads = fresh_device(run.target, writes_complete=False)
    words = word_buffer(lines)
    known = _simulate(
        lines,
        roles,
        _ESTIMATE.once(run),
        before(run, lines),
        device,
        known_loads,
        new_slots(len(words)),
        words,
        event_buffer(),
        took,
        into,
    )
    return took if known else None


def _latency(run: Run) -> I64 | None:
    return record(run, nothing_recorded())


PROFILE = StreamProfile(
    "serialized",
    "matrix times measured on the RTL, one instruction after the other, loads in the background",
    estimate=_ESTIMATE,
    simulate=_ESTIMATE.line_cycles,  # a load of one cycle has ended when the next instruction starts
    latency=_latency,
    missing=MISSING,
    overlaps=True,
    record=record,
)
