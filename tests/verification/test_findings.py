"""Every check fires, names its place, and stays silent when there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest

import plena
from plena.assembly import encode, parse_asm
from plena.errors import AssemblyError, PlenaError
from plena.machine.target import Target
from plena.verification import Finding, Severity, verify
from tests.corpus import programs as corpus
from tests.lifting.machines import SMALL

LOADED = {"vector": 1 << 20, "matrix": 1 << 18, "fp": 1024, "hbm": 1 << 16}
BIG = "S_LUI_INT gp9, 1048575"
MX4 = {
    "format": "Mx",
    "block": 8,
    "ELEM": {"type": "Fp", "sign": True, "exponent": 2, "mantissa": 1},
    "SCALE": {"type": "Fp", "sign": False, "exponent": 8, "mantissa": 0},
}

ERRORS: dict[str, tuple[str, int, str]] = {
    "bad-opcode": ("V_EXP_V gp0, gp0, 0\n.word 0x0000003F", 1, ""),
    "topk-policy": ("V_TOPK gp0, gp0, gp0, 2", 0, ""),
    "fp-index": ("S_ADD_FP f0, f9, f12\nS_ADD_FP f9, f0, f0", 1, ""),
    "btmm-rd-nonzero": ("V_EXP_V gp0, gp0, 0\n.word 0x00000044", 1, ""),
    "unaligned-vram": ("S_ADDI_INT gp1, gp0, 9\nV_EXP_V gp0, gp1, 0", 1, "a"),
    "vram-range": ("S_ADDI_INT gp1, gp0, 32768\nV_EXP_V gp1, gp0, 0", 1, "dst"),
    "mram-unaligned": ("S_ADDI_INT gp1, gp0, 8\nH_PREFETCH_M gp1, gp0, a0, 0, 0", 1, "dst"),
    "mram-range": ("S_ADDI_INT gp1, gp0, 512\nM_MM 0, gp1, gp0", 1, "mat"),
    "mram-offset": ("S_ADDI_INT gp1, gp0, 8\nM_MM 0, gp1, gp0", 1, "mat"),
    "m-bmv": ("M_BMV gp0, gp0, gp0", 0, ""),
    "wo-lane": ("S_ADDI_INT gp1, gp0, 2\nM_MM_WO gp1, gp0, 0", 1, "dst"),
    "fp-sram-range": ("S_LD_FP f1, gp0, 1024", 0, "base"),
    "int-sram-range": ("S_ST_INT gp0, gp0, 1024", 0, "base"),
    "count-zero": ("C_LOOP_START gp1, 0\nC_LOOP_END gp1", 0, ""),
    "loop-end-unmatched": ("V_EXP_V gp0, gp0, 0\nC_LOOP_END gp1", 1, ""),
    "break-no-loop": ("C_BREAK", 0, ""),
    "hbm-write-range": (f"{BIG}\nH_STORE_V gp0, gp9, a0, 0, 0", 1, "off"),
}


def errors(text: str, target: Target = SMALL, **declared: object) -> list[Finding]:
    return [f for f in verify(text, target, {**LOADED, **declared}) if f.is_error]


def warnings(text: str, target: Target = SMALL, **declared: object) -> list[str]:
    found = verify(text, target, {**LOADED, **declared})
    assert all(f.severity is Severity.WARNING for f in found)
    return [f.code for f in found]


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str) -> None:
    text, index, operand = ERRORS[code]
    found = errors(text)
    assert [(f.code, f.index, f.operand or "") for f in found] == [(code, index, operand)]
    assert f"line {index + 1} (" in str(found[0]) and f"[{code}]" in str(found[0])


def test_settings_that_abort() -> None:
    assert [f.code for f in errors("M_BTMM 0, gp0, gp0", SMALL.with_settings({"BROADCAST_AMOUNT": 1}))] == [
        "broadcast-shape"
    ]
    one = SMALL.with_settings({"HLEN": 1, "BROADCAST_AMOUNT": 8})
    assert [f.code for f in errors("M_BTMM 0, gp0, gp0", one)] == ["broadcast-hlen-one"]
    narrow = SMALL.with_settings({"HBM_V_ACT_TYPE": MX4})
    assert [f.code for f in errors("H_PREFETCH_V gp0, gp0, a0, 0, 0", narrow)] == ["elem-width"]
    none = SMALL.with_settings({"HBM_V_Prefetch_Amount": 0})
    assert [f.code for f in errors("H_PREFETCH_V gp0, gp0, a0, 0, 0", none)] == ["prefetch-amount-zero"]
    odd = SMALL.with_settings({"HBM_SIZE": 65540})
    assert [f.code for f in errors("V_EXP_V gp0, gp0, 0", odd)] == ["hbm-size-not-64"]


def test_preloads_must_fit() -> None:
    for memory, size in (("hbm", 65537), ("fp", 1025), ("int", 1025)):
        assert [f.code for f in errors("V_EXP_V gp0, gp0, 0", **{memory: size})] == ["preload-too-large"]
    assert not errors("V_EXP_V gp0, gp0, 0", vector=1 << 30)


def nest(step: int, trips: int, start: int = 0, op: str = "V_EXP_V gp1, gp1, 0") -> str:
    return (
        f"S_ADDI_INT gp1, gp0, {start}\nC_LOOP_START gp2, {trips}\n{op}\n"
        f"S_ADDI_INT gp1, gp1, {step}\nC_LOOP_END gp2\n"
    )


def test_addresses_are_checked_over_all_iterations() -> None:
    assert not errors(nest(8, 4096))
    assert {f.code for f in errors(nest(8, 4097))} == {"vram-range"}
    assert "32768" in errors(nest(8, 4097))[0].message
    assert {f.code for f in errors(nest(12, 2))} == {"unaligned-vram"}
    assert not errors(nest(12, 1))


def test_offsets_in_a_tile_are_checked_exactly() -> None:
    # M_MV wants offset % 4 == 0 and offset < 8 in tiles of 64: steps of 68 leave the columns after two tiles.
    assert not errors(nest(68, 2, op="M_MV 0, gp1, gp0"))
    assert {f.code for f in errors(nest(68, 3, op="M_MV 0, gp1, gp0"))} == {"mram-offset"}
    assert not errors(nest(64, 8, op="M_MV 0, gp1, gp0"))
    assert {f.code for f in errors(nest(64, 9, op="M_MV 0, gp1, gp0"))} == {"mram-range"}
    assert not errors(nest(4, 2, op="M_BTMM 0, gp1, gp0"))
    assert {f.code for f in errors(nest(4, 3, op="M_BTMM 0, gp1, gp0"))} == {"mram-offset"}


def test_rows_of_a_block_are_checked() -> None:
    last = 4096 - 4
    assert not errors(f"S_ADDI_INT gp1, gp0, {8 * last}\nM_MM 0, gp0, gp1\nM_MM_WO gp1, gp0, 4")
    found = errors(f"S_ADDI_INT gp1, gp0, {8 * last + 8}\nM_MM 0, gp0, gp1\nM_MM_WO gp1, gp0, 4")
    assert [(f.code, f.operand) for f in found] == [("vram-range", "vec"), ("vram-range", "dst")]
    apart = "S_ADDI_INT gp1, gp0, 8\nS_ADDI_INT gp2, gp0, {}\nM_MM_WO gp1, gp2, 0"
    assert not errors(apart.format(1364))
    assert [f.code for f in errors(apart.format(1365))] == ["vram-range"]
    # a stride of -1 writes upwards from row 3: the addresses wrap around 2^32
    back = f"{BIG}\nS_ADDI_INT gp9, gp9, 4095\nS_ADDI_INT gp1, gp0, {{}}\nM_MM_WO gp1, gp9, 0"
    assert not errors(back.format(24))
    assert [f.code for f in errors(back.format(16))] == ["vram-range"]


def test_stores_are_checked_to_the_last_byte() -> None:
    store = (
        "S_ADDI_INT gp1, gp0, {base}\nS_ADDI_INT gp2, gp0, {scale}\nC_SET_SCALE_REG gp2\nC_SET_ADDR_REG a1, gp0, gp1\n"
        "S_ADDI_INT gp3, gp0, 24\nC_SET_STRIDE_REG gp3\nH_STORE_V gp0, gp0, a1, 1, 0"
    )
    assert not errors(store.format(base=65504, scale=28))
    assert "32 bytes" not in str(errors(store.format(base=65504, scale=29)))
    assert [f.code for f in errors(store.format(base=65504, scale=29))] == ["hbm-write-range"]
    assert [f.code for f in errors(store.format(base=65505, scale=0))] == ["hbm-write-range"]


def test_the_watchdog_counts_inner_loops_and_the_end() -> None:
    text = "C_LOOP_START gp1, 2\nC_LOOP_START gp2, 4\nV_EXP_V gp0, gp0, 0\nC_LOOP_END gp2\nC_LOOP_END gp1"
    assert not errors(text, SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 10}))
    found = errors(text, SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 9}))
    assert [(f.code, f.index) for f in found] == [("loop-watchdog", 0)]


def test_code_that_cannot_be_lifted_is_run() -> None:
    halving = (
        "S_ADDI_INT gp3, gp0, 8\nC_LOOP_START gp1, 1\nS_ADDI_INT gp1, gp0, {}\nV_EXP_V gp3, gp3, 0\n"
        "S_ADDI_INT gp1, gp0, 1\nS_ADD_INT gp3, gp3, gp3\nC_LOOP_END gp1\nV_EXP_V gp3, gp3, 0"
    )
    assert warnings(halving.format(5)) == ["writes-loop-counter", "writes-loop-counter"]
    geometric = (
        "S_ADDI_INT gp3, gp0, 8\nC_LOOP_START gp1, {}\nS_ADD_INT gp3, gp3, gp3\n"
        "V_EXP_V gp3, gp3, 0\nC_LOOP_END gp1"
    )
    assert not errors(geometric.format(11))
    assert [(f.code, f.index) for f in errors(geometric.format(12))] == [("vram-range", 3)]


def test_an_endless_program_is_undecided() -> None:
    from plena.verification import concrete

    limit = concrete.STEP_LIMIT
    concrete.STEP_LIMIT = 1000
    try:
        found = errors("C_LOOP_START gp1, 2\nS_ADDI_INT gp1, gp0, 2\nC_LOOP_END gp1")
    finally:
        concrete.STEP_LIMIT = limit
    assert [f.code for f in found] == ["undecided"]


def test_numbers_of_the_host_need_a_range() -> None:
    text = "S_LD_INT gp1, gp0, 3\nS_LD_FP f1, gp1, 8\nS_ADD_FP f2, f1, f1"
    assert [f.code for f in errors(text, int=8)] == ["undeclared-number"]
    assert not errors(text, int=[(0, 8, 0, 1015)])
    assert [f.code for f in errors(text, int=[(0, 8, 0, 1016)])] == ["fp-sram-range"]
    assert not errors(text, int=np.array([0, 0, 0, 77], np.uint32))
    assert [f.code for f in errors(text, int=np.array([0, 0, 0, 1020], np.uint32))] == ["fp-sram-range"]


def test_chosen_experts_are_in_range() -> None:
    text = (
        "S_ADDI_INT gp1, gp0, {}\nV_TOPK gp0, gp0, gp0, 0\nS_LD_INT gp2, gp0, 2\n"
        "S_MUL_INT gp2, gp2, gp1\nV_EXP_V gp2, gp2, 0"
    )
    assert not errors(text.format(8 * 132))
    assert {f.code for f in errors(text.format(8 * 133))} == {"vram-range"}


WARNINGS: dict[str, tuple[str, ...]] = {
    "writes-gp0": ("S_ADDI_INT gp0, gp0, 8\nV_EXP_V gp0, gp0, 0", "C_LOOP_START gp0, 2\nC_LOOP_END gp0"),
    "writes-f0": ("S_LD_FP f0, gp0, 0",),
    "writes-loop-counter": ("C_LOOP_START gp1, 2\nS_SUB_INT gp1, gp1, gp0\nC_LOOP_END gp1",),
    "open-loop": ("C_LOOP_START gp1, 2\nV_EXP_V gp0, gp0, 0",),
    "break": ("C_LOOP_START gp1, 2\nC_BREAK",),
    "masked-reduction": (
        "S_ADD_FP f1, f0, f0\nV_RED_SUM f1, gp0, 1",
        "S_ADD_FP f1, f0, f0\nV_RED_MAX f1, gp0, 1",
    ),
    "misplaced-mask": ("V_EXP_V gp0, gp0, 1", "V_RECI_V gp0, gp0, 1"),
    "write-out-immediate": ("M_MV_WO gp0, 4", "M_BMM_WO gp0, 8", "M_BMV_WO gp0, 8"),
    "first-row-block": ("M_TMV 0, gp0, gp0",),
    "lost-bits": ("S_LUI_INT gp1, 1048576",),
    "a-register": ("C_SET_ADDR_REG a8, gp0, gp0",),
    "stride-selector": ("H_PREFETCH_V gp0, gp0, a0, 2, 0",),
    "write-out-stride": ("M_MM_WO gp0, gp1, 0",),
    "offset-in-block": ("S_ADDI_INT gp1, gp0, 4\nH_PREFETCH_V gp0, gp1, a0, 0, 0",),
    "pitch-in-block": ("S_ADDI_INT gp1, gp0, 12\nC_SET_STRIDE_REG gp1\nH_PREFETCH_V gp0, gp0, a0, 1, 0",),
    "unwritten-f": ("S_ADD_FP f2, f1, f0", "V_RED_SUM f3, gp0"),
}


@pytest.mark.parametrize("code", WARNINGS)
def test_warnings(code: str) -> None:
    for text in WARNINGS[code]:
        assert code in warnings(text), text


def test_scales_across_words() -> None:
    target = Target().with_settings({"VECTOR_SRAM_SIZE": 64, "HBM_SIZE": 1 << 16})
    text = "S_ADDI_INT gp1, gp0, {}\nC_SET_SCALE_REG gp1\nH_PREFETCH_V gp0, gp0, a0, 0, 0"
    assert warnings(text.format(4096), target) == []
    assert warnings(text.format(4096 + 60), target) == ["split-scales"]


def test_overlapping_rows_of_wide_elements() -> None:
    wide = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
    target = SMALL.with_settings({"HBM_V_ACT_TYPE": wide})
    assert warnings("H_PREFETCH_V gp0, gp0, a0, 0, 0", target) == ["overlapping-rows"]
    assert warnings("H_PREFETCH_V gp0, gp0, a0, 0, 1", target) == []


def unwritten(text: str, **declared: object) -> list[tuple[str, int | None]]:
    return [(f.code, f.index) for f in verify(text, SMALL, declared) if f.code.startswith("unwritten")]


def test_reads_of_cells_that_nothing_wrote() -> None:
    assert unwritten("V_EXP_V gp0, gp0, 0") == [("unwritten-vector", 0)]
    assert unwritten("V_EXP_V gp0, gp0, 0", vector=8) == []
    assert unwritten("S_LD_FP f1, gp0, 3", fp=3) == [("unwritten-fp", 0)]
    assert unwritten("S_ST_FP f0, gp0, 3\nS_LD_FP f1, gp0, 3") == []
    assert unwritten("S_LD_INT gp1, gp0, 3") == [("unwritten-int", 0)]
    assert unwritten("M_MM 0, gp0, gp0", vector=32) == [("unwritten-matrix", 0)]
    assert unwritten("H_PREFETCH_M gp0, gp0, a0, 0, 0\nM_MM 0, gp0, gp0", vector=32) == []
    assert unwritten("M_MM 0, gp0, gp0", vector=24, matrix=64) == [("unwritten-vector", 0)]
    assert unwritten("S_MAP_V_FP gp0, gp0, 0", fp=7) == [("unwritten-fp", 0)]


def test_reads_of_hbm_are_checked_when_it_is_declared() -> None:
    load = "S_ADDI_INT gp1, gp0, 64\nC_SET_SCALE_REG gp1\nH_PREFETCH_V gp0, gp0, a0, 0, 0"
    assert unwritten(load) == []
    assert unwritten(load, hbm=66) == []
    assert unwritten(load, hbm=65) == [("unwritten-hbm", 2)]
    assert (
        unwritten(
            load.replace("H_PREFETCH_V", "H_STORE_V gp0, gp0, a0, 0, 0\nH_PREFETCH_V"), hbm=0, vector=16
        )
        == []
    )


def test_reads_in_loops() -> None:
    fill = nest(8, 4, op="S_MAP_V_FP gp1, gp0, 0")
    assert unwritten(fill + nest(8, 4), fp=8) == []
    assert unwritten(fill + nest(8, 5, op="V_EXP_V gp0, gp1, 0"), fp=8) == [("unwritten-vector", 7)]
    assert unwritten(nest(8, 3, op="S_MAP_V_FP gp1, gp0, 0\nV_EXP_V gp1, gp1, 0"), fp=8) == []


def test_reads_in_code_that_is_run() -> None:
    text = "C_LOOP_START gp1, 1\nS_ADDI_INT gp1, gp0, 1\nV_EXP_V gp0, gp0, 0\nC_LOOP_END gp1"
    assert unwritten(text) == [("unwritten-vector", 2)]
    assert unwritten(text, vector=8) == []


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_corpus_has_no_errors(name: str) -> None:
    declared = {"vector": 1 << 18, "matrix": 8 * 4096, "fp": 1024, **corpus.PRELOADED}
    found = verify(corpus.text(name), corpus.TARGET, declared)
    assert not [str(f) for f in found if f.is_error]
    assert {f.code for f in found} <= {"offset-in-block", "misplaced-mask", "unwritten-f"}


def test_words_and_parsed_instructions_are_taken() -> None:
    text = "S_ADDI_INT gp1, gp0, 9\nV_EXP_V gp0, gp1, 0"
    words = encode(parse_asm(text))
    for program in (words, words.tolist(), parse_asm(text)):
        found = [f for f in verify(program, SMALL, LOADED) if f.is_error]
        assert [(f.code, f.index, f.line) for f in found] == [("unaligned-vram", 1, None)]
    assert verify("") == []
    assert plena.verify(text, target=SMALL, preloaded=LOADED)[0].code == "unaligned-vram"


def test_bad_input() -> None:
    with pytest.raises(AssemblyError, match="unknown mnemonic"):
        verify("V_EXPV gp0, gp0, 0")
    with pytest.raises(PlenaError, match="unknown memory"):
        verify("", preloaded={"sram": 3})
    with pytest.raises(PlenaError, match="cannot read"):
        verify("", preloaded="int:8-4-2")
    with pytest.raises(PlenaError, match="not a 32-bit"):
        verify([1 << 32])
