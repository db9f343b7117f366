"""The emulator against every conformance vector, by the comparison rules of vectors/README.md."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from plena.assembly import parse_mem
from plena.emulator import EmulationResult, emulate
from plena.errors import AssemblyError, EmulatorError
from tests.conformance.cases import Case, index

STATE_CASES = [name for name, case in index().items() if case["expected"] == "state"]
ABORT_CASES = [
    name for name, case in index().items() if case["expected"] == "abort" and "program_file" not in case
]
UNREADABLE_CASES = [name for name, case in index().items() if "program_file" in case]

LANES_OFF_BY_ONE = 0
"""Lanes of all cases together that used the allowance of 1 bf16 ulp; must not grow."""

off_by_one: dict[str, int] = {}


def nan_lanes(bits: NDArray[np.uint16]) -> NDArray[np.bool_]:
    return (bits & 0x7FFF) > 0x7F80


def ulps(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Distance in bf16 steps; +0 and -0 are as far apart as can be, NaN equals NaN."""
    distance = np.where((a ^ b) & 0x8000, 0x7FFF, np.abs(a.astype(np.int32) - b.astype(np.int32)))
    return np.where(nan_lanes(a) & nan_lanes(b), 0, np.where(a == b, 0, distance))


def differing(actual: NDArray[np.uint16], expected: NDArray[np.uint16]) -> list[tuple[int, ...]]:
    """The first positions where bf16 bits differ, any NaN equal to any NaN."""
    return [tuple(map(int, where)) for where in np.argwhere(ulps(actual, expected) != 0)[:5]]


def check_vram(case: Case, result: EmulationResult) -> None:
    expected = case.final_vram()
    if case.info["k_ascending_exact"]:
        assert not differing(result.vram_bits, expected)
        return
    distance = ulps(result.vram_bits, expected)
    assert distance.max() <= 1
    off_by_one[case.info["name"]] = int((distance == 1).sum())


def check_hbm(case: Case, result: EmulationResult) -> None:
    actual, expected = result.hbm, case.final_hbm()
    if case.info["nan_stored_to_plain_hbm"]:
        a, e = actual.view(np.uint16), expected.view(np.uint16)
        both_nan = nan_lanes(a) & nan_lanes(e)
        np.testing.assert_array_equal(np.where(both_nan, 0, a), np.where(both_nan, 0, e))
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", STATE_CASES)
def test_final_state(name: str) -> None:
    case = Case.named(name)
    result = emulate(case.array("words", np.uint32), **case.inputs())
    check_vram(case, result)
    assert not differing(result.mram_bits, case.final_mram())
    assert not differing(result.fp_sram_bits, case.array("fp_sram", np.uint16))
    np.testing.assert_array_equal(result.int_sram, case.array("int_sram", np.uint32))
    check_hbm(case, result)
    assert result.cycles == case.info["cycles"]["instruction"]
    assert result.executed == case.info["executed"]
    assert result.counters == case.info["per_opcode"]
    assert result.hbm_bytes_read == case.info["hbm_bytes_read"]
    assert result.hbm_bytes_written == case.info["hbm_bytes_written"]


@pytest.mark.parametrize("name", ABORT_CASES)
def test_abort(name: str) -> None:
    case = Case.named(name)
    with pytest.raises(EmulatorError) as caught:
        emulate(case.array("words", np.uint32), **case.inputs())
    assert caught.value.abort_class == case.info["abort"]["class"]


@pytest.mark.parametrize("name", UNREADABLE_CASES)
def test_unreadable_program_file(name: str) -> None:
    case = Case.named(name)
    assert case.info["abort"]["class"] == "bad-token"
    with pytest.raises(AssemblyError):
        parse_mem(case.info["program_file"])


def test_every_case_is_here() -> None:
    assert (len(STATE_CASES), len(ABORT_CASES), len(UNREADABLE_CASES)) == (565, 124, 1)


def test_allowance_does_not_grow() -> None:
    """Runs last: counts the lanes that the state cases above had to be forgiven."""
    assert sum(off_by_one.values()) <= LANES_OFF_BY_ONE, off_by_one
