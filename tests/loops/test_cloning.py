"""Copies share addresses and keep them where the original had them; big expansions are fast."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr, IndexType, IntAttr

from plena.dialects.loop import AffineOp, ForOp, Linear, linear_of
from plena.dialects.loop.nests import loops_in
from plena.gc_pause import without_collection
from plena.loops import expand, fuse, interchange, jam, peel, strip_mine, unroll
from plena.loops.cloning import Scope, Substitution, clone
from tests.affine.programs import parse
from tests.affine.sequence import executed
from tests.calls import counted_calls

ROWS = """
loop.for %i = 0 to {trips} {{
  %row = loop.affine 0 + 64 * %i
  %same = loop.affine 0 + 64 * %i
  plena_isa.v_add_vv dst(%row) a(%same) b(%row)
}}
"""


def test_equal_addresses_share_one_operation() -> None:
    module = parse(ROWS.format(trips=3))
    (loop,) = loops_in(module)
    expand(loop)
    assert [op.expression.constant for op in module.body.block.ops if isinstance(op, AffineOp)] == [
        0,
        64,
        128,
    ]


def test_addresses_stay_in_the_block_they_were_in() -> None:
    module = parse("""
        loop.for %i = 0 to 4 {
          %outside = loop.affine 8192 + 256 * %i
          loop.for %j = 0 to 4 {
            plena_isa.v_exp_v dst(%outside) a(%outside)
          }
        }""")
    outer = next(loops_in(module))
    unroll(outer, 2)
    outer = next(loops_in(module))
    assert [type(op) for op in outer.operations] == [AffineOp, ForOp, AffineOp, ForOp]


def test_an_index_itself_needs_no_operation() -> None:
    (loop,) = loops_in(parse(ROWS.format(trips=3)))
    scope = Scope()
    assert scope.value(Linear.index(loop.index)) is loop.index
    assert scope.operations == []


def test_an_affine_op_is_what_the_constructor_of_irdl_makes() -> None:
    module = parse(ROWS.format(trips=3))
    (loop,) = loops_in(module)
    made = AffineOp(Linear.of(5, [(loop.index, 64)]))
    numbers = {"constant": IntAttr(5), "coefficients": ArrayAttr([IntAttr(64)])}
    usual = AffineOp.build(operands=[[loop.index]], properties=numbers, result_types=[IndexType()])
    assert made.is_structurally_equivalent(usual, {loop.index: loop.index})
    made.verify()


def test_numbers_loaded_in_the_copied_code_belong_to_the_copy() -> None:
    module = parse("""
        loop.for %i = 0 to 2 {
          %slot = loop.affine 4 + 1 * %i
          %id = plena_isa.s_ld_int base(%slot)
          %row = loop.affine 0 + 64 * %id
          plena_isa.v_exp_v dst(%row) a(%row)
        }""")
    (loop,) = loops_in(module)
    expand(loop)
    loads = [op for op in module.body.block.ops if op.name == "plena_isa.s_ld_int"]
    rows = [linear_of(op.operands[0]) for op in module.body.block.ops if op.name == "plena_isa.v_exp_v"]
    assert [row.terms for row in rows] == [((load.results[0], 64),) for load in loads]


def test_clone_shares_attributes() -> None:
    module = parse(ROWS.format(trips=2).replace("b(%row)", 'b(%row) attributes {plena.step = "sum"}'))
    (loop,) = loops_in(module)
    add = loop.operations[-1]
    scope = Scope()
    clone([add], scope, Substitution({loop.index: Linear(1)}))
    assert scope.operations[-1].attributes == add.attributes


def test_results_name_the_loops_that_are_left() -> None:
    module = parse(ROWS.format(trips=11))
    (loop,) = loops_in(module)
    outer, inner = strip_mine(loop, 4)
    assert outer is not None and inner is not None
    assert (outer.trips, inner.trips) == (2, 4)
    assert unroll(inner, 4) is None
    rest = peel(outer, first=1)
    assert rest is None
    assert [op.trips for op in loops_in(module)] == [3]
    assert len(executed(module)) == 11


def test_jam_returns_both_loops() -> None:
    nest = "loop.for %o = 0 to 6 {\n" + ROWS.format(trips=5).replace("64 * %i", "64 * %i + 512 * %o") + "}"
    module = parse(nest)
    outer, inner = jam(next(loops_in(module)), 3)
    assert outer is not None
    assert (outer.trips, inner.trips) == (2, 5)
    swapped = interchange(outer)
    assert (swapped.trips, len(executed(module))) == (5, 30)
    outer, inner = jam(swapped, 5)
    assert outer is None
    assert inner.trips == 2


def test_fused_loops_stand_where_the_second_stood() -> None:
    module = parse(ROWS.format(trips=3) + "%x = loop.affine 9\n" + ROWS.format(trips=3).replace("%i", "%j"))
    first, second = loops_in(module)
    both = fuse(first, second)
    assert [type(op) for op in module.body.block.ops] == [AffineOp, ForOp]
    assert len([op for op in both.operations if not isinstance(op, AffineOp)]) == 2


def test_expanding_takes_few_calls_an_instruction() -> None:
    module = parse(
        "loop.for %a = 0 to 10 {\n" + ROWS.format(trips=100).replace("64 * %i", "64 * %i + 4 * %a") + "}"
    )
    with without_collection(), counted_calls() as calls:
        for loop in reversed(list(loops_in(module))):
            expand(loop)
    assert calls() < 1000 * 200
    assert sum(1 for op in module.body.block.ops if not isinstance(op, AffineOp)) == 1000
