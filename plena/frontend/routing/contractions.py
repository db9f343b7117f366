"""Products of a row of numbers of a token's slots with the rows of these: weighted sums over the slots."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from plena.dialects import aten
from plena.frontend.graph_builder import GraphBuilder
from plena.frontend.routing.experts import in_body, summed_up
from plena.frontend.routing.values import Rows, Slots
from plena.frontend.spellings.shapes import view


def weighted_sum(g: GraphBuilder, numbers: Any, rows: Any) -> Any:
    """What [*tokens, 1, k] @ [*tokens, k, N] is, of numbers and rows by slot; NotImplemented of other operands."""
    if not isinstance(numbers, Slots) or not isinstance(rows, Rows) or numbers.routing is not rows.routing:
        return NotImplemented
    split = numbers.lie == rows.lie == "split" and numbers.lead[-1:] == (1,) and not numbers.rest
    if not split or len(rows.rest) != 1 or prod(numbers.lead) != prod(rows.lead):
        return NotImplemented
    routing, by_slot = rows.routing, replace(numbers, lead=rows.lead, rest=(1,))
    factor = in_body(g, by_slot, rows, 1)
    if factor is by_slot:
        return NotImplemented
    with g.standing_for((routing.tokens, *rows.rest), routing.builder):
        product = g.build(aten.MulOp, [rows.value, factor])
    return view(g, summed_up(g, replace(rows, value=product)), g.shape)
