"""Each rule of the RTL: a program that breaks it, the same program mended, at MLEN 8, BLEN 4."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.on_rtl import Support
from plena.errors import PlenaError
from plena.lifting.flat_program import FlatProgram
from plena.lifting.preloaded import Preloaded
from plena.machine.target import Target
from plena.verification import verify
from plena.verification.rtl import RULES
from plena.verification.rtl.view import RtlView

TARGET = Target().with_settings({"MLEN": 8, "VLEN": 8, "BLEN": 4, "HLEN": 8, "BROADCAST_AMOUNT": 1})

NOP = "S_ADDI_INT gp0, gp0, 0"
END = f"{NOP}\n{NOP}\nC_BREAK"
LOAD = "S_ADDI_INT gp1, gp0, 64\nC_SET_SCALE_REG gp1\n"
PRODUCT = "M_MM 0, gp0, gp0\nM_MM_WO gp0, gp0, 0\n"


def codes(text: str, preloaded: str | None = None) -> set[str]:
    return {finding.code for finding in verify(text, TARGET, preloaded, machine="rtl")}


def loops(depth: int, body: str) -> str:
    starts = [f"C_LOOP_START gp{n}, 2" for n in range(1, depth + 1)]
    return "\n".join([*starts, body, *(f"C_LOOP_END gp{n}" for n in range(depth, 0, -1)), END])


CASES: list[tuple[str, str, str]] = [
    ("R01", "V_MAX_VF gp0, gp0, f0, 0", "V_ADD_VF gp0, gp0, f0, 0"),
    ("R01", "M_BTMV gp0, gp0, gp0", "M_MM 0, gp0, gp0\nM_MM_WO gp0, gp0, 0"),
    ("R02", "M_TMM 0, gp0, gp0", "M_MM 0, gp0, gp0"),
    ("R03", "V_ADD_VV gp0, gp0, gp0, 1", "V_ADD_VV gp0, gp0, gp0, 0"),
    ("R04", "V_SUB_VF gp0, gp0, f1, 0, 2", "V_SUB_VF gp0, gp0, f1, 0, 1"),
    ("R05", LOAD + "H_PREFETCH_M gp0, gp0, a0, 0, 1", LOAD + "H_PREFETCH_M gp0, gp0, a0, 0, 0"),
    ("R06", "M_MM_WO gp0, gp0, 4", "S_ADDI_INT gp1, gp0, 4\nM_MM_WO gp1, gp0, 0"),
    ("R06", "M_MM_WO gp0, gp1, 0", "M_MM_WO gp0, gp0, 0"),
    ("R07", LOAD + "H_PREFETCH_M gp0, gp0, a8, 0, 0", LOAD + "H_PREFETCH_M gp0, gp0, a7, 0, 0"),
    ("R08", "S_LUI_INT gp1, 1", "S_ADDI_INT gp1, gp0, 4096"),
    ("R09", "S_ADDI_INT gp0, gp0, 1", NOP),
    ("R09", "S_ADD_FP f0, f1, f2", "S_ADD_FP f0, f0, f0"),
    ("R10", loops(5, NOP), loops(4, NOP)),
    ("R10", "C_LOOP_START gp1, 2\nC_LOOP_START gp1, 2\nC_LOOP_END gp1\nC_LOOP_END gp1", loops(2, NOP)),
    ("R10", "C_LOOP_START gp1, 2", loops(1, NOP)),
    ("R11", loops(3, NOP), loops(2, NOP)),
    ("R11", loops(1, "V_ADD_VV gp0, gp0, gp0, 0"), loops(1, "V_ADD_VV gp0, gp0, gp0, 0\n" + NOP)),
    ("R12", loops(1, "S_ADDI_INT gp1, gp1, 0"), loops(1, "S_ADDI_INT gp2, gp1, 0")),
    ("R13", NOP, END),
    ("R13", "V_ADD_VV gp0, gp0, gp0, 0\nC_BREAK", f"V_ADD_VV gp0, gp0, gp0, 0\n{END}"),
    ("R13", f"C_BREAK\n{END}", END),
    ("R15", "S_ADDI_INT gp2, gp0, 8\nM_MM 0, gp2, gp0", "S_ADDI_INT gp2, gp0, 32\nM_MM 0, gp2, gp0"),
    ("R15", "S_ADDI_INT gp1, gp0, 8192\nM_MM 0, gp1, gp0", "S_ADDI_INT gp1, gp0, 8128\nM_MM 0, gp1, gp0"),
    (
        "R16",
        "S_ADDI_INT gp1, gp0, 4\nV_ADD_VV gp1, gp1, gp1, 0",
        "S_ADDI_INT gp1, gp0, 8\nV_ADD_VV gp1, gp1, gp1, 0",
    ),
    (
        "R16",
        "S_ADDI_INT gp1, gp0, 8192\nV_RECI_V gp1, gp1, 0",
        "S_ADDI_INT gp1, gp0, 8184\nV_RECI_V gp1, gp1, 0",
    ),
    ("R17", "S_ADDI_INT gp1, gp0, 6\nM_MM_WO gp1, gp0, 0", "S_ADDI_INT gp1, gp0, 4\nM_MM_WO gp1, gp0, 0"),
    ("R18", "S_LD_FP f1, gp0, 512", "S_LD_FP f1, gp0, 511"),
    ("R18", "S_LD_INT gp1, gp0, 32", "S_LD_INT gp1, gp0, 31"),
    (
        "R19",
        LOAD + "S_ADDI_INT gp2, gp0, 4\nH_PREFETCH_M gp0, gp2, a0, 0, 0",
        LOAD + "H_PREFETCH_M gp0, gp1, a0, 0, 0",
    ),
    ("R20", "H_PREFETCH_M gp0, gp0, a0, 0, 0", LOAD + "H_PREFETCH_M gp0, gp0, a0, 0, 0"),
    (
        "R20",
        LOAD + "H_PREFETCH_M gp0, gp0, a0, 1, 0",
        LOAD + "C_SET_STRIDE_REG gp1\nH_PREFETCH_M gp0, gp0, a0, 1, 0",
    ),
    (
        "R21",
        "M_MM 0, gp0, gp0\nV_ADD_VV gp0, gp0, gp0, 0\nM_MM_WO gp0, gp0, 0",
        PRODUCT + "V_ADD_VV gp0, gp0, gp0, 0",
    ),
    ("R21", "M_MM 0, gp0, gp0\nM_BMM_WO gp0, 0\nM_MM_WO gp0, gp0, 0", PRODUCT + "M_BMM_WO gp0, 0"),
    (
        "R22",
        LOAD + "H_PREFETCH_M gp0, gp0, a0, 0, 0\n" + PRODUCT,
        LOAD + "H_PREFETCH_M gp0, gp0, a0, 0, 0\nH_PREFETCH_M gp1, gp0, a0, 0, 0\n" + PRODUCT,
    ),
    (
        "R22",
        LOAD + loops(1, PRODUCT + "H_PREFETCH_M gp0, gp0, a0, 0, 0\n" + NOP),
        LOAD
        + loops(1, PRODUCT + "H_PREFETCH_M gp2, gp0, a0, 0, 0\n" + NOP).replace(
            "C_LOOP", "S_ADDI_INT gp2, gp0, 64\nC_LOOP", 1
        ),
    ),
    (
        "R23",
        LOAD + "M_MM 0, gp0, gp0\nH_PREFETCH_M gp0, gp0, a0, 0, 0\nM_MM_WO gp0, gp0, 0",
        LOAD + "M_MM 0, gp0, gp0\nH_PREFETCH_M gp1, gp0, a0, 0, 0\nM_MM_WO gp0, gp0, 0",
    ),
    (
        "R24",
        f"S_LD_FP f1, gp0, 0\n{NOP}\nV_ADD_VF gp0, gp0, f1, 0",
        f"S_LD_FP f1, gp0, 0\n{NOP}\n{NOP}\nV_ADD_VF gp0, gp0, f1, 0",
    ),
    (
        "R24",
        "S_LD_FP f1, gp0, 0\nV_ADD_VF gp0, gp0, f2, 0",
        f"S_LD_FP f1, gp0, 0\n{NOP}\nV_ADD_VF gp0, gp0, f2, 0",
    ),
    (
        "R25",
        f"S_ADD_FP f1, f1, f2\n{NOP}\nS_ST_FP f1, gp0, 0",
        "S_ADD_FP f1, f1, f2\nS_MAX_FP f0, f0, f0\nS_ST_FP f1, gp0, 0",
    ),
    (
        "R26",
        f"V_ADD_VV gp0, gp0, gp0, 0\n{NOP}\n{PRODUCT}",
        f"V_ADD_VV gp0, gp0, gp0, 0\n{NOP}\n{NOP}\n{PRODUCT}",
    ),
    (
        "R26",
        LOAD + "V_RECI_V gp0, gp0, 0\nH_PREFETCH_V gp0, gp0, a0, 0, 0",
        LOAD + "V_RECI_V gp0, gp0, 0\nH_PREFETCH_V gp1, gp0, a0, 0, 0",
    ),
    (
        "R27",
        LOAD + "H_PREFETCH_V gp0, gp0, a0, 0, 0\nV_RECI_V gp0, gp0, 0",
        LOAD + f"H_PREFETCH_V gp0, gp0, a0, 0, 0\n{NOP}\nV_RECI_V gp0, gp0, 0",
    ),
    (
        "R28",
        "S_ADDI_INT gp1, gp0, 5\nS_ST_INT gp1, gp0, 0",
        f"S_ADDI_INT gp1, gp0, 5\n{NOP}\nS_ST_INT gp1, gp0, 0",
    ),
    (
        "R29",
        "M_MM 0, gp0, gp0\n" + 9 * f"{NOP}\n" + "M_MM_WO gp0, gp0, 0",
        "M_MM 0, gp0, gp0\n" + 8 * f"{NOP}\n" + "M_MM_WO gp0, gp0, 0",
    ),
    ("R30", "V_RECI_V gp1, gp1, 0\nS_ADD_INT gp1, gp1, gp1", "V_RECI_V gp1, gp1, 0\nS_ADDI_INT gp1, gp1, 8"),
    (
        "R31",
        "S_RECI_FP f1, f1\n" + 3 * f"{NOP}\n" + "V_MUL_VF gp0, gp0, f1, 0",
        "S_RECI_FP f1, f1\n" + 4 * f"{NOP}\n" + "V_MUL_VF gp0, gp0, f1, 0",
    ),
    ("R31", 2 * "V_MUL_VF gp0, gp0, f1, 0\n", f"V_MUL_VF gp0, gp0, f1, 0\n{NOP}\nV_MUL_VF gp0, gp0, f1, 0"),
    (
        "R32",
        PRODUCT + "V_ADD_VV gp1, gp2, gp3, 0",
        PRODUCT + "V_ADD_VV gp1, gp1, gp3, 0\nV_ADD_VV gp1, gp2, gp3, 0",
    ),
    (
        "R33",
        "S_ADDI_INT gp1, gp0, 8\nV_SHFT_V gp0, gp0, gp1",
        "S_ADDI_INT gp1, gp0, 7\nV_SHFT_V gp0, gp0, gp1",
    ),
    ("R33", "V_SHFT_V gp1, gp0, gp1", "V_SHFT_V gp0, gp0, gp1"),
    ("R34", "V_EXP_V gp0, gp0, 0", "V_RECI_V gp0, gp0, 0"),
    ("R35", PRODUCT, NOP),
    ("R36", LOAD + "H_STORE_V gp0, gp0, a0, 0, 0", LOAD),
    (
        "R37",
        LOAD + "M_MM 0, gp0, gp0\nH_PREFETCH_M gp1, gp0, a0, 0, 0\nM_MM_WO gp0, gp0, 0",
        LOAD + PRODUCT + "H_PREFETCH_M gp1, gp0, a0, 0, 0",
    ),
    (
        "R38",
        f"V_RED_SUM f1, gp0, 0\n{NOP}\nV_RECI_V gp0, gp0, 0",
        f"V_RED_SUM f1, gp0, 0\n{NOP}\n{NOP}\nV_RECI_V gp0, gp0, 0",
    ),
    (
        "R38",
        "V_RED_MAX f1, gp0, 0\nV_ADD_VV gp0, gp0, gp0, 0",
        "V_RED_MAX f1, gp0, 0\nV_ADD_VF gp0, gp0, f1, 0",
    ),
]


@pytest.mark.parametrize(("rule", "broken", "mended"), CASES)
def test_a_rule_is_broken_and_mended(rule: str, broken: str, mended: str) -> None:
    assert rule in codes(broken)
    assert rule not in codes(mended)


def test_every_rule_has_a_case() -> None:
    numbered = {f"R{n:02}" for n in range(1, 39)}
    assert set(RULES) == numbered
    assert {rule for rule, _, _ in CASES} == numbered - {"R14"}


def test_a_program_that_the_counter_does_not_reach() -> None:
    view = RtlView(FlatProgram.of(END), TARGET, Preloaded())
    assert not list(RULES["R14"].breaches(view))
    view.build = replace(view.build, program_bytes=8)
    (breach,) = RULES["R14"].breaches(view)
    assert "12 bytes" in breach.message


def test_a_transfer_behind_the_image() -> None:
    text = LOAD + "H_PREFETCH_M gp0, gp0, a0, 0, 0"
    assert "R19" in codes(text, "hbm:0-63")
    assert "R19" not in codes(text, "hbm:0-72")


def test_a_linear_layer_by_hand_breaks_nothing() -> None:
    """The schedule of plena_rtl.md section 7.4: all tiles resident, then one more, then groups."""
    text = f"""{LOAD}
S_ADDI_INT gp2, gp0, 128
S_ADDI_INT gp3, gp0, 512
H_PREFETCH_V gp0, gp0, a0, 0, 0
{NOP}
H_PREFETCH_M gp0, gp0, a0, 0, 0
H_PREFETCH_M gp1, gp0, a0, 0, 0
H_PREFETCH_M gp2, gp0, a0, 0, 0
{NOP}
{NOP}
M_MM 0, gp0, gp0
M_MM 0, gp1, gp0
M_MM_WO gp3, gp0, 0
V_RECI_V gp3, gp3, 0
{END}"""
    findings = verify(text, TARGET, "hbm:0-256", machine="rtl")
    assert {f.code for f in findings} == {"R35"}
    assert not any(f.is_error for f in findings)


@given(
    st.lists(
        st.sampled_from(
            [
                "S_LD_FP f1, gp0, 0",
                "V_RED_SUM f1, gp0, 0",
                "V_RECI_V gp0, gp0, 0",
                "S_ADDI_INT gp1, gp0, 8",
                "S_ST_INT gp1, gp0, 0",
                "V_MUL_VF gp0, gp0, f1, 0",
                "S_RECI_FP f2, f1",
            ]
        ),
        max_size=8,
    )
)
def test_distance_rules_hold_when_all_stand_apart(lines: list[str]) -> None:
    apart = f"\n{NOP}\n{NOP}\n{NOP}\n{NOP}\n".join([*lines, END])
    assert not codes(apart) & {"R24", "R27", "R28", "R31", "R38"}


def test_addresses_from_data_are_said_to_be_unknown() -> None:
    text = f"S_LD_INT gp1, gp0, 0\nS_MUL_INT gp1, gp1, gp1\nV_RECI_V gp1, gp1, 0\n{END}"
    assert "rtl-addresses" in codes(text)


def test_findings_say_where_their_rule_comes_from() -> None:
    (finding,) = (f for f in verify(f"S_LUI_INT gp1, 1\n{END}", TARGET, machine="rtl") if f.code == "R08")
    assert finding.evidence == "RTL code"
    assert "[R08, RTL code]" in str(finding)
    assert finding.line == 1


def test_a_machine_that_nobody_knows() -> None:
    with pytest.raises(PlenaError, match="no machine 'fpga'"):
        verify(NOP, machine="fpga")


def test_the_declarations_are_those_of_the_document() -> None:
    """plena_rtl.md section 7.2, the lists of opcodes."""
    by_support = {
        support: {s.opcode for s in INSTRUCTIONS.values() if s.rtl.support is support} for support in Support
    }
    assert by_support[Support.BY_CODE] == {0x0F, 0x18, 0x1B, 0x21, 0x23, 0x26, 0x27, 0x32}
    assert by_support[Support.OWN] == {0x02, 0x03, 0x04, 0x05}
    assert by_support[Support.HANGS] == {0x07, 0x0B, 0x33}
    assert by_support[Support.WRONG] == {0x20, 0x24, 0x25, 0x2A, 0x31}
    assert by_support[Support.NOTHING] == {0x08, 0x09, 0x0A, 0x0C, 0x2E, 0x35, 0x36, 0x37}
