"""The sequencer: fetch, watchdog, dispatch, hardware loops (plena_isa.md section 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.emulator.aborts import (
    BAD_OPCODE,
    BREAK_NO_LOOP,
    LOOP_END_UNMATCHED,
    LOOP_WATCHDOG,
    OK,
)
from plena.emulator.broadcast_unit import m_bmm, m_btmm, m_btmv, write_out_rows
from plena.emulator.decoding import FUNCT1, IMM, KERNEL, RD, RS1, RS2, RS3
from plena.emulator.kernels import Kernel
from plena.emulator.matrix_unit import m_mm, m_mm_wo, m_mv, m_mv_wo, m_tmm, m_tmv
from plena.emulator.reductions import v_red_max, v_red_sum, v_topk
from plena.emulator.rounding import set_register
from plena.emulator.scalar_unit import (
    s_exp_fp,
    s_ld_fp,
    s_ld_int,
    s_max_fp,
    s_reci_fp,
    s_sqrt_fp,
    s_st_fp,
    s_st_int,
    word_address,
)
from plena.emulator.state import (
    DMA_PS,
    I64,
    LOOP_BEGAN,
    LOOP_CYCLES,
    LOOP_ENTERED,
    LOOP_PC,
    LOOP_REGISTER,
    SCALE,
    STRIDE,
    V_MASK,
    State,
)
from plena.emulator.transfers import transfer
from plena.emulator.vector_unit import (
    s_map_v_fp,
    v_add_vf,
    v_add_vv,
    v_exp_v,
    v_max_vf,
    v_min_vf,
    v_mul_vf,
    v_mul_vv,
    v_reci_v,
    v_shft_v,
    v_sub_vf,
    v_sub_vf_reversed,
    v_sub_vv,
)
from plena.jit import Int, compiled, entry_point, source_stamp

Rows: TypeAlias = NDArray[np.int32]

PC, EXECUTED, CYCLES, DEPTH, DEADLINE = range(5)
"""Positions in ``Progress.position``. The deadline is the executed count at which the watchdog fires."""

NEVER = 1 << 62

MORE, MORE_LOOPS, EXTENSION = -1, -2, -3
"""Results of ``run`` besides an abort code: the limit was reached; the loop stack is full; the instruction at the pc
was counted and is to be executed by its kernel in `extensions`."""


class Progress(NamedTuple):
    """Where a run stands and what it has counted, all int64.

    ``position[5]``; ``loops[depth, 5]`` the open loops; by instruction ``executed[n]`` times and ``dma_ps[n]``;
    by C_LOOP_START ``iterations[n]``, and ``instructions[n]`` and ``cycles[n]`` spent inside the loop.
    """

    position: I64
    loops: I64
    executed: I64
    dma_ps: I64
    iterations: I64
    instructions: I64
    cycles: I64


@compiled
def _earliest_deadline(loops: I64, depth: Int, allowed: Int) -> Int:
    began = NEVER - allowed
    for i in range(depth):
        began = min(began, loops[i, LOOP_BEGAN])
    return began + allowed


@compiled
def _open_loop_on(loops: I64, depth: Int, register: Int) -> Int:
    """Position of the innermost open loop that counts in a register, -1 if there is none."""
    position = depth - 1
    while position >= 0 and loops[position, LOOP_REGISTER] != register:
        position -= 1
    return position


@compiled
def _close_loop(p: Progress, position: Int, depth: Int, executed: Int, cycles: Int) -> None:
    start = p.loops[position, LOOP_PC]
    p.instructions[start] += executed - p.loops[position, LOOP_ENTERED]
    p.cycles[start] += cycles - p.loops[position, LOOP_CYCLES]
    for i in range(position, depth - 1):
        p.loops[i] = p.loops[i + 1]


def _make_run(stamp: int) -> Callable[[Rows, I64, State, Progress, int], int]:
    @entry_point
    def run(rows: Rows, costs: I64, s: State, p: Progress, limit: Int) -> Int:
        """Run until the end of the program, an abort, or ``limit`` executed instructions in all.

        Returns:
            OK at the end, MORE or MORE_LOOPS to be called again, EXTENSION to be called again behind the pc, or the
            abort code with the pc at the culprit.
        """
        pc, executed, cycles = p.position[PC], p.position[EXECUTED], p.position[CYCLES]
        depth, deadline = p.position[DEPTH], p.position[DEADLINE]
        gp, fp, fp_bits, facts = s.gp, s.fp, s.fp_bits, s.facts
        vram, bits, touched, out, out_bits = s.vram, s.vram_bits, s.vram_touched, s.row, s.row_bits
        blen, hlen, mlen, vlen = s.sizes.blen, s.sizes.hlen, s.sizes.mlen, s.sizes.vlen
        allowed = s.sizes.max_loop_instructions
        end = rows.shape[0]
        status = OK if stamp else MORE
        while pc < end:
            if executed >= limit:
                status = MORE
                break
            if executed >= deadline:
                status = LOOP_WATCHDOG
                break
            k = rows[pc, KERNEL]
            rd, rs1, rs2 = rows[pc, RD], rows[pc, RS1], rows[pc, RS2]
            if k == Kernel.C_LOOP_START and depth == p.loops.shape[0]:
                status = MORE_LOOPS
                break
            executed += 1
            cycles += costs[pc]
            p.executed[pc] += 1
            following = pc + 1
            d, a, b = np.int64(gp[rd]), np.int64(gp[rs1]), np.int64(gp[rs2])
            masked, mask = rows[pc, RS3], np.int64(s.sticky[V_MASK])

            if k == Kernel.S_ADDI_INT:
                gp[rd] = a + rows[pc, IMM]
            elif k == Kernel.M_MM:
                status = m_mm(vram, s.mram, s.acc_mm, out, a, b, blen, mlen, facts)
            elif k == Kernel.C_LOOP_START:
                gp[rd] = rows[pc, IMM]
                p.loops[depth, LOOP_PC] = pc
                p.loops[depth, LOOP_REGISTER] = rd
                p.loops[depth, LOOP_BEGAN] = executed
                p.loops[depth, LOOP_ENTERED] = executed
                p.loops[depth, LOOP_CYCLES] = cycles
                p.iterations[pc] += 1
                depth += 1
                deadline = min(deadline, executed + allowed)
            elif k == Kernel.C_LOOP_END:
                position = _open_loop_on(p.loops, depth, rd)
                if position < 0:
                    facts[0] = rd
                    status = LOOP_END_UNMATCHED
                else:
                    was_first = p.loops[position, LOOP_BEGAN] + allowed == deadline
                    if gp[rd] > 1:
                        gp[rd] = np.int64(gp[rd]) - 1
                        following = p.loops[position, LOOP_PC] + 1
                        p.loops[position, LOOP_BEGAN] = executed
                        p.iterations[following - 1] += 1
                    else:
                        gp[rd] = 0
                        _close_loop(p, position, depth, executed, cycles)
                        depth -= 1
                    if was_first:
                        deadline = _earliest_deadline(p.loops, depth, allowed)
            elif k == Kernel.C_BREAK:
                if depth == 0:
                    status = BREAK_NO_LOOP
                else:
                    gp[p.loops[depth - 1, LOOP_REGISTER]] = 0
                    _close_loop(p, depth - 1, depth, executed, cycles)
                    depth -= 1
                    deadline = _earliest_deadline(p.loops, depth, allowed)
            elif k == Kernel.FREE:
                pass
            elif k == Kernel.ABORT:
                facts[0] = rd
                facts[1] = rs1
                status = np.int64(rows[pc, IMM])
            elif k == Kernel.S_ADD_INT:
                gp[rd] = a + b
            elif k == Kernel.S_SUB_INT:
                gp[rd] = a - b
            elif k == Kernel.S_MUL_INT:
                gp[rd] = a * b
            elif k == Kernel.S_LUI_INT:
                gp[rd] = np.int64(rows[pc, IMM]) << 12
            elif k == Kernel.S_LD_INT:
                status = s_ld_int(gp, s.int_sram, rd, word_address(gp, rs1, rows[pc, IMM]), facts)
            elif k == Kernel.S_ST_INT:
                status = s_st_int(gp, s.int_sram, rd, word_address(gp, rs1, rows[pc, IMM]), facts)
            elif k == Kernel.S_LD_FP:
                status = s_ld_fp(fp, s.fp_sram, rd, word_address(gp, rs1, rows[pc, IMM]), facts)
            elif k == Kernel.S_ST_FP:
                status = s_st_fp(fp, s.fp_sram, rd, word_address(gp, rs1, rows[pc, IMM]), facts)
            elif k == Kernel.S_ADD_FP:
                set_register(fp, fp_bits, rd, fp[rs1] + fp[rs2])
            elif k == Kernel.S_SUB_FP:
                set_register(fp, fp_bits, rd, fp[rs1] - fp[rs2])
            elif k == Kernel.S_MUL_FP:
                set_register(fp, fp_bits, rd, fp[rs1] * fp[rs2])
            elif k == Kernel.S_MAX_FP:
                s_max_fp(fp, rd, rs1, rs2)
            elif k == Kernel.S_EXP_FP:
                s_exp_fp(fp, fp_bits, s.exponential, rd, rs1)
            elif k == Kernel.S_RECI_FP:
                s_reci_fp(fp, fp_bits, rd, rs1)
            elif k == Kernel.S_SQRT_FP:
                s_sqrt_fp(fp, fp_bits, rd, rs1)
            elif k == Kernel.M_MM_WO:
                stride = 1 if rs1 == 0 else a
                dst = word_address(gp, rd, rows[pc, IMM])
                status = m_mm_wo(bits, touched, s.acc_mm, s.acc_mm_bits, dst, stride, blen, mlen, facts)
            elif k == Kernel.M_TMM:
                status = m_tmm(vram, s.mram, s.acc_mm, a, b, blen, mlen, facts)
            elif k == Kernel.M_BTMM:
                status = m_btmm(vram, s.mram, s.acc_bmm, out, s.columns, a, b, hlen, mlen, facts)
            elif k == Kernel.M_BMM:
                status = m_bmm(vram, s.mram, s.acc_bmm, out, a, b, hlen, mlen, facts)
            elif k == Kernel.M_BMM_WO:
                dst = word_address(gp, rd, rows[pc, IMM])
                status = write_out_rows(bits, touched, s.acc_bmm_rows, s.acc_bmm_bits, dst, mlen, facts)
            elif k == Kernel.M_MV:
                status = m_mv(vram, s.mram, s.acc_v, out, a, b, blen, mlen, facts)
            elif k == Kernel.M_TMV:
                status = m_tmv(vram, s.mram, s.acc_v, a, b, blen, mlen, facts)
            elif k == Kernel.M_BTMV:
                mat = (a + d) & 0xFFFFFFFF
                status = m_btmv(vram, s.mram, s.acc_bmv, out, s.columns, mat, b, hlen, mlen, facts)
            elif k == Kernel.M_MV_WO:
                dst = word_address(gp, rd, rows[pc, IMM])
                status = m_mv_wo(bits, touched, s.acc_v, s.acc_v_bits, dst, blen, mlen, facts)
            elif k == Kernel.M_BMV_WO:
                dst = word_address(gp, rd, rows[pc, IMM])
                status = write_out_rows(bits, touched, s.acc_bmv, s.acc_bmv_bits, dst, mlen, facts)
            elif k == Kernel.C_SET_ADDR_REG:
                s.hb[rd] = (np.uint64(gp[rs1]) << np.uint64(32)) | np.uint64(gp[rs2])
            elif k == Kernel.C_SET_SCALE_REG:
                s.sticky[SCALE] = gp[rd]
            elif k == Kernel.C_SET_STRIDE_REG:
                s.sticky[STRIDE] = gp[rd]
            elif k == Kernel.C_SET_V_MASK_REG:
                s.sticky[V_MASK] = gp[rd]
            elif k in (Kernel.H_PREFETCH_M, Kernel.H_PREFETCH_V, Kernel.H_STORE_V):
                before = s.traffic[DMA_PS]
                status = transfer(s, k, rd, rs1, rs2, rows[pc, RS3], rows[pc, FUNCT1])
                p.dma_ps[pc] += s.traffic[DMA_PS] - before
            elif k == Kernel.V_ADD_VV:
                status = v_add_vv(
                    vram, bits, touched, out, out_bits, d, a, b, masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_SUB_VV:
                status = v_sub_vv(
                    vram, bits, touched, out, out_bits, d, a, b, masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_MUL_VV:
                status = v_mul_vv(
                    vram, bits, touched, out, out_bits, d, a, b, masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_ADD_VF:
                status = v_add_vf(
                    vram, bits, touched, out, out_bits, d, a, fp[rs2], masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_MUL_VF:
                status = v_mul_vf(
                    vram, bits, touched, out, out_bits, d, a, fp[rs2], masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_MAX_VF:
                status = v_max_vf(
                    vram, bits, touched, out, out_bits, d, a, fp[rs2], masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_MIN_VF:
                status = v_min_vf(
                    vram, bits, touched, out, out_bits, d, a, fp[rs2], masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_SUB_VF and rows[pc, FUNCT1] == 0:
                status = v_sub_vf(
                    vram, bits, touched, out, out_bits, d, a, fp[rs2], masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_SUB_VF:
                status = v_sub_vf_reversed(
                    vram, bits, touched, out, out_bits, d, a, fp[rs2], masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_EXP_V:
                status = v_exp_v(
                    vram, bits, touched, out, out_bits, s.exponential, d, a, masked, mask, hlen, vlen, facts
                )
            elif k == Kernel.V_RECI_V:
                status = v_reci_v(vram, bits, touched, out, out_bits, d, a, masked, mask, hlen, vlen, facts)
            elif k == Kernel.V_SHFT_V:
                status = v_shft_v(vram, bits, touched, out, out_bits, d, a, b, vlen, facts)
            elif k == Kernel.V_RED_SUM:
                status = v_red_sum(vram, fp, fp_bits, out, rd, a, masked, mask, hlen, vlen, facts)
            elif k == Kernel.V_RED_MAX:
                status = v_red_max(vram, fp, rd, a, vlen, facts)
            elif k == Kernel.S_MAP_V_FP:
                word = word_address(gp, rs1, rows[pc, IMM])
                status = s_map_v_fp(vram, touched, s.fp_sram, d, word, vlen, facts)
            elif k == Kernel.V_TOPK:
                status = v_topk(
                    vram, bits, s.fp_sram, s.int_sram, out_bits, out, d, a, b, masked, vlen, facts
                )
            elif k == Kernel.EXTENSION:
                status = EXTENSION
            else:
                facts[0] = k
                status = BAD_OPCODE

            if status != OK:
                break
            pc = following
        p.position[PC], p.position[EXECUTED], p.position[CYCLES] = pc, executed, cycles
        p.position[DEPTH], p.position[DEADLINE] = depth, deadline
        return status

    return run


run = _make_run(source_stamp(Path(__file__).parent, TOPK_SHAPES))
