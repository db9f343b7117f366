"""Both timing profiles against the tables of plena_isa.md section 3.2 and timing_profiles.md."""

from __future__ import annotations

import pytest

import plena
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.machine.target import Target
from plena.timing import pipelined, transactional
from plena.timing.registry import profile_named

SHIPPED = Target()

TRANSACTIONAL = {
    64: "M_MM M_TMM M_BMM M_BTMM M_MV M_TMV",
    1: """M_BTMV M_BMV M_MM_WO M_BMM_WO M_MV_WO M_BMV_WO V_ADD_VV V_ADD_VF V_SUB_VV V_SUB_VF V_MUL_VV V_MUL_VF
          V_EXP_V V_SHFT_V S_ADD_FP S_SUB_FP S_MAX_FP S_MUL_FP S_EXP_FP S_RECI_FP S_SQRT_FP S_LD_FP S_ST_FP
          S_ADD_INT S_ADDI_INT S_SUB_INT S_MUL_INT S_LUI_INT S_LD_INT S_ST_INT C_SET_ADDR_REG C_SET_SCALE_REG
          C_SET_STRIDE_REG C_SET_V_MASK_REG C_LOOP_START C_LOOP_END C_BREAK""",
    2: "V_RECI_V",
    4: "V_RED_MAX V_MAX_VF V_MIN_VF",
    8: "V_RED_SUM",
    128: "V_TOPK S_MAP_V_FP",
    0: "H_PREFETCH_M H_PREFETCH_V H_STORE_V V_PS_V C_HADAMARD_TRANSFORM",
}

PIPELINED = {
    4: "M_MM M_TMM V_MAX_VF V_MIN_VF",
    1024: "M_BMM M_BTMM",
    5: "M_MV M_TMV V_RED_MAX V_TOPK",
    16: "M_BMV M_BTMV",
    2: "V_EXP_V V_RECI_V",
    8: "V_RED_SUM",
    1: """M_MM_WO M_BMM_WO M_MV_WO M_BMV_WO V_ADD_VV V_ADD_VF V_SUB_VV V_SUB_VF V_MUL_VV V_MUL_VF V_SHFT_V
          S_MAP_V_FP S_ADD_FP S_SUB_FP S_MAX_FP S_MUL_FP S_EXP_FP S_RECI_FP S_SQRT_FP S_LD_FP S_ST_FP S_ADD_INT
          S_ADDI_INT S_SUB_INT S_MUL_INT S_LUI_INT S_LD_INT S_ST_INT C_SET_ADDR_REG C_SET_SCALE_REG
          C_SET_STRIDE_REG C_SET_V_MASK_REG C_LOOP_START C_LOOP_END C_BREAK H_PREFETCH_M H_PREFETCH_V H_STORE_V""",
    0: "V_PS_V C_HADAMARD_TRANSFORM",
}


@pytest.mark.parametrize(("profile", "table"), [("transactional", TRANSACTIONAL), ("pipelined", PIPELINED)])
def test_shipped_settings(profile: str, table: dict[int, str]) -> None:
    expected = {mnemonic: cycles for cycles, names in table.items() for mnemonic in names.split()}
    cost = profile_named(profile).cycles
    assert {mnemonic: cost(spec, SHIPPED) for mnemonic, spec in INSTRUCTIONS.items()} == expected


def test_into_f0_is_free_where_the_machine_skips_it() -> None:
    free = {m for m, spec in INSTRUCTIONS.items() if transactional.PROFILE.cycles(spec, SHIPPED, rd=0) == 0}
    scalar = {f"S_{op}_FP" for op in ("ADD", "SUB", "MAX", "MUL", "EXP", "RECI", "SQRT")}
    assert free == {*TRANSACTIONAL[0].split(), *scalar, "V_RED_SUM", "V_RED_MAX"}
    assert pipelined.PROFILE.cycles(INSTRUCTIONS["V_RED_SUM"], SHIPPED, rd=0) == 8


def test_topk_pays_for_every_expert() -> None:
    topk = INSTRUCTIONS["V_TOPK"]
    assert transactional.PROFILE.cycles(topk, SHIPPED, fields={"policy": 0}) == 4 * 32
    assert transactional.PROFILE.cycles(topk, SHIPPED, fields={"policy": 1}) == 4 * 128


def test_settings_reach_the_costs() -> None:
    target = SHIPPED.with_settings(
        {"MLEN": 128, "VLEN": 128, "BLEN": 16, "SYSTOLIC_PROCESSING_OVERHEAD": 5, "DC_EN": 0}
    )
    cost = {m: transactional.PROFILE.cycles(spec, target) for m, spec in INSTRUCTIONS.items()}
    assert (cost["M_MM"], cost["M_MV"], cost["M_BTMV"], cost["S_MAP_V_FP"]) == (133, 128, 6, 256)
    assert (cost["V_MUL_VV"], cost["V_SHFT_V"], cost["V_EXP_V"], cost["V_RED_SUM"]) == (5, 5, 6, 20)
    assert (cost["S_EXP_FP"], cost["S_ADD_FP"], cost["M_MM_WO"]) == (2, 1, 1)
    assert pipelined.PROFILE.cycles(INSTRUCTIONS["M_BTMM"], target) == 8 * 8 * 16
    assert pipelined.PROFILE.cycles(INSTRUCTIONS["V_RECI_V"], target) == 1 + 6


@pytest.mark.parametrize(
    ("blen", "hlen", "broadcast", "cycles"), [(4, 16, 4, 16), (4, 8, 8, 16), (32, 16, 4, 33), (16, 32, 2, 17)]
)
def test_no_product_takes_less_than_the_array_needs(
    blen: int, hlen: int, broadcast: int, cycles: int
) -> None:
    """BLEN * MLEN multipliers; the published 1 + BLEN of M_BTMV is less where BLEN * (1 + BLEN) < MLEN."""
    target = SHIPPED.with_settings({"BLEN": blen, "HLEN": hlen, "BROADCAST_AMOUNT": broadcast})
    cost = {m: pipelined.PROFILE.cycles(spec, target) for m, spec in INSTRUCTIONS.items()}
    macs = {"M_MM": blen * blen * 64, "M_MV": blen * 64, "M_BTMM": 64**3, "M_BTMV": broadcast * hlen * 64}
    assert all(cost[mnemonic] * blen * 64 >= count for mnemonic, count in macs.items())
    assert cost["M_BTMV"] == cycles


def test_what_runs_too_long_is_not_simulated() -> None:
    """Three loops of 2^11: reading this must not take minutes."""
    text = "".join(f"C_LOOP_START gp{n}, 2048\n" for n in (1, 2, 3)) + "H_PREFETCH_V gp0, gp0, a0, 0, 0\n"
    statistics = plena.stats(text + "".join(f"C_LOOP_END gp{n}\n" for n in (3, 2, 1)))
    assert statistics.dynamic > 2048**3
    for name in ("serialized", "rtl-v1"):
        assert statistics.cycles[name] is None
        assert statistics.unavailable[name] == "more than 100,000,000 instructions are not simulated"
    assert all(statistics.latency[name] is None for name in plena.timings())
    assert statistics.cycles["transactional"] > 2048**3


def test_a_written_counter_is_not_simulated() -> None:
    """The loop would go on for ever; the emulator's watchdog ends it."""
    text = "C_LOOP_START gp1, 10\nS_ADDI_INT gp1, gp9, 5\nH_PREFETCH_V gp0, gp0, a0, 0, 0\nC_LOOP_END gp1\n"
    statistics = plena.stats(text)
    for name in ("serialized", "rtl-v1"):
        assert statistics.cycles[name] is None
        assert statistics.unavailable[name] == "it writes the counter of a loop"
    assert all(statistics.latency[name] is None for name in plena.timings())
    other = plena.stats(text.replace("S_ADDI_INT gp1", "S_ADDI_INT gp2"))
    assert all(other.latency[name] is not None for name in plena.timings())
