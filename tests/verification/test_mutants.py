"""The static check against our emulator on programs that were broken at random."""

from __future__ import annotations

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from plena.errors import EmulatorError
from plena.verification import verify
from tests.lifting.flat_programs import INT_FIRST, INT_HIGH, INT_LOW
from tests.lifting.machines import SMALL, machine
from tests.verification.mutants import mutants

TARGET = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 250, "VECTOR_SRAM_SIZE": 2080})
NUMBERS = np.concatenate(
    [
        np.zeros(INT_FIRST, np.uint32),
        np.random.default_rng(3).integers(INT_LOW, INT_HIGH + 1, 1024 - INT_FIRST, np.uint32),
    ]
)
LONG = 200_000


class _TooLong(Exception):
    pass


def _stop(executed: int, cycles: int) -> None:
    if executed > LONG:
        raise _TooLong


@given(mutants())
@settings(max_examples=120)
def test_it_rejects_what_aborts_and_accepts_what_runs(text: str) -> None:
    aborted = None
    try:
        machine(TARGET, int_sram=NUMBERS.tolist()).run(text, progress=_stop)
    except EmulatorError as error:
        aborted = error
    except _TooLong:
        return
    errors = [f for f in verify(text, TARGET, {"int": NUMBERS}) if f.is_error]
    if {f.code for f in errors} == {"undeclared-number"}:
        assert "V_TOPK" in text, "everything else is known"
        return
    event("aborts" if aborted else "runs")
    if aborted is None:
        assert not errors
    elif aborted.abort_class == "loop-watchdog":
        assert aborted.abort_class in {f.code for f in errors}
    else:
        assert (aborted.abort_class, aborted.index) in {(f.code, f.index) for f in errors}


fields = st.sampled_from([0, 0, 0, 1, 2, 3, 8, 15])
random_words = st.builds(
    lambda op, rd, rs1, rs2, rs3, high: op | rd << 6 | rs1 << 10 | rs2 << 14 | rs3 << 18 | high << 22,
    st.integers(0, 63),
    fields,
    fields,
    fields,
    fields,
    st.sampled_from([0, 0, 0, 1, 512]),
)


@given(st.lists(random_words, max_size=12))
@settings(max_examples=150)
def test_random_words(words: list[int]) -> None:
    aborted = None
    try:
        machine(TARGET, int_sram=NUMBERS.tolist()).run(words, progress=_stop)
    except EmulatorError as error:
        aborted = error
    except _TooLong:
        return
    errors = [f for f in verify(words, TARGET, {"int": NUMBERS}) if f.is_error]
    if {f.code for f in errors} == {"undeclared-number"}:
        return
    if aborted is None:
        assert not errors
    elif aborted.abort_class != "loop-watchdog":
        assert (aborted.abort_class, aborted.index) in {(f.code, f.index) for f in errors}
