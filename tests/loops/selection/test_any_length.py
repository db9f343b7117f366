"""Loops over very long operands: what becomes of them does not hang on how long these are."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from plena.driver import context
from plena.loops.selection.changes import changes_of
from plena.loops.selection.search import Point
from plena.loops.selection.tree import GROUPED, Loop, tree_of
from plena.machine.target import Target
from plena.passes.select_loops import candidates
from plena.timing.registry import profile_named

TEXT = """
builtin.module {{
  loop.for %head = 0 to 3 {{
    loop.for %tile = 0 to {tiles} {{
      %x = loop.affine 64 * %head + 4096 * %tile
      plena_isa.v_exp_v dst(%x) a(%x)
    }} attributes {{plena.length = {tiles} : i64}}
    loop.for %group = 0 to {groups} {{
      loop.for %i = 0 to 14 {{
        %y = loop.affine 64 * %head + 65536 * %group + 4096 * %i
        plena_isa.v_exp_v dst(%y) a(%y)
      }}
    }} attributes {{plena.length = {tiles} : i64}}
  }} attributes {{plena.length = {tiles} : i64}}
}}
"""


def module(tiles: int) -> ModuleOp:
    text = TEXT.format(tiles=tiles, groups=tiles // GROUPED - 1).replace("affine 64", "affine 0 + 64")
    found = Parser(context(), text).parse_module()
    Target().attach(found)
    return found


def points(tiles: int, *, any_length: bool = True) -> list[Point]:
    return candidates(module(tiles), any_length=any_length)


def changes(found: list[Point]) -> list[list[str]]:
    return [list(map(str, changes_of(point.choices))) for point in found]


def test_choices_are_the_same_at_any_length() -> None:
    known = points(128)
    for tiles in (256, 2048, 64 * 37):
        other = points(tiles)
        assert [(p.static, p.cycles) for p in other] == [(p.static, p.cycles) for p in known]
        assert changes(other) == changes(known)
    assert any("unroll" in change for point in changes(known) for change in point)
    # Nobody expands them, though 128 are few enough for it.
    assert not any(change.startswith(("1 exp", "2 exp")) for point in changes(known) for change in point)


def test_nothing_is_said_of_lengths_that_nothing_divides() -> None:
    assert [p.cycles for p in points(128 + 1)] != [p.cycles for p in points(128)]


@pytest.mark.parametrize("tiles", [128, 4096])
def test_loops_keep_their_true_trips(tiles: int) -> None:
    profile = profile_named("transactional")
    found = tree_of(module(tiles), Target(), profile, any_length=True)
    plain = tree_of(module(tiles), Target(), profile)
    loops, own = (
        [loop for part in tree if isinstance(part, Loop) for loop in part.walk()] for tree in (found, plain)
    )
    assert (
        [loop.true_trips for loop in loops] == [loop.trips for loop in own] == [3, tiles, tiles // 16 - 1, 14]
    )
    assert [loop.trips for loop in loops] == [3, 512, 31, 14] and [loop.unit for loop in loops] == [
        0,
        64,
        1,
        0,
    ]
    assert [p.cycles for p in points(tiles, any_length=False)] != [p.cycles for p in points(512)]
