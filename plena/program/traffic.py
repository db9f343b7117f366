"""What the transfers of a compiled program move: which tensor lies where they begin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from plena.assembly import decode
from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.lifting.entry import lifted_program
from plena.lifting.flat_program import FlatProgram, Program
from plena.lifting.preloaded import Preloaded
from plena.lifting.records import layout
from plena.lifting.tree import LiftedProgram, range_of
from plena.machine.constants import INT_LIMIT
from plena.machine.target import Target
from plena.statistics.traffic import payloads
from plena.verification.affine_checks import weighted_sum


def classified(
    words: Program, target: Target, placements: Sequence[TensorPlacement], preloaded: Preloaded
) -> dict[int, tuple[int, str]]:
    """Position of each transfer -> (bytes of one execution, its class by the tensor at its lowest address).

    Where addresses are not known before a run, or no tensor lies, the class is that of the HBM type.
    """
    code = FlatProgram.of(words)
    moved = payloads(decode(code.words), target)
    try:
        program = lifted_program(code, target, preloaded)
    except PlenaError:
        return moved
    starts = _starts(program, moved)
    regions = sorted(
        (p.hbm_range(target)[0], p.hbm_range(target)[1], _class(p)) for p in placements if p.memory == "hbm"
    )
    firsts = [first for first, _, _ in regions]
    for position, start in starts.items():
        at = bisect_right(firsts, start) - 1
        if at >= 0 and start < regions[at][1]:
            moved[position] = moved[position][0], regions[at][2]
    return moved


def _starts(program: LiftedProgram, moved: dict[int, tuple[int, str]]) -> dict[int, int]:
    """The lowest HBM address at which each transfer begins."""
    starts: dict[int, int] = {}
    for item in program.instructions():
        if item[0] not in moved:
            continue
        off, high, low, *_ = item[layout(program.code.op[item[0]]).hbm_side]
        address = weighted_sum([(off, 1), (high, INT_LIMIT), (low, 1)])
        starts[item[0]] = range_of(address, program.bounds)[0]
    return starts


def _class(placement: TensorPlacement) -> str:
    """What a tensor in HBM counts as."""
    if placement.source.kind == "data":
        return "experts" if placement.routed else "weights"
    if placement.source.kind == "state" or placement.format.endswith("KV_TYPE"):
        return "keys_values"
    return "activations"
