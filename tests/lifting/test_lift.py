"""What lift makes of every kind of integer code, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import plena
from plena.errors import PlenaError
from plena.lifting import FlatProgram, Preloaded, lift_code
from plena.lifting.entry import code_of_module, record_lines
from plena.machine.target import Target
from tests.lifting.machines import SMALL


def lifted(text: str, preloaded: str = "", target: Target | None = None) -> str:
    """The lifted operations, one per line, attributes of the module left out."""
    module = lift_code(FlatProgram.of(text), target or Target(), Preloaded.of(preloaded))
    module.verify()
    return "\n".join(line.strip() for line in str(module).splitlines()[1:-1])


def refused(text: str, preloaded: str = "") -> str:
    with pytest.raises(PlenaError) as caught:
        lift_code(FlatProgram.of(text), SMALL, Preloaded.of(preloaded))
    return str(caught.value)


def test_constants_and_fillers_disappear() -> None:
    text = """
    S_LUI_INT gp1, 16
    S_ADDI_INT gp1, gp1, 64
    S_ADDI_INT gp0, gp0, 0
    S_MUL_FP f0, f1, f2
    S_SUB_INT gp2, gp1, gp1
    S_MUL_INT gp3, gp1, gp1
    V_EXP_V gp1, gp2, 0
    """
    assert lifted(text) == "%0 = loop.affine 65600\n%1 = loop.affine 0\nplena_isa.v_exp_v dst(%0) a(%1)"


def test_steps_through_wrap_around_become_negative_coefficients() -> None:
    text = """
    S_LUI_INT gp2, 1048575
    S_ADDI_INT gp1, gp0, 8192
    C_LOOP_START gp3, 3
    V_EXP_V gp1, gp1, 0
    S_ADD_INT gp1, gp1, gp2
    C_LOOP_END gp3
    """
    assert "%1 = loop.affine 8192 + -4096 * %0" in lifted(text)


def test_a_pointer_that_nobody_resets_runs_on() -> None:
    text = """
    C_LOOP_START gp1, 3
    C_LOOP_START gp2, 4
    V_EXP_V gp3, gp3, 0
    S_ADDI_INT gp3, gp3, 64
    C_LOOP_END gp2
    S_ADDI_INT gp3, gp3, 128
    C_LOOP_END gp1
    V_EXP_V gp3, gp3, 0
    """
    result = lifted(text)
    assert "loop.affine 0 + 384 * %0 + 64 * %1" in result
    assert "loop.affine 1152" in result


def of_a_step_that_comes_from_its_pointer(behind: int) -> str:
    """A step of 64 that each iteration computes anew, of where the pointer is then and what is `behind`."""
    return f"""
    S_ADDI_INT gp3, gp0, 64
    S_ADDI_INT gp5, gp0, {behind}
    C_LOOP_START gp1, 3
    S_ADDI_INT gp2, gp0, 0
    C_LOOP_START gp4, 4
    V_EXP_V gp2, gp2, 0
    S_ADDI_INT gp2, gp2, 128
    S_SUB_INT gp2, gp2, gp3
    C_LOOP_END gp4
    S_SUB_INT gp3, gp2, gp5
    C_LOOP_END gp1
    """


def test_a_step_that_comes_out_unchanged_is_a_constant() -> None:
    text = lifted(of_a_step_that_comes_from_its_pointer(256 - 64))
    assert "loop.for %0 = 0 to 3 {\nloop.for %1 = 0 to 4 {\n%2 = loop.affine 0 + 64 * %1\n" in text


def test_a_step_that_comes_out_as_another_one_is_refused() -> None:
    assert "a step that is not a constant" in refused(of_a_step_that_comes_from_its_pointer(256 - 128))


def test_counters_count_down_and_end_at_zero() -> None:
    text = """
    C_LOOP_START gp1, 8
    S_LD_FP f1, gp1, 2
    C_LOOP_END gp1
    S_LD_FP f1, gp1, 2
    """
    result = lifted(text)
    assert "loop.affine 10 + -1 * %1" in result
    assert "loop.affine 2\n" in result


def test_immediates_are_folded_into_the_address() -> None:
    text = "S_ADDI_INT gp1, gp0, 64\nM_MM_WO gp1, gp0, 4\nM_MM_WO gp1, gp1, 0"
    result = lifted(text)
    assert "%1 = loop.affine 68" in result
    assert "m_mm_wo dst(%1) stride(%0 : !plena_isa.gp<gp0>)" in result
    assert "%2 = loop.affine 64\nplena_isa.m_mm_wo dst(%2) stride(%2)" in result


def test_a_stride_register_that_holds_0_is_not_gp0() -> None:
    assert lifted("M_MM_WO gp0, gp1, 0") == "%0 = loop.affine 0\nplena_isa.m_mm_wo dst(%0) stride(%0)"


def test_a_constant_set_at_the_end_peels_one_iteration() -> None:
    text = """
    S_ADDI_INT gp1, gp0, 4096
    C_LOOP_START gp2, 5
    V_EXP_V gp1, gp1, 0
    S_ADDI_INT gp1, gp0, 64
    C_LOOP_END gp2
    """
    result = lifted(text)
    assert result.startswith("%0 = loop.affine 4096\nplena_isa.v_exp_v dst(%0) a(%0)\nloop.for %1 = 0 to 4 {")


def test_loops_of_one_iteration_and_of_nothing_dissolve() -> None:
    text = """
    C_LOOP_START gp1, 1
    V_EXP_V gp1, gp0, 0
    C_LOOP_END gp1
    C_LOOP_START gp1, 100
    S_ADDI_INT gp3, gp3, 1
    C_LOOP_END gp1
    """
    assert "loop.for" not in lifted(text.replace("gp1, gp0, 0", "gp2, gp0, 0"))


def test_sticky_state_becomes_operands() -> None:
    text = """
    S_ADDI_INT gp1, gp0, 4096
    S_ADDI_INT gp2, gp0, 3
    C_SET_SCALE_REG gp1
    C_SET_STRIDE_REG gp2
    C_SET_V_MASK_REG gp2
    C_SET_ADDR_REG a3, gp2, gp1
    H_PREFETCH_M gp0, gp1, a3, 1, 0
    H_PREFETCH_V gp0, gp1, a0, 0, 0
    V_ADD_VV gp0, gp1, gp1, 1
    V_ADD_VV gp0, gp1, gp1, 0
    """
    result = lifted(text)
    assert "h_prefetch_m dst(%0) off(%1) base(%2) scale(%1) stride(%3) rstride = 1" in result
    assert f"%2 = loop.affine {(3 << 32) + 4096}" in result
    assert "h_prefetch_v dst(%0) off(%1) base(%0) scale(%1)\n" in result
    assert "v_add_vv dst(%0) a(%1) b(%1) v_mask(%3) mask = 1" in result
    assert result.endswith("v_add_vv dst(%0) a(%1) b(%1)")


def test_a_type_without_scales_takes_no_scale() -> None:
    target = Target().with_settings(
        {
            "HBM_V_ACT_TYPE": {
                "format": "Plain",
                "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7},
            }
        }
    )
    assert "scale" not in lifted("H_PREFETCH_V gp0, gp0, a0, 1, 0", target=target)
    assert "scale" in lifted("H_PREFETCH_V gp0, gp0, a0, 1, 1", target=target)


def test_spilled_pointers_are_forwarded_and_stay_stored() -> None:
    text = """
    S_ADDI_INT gp1, gp0, 128
    S_ST_INT gp1, gp0, 9
    C_LOOP_START gp2, 4
    S_LD_INT gp3, gp0, 9
    V_EXP_V gp3, gp3, 0
    S_ADDI_INT gp3, gp3, 64
    S_ST_INT gp3, gp0, 9
    C_LOOP_END gp2
    S_LD_INT gp4, gp0, 9
    V_EXP_V gp4, gp4, 0
    """
    result = lifted(text)
    assert "s_ld_int" not in result and result.count("s_st_int") == 2
    assert "loop.affine 128 + 64 *" in result and "loop.affine 384\n" in result


def test_a_store_that_may_hit_the_word_ends_forwarding() -> None:
    text = """
    S_ADDI_INT gp1, gp0, 128
    S_ST_INT gp1, gp0, 9
    C_LOOP_START gp2, 4
    S_ST_INT gp0, gp2, 7
    C_LOOP_END gp2
    S_LD_INT gp4, gp0, 9
    H_PREFETCH_V gp0, gp4, a0, 0, 0
    """
    result = lifted(text)
    assert "s_ld_int" in result
    assert "s_ld_int" not in lifted(text.replace("gp2, 7", "gp2, 9"))


def test_a_spilled_write_pointer_does_not_end_forwarding() -> None:
    text = """
    S_ADDI_INT gp1, gp0, 200
    S_ST_INT gp1, gp0, 30
    S_ADDI_INT gp1, gp0, 640
    S_ST_INT gp1, gp0, 31
    C_LOOP_START gp2, 4
    S_LD_INT gp3, gp0, 30
    S_ST_INT gp2, gp3, 0
    S_ADDI_INT gp3, gp3, 1
    S_ST_INT gp3, gp0, 30
    S_LD_INT gp4, gp0, 31
    V_EXP_V gp4, gp4, 0
    C_LOOP_END gp2
    """
    result = lifted(text)
    assert "s_ld_int" not in result and "loop.affine 640\n" in result


def test_a_shift_chain_is_peeled_iteration_by_iteration() -> None:
    text = """
    S_ADDI_INT gp2, gp0, 128
    S_ADDI_INT gp3, gp0, 64
    S_ADDI_INT gp4, gp0, 8192
    C_LOOP_START gp1, 6
    V_EXP_V gp4, gp2, 0
    S_ADDI_INT gp2, gp3, 0
    S_ADDI_INT gp3, gp4, 0
    S_ADDI_INT gp4, gp4, 64
    C_LOOP_END gp1
    """
    result = lifted(text)
    assert "loop.for %4 = 0 to 4 {" in result
    assert "loop.affine 8192 + 64 * %4" in result and "loop.affine 8320 + 64 * %4" in result


def test_numbers_of_the_host_stay_symbols() -> None:
    text = "S_LD_INT gp1, gp0, 3\nS_ADDI_INT gp1, gp1, 64\nS_LD_FP f1, gp1, 0"
    result = lifted(text, "int:0-8=0..31")
    assert (
        "= plena_isa.s_ld_int base(%1) attributes {plena.range = [#builtin.int<0>, #builtin.int<31>]}"
        in result
    )
    assert "loop.affine 64 + 1 * %2" in result


def test_unused_loads_disappear() -> None:
    assert "s_ld_int" not in lifted("S_LD_INT gp1, gp0, 3\nV_EXP_V gp0, gp0, 0", "int:0-8")


def test_chosen_experts_have_a_known_range() -> None:
    text = "S_ADDI_INT gp1, gp0, 7\nV_TOPK gp0, gp0, gp1, 0\nS_LD_INT gp2, gp0, 9\nS_LD_FP f1, gp2, 0"
    assert "plena.range = [#builtin.int<0>, #builtin.int<31>]" in lifted(text)


def test_f_registers_that_rely_on_reset_are_cleared() -> None:
    result = lifted("V_RED_SUM f3, gp0\nS_ADD_FP f2, f0, f0")
    assert result.count("plena_isa.s_add_fp") == 2
    assert result.index("s_add_fp") < result.index("v_red_sum")
    assert lifted("S_ADD_FP f3, f0, f0\nV_RED_SUM f3, gp0").count("s_add_fp") == 1


def test_flags_become_canonical() -> None:
    result = lifted("H_PREFETCH_V gp0, gp0, a0, 7, 9\nV_SUB_VF gp0, gp0, f0, 0, 5")
    assert "precision = 1" in result and "rstride" not in result and "order = 1" in result


def test_the_public_function() -> None:
    module = plena.lift("S_ADDI_INT gp1, gp0, 64\nV_EXP_V gp1, gp1, 0", target=SMALL)
    assert Target.from_module(module) == SMALL
    words = [0x0100C062 | 0, 0x00000000]
    with pytest.raises(PlenaError, match="instruction 1"):
        plena.lift(words)


REFUSALS = {
    "write to a counter": (
        "C_LOOP_START gp1, 3\nS_ADDI_INT gp1, gp1, 1\nC_LOOP_END gp1",
        "line 2",
        "counter",
    ),
    "nested loops on one counter": (
        "C_LOOP_START gp1, 3\nC_LOOP_START gp1, 2\nC_LOOP_END gp1\nC_LOOP_END gp1",
        "line 2",
        "counter",
    ),
    "load into a counter": ("C_LOOP_START gp1, 3\nS_LD_INT gp1, gp0, 0\nC_LOOP_END gp1", "line 2", "counter"),
    "crossing loops": (
        "C_LOOP_START gp1, 3\nC_LOOP_START gp2, 2\nC_LOOP_END gp1\nC_LOOP_END gp2",
        "line 3",
        "Close the inner loop first",
    ),
    "end without start": ("V_EXP_V gp0, gp0, 0\nC_LOOP_END gp1", "line 2", "no open loop counts in gp1"),
    "loop never closed": ("C_LOOP_START gp1, 3\nV_EXP_V gp0, gp0, 0", "line 1", "never closed"),
    "no iterations": ("C_LOOP_START gp1, 0\nC_LOOP_END gp1", "line 1", "0 iterations"),
    "break": ("C_LOOP_START gp1, 2\nC_BREAK\nC_LOOP_END gp1", "line 2", "C_BREAK"),
    "unwritten INT SRAM": ("; comment\n\nS_LD_INT gp1, gp0, 77", "line 3", "word 77 that nothing wrote"),
    "word not written in the first iteration": (
        "C_LOOP_START gp1, 2\nS_LD_INT gp2, gp0, 5\nS_ST_INT gp0, gp0, 5\nC_LOOP_END gp1",
        "line 2",
        "word 5",
    ),
    "product of two indices": (
        "C_LOOP_START gp1, 4\nC_LOOP_START gp2, 4\nS_MUL_INT gp3, gp1, gp2\nS_LD_FP f1, gp3, 0\n"
        "C_LOOP_END gp2\nC_LOOP_END gp1",
        "line 4",
        "S_MUL_INT multiplies two numbers that both vary",
    ),
    "geometric pointer": (
        "S_ADDI_INT gp1, gp0, 1\nC_LOOP_START gp2, 4\nS_LD_FP f1, gp1, 0\nS_ADD_INT gp1, gp1, gp1\nC_LOOP_END gp2",
        "line 3",
        "multiplied by 2",
    ),
    "rotation": (
        "S_ADDI_INT gp1, gp0, 8\nC_LOOP_START gp4, 4\nV_EXP_V gp1, gp1, 0\nS_ADDI_INT gp3, gp1, 0\n"
        "S_ADDI_INT gp1, gp2, 0\nS_ADDI_INT gp2, gp3, 0\nC_LOOP_END gp4",
        "line 3",
        "takes turns",
    ),
    "step that varies": (
        "C_LOOP_START gp4, 4\nV_EXP_V gp1, gp1, 0\nS_ADD_INT gp1, gp1, gp4\nC_LOOP_END gp4",
        "line 2",
        "step that itself changes",
    ),
    "wrapping in a loop": (
        "S_LUI_INT gp2, 1048575\nC_LOOP_START gp4, 4\nV_EXP_V gp1, gp1, 0\nS_ADD_INT gp1, gp1, gp2\nC_LOOP_END gp4",
        "line 3",
        "wraps around",
    ),
    "loaded number behind its loop": (
        "C_LOOP_START gp4, 4\nS_LD_INT gp1, gp4, 0\nC_LOOP_END gp4\nS_LD_FP f1, gp1, 0",
        "line 4",
        "used behind it",
    ),
    "f8": ("S_ADD_FP f9, f0, f0", "line 1", "above f7"),
    "no instruction": (".word 0x0000003F", "line 1", "decodes to no instruction"),
    "rd of a broadcast product": (".word 0x00000044", "line 1", "does not load"),
}


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_what_cannot_be_lifted_names_its_line(case: str) -> None:
    text, place, reason = REFUSALS[case]
    message = refused(text, "int:0-5" if "behind" in case else "")
    assert place in message and reason in message


def test_undeclared_ranges_are_asked_for() -> None:
    text = "S_LD_INT gp1, gp0, 3\nS_ADDI_INT gp1, gp1, 64\nS_LD_FP f1, gp1, 0"
    assert "Declare the range" in refused(text, "int:0-8")


def test_what_is_not_needed_may_be_nonlinear() -> None:
    text = """
    C_LOOP_START gp1, 4
    S_MUL_INT gp3, gp1, gp1
    S_ADD_INT gp4, gp4, gp3
    S_SUB_INT gp5, gp4, gp4
    V_EXP_V gp5, gp5, 0
    C_LOOP_END gp1
    """
    assert "v_exp_v" in lifted(text)


def test_a_register_restored_in_the_body_keeps_products_linear() -> None:
    text = """
    S_ADDI_INT gp5, gp0, 16
    C_LOOP_START gp1, 3
    S_MUL_INT gp6, gp5, gp1
    S_LD_FP f1, gp6, 0
    S_ADDI_INT gp5, gp5, 8
    S_SUB_INT gp5, gp5, gp7
    S_ADDI_INT gp7, gp0, 8
    C_LOOP_END gp1
    """
    assert "both vary" in refused(text)
    restored = text.replace("S_SUB_INT gp5, gp5, gp7\n", "S_SUB_INT gp5, gp5, gp8\n").replace(
        "S_ADDI_INT gp5, gp0, 16", "S_ADDI_INT gp5, gp0, 16\nS_ADDI_INT gp8, gp0, 8"
    )
    assert "48 + -16 *" in lifted(restored)


def test_lines_survive_in_a_module() -> None:
    from plena.assembly import parse_asm
    from plena.assembly.stream import module_from_instructions

    text = "; first\nS_ADDI_INT gp1, gp0, 64\n\nS_LD_INT gp1, gp0, 5 // here"
    module = module_from_instructions(parse_asm(text))
    record_lines(module, text, "kernel.asm")
    code = code_of_module(module)
    assert code.where(1) == "kernel.asm, line 4 (S_LD_INT gp1, gp0, 5)"


def test_long_chains_are_not_taken_apart() -> None:
    chain = "".join(f"S_LD_INT gp2, gp0, {n + 1}\nS_ST_INT gp2, gp0, {n}\n" for n in range(20))
    setup = "".join(f"S_ADDI_INT gp2, gp0, {7 * n}\nS_ST_INT gp2, gp0, {n}\n" for n in range(21))
    body = "S_LD_INT gp2, gp0, 0\nS_LD_FP f1, gp2, 0\n" + chain
    text = f"{setup}C_LOOP_START gp1, {{}}\n{body}C_LOOP_END gp1"
    assert "taken apart" in refused(text.format(30))
    assert lifted(text.format(16)).count("s_ld_fp") == 16


def test_what_is_preloaded_can_be_said_in_many_ways() -> None:
    span = Preloaded.of({"int": [(0, 8, 0, 31)]})
    assert (
        Preloaded.of("int:0-8=0..31") == span == Preloaded.of({"int_sram": "0-8=0..31"}) == Preloaded.of(span)
    )
    assert Preloaded.of({"fp": 8}) == Preloaded.of({"fp": (0, 8)}) == Preloaded.of("fp:0-8")
    contents = Preloaded.of({"int": np.array([5, 5, 9])}).of_memory("int")
    assert [(s.start, s.stop, s.low, s.high) for s in contents] == [(0, 2, 5, 5), (2, 3, 9, 9)]
    assert Preloaded.of({"vram": np.zeros(128)}).size("vector") == 128
    assert Preloaded.of(None).of_memory("int") == ()
    for wrong in (
        {"int": [(4, 2)]},
        {"int": (1, 2, 3)},
        {"dram": 1},
        "int",
        "int:5",
        {"int": [(0, 4, 9, 3)]},
    ):
        with pytest.raises(PlenaError, match="preloaded"):
            Preloaded.of(wrong)
