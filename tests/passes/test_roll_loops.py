"""Rolling the affine form: the executed sequence stays, and expanded programs shrink back to what they were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from plena.dialects.loop import ForOp
from plena.dialects.loop.nests import loops_in
from plena.dialects.plena_isa import Instruction
from plena.passes.canonicalize_loops import CanonicalizeLoops
from plena.passes.roll_loops import RollLoops
from plena.passes.unroll_loops import UnrollLoops
from tests.affine.programs import OTHER_KINDS, VECTOR_KINDS, Program, context, parse, programs
from tests.affine.sequence import executed


def roll(module: ModuleOp) -> None:
    RollLoops().apply(context(), module)
    module.verify()


def static(module: ModuleOp) -> int:
    """Instruction lines: a loop has two."""
    return sum(2 if isinstance(op, ForOp) else isinstance(op, Instruction) for op in module.walk())


@settings(max_examples=150)
@given(programs(), st.booleans())
def test_the_sequence_stays(program: Program, expanded: bool) -> None:
    before = executed(program.module)
    if expanded:
        UnrollLoops(full=True).apply(context(), program.module)
    size = static(program.module)
    roll(program.module)
    assert executed(program.module) == before
    assert static(program.module) <= size


@given(programs(kinds=(*VECTOR_KINDS, *OTHER_KINDS, "S_LD_INT"), depth=2), st.integers(1, 3))
def test_loaded_numbers_and_partly_expanded_programs(program: Program, factor: int) -> None:
    before = executed(program.module)
    UnrollLoops(factor=factor, tail=True).apply(context(), program.module)
    roll(program.module)
    assert executed(program.module) == before


MATMUL = """
%z = plena_isa.register : !plena_isa.gp<gp0>
loop.for %n = 0 to 3 {
  loop.for %t = 0 to 6 {
    %tile = loop.affine 0 + 4096 * %t
    %from = loop.affine 0 + 64 * %n + 12288 * %t
    %w = loop.affine 1048576
    %scale = loop.affine 16777216
    %pitch = loop.affine 192
    plena_isa.h_prefetch_m dst(%tile) off(%from) base(%w) scale(%scale) stride(%pitch) rstride = 1
  }
  loop.for %c = 0 to 16 {
    loop.for %r = 0 to 16 {
      loop.for %k = 0 to 6 {
        %a = loop.affine 0 + 4096 * %k + 256 * %c
        %b = loop.affine 8192 + 4096 * %k + 256 * %r
        plena_isa.m_mm mat(%a) vec(%b)
      }
      %d = loop.affine 65536 + 256 * %r + 4 * %c + 4096 * %n
      plena_isa.m_mm_wo dst(%d) stride(%z : !plena_isa.gp<gp0>)
    }
  }
}
%f = plena_isa.register : !plena_isa.f
%sum = plena_isa.register : !plena_isa.f
loop.for %row = 0 to 64 {
  %x = loop.affine 65536 + 64 * %row
  %minus = loop.affine 2
  plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%minus)
  plena_isa.v_red_max acc(%f : !plena_isa.f) a(%x)
  plena_isa.v_sub_vf dst(%x) a(%x) b(%f : !plena_isa.f)
  plena_isa.v_exp_v dst(%x) a(%x)
  plena_isa.v_red_sum acc(%sum : !plena_isa.f) a(%x)
}
"""

LAYERS = """
loop.for %layer = 0 to 3 {
  loop.for %h = 0 to 2 {
    loop.for %i = 0 to 2 {
      %at = loop.affine 0 + 128 * %h + 64 * %i
      %w = loop.affine 4096 + 65536 * %layer + 64 * %h
      %o = loop.affine 0 + 256 * %i
      %scale = loop.affine 16777216
      plena_isa.h_prefetch_v dst(%at) off(%o) base(%w) scale(%scale)
      plena_isa.v_exp_v dst(%at) a(%at)
      plena_isa.v_reci_v dst(%at) a(%at)
    }
  }
}
"""

ROUTED = """
loop.for %token = 0 to 8 {
  %slot = loop.affine 16 + 1 * %token
  %expert = plena_isa.s_ld_int base(%slot)
  %row = loop.affine 0 + 256 * %token
  loop.for %k = 0 to 4 {
    %off = loop.affine 0 + 4096 * %expert + 64 * %k
    %dst = loop.affine 1024 + 256 * %k
    %scale = loop.affine 16777216
    %base = loop.affine 0
    plena_isa.h_prefetch_v dst(%dst) off(%off) base(%base) scale(%scale)
    plena_isa.v_add_vv dst(%row) a(%row) b(%dst)
  }
}
"""


@pytest.mark.parametrize("text", [MATMUL, LAYERS, ROUTED], ids=["matmul", "layers", "routed"])
def test_expanded_programs_come_back(text: str) -> None:
    module = parse(text)
    size = static(module)
    before = executed(module)
    UnrollLoops(full=True).apply(context(), module)
    assert not list(loops_in(module))
    roll(module)
    assert executed(module) == before
    assert static(module) <= 1.2 * size


def test_loops_already_rolled_become_part_of_a_body() -> None:
    module = parse(LAYERS)
    size = static(module)
    UnrollLoops(loop=(0,), full=True).apply(context(), module)
    roll(module)
    CanonicalizeLoops().apply(context(), module)
    assert static(module) <= size


def test_nothing_to_roll_changes_nothing() -> None:
    module = parse("%a = loop.affine 0\nplena_isa.v_exp_v dst(%a) a(%a)\nplena_isa.c_break")
    text = str(module)
    roll(module)
    assert str(module) == text


def test_trip_counts_fit_the_immediate() -> None:
    from plena.loops.rolling import search as rolling

    limit = rolling.LARGEST_TRIP_COUNT
    try:
        rolling.LARGEST_TRIP_COUNT = 5
        module = parse("\n".join(["plena_isa.c_break"] * 23))
        roll(module)
    finally:
        rolling.LARGEST_TRIP_COUNT = limit
    assert len(executed(module)) == 23
    assert all(loop.trips <= 5 for loop in loops_in(module))
    assert static(module) < 23
