"""`reroll-loops`: the same sequence of instructions, less text, modules kept apart."""

from __future__ import annotations

from hypothesis import given, settings
from xdsl.dialects.builtin import ModuleOp, StringAttr

from plena.dialects.loop.nests import loops_in
from plena.dialects.provenance import MODULE_ATTRIBUTE
from plena.passes.reroll_loops import RerollLoops
from tests.affine.programs import Program, context, parse, programs
from tests.affine.sequence import executed

SPLIT = """
loop.for %i = 0 to 3 {
  %a = loop.affine 0 + 64 * %i
  plena_isa.v_exp_v dst(%a) a(%a)
}
loop.for %j = 0 to 3 {
  %b = loop.affine 192 + 64 * %j
  plena_isa.v_exp_v dst(%b) a(%b)
}
"""


def split(first: str, second: str) -> ModuleOp:
    """Two loops that could be one, for two modules of the model."""
    module = parse(SPLIT)
    for loop, name in zip(list(loops_in(module)), (first, second), strict=True):
        for op in loop.walk():
            op.attributes[MODULE_ATTRIBUTE] = StringAttr(name)
    return module


def rerolled(module: ModuleOp, **options: int) -> ModuleOp:
    RerollLoops(**options).apply(context(), module)
    module.verify()
    return module


@given(programs())
@settings(max_examples=60)
def test_the_sequence_stays(program: Program) -> None:
    before = executed(program.module)
    assert executed(rerolled(program.module, trips=8)) == before


def test_one_loop_goes_on_where_another_ends() -> None:
    (loop,) = loops_in(rerolled(split("left", "left")))
    assert loop.trips == 6
    assert loop.attributes == {MODULE_ATTRIBUTE: StringAttr("left")}, "a new loop belongs to what it serves"


def test_modules_of_the_model_stay_apart() -> None:
    assert [loop.trips for loop in loops_in(rerolled(split("left", "right")))] == [3, 3]


def test_long_loops_stay_whole() -> None:
    module = split("left", "left")
    assert [loop.trips for loop in loops_in(rerolled(module.clone(), trips=2))] == [2, 3]
    assert [loop.trips for loop in loops_in(rerolled(module, length=2))] == [2, 3]
