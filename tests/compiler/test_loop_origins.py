"""Loops with where they come from and what became of them."""

from __future__ import annotations

from plena.compiler.loop_origins import AS_LOWERED, common_path, source_loops
from plena.dialects.loop.nests import loops_in
from plena.loops.selection.apply import apply_choices
from plena.machine.target import Target
from plena.passes.select_loops import candidates
from tests.affine.programs import parse

NEST = """
loop.for %i = 0 to 2 {
  loop.for %row = 0 to 64 {
    %x = loop.affine 0 + 4096 * %i + 64 * %row
    plena_isa.v_exp_v dst(%x) a(%x) attributes {plena.module = "m.a", plena.step = "exp"}
    plena_isa.v_reci_v dst(%x) a(%x) attributes {plena.module = "m.b", plena.step = "reci"}
  }
}
"""


def test_loops_as_they_are() -> None:
    loops = source_loops(parse(NEST), None)
    assert [(x.number, x.depth, x.trips, x.choice) for x in loops] == [(0, 0, 2, "kept"), (1, 1, 64, "kept")]
    assert {x.module for x in loops} == {"m"} and {x.steps for x in loops} == {("exp", "reci")}
    assert {x.why for x in loops} == {AS_LOWERED}


def test_every_point_says_what_becomes_of_each_loop() -> None:
    module = parse(NEST)
    Target().attach(module)
    left: set[int] = set()
    for point in candidates(module):
        loops = source_loops(module, point.choices)
        copy = module.clone()
        apply_choices(copy, point.choices)
        remaining = len(list(loops_in(copy)))
        left.add(remaining)
        gone = [x for x in loops if x.choice == "expanded"]
        assert remaining <= len(loops) - len(gone)
        if all(x.choice == "kept" for x in loops):
            assert remaining == 2
    assert len(left) > 1, "the points differ in what they expand"


def test_the_common_path_ends_at_a_dot() -> None:
    assert common_path(["a.b.c", "a.b.d"]) == "a.b"
    assert common_path(["layer1", "layer10"]) == ""
    assert common_path(["a.b", "a"]) == "a"
    assert common_path([]) == ""
