"""`apply-loop-choices` makes what `select-loops` would, from text, and refuses what it must not do."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from plena.dialects.loop.nests import loops_in
from plena.driver import context, run_pipeline
from plena.errors import CompileError
from plena.loops.selection.apply import apply_choices
from plena.loops.selection.changes import LoopChange, changes_of
from plena.passes.apply_loop_choices import ApplyLoopChoices
from plena.passes.select_loops import candidates

NEST = """
builtin.module {
  loop.for %i = 0 to 4 {
    loop.for %j = 0 to 6 {
      %x = loop.affine 0 + 384 * %i + 64 * %j
      plena_isa.v_exp_v dst(%x) a(%x)
    }
  }
  loop.for %k = 0 to 5 {
    %y = loop.affine 4096 + 64 * %k
    plena_isa.v_exp_v dst(%y) a(%y)
  }
}
"""

CHAIN = """
builtin.module {
  loop.for %i = 0 to 4 {
    loop.for %j = 0 to 4 {
      %x = loop.affine 0 + 64 * %i + 64 * %j
      %y = loop.affine 64 + 64 * %i + 64 * %j
      plena_isa.v_exp_v dst(%y) a(%x)
    }
  }
}
"""


def parse(text: str) -> ModuleOp:
    return Parser(context(), text).parse_module()


def test_every_choice_of_the_search_survives_its_text() -> None:
    points = candidates(parse(NEST))
    assert len(points) > 3
    kinds: set[str] = set()
    for point in points:
        by_choice, by_text = parse(NEST), parse(NEST)
        apply_choices(by_choice, point.choices)
        changes = list(changes_of(point.choices))
        assert [LoopChange.parse(str(change)) for change in changes] == changes
        kinds |= {change.kind for change in changes}
        run_pipeline(by_text, (ApplyLoopChoices(tuple(map(str, changes))),))
        assert str(by_text) == str(by_choice)
    assert {"expand", "unroll"} <= kinds


@pytest.mark.parametrize(
    ("text", "trips"),
    [
        ("0 expand flat", [5]),
        ("0 keep flat", [4, 5]),
        ("0 unroll 2", [2, 6, 6, 5]),
        ("1 unroll 4", [4, 5]),
        ("0 jam 2x3", [2, 2, 5]),
        ("0 jam 2x1 interchanged", [3, 4, 5]),
        ("2 expand", [4, 6]),
    ],
)
def test_what_becomes_of_the_loops(text: str, trips: list[int]) -> None:
    module = parse(NEST)
    run_pipeline(module, (ApplyLoopChoices((text,)),))
    assert [loop.trips for loop in loops_in(module)] == trips


@pytest.mark.parametrize(
    ("text", "choices", "message"),
    [
        (NEST, ("3 expand",), "there is no loop 3"),
        (NEST, ("0 explode",), r"'0 explode' is no change of a loop.*3 jam 2x4"),
        (NEST, ("0 unroll 0",), "no change of a loop"),
        (NEST, ("0 expand", "1 expand"), "`1 expand` comes after the loop was changed"),
        (NEST, ("2 unroll 2", "2 expand"), "loop 2 is named twice"),
        (NEST, ("2 jam 2x1",), "perfect nest"),
        (CHAIN, ("0 jam 2x1",), "loop 0: `0 jam 2x1` would change the result"),
        (CHAIN, ("0 jam 1x1 interchanged",), "would change the result"),
    ],
)
def test_what_is_refused(text: str, choices: tuple[str, ...], message: str) -> None:
    module = parse(text)
    with pytest.raises(CompileError, match=message):
        run_pipeline(module, (ApplyLoopChoices(choices),))
    assert str(module) == str(parse(text))
