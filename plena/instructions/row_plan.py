"""Which row of vector SRAM each value of an elementwise body lies in: an input, an output, or a row of scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from xdsl.ir import Block, SSAValue

from plena.dialects.tile import ElementwiseOp, LanesYieldOp, LanewiseOp, PanelRows

Place: TypeAlias = tuple[Literal["in", "out", "scratch"], int]
"""Where a row is, and its number there."""


@dataclass(frozen=True)
class RowPlan:
    """The place of every value, and the number of scratch rows.

    `moves` are values that have to be copied to output rows at the end, since an input was still needed there.
    """

    places: Mapping[SSAValue, Place]
    scratch: int
    moves: tuple[tuple[SSAValue, Place], ...]


def plan_of(op: ElementwiseOp) -> RowPlan:
    """The places of an operation's values."""
    return plan_rows(op.body.block, op.out_panels, op.in_panels)


def plan_rows(body: Block, outs: Sequence[PanelRows], inputs: Sequence[PanelRows]) -> RowPlan:
    """Places for the values of a body.

    An instruction reads its rows before it writes one, so a result may take the row of an operand that is not needed
    afterwards. Output rows hold intermediate values too until their own is made.
    """
    steps = [op for op in body.ops if isinstance(op, LanewiseOp)]
    final = body.last_op
    assert isinstance(final, LanesYieldOp)
    last_use = {value: number for number, op in enumerate(steps) for value in op.operands}
    last_use.update({value: len(steps) for value in final.values})
    homes: dict[SSAValue, Place] = {value: ("out", k) for k, value in enumerate(final.values)}
    made_at: dict[SSAValue, int] = {op.result: number for number, op in enumerate(steps)}
    places: dict[SSAValue, Place] = {}
    for number, argument in enumerate(body.args):
        aliased = [k for k, out in enumerate(outs) if out.buffer == inputs[number].buffer]
        places[argument] = ("out", aliased[0]) if aliased else ("in", number)
    ending: list[list[SSAValue]] = [[] for _ in range(len(steps) + 1)]
    for value, use in last_use.items():
        ending[use].append(value)
    taken = Counter(places[argument] for argument in body.args if argument in last_use)
    rows = 0
    for number, op in enumerate(steps):
        taken.subtract(places[value] for value in ending[number] if value in places)
        place: Place | None = homes.get(op.result)
        if place is None:
            until = last_use.get(op.result, number)
            place = next((h for v, h in homes.items() if made_at[v] >= until and not taken[h]), None)
        elif taken[place]:
            place = None
        if place is None:
            row = next(k for k in range(rows + 1) if not taken["scratch", k])
            rows = max(rows, row + 1)
            place = ("scratch", row)
        places[op.result] = place
        if op.result in last_use:
            taken[place] += 1
    moves = tuple((value, home) for value, home in homes.items() if places[value] != home)
    return RowPlan(places, rows, moves)
