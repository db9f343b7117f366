"""Programs whose instructions run one after the other, transfers among them: what the transfers take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from plena.jit import entry_point, source_stamp
from plena.timing.hbm.device import Device, new_device
from plena.timing.hbm.memory import Memory, load_known, new_memory, store_after
from plena.timing.hbm.words import is_known, most_words, words_in_order
from plena.timing.run import Run
from plena.timing.stream.integers import EVENT, LINE, LOST, RUNNING, RUNS, SPAN, Integers, before, follow
from plena.timing.stream.lines import ACTION, I64, LOAD_ROWS, STORE_ROWS, table_of


def _make_serial(stamp: int) -> Callable[[I64, Integers, Device, Memory, I64, I64, I64], bool]:
    @entry_point
    def serial(lines: I64, s: Integers, d: Device, m: Memory, costs: I64, events: I64, waits: I64) -> bool:
        """Adds up what the transfers of each line take in `waits`; False if that hangs on data."""
        most = stamp * 0
        for i in range(lines.shape[0]):
            if lines[i, ACTION] == LOAD_ROWS or lines[i, ACTION] == STORE_ROWS:
                most = max(most, most_words(lines[i]))
        words = np.zeros(most, np.int64)
        now = 0
        while s.position[RUNNING] == RUNS:
            for k in range(follow(lines, s, events)):
                event = events[k]
                at = event[LINE]
                line = lines[at]
                if line[ACTION] == LOAD_ROWS or line[ACTION] == STORE_ROWS:
                    if not is_known(line, event):
                        return False
                    asked = words[: words_in_order(line, event, line[ACTION] == STORE_ROWS, words)]
                    end = (
                        load_known(d, m, asked, now)
                        if line[ACTION] == LOAD_ROWS
                        else store_after(d, m, asked, now)
                    )
                    waits[at] += end - now
                    now = end
                else:
                    now += costs[at]
        return s.position[RUNNING] != LOST

    return serial


_serial = _make_serial(
    source_stamp(Path(__file__).parent, [source_stamp(Path(__file__).parent / n) for n in ("hbm", "stream")])
)


def transfer_cycles(run: Run, costs: I64) -> I64 | None:
    """What the transfers of each line take over a run in which everything waits for everything, int64[n].

    Args:
        costs: cycles of one execution of each line, int64[n]; what a transfer costs besides is not looked at.

    Returns:
        None if an address of a transfer hangs on data.
    """
    lines = table_of(run)
    waits = np.zeros(len(lines), np.int64)
    if not np.isin(lines[:, ACTION], (LOAD_ROWS, STORE_ROWS)).any():
        return waits
    device = new_device(run.target.hbm_channels, run.target.hbm_generation, writes_complete=False)
    memory = new_memory(run.target.hbm_channels)
    known = _serial(
        lines, before(run, lines), device, memory, costs, np.zeros((SPAN, EVENT), np.int64), waits
    )
    return waits if known else None
