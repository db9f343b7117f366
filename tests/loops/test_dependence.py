"""Legality against the uninterpreted machine: whatever is called legal leaves the same terms everywhere."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp
from plena.dialects.loop.nests import inner_of_perfect_nest, loops_in
from plena.dialects.plena_isa import Instruction
from plena.dialects.plena_isa.spec import Memory, Mode
from plena.loops import fuse, interchange, jam
from plena.loops.dependence import Legality, may_conflict
from plena.loops.effects import Effect, EffectTable
from plena.machine.target import Target
from tests.affine.programs import Program, parse, programs
from tests.affine.uninterpreted import TINY, final_state


def legality(target: Target = TINY) -> Legality:
    return Legality(EffectTable(target))


rectangles = st.tuples(
    st.integers(0, 40), st.integers(1, 4), st.integers(1, 8), st.sampled_from([0, 4, 8, 9])
)


@settings(max_examples=200)
@given(rectangles, rectangles)
def test_rectangles_conflict_exactly_where_they_meet(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    cells = [
        {base + row * pitch + column for row in range(rows) for column in range(width)}
        for base, rows, width, pitch in (a, b)
    ]
    first, second = (
        Effect(Memory.VECTOR, mode, Linear(base), rows, width, pitch)
        for mode, (base, rows, width, pitch) in ((Mode.WRITE, a), (Mode.READ, b))
    )
    assert may_conflict(first, second) == bool(cells[0] & cells[1])


def unchanged(program: Program, change: Callable[[], object]) -> None:
    terms: dict[object, int] = {}
    before = final_state(program.module, TINY, terms)
    change()
    program.module.verify()
    assert final_state(program.module, TINY, terms) == before


@settings(max_examples=120, deadline=None)
@given(programs(shapes=("nest", "nest", "free")), st.data())
def test_legal_interchange_and_jam_change_nothing(program: Program, data: st.DataObject) -> None:
    nests = [loop for loop in loops_in(program.module) if inner_of_perfect_nest(loop)]
    if not nests:
        return
    outer = data.draw(st.sampled_from(nests))
    factor = data.draw(st.integers(1, 4))
    if legality().can_interchange(outer):
        unchanged(program, lambda: interchange(outer))
    elif legality().can_jam(outer, factor):
        unchanged(program, lambda: jam(outer, factor))


@settings(max_examples=120, deadline=None)
@given(programs(shapes=("pair", "pair", "free")), st.data())
def test_legal_fusion_changes_nothing(program: Program, data: st.DataObject) -> None:
    pairs = [
        (a, b)
        for a in loops_in(program.module)
        for b in [following_loop(a)]
        if b is not None and legality().can_fuse(a, b)
    ]
    if pairs:
        first, second = data.draw(st.sampled_from(pairs))
        unchanged(program, lambda: fuse(first, second))


def following_loop(loop: ForOp) -> ForOp | None:
    following = loop.next_op
    while isinstance(following, AffineOp):
        following = following.next_op
    return following if isinstance(following, ForOp) else None


@settings(max_examples=120, deadline=None)
@given(programs(), st.data())
def test_legal_reordering_changes_nothing(program: Program, data: st.DataObject) -> None:
    pairs = []
    for block in [program.module.body.block, *(loop.body.block for loop in loops_in(program.module))]:
        ops = [op for op in block.ops if isinstance(op, Instruction | ForOp)]
        pairs += [(a, b) for a, b in itertools.pairwise(ops) if legality().can_reorder(a, b)]
    if pairs:
        a, b = data.draw(st.sampled_from(pairs))

        def swap() -> None:
            block = a.parent
            assert block is not None
            block.detach_op(a)
            block.insert_op_after(a, b)

        unchanged(program, swap)


@settings(max_examples=120, deadline=None)
@given(programs(), st.data())
def test_legal_hoisting_changes_nothing(program: Program, data: st.DataObject) -> None:
    candidates = [
        (op, loop)
        for loop in loops_in(program.module)
        for op in loop.operations
        if isinstance(op, Instruction) and legality().can_hoist(op, loop)
    ]
    if candidates:
        op, loop = data.draw(st.sampled_from(candidates))

        def hoist() -> None:
            assert op.parent is not None and loop.parent is not None
            for before in [o for o in loop.operations if isinstance(o, AffineOp)]:
                if not any(
                    loop.index is v or getattr(v.owner, "parent", None) is loop.body.block
                    for v in before.operands
                ):
                    loop.body.block.detach_op(before)
                    loop.parent.insert_op_before(before, loop)
            op.parent.detach_op(op)
            loop.parent.insert_op_before(op, loop)

        unchanged(program, hoist)


def loops(text: str) -> list[ForOp]:
    module = parse(text)
    KEEP.append(module)
    return list(loops_in(module))


KEEP: list[object] = []

MATMUL = """
%z = plena_isa.register : !plena_isa.gp<gp0>
{before}
loop.for %c = 0 to 16 {{
  loop.for %r = 0 to 16 {{
    %m = loop.affine 0 + 256 * %c
    %v = loop.affine 8192 + 256 * %r
    plena_isa.m_mm mat(%m) vec(%v)
    %o = loop.affine {out} + 256 * %r + 4 * %c
    {after}
  }}
}}
"""
WRITE_OUT = "plena_isa.m_mm_wo dst(%o) stride(%z : !plena_isa.gp<gp0>)"
PENDING = "%x = loop.affine 0\nplena_isa.m_mm mat(%x) vec(%x)"


def test_blocks_of_a_product_are_independent() -> None:
    nest = loops(MATMUL.format(before="", out=65536, after=WRITE_OUT))[0]
    assert legality(Target()).can_interchange(nest)
    assert legality(Target()).can_jam(nest, 16)


@pytest.mark.parametrize(("out", "may"), [(8192, True), (8192 + 256, False), (8192 - 256, False)])
def test_output_over_input(out: int, may: bool) -> None:
    """Columns that a product writes over its own rows are read by later columns of the same rows, in either order of
    the loops; over the next rows, those that earlier columns have read come too early."""
    nest = loops(MATMUL.format(before="", out=out, after=WRITE_OUT))[0]
    assert legality(Target()).can_interchange(nest) == may


def test_accumulation_keeps_its_order() -> None:
    nest = loops(MATMUL.format(before="", out=65536, after=""))[0]
    assert not legality(Target()).can_interchange(nest)


def test_pending_accumulator_forbids() -> None:
    nest = loops(MATMUL.format(before=PENDING, out=65536, after=WRITE_OUT))[0]
    assert not legality(Target()).can_interchange(nest)


ROWS = """
%f = plena_isa.register : !plena_isa.f
%a = loop.affine 0
loop.for %i = 0 to 64 {{
  %x = loop.affine 4096 + 64 * %i
  plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%a)
  plena_isa.v_mul_vf dst(%x) a(%x) b(%f : !plena_isa.f)
}}
loop.for %j = 0 to {trips} {{
  %y = loop.affine {start} + {step} * %j
  plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%a)
  plena_isa.v_mul_vf dst(%y) a(%y) b(%f : !plena_isa.f)
}}
"""


def test_fusion_of_row_loops() -> None:
    def can_fuse(**values: int) -> bool:
        first, second = loops(ROWS.format(**values))
        return legality(Target()).can_fuse(first, second)

    assert can_fuse(trips=64, start=4096, step=64)
    assert can_fuse(trips=64, start=16384, step=64)
    assert not can_fuse(trips=64, start=4096 + 64, step=64), (
        "reads a row that the first loop has yet to write"
    )
    assert can_fuse(trips=64, start=4096 - 64, step=64), "row i - 1 is finished"
    assert not can_fuse(trips=32, start=16384, step=64)


def test_constant_load_is_hoistable_unless_the_cell_or_the_word_is_written() -> None:
    def can_hoist(extra: str) -> bool:
        (loop,) = loops(
            f"""
            %f = plena_isa.register : !plena_isa.f
            %g = plena_isa.register : !plena_isa.f
            %a = loop.affine 3
            loop.for %i = 0 to 8 {{
              plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%a)
              %x = loop.affine 64 * %i
              plena_isa.v_mul_vf dst(%x) a(%x) b(%f : !plena_isa.f)
              {extra}
            }}""".replace("64 *", "0 + 64 *")
        )
        load = next(op for op in loop.operations if isinstance(op, Instruction))
        return legality(Target()).can_hoist(load, loop)

    store = "%b = loop.affine {} + 1 * %i\nplena_isa.s_st_fp src(%g : !plena_isa.f) base(%b)"
    assert can_hoist("")
    assert can_hoist(store.format(4))
    assert not can_hoist(store.format(0))
    assert not can_hoist(
        "plena_isa.s_add_fp dst(%f : !plena_isa.f) a(%f : !plena_isa.f) b(%g : !plena_isa.f)"
    )


def test_hbm_scale_plane_counts() -> None:
    text = """
        loop.for %i = 0 to 4 {{
          %x = loop.affine 0 + 256 * %i
          %o = loop.affine 0 + 256 * %i
          %base = loop.affine 0
          %scale = loop.affine {scale}
          plena_isa.h_store_v src(%x) off(%o) base(%base) scale(%scale)
        }}
        loop.for %j = 0 to 4 {{
          %y = loop.affine 8192 + 256 * %j
          %p = loop.affine 0 + 256 * %j
          %from = loop.affine 4096
          %scales = loop.affine 65536
          plena_isa.h_prefetch_v dst(%y) off(%p) base(%from) scale(%scales)
        }}"""
    first, second = loops(text.format(scale=32768))
    assert legality(Target()).can_reorder(first, second)
    first, second = loops(text.format(scale=4096))
    assert not legality(Target()).can_reorder(first, second), (
        "scales are stored over the elements loaded next"
    )


def test_yield_is_no_effect() -> None:
    assert legality().effects.of(YieldOp()) == {}
