"""The size / cycles curve: its ends, what lies between, and programs of any origin."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import plena
from plena.assembly import encode, parse_asm
from plena.errors import PlenaError
from plena.optimizing.expansion import expanded
from plena.optimizing.size_curve import SizeCurve, spread
from tests.corpus import programs as corpus


class Attention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v)


INPUTS = tuple(torch.zeros(1, 1, 64, 64) for _ in range(3))


@pytest.fixture(scope="module")
def head() -> plena.Program:
    return plena.compile(Attention(), INPUTS, matmul="mm", attention="rows")


@pytest.fixture(scope="module")
def curve(head: plena.Program) -> SizeCurve:
    return plena.size_curve(head)


def test_its_ends_are_the_rolled_and_the_expanded_program(head: plena.Program, curve: SizeCurve) -> None:
    stats, flat = head.stats(), expanded(head).stats()
    assert (curve.chosen.static, curve.chosen.cycles) == (stats.static, stats.cycles["transactional"])
    assert curve.rolled.static == min(p.static for p in curve.points) <= stats.static
    assert (curve.expanded.static, curve.expanded.cycles) == (flat.static, flat.cycles["transactional"])
    assert curve.expanded.static == curve.expanded.dynamic


def test_between_them_every_larger_program_is_faster(curve: SizeCurve) -> None:
    between = [curve.rolled, *sorted(curve.measured, key=lambda p: p.static)]
    assert len(between) > 2 and all(p.exact for p in between)
    assert all(a.static < b.static and a.cycles > b.cycles for a, b in pairwise(between))
    assert [p.static for p in curve.points] == sorted(p.static for p in curve.points)


def test_predictions_are_near_what_is_counted(curve: SizeCurve) -> None:
    for point in curve.measured:
        near = min(curve.predicted, key=lambda p: abs(p.static - point.static))
        assert near.cycles == pytest.approx(point.cycles, rel=0.01)


def test_a_saved_folder_has_the_same_curve(head: plena.Program, curve: SizeCurve, tmp_path: Path) -> None:
    head.save(tmp_path / "head")
    assert plena.size_curve(plena.Program.load(tmp_path / "head")) == curve


def test_the_other_profile(head: plena.Program) -> None:
    pipelined = plena.size_curve(head, timing="pipelined", samples=2)
    assert pipelined.timing == "pipelined"
    assert pipelined.chosen.cycles == head.stats().cycles["pipelined"]


def test_a_profile_without_cycles_for_an_instruction_has_no_curve() -> None:
    program = plena.compile(nn.ReLU(), (torch.zeros(4, 64),))
    with pytest.raises(PlenaError, match=r"serialized cannot choose this program: no cycles .* V_MAX_VF"):
        plena.size_curve(program, timing="serialized")


def test_an_expanded_program_of_another_origin_is_rolled() -> None:
    words = encode(parse_asm(corpus.text("expanded_matmul")))
    curve = plena.size_curve(plena.Program(words, corpus.TARGET), preloaded=corpus.PRELOADED)
    assert curve.rolled.static < 0.5 * curve.chosen.static


def test_a_long_expansion_is_estimated(head: plena.Program, curve: SizeCurve) -> None:
    estimated = plena.size_curve(head, samples=2, longest_expansion=100).expanded
    assert not estimated.exact
    assert estimated.cycles == pytest.approx(curve.expanded.cycles, rel=0.05)
    assert estimated.static == pytest.approx(curve.expanded.static, rel=1)


def test_samples_are_spread_over_sizes(curve: SizeCurve) -> None:
    points = [p.static for p in spread(curve.predicted, 5)]  # type: ignore[arg-type]
    assert points == sorted(set(points)) and len(points) <= 5
    assert points[0] == curve.predicted[0].static and points[-1] == curve.predicted[-1].static


def test_what_cannot_be_lifted_names_its_instruction() -> None:
    program = plena.Program(encode(parse_asm("V_EXP_V gp0, gp0, 0\nS_LD_INT gp1, gp0, 9")), plena.Target())
    with pytest.raises(PlenaError, match="instruction 1"):
        plena.size_curve(program)
