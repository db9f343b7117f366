"""The serialized profile against the worked examples of its source."""

from __future__ import annotations

import plena
from plena.timing.registry import profile_named
from tests.timing.runs import run_of

A1 = """
S_ADDI_INT gp1, gp0, 64
S_ADDI_INT gp2, gp0, 64
M_MM 0, gp0, gp0
M_MM 0, gp0, gp0
M_MM_WO gp1, gp0, 0
V_ADD_VV gp1, gp1, gp1, 0
V_EXP_V gp1, gp1, 0
V_RED_SUM f1, gp1
S_RECI_FP f1, f1
V_MUL_VF gp1, gp1, f1, 0
"""

SETUP = """
S_LUI_INT gp1, 1
S_LUI_INT gp2, 2
C_SET_SCALE_REG gp2
"""

A2 = """
H_PREFETCH_M gp0, gp0, a0, 0, 0
S_ADDI_INT gp3, gp0, 64
V_ADD_VV gp3, gp3, gp3, 0
V_MUL_VV gp3, gp3, gp3, 0
V_RED_SUM f1, gp3
M_MM 0, gp0, gp0
H_PREFETCH_M gp1, gp1, a0, 0, 0
M_MM 0, gp0, gp0
M_MM_WO gp3, gp0, 0
"""

A3 = """
S_LUI_INT gp1, 16
C_SET_SCALE_REG gp1
S_ADDI_INT gp2, gp0, 0
C_LOOP_START gp4, 2
H_PREFETCH_V gp0, gp2, a0, 0, 0
S_ADDI_INT gp2, gp2, 256
S_ADD_FP f0, f1, f1
V_ADD_VV gp0, gp0, gp0, 0
C_LOOP_END gp4
H_PREFETCH_V gp0, gp2, a0, 0, 0
"""


def test_products_and_vectors() -> None:
    profile = profile_named("serialized")
    cycles = profile.line_cycles(run_of(A1))
    assert cycles is not None and cycles.tolist() == [1, 1, 23, 23, 10, 1, 1, 8, 1, 1]
    latency = profile.line_latency(run_of(A1))
    assert latency is not None and latency.sum() == 70


def test_a_product_waits_for_a_tile_that_it_does_not_use() -> None:
    latency = profile_named("serialized").line_latency(run_of(SETUP + A2))
    assert latency is not None
    first, second = 122, 125  # what the two tiles take
    assert latency[:3].tolist() == [1, 1, 1]
    assert latency[3:].tolist() == [1, 1, 1, 1, 8, first - 12 + 23, 1, second - 1 + 23, 10]


def test_loads_behind_scalars_in_a_loop() -> None:
    """Loads take 32, 24 and 24; the last one ends after the program's last instruction, which takes the wait."""
    latency = profile_named("serialized").line_latency(run_of(A3))
    assert latency is not None
    assert latency.sum() == 3 + 85
    assert latency[7] == (34 - 3) + (60 - 37)
    assert latency[9] == 85 - 61


def test_instructions_that_the_machine_does_not_have() -> None:
    text = "V_MAX_VF gp0, gp0, f1, 0\n"
    run = run_of(text)
    profile = profile_named("serialized")
    assert profile.missing_in(run) == ("V_MAX_VF",)
    assert profile.line_cycles(run) is None and profile.line_latency(run) is None
    assert plena.stats(text).cycles["serialized"] is None


def test_loads_of_both_kinds_share_the_device() -> None:
    """Together they take longer than the longer one alone, and no longer than one after the other."""
    both = SETUP + "H_PREFETCH_M gp0, gp0, a0, 0, 0\nH_PREFETCH_V gp0, gp1, a0, 0, 0\n"
    one = SETUP + "H_PREFETCH_M gp0, gp0, a0, 0, 0\n"
    profile, serial = profile_named("serialized"), profile_named("transactional")
    together, alone, sum_of = (
        profile.line_latency(run_of(both)),
        profile.line_latency(run_of(one)),
        serial.line_latency(run_of(both)),
    )
    assert together is not None and alone is not None and sum_of is not None
    assert alone.sum() < together.sum() < sum_of.sum()
