"""Programs whose instructions run one after the other, transfers among them: what the transfers take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plena.jit import entry_point
from plena.timing.hbm.device import Device
from plena.timing.hbm.memory import Memory, load_known, store_after
from plena.timing.hbm.words import is_known, words_in_order
from plena.timing.run import Run
from plena.timing.simulation import STAMP, event_buffer, fresh_device, word_buffer
from plena.timing.stream.integers import LINE, LOST, RUNNING, RUNS, Integers, before, follow
from plena.timing.stream.lines import ACTION, I64, LOAD_ROWS, STORE_ROWS, table_of


def _make_serial(stamp: int) -> Callable[..., bool]:
    @entry_point
    def serial(
        lines: I64, costs: I64, s: Integers, d: Device, m: Memory, words: I64, events: I64, waits: I64
    ) -> bool:
        """Adds up what the transfers of each line take in `waits`; False if that hangs on data."""
        now = stamp * 0
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


_serial = _make_serial(STAMP)


def transfer_cycles(run: Run, costs: I64) -> I64 | None:
    """What the transfers of each line take over a run in which everything waits for everything, int64[n].

    Args:
        costs: cycles of one execution of each line, int64[n]; what a transfer costs besides is not looked at.

    Returns:
        None if an address of a transfer hangs on data, or the run is not simulated (`Run.unsimulated`).
    """
    lines = table_of(run)
    waits = np.zeros(len(lines), np.int64)
    if not np.isin(lines[:, ACTION], (LOAD_ROWS, STORE_ROWS)).any():
        return waits
    if run.unsimulated():
        return None
    device, memory = fresh_device(run.target, writes_complete=False)
    integers, words = before(run, lines), word_buffer(lines)
    known = _serial(lines, costs, integers, device, memory, words, event_buffer(), waits)
    return waits if known else None
