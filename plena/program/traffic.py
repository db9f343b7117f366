"""What the transfers of a compiled program move: which tensor lies where they begin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from plena.assembly import decode
from plena.dialects.loop import Linear
from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.lifting.entry import lifted_program
from plena.lifting.flat_program import FlatProgram, Program
from plena.lifting.preloaded import Preloaded
from plena.lifting.records import layout
from plena.lifting.tree import LiftedItem, LiftedLoop, LiftedProgram
from plena.machine.constants import INT_LIMIT
from plena.machine.target import Target
from plena.statistics.traffic import Moved, lengths_of, payloads
from plena.verification.affine_checks import weighted_sum


def classified(
    words: Program, target: Target, placements: Sequence[TensorPlacement], preloaded: Preloaded
) -> dict[int, Moved]:
    """Position of each transfer -> (bytes of one execution, its classes by the tensors that its executions move).

    Of a transfer whose address hangs on numbers loaded at run time it is the tensor at its lowest address. Where
    addresses are not known before a run, or no tensor lies, the class is that of the HBM type.
    """
    code = FlatProgram.of(words)
    instructions = decode(code.words)
    moved, lengths = payloads(instructions, target), lengths_of(instructions, target)
    try:
        program = lifted_program(code, target, preloaded)
    except PlenaError:
        return moved
    regions = sorted((*p.hbm_range(target), _class(p)) for p in placements if p.memory == "hbm")
    firsts = [first for first, _, _ in regions]
    for position, (low, last) in _extents(program, moved).items():
        # A single transfer may read beyond its tensor, as prefetches of whole rows do.
        high = last + lengths[position] - 1 if low < last else low
        parts: dict[str, int] = {}
        at = max(0, bisect_right(firsts, low) - 1)
        while at < len(regions) and regions[at][0] <= high:
            first, stop, name = regions[at]
            shared = min(stop, high + 1) - max(first, low)
            if shared > 0:
                parts[name] = parts.get(name, 0) + shared
            at += 1
        if parts:
            moved[position] = moved[position][0], parts
    return moved


def _extents(program: LiftedProgram, moved: dict[int, Moved]) -> dict[int, tuple[int, int]]:
    """The lowest HBM address at which each transfer begins, and the highest."""
    indices = set(_loop_indices(program.body))
    extents: dict[int, tuple[int, int]] = {}
    for item in program.instructions():
        if item[0] not in moved:
            continue
        off, high, low, *_ = item[layout(program.code.op[item[0]]).hbm_side]
        address = weighted_sum([(off, 1), (high, INT_LIMIT), (low, 1)])
        first, last = program.range(address)
        if isinstance(address, Linear) and any(index not in indices for index, _ in address.terms):
            last = first
        known = extents.get(item[0], (first, last))
        extents[item[0]] = min(first, known[0]), max(last, known[1])
    return extents


def _loop_indices(items: Sequence[LiftedItem]) -> Iterator[int]:
    """The numbers of the indices of loops, those in other loops included."""
    for item in items:
        if isinstance(item, LiftedLoop):
            yield item.index
            yield from _loop_indices(item.body)


def _class(placement: TensorPlacement) -> str:
    """What a tensor in HBM counts as."""
    if placement.source.kind == "data":
        return "experts" if placement.routed else "weights"
    if placement.source.kind == "state" or placement.format.endswith("KV_TYPE"):
        return "keys_values"
    return "activations"
