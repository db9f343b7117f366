"""One pass over a block, from what the registers hold when it begins to the log of what was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from plena.jit import Int, entry_point, source_stamp
from plena.machine.constants import IMMEDIATE_LIMIT, INT_LIMIT
from plena.registers.addressing.belady.closing import close
from plena.registers.addressing.belady.contents import put
from plena.registers.addressing.belady.instructions import execute
from plena.registers.addressing.belady.loops import enter_loop
from plena.registers.addressing.belady.tables import (
    ACTION,
    BINDING,
    COUNTS,
    ZERO,
    BlockTable,
    Log,
    OutOfRegistersError,
    Records,
    Registers,
    Times,
)
from plena.registers.addressing.values import CONSTANT


def _make_simulate(stamp: int) -> Callable[[Times, BlockTable, Records, int, int], Log]:
    """`simulate`, cached on disk by the stamp it closes over."""

    @entry_point
    def simulate(t: Times, block: BlockTable, head: Records, capacity: Int, copies: Int) -> Log:
        """One pass over a block in `capacity` registers.

        `head`: `[heads + slots]` of HELD, the values in tracks, then in memory, when the block begins. `copies`: a
        loop may walk a copy of a pointer that is read again behind it.

        Raises:
            OutOfRegistersError: an instruction or a loop needs more registers at once.
        """
        _ = stamp
        heads, count = t.heads, block.nodes.shape[0]
        if heads > capacity:
            raise OutOfRegistersError
        classes = len(t.first) - 1
        # Making a value takes at most nine instructions with what must be saved for it, a loop may save every register.
        most = 9 * (block.values.shape[0] + block.memory.shape[0] + len(head) + count) + (block.loops + 2) * (
            capacity + 2
        )
        f = Registers(
            np.full(capacity, -1, np.int64),
            np.zeros(capacity, np.int64),
            np.zeros(capacity + 1, np.int64),
            np.zeros(capacity, np.bool_),
            np.zeros(capacity, np.bool_),
            np.full(capacity, -1, np.int64),
            np.full(classes, -1, np.int64),
            np.zeros(classes, np.int64),
            np.empty(most, ACTION),
            np.empty(most, np.int64),
            np.zeros(1, COUNTS),
        )
        for track in range(heads):
            put(f, track, head[track].cls, head[track].constant)
        for i in range(heads, len(head)):
            f.slot[head[i].cls], f.saved[head[i].cls] = i - heads, head[i].constant
        f.counts[0].slots = len(head) - heads
        ends = np.empty(count, np.int64)
        bindings = np.zeros(block.values.shape[0], BINDING)
        results = np.full(count, ZERO, np.int64)
        tracks = np.empty((block.loops, capacity + 1), np.int64)
        evicted = np.zeros(block.loops, np.int64)
        loop = 0
        for time in range(count):
            node = block.nodes[time]
            if node.is_loop:
                evicted[loop] = enter_loop(f, t, block, node, time, copies, tracks[loop])
                loop += 1
            else:
                results[time] = execute(f, t, block, node, time, bindings)
            ends[time] = f.counts[0].actions
        close(f, t)
        return Log(
            f.actions[: f.counts[0].actions].copy(),
            ends,
            bindings,
            results,
            tracks,
            evicted,
            f.wanted[: f.counts[0].wanted].copy(),
            f.touched,
            f.counts[0].slots,
            f.counts[0].pressure != 0,
        )

    return simulate


simulate = _make_simulate(source_stamp(Path(__file__).parent, (IMMEDIATE_LIMIT, INT_LIMIT, CONSTANT)))
