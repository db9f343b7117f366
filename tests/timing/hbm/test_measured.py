"""The device against measurements that others published, and against the public emulator's own programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from plena.emulator import emulate
from plena.timing.hbm import once, serial
from plena.timing.hbm.device import Device, new_device
from plena.timing.hbm.memory import Memory, new_memory
from plena.timing.hbm.words import words_in_order
from plena.timing.stream.integers import BASE, EVENT, PITCH, SCALE
from plena.timing.stream.lines import (
    ACTION,
    COLUMNS,
    LENGTH,
    LOAD_ROWS,
    RATIO,
    ROWS,
    SCALES,
    STORE_ROWS,
)
from tests.conformance.cases import Case, index

I64 = NDArray[np.int64]

MEASURED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "measured_transfers.json").read_text(encoding="utf-8")
)
"""Transfers of a public branch, each after reads that opened rows (timing_calibration.json, B_dma_observed_points)."""


@numba.njit
def at_once(d: Device, words: I64, start: int) -> int:
    return serial.at_once(d, words, 0, start)


@numba.njit
def load_once(d: Device, m: Memory, line: I64, event: I64, words: I64, start: int) -> int:
    return once.load_once(d, m, line, event, words, start)


@numba.njit
def store_once(d: Device, m: Memory, line: I64, event: I64, words: I64, start: int) -> int:
    return once.store_once(d, m, line, event, words, start)


@numba.njit
def order(line: I64, event: I64, words: I64) -> int:
    return words_in_order(line, event, True, words)


def described(point: dict[str, Any]) -> tuple[I64, I64]:
    """A measured transfer as a line of a program and the registers it runs with."""
    line, event = np.zeros(COLUMNS, np.int64), np.zeros(EVENT, np.int64)
    line[ACTION] = STORE_ROWS if point["opcode"] == "H_STORE_V" else LOAD_ROWS
    line[ROWS] = point["rows"]
    line[LENGTH] = point["dim"] * point["element_bits"] // 8
    line[SCALES] = point["dim"] // point["block"] * point["scale_bits"] // 8
    line[RATIO] = point["block"] * point["element_bits"] // point["scale_bits"]
    event[BASE] = point["element_base"]
    event[SCALE] = point["scale_base"] - point["element_base"]
    event[PITCH] = point["pitch_bytes"]
    return line, event


@pytest.mark.parametrize("point", MEASURED, ids=lambda point: f"{point['opcode']}-{point['id'][3:9]}")
def test_measured_transfers(point: dict[str, Any]) -> None:
    """Nanoseconds, equal."""
    device, memory = new_device(point["channels"], "HBM2", True), new_memory(point["channels"])
    conditioner = point["conditioner_words"]
    now = 0
    for first in range(0, len(conditioner), 8):
        words = np.array(conditioner[first : first + 8], np.int64) // 64
        now = at_once(device, np.unique(words), now)
    line, event = described(point)
    words = np.zeros(8 * point["rows"] * (point["dim"] // 64 + 8), np.int64)
    asked = np.unique(words[: order(line, event, words)])
    store = point["opcode"] == "H_STORE_V"
    assert len(asked) == (point["write_words"] if store else point["read_words"])
    run = store_once if store else load_once
    assert run(device, memory, line, event, words, now) - now == point["observed_ns"]


def with_transfers() -> list[str]:
    """The conformance programs that move data and whose addresses do not hang on data."""
    cases = index().items()
    return [n for n, c in cases if c["expected"] == "state" and c["cycles"]["dma"] and n != "prog_moe32"]


def test_programs_of_the_public_emulator() -> None:
    """At most 2 cycles off where that emulator itself gives either value, equal in nearly all."""
    names = with_transfers()
    equal = 0
    for name in names:
        case = Case.named(name)
        result = emulate(case.array("words", np.uint32), **case.inputs())
        latency, cycles = result.latency["transactional"], case.info["cycles"]
        assert latency is not None
        measured = (cycles["dma"], cycles["dma_second_run"])
        assert min(abs(latency - cycles["instruction"] - dma) for dma in measured) <= 2, name
        equal += latency - cycles["instruction"] in measured
    assert equal >= len(names) - 9


def test_addresses_from_data_have_no_latency() -> None:
    case = Case.named("prog_moe32")
    result = emulate(case.array("words", np.uint32), **case.inputs())
    assert result.latency["transactional"] is None
