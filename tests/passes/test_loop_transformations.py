"""Every loop transformation leaves what a program computes unchanged; those that keep the order keep the sequence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.loop.nests import loops_in
from plena.errors import CompileError
from plena.passes.canonicalize_loops import CanonicalizeLoops
from plena.passes.fuse_loops import FuseLoops
from plena.passes.hoist_invariants import HoistInvariants
from plena.passes.interchange_loops import InterchangeLoops
from plena.passes.peel_loops import PeelLoops
from plena.passes.strip_mine_loops import StripMineLoops
from plena.passes.unroll_and_jam import UnrollAndJam
from plena.passes.unroll_loops import UnrollLoops
from tests.affine.programs import Program, context, parse, programs
from tests.affine.sequence import executed
from tests.affine.uninterpreted import TINY, final_state


def apply(program: Program, transformation: ModulePass) -> None:
    transformation.apply(context(), program.module)
    program.module.verify()


IN_ORDER = st.one_of(
    st.builds(UnrollLoops, factor=st.integers(1, 5), full=st.booleans(), tail=st.booleans()),
    st.builds(PeelLoops, first=st.integers(0, 5), last=st.integers(0, 5)),
    st.builds(StripMineLoops, factor=st.integers(1, 5)),
    st.just(CanonicalizeLoops()),
)


@given(programs(most=8), st.lists(IN_ORDER, min_size=1, max_size=2))
def test_the_sequence_of_instructions_stays(program: Program, transformations: list[ModulePass]) -> None:
    before = executed(program.module)
    for transformation in transformations:
        apply(program, transformation)
        assert executed(program.module) == before


@given(programs(shapes=("free", "pair")), st.sampled_from([FuseLoops(), HoistInvariants()]))
def test_the_effect_stays(program: Program, transformation: ModulePass) -> None:
    terms: dict[object, int] = {}
    before = final_state(program.module, TINY, terms)
    TINY.attach(program.module)
    apply(program, transformation)
    assert final_state(program.module, TINY, terms) == before


@given(
    programs(shapes=("nest",)),
    st.sampled_from([InterchangeLoops(), UnrollAndJam(factor=2), UnrollAndJam(factor=3)]),
)
def test_the_effect_stays_or_it_is_refused(program: Program, transformation: ModulePass) -> None:
    terms: dict[object, int] = {}
    before = final_state(program.module, TINY, terms)
    TINY.attach(program.module)
    try:
        apply(program, transformation)
    except CompileError as error:
        assert "change the result" in str(error)
    assert final_state(program.module, TINY, terms) == before


@pytest.mark.parametrize(
    ("outer", "inner", "trips"),
    [(192, 64, [6]), (256, 64, [2, 3]), (0, 0, [6]), (192, 0, [2, 3])],
    ids=["goes on", "leaves a gap", "one place", "starts again"],
)
def test_loops_that_count_as_one(outer: int, inner: int, trips: list[int]) -> None:
    program = Program(
        parse(f"""
        loop.for %i = 0 to 2 {{
          %x = loop.affine 0 + {outer} * %i
          loop.for %once = 0 to 1 {{
            loop.for %j = 0 to 3 {{
              %y = loop.affine 512 + 1 * %x + {inner} * %j
              plena_isa.v_exp_v dst(%y) a(%y)
            }}
          }}
        }}""")
    )
    before = final_state(program.module, TINY, terms := {})
    apply(program, CanonicalizeLoops())
    assert [op.trips for op in program.module.walk() if isinstance(op, ForOp)] == trips
    assert final_state(program.module, TINY, terms) == before


@given(programs())
def test_canonical_form(program: Program) -> None:
    apply(program, CanonicalizeLoops())
    for op in program.module.walk():
        if isinstance(op, ForOp):
            assert op.trips > 1
        if isinstance(op, AffineOp):
            assert op.results[0].first_use is not None
            assert not any(isinstance(v.owner, AffineOp) for v in op.values)
    once = str(program.module)
    apply(program, CanonicalizeLoops())
    assert str(program.module) == once


def test_full_expansion_has_no_loops() -> None:
    program = Program(parse("loop.for %i = 0 to 3 {\nloop.for %j = 0 to 2 {\nplena_isa.c_break\n}\n}"))
    apply(program, UnrollLoops(full=True))
    assert not list(loops_in(program.module))
    assert len(executed(program.module)) == 6


@pytest.mark.parametrize("trips", [1, 2, 7, 8])
@pytest.mark.parametrize("factor", [1, 2, 3, 8, 9])
def test_unrolling_by_any_factor(trips: int, factor: int) -> None:
    program = Program(parse(f"loop.for %i = 0 to {trips} {{\nplena_isa.c_break\n}}"))
    apply(program, UnrollLoops(factor=factor))
    bodies = [len(loop.operations) for loop in loops_in(program.module) if loop.trips == trips // factor]
    assert len(executed(program.module)) == trips
    if trips // factor > 1:
        assert factor in bodies


@pytest.mark.parametrize(
    ("transformation", "message"),
    [
        (UnrollLoops(factor=0), "at least 1"),
        (UnrollLoops(loop=(4,)), "there is no loop 4. the program has 1 loops"),
        (PeelLoops(first=-1), "must not be negative"),
        (StripMineLoops(factor=0), "at least 1"),
        (InterchangeLoops(), "not the outer loop of a perfect nest"),
        (UnrollAndJam(), "not the outer loop of a perfect nest"),
    ],
)
def test_what_cannot_be_done_is_said(transformation: ModulePass, message: str) -> None:
    program = Program(parse("loop.for %i = 0 to 3 {\nplena_isa.c_break\n}"))
    with pytest.raises(CompileError, match=message):
        apply(program, transformation)


@pytest.mark.parametrize(("trips", "loops"), [(12_400, 1), (12_600, 2)])
def test_iterations_stay_short_for_the_watchdog(trips: int, loops: int) -> None:
    """A quarter of 100,000 operations, which bodies of one operation fill twice."""

    def nest(first: int) -> str:
        return f"""
        loop.for %i = 0 to 2 {{
          loop.for %j = 0 to {trips} {{
            %x = loop.affine {first} + 64 * %i
            plena_isa.v_exp_v dst(%x) a(%x)
          }}
        }}"""

    program = Program(parse(nest(0) + nest(1024)))
    apply(program, FuseLoops())
    assert [op.name for op in program.module.body.block.ops] == ["loop.for"] * loops


def test_the_register_form_is_refused() -> None:
    text = "%c = plena_isa.register : !plena_isa.gp\nloop.for %i = 0 to 3 counter(%c : !plena_isa.gp) {\n}"
    with pytest.raises(CompileError, match="register form"):
        apply(Program(parse(text)), UnrollLoops())


def test_invariants_leave_nests_entirely() -> None:
    program = Program(
        parse("""
        %f = plena_isa.register : !plena_isa.f
        loop.for %i = 0 to 3 {
          loop.for %j = 0 to 2 {
            %a = loop.affine 3
            plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%a)
            %x = loop.affine 0 + 64 * %i
            plena_isa.c_set_scale_reg src(%a)
            plena_isa.c_set_stride_reg src(%x)
            %y = loop.affine 0 + 64 * %i + 192 * %j
            plena_isa.v_mul_vf dst(%y) a(%y) b(%f : !plena_isa.f)
          }
        }""")
    )
    apply(program, HoistInvariants())
    module = program.module
    assert [op.name for op in module.body.block.ops] == [
        "plena_isa.register",
        "loop.affine",
        "plena_isa.s_ld_fp",
        "plena_isa.c_set_scale_reg",
        "loop.for",
    ]
    outer, inner = loops_in(module)
    assert [op.name for op in outer.operations] == ["loop.affine", "plena_isa.c_set_stride_reg", "loop.for"]
    assert [op.name for op in inner.operations] == ["loop.affine", "plena_isa.v_mul_vf"]
