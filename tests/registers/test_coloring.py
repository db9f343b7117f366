"""Colouring and liveness on small graphs and programs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plena.registers.coloring import color
from plena.registers.live_cells import bits, interference_of
from tests.affine.programs import parse


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, dict[int, int]]:
    count = draw(st.integers(1, 10))
    neighbours = dict.fromkeys(range(count), 0)
    for a in range(count):
        for b in range(a):
            if draw(st.booleans()):
                neighbours[a] |= 1 << b
                neighbours[b] |= 1 << a
    return count, neighbours


@given(graphs(), st.integers(1, 5), st.data())
def test_neighbours_differ_and_what_has_no_color_had_no_free_one(
    graph: tuple[int, dict[int, int]], colors: int, data: st.DataObject
) -> None:
    count, neighbours = graph
    fixed = {0: data.draw(st.integers(0, colors - 1))} if data.draw(st.booleans()) else {}
    nodes = [n for n in range(count) if n not in fixed]
    cost = {n: float(data.draw(st.integers(0, 9))) for n in nodes}
    result = color(nodes, neighbours, fixed, range(colors), cost)
    every = {**fixed, **result.colors}
    assert sorted([*result.colors, *result.uncolored]) == nodes
    for node, chosen in every.items():
        assert all(every.get(n) != chosen for n in bits(neighbours[node]))
    for node in result.uncolored:
        assert {every[n] for n in bits(neighbours[node]) if n in every} == set(range(colors))


def test_low_degrees_always_get_colors() -> None:
    ring = {n: 1 << (n + 1) % 9 | 1 << (n - 1) % 9 for n in range(9)}
    assert not color(range(9), ring, {}, range(3), {}).uncolored


def neighbours_by_name(text: str) -> dict[str, set[str]]:
    module = parse(text)
    graph = interference_of(module.body.block)
    names = [cell.name_hint or "?" for cell in graph.table.cells]
    return {names[n]: {names[m] for m in bits(graph.neighbours.get(n, 0))} for n in range(len(names))}


def test_a_cell_read_before_it_is_written_lives_around_the_loop() -> None:
    found = neighbours_by_name("""
    builtin.module {
      %zero = plena_isa.register : !plena_isa.gp<gp0>
      %carried = plena_isa.register : !plena_isa.gp
      %local = plena_isa.register : !plena_isa.gp
      %counter = plena_isa.register : !plena_isa.gp
      plena_isa.s_addi_int dst(%carried : !plena_isa.gp) a(%zero : !plena_isa.gp<gp0>) imm = 64
      loop.for %i = 0 to 4 counter(%counter : !plena_isa.gp) {
        plena_isa.v_exp_v dst(%carried : !plena_isa.gp) a(%carried : !plena_isa.gp)
        plena_isa.s_addi_int dst(%local : !plena_isa.gp) a(%zero : !plena_isa.gp<gp0>) imm = 128
        plena_isa.v_exp_v dst(%local : !plena_isa.gp) a(%local : !plena_isa.gp)
      }
    }""")
    assert found["carried"] >= {"local", "counter"}
    assert found["local"] >= {"carried", "counter"}


def test_lives_that_follow_each_other_do_not_meet() -> None:
    found = neighbours_by_name("""
    builtin.module {
      %zero = plena_isa.register : !plena_isa.gp<gp0>
      %first = plena_isa.register : !plena_isa.gp
      %second = plena_isa.register : !plena_isa.gp
      plena_isa.s_addi_int dst(%first : !plena_isa.gp) a(%zero : !plena_isa.gp<gp0>) imm = 64
      plena_isa.v_exp_v dst(%first : !plena_isa.gp) a(%first : !plena_isa.gp)
      plena_isa.s_addi_int dst(%second : !plena_isa.gp) a(%zero : !plena_isa.gp<gp0>) imm = 64
      plena_isa.v_exp_v dst(%second : !plena_isa.gp) a(%second : !plena_isa.gp)
    }""")
    assert "second" not in found["first"]
