"""Rules about instructions that stand too close together: the hazards that count instructions in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plena.dialects.plena_isa.scalar import SReciFPOp, SStIntOp
from plena.verification.rtl.flow import following
from plena.verification.rtl.rules import Breach, Evidence, rule
from plena.verification.rtl.view import (
    BREAK,
    LOAD_FP,
    MUL_VF,
    PREFETCH_V,
    RtlView,
    products,
    reductions,
    unheld,
    vector_ops,
    with_scalar,
)

_STORE_INT, _RECIPROCAL = SStIntOp.SPEC.opcode, SReciFPOp.SPEC.opcode


def _close(
    view: RtlView, firsts: frozenset[int], between: int, clash: Callable[[int, int, int], str | None]
) -> Iterator[Breach]:
    """Breaches at the second of two instructions; `clash` gets both positions and how many stand between."""
    for first in view.at(firsts):
        for second, distance in following(view, first, between):
            problem = clash(first, second, distance)
            if problem is not None:
                yield Breach(second, problem)


@rule("R24", Evidence.DERIVED, "two instructions between S_LD_FP and a reader of its register")
def loaded_scalars(view: RtlView) -> Iterator[Breach]:
    direct = with_scalar() | reductions()

    def clash(load: int, at: int, between: int) -> str | None:
        register = view.code.rd[load]
        if register in view.reads_f(at):
            return f"it reads the old f{register}: two instructions must stand behind its S_LD_FP"
        if not between and view.code.op[at] in direct:
            return "it takes the number of the S_LD_FP directly before it for its own"
        return None

    yield from _close(view, frozenset({LOAD_FP}), 1, clash)


@rule("R27", Evidence.DERIVED, "something harmless directly behind H_PREFETCH_V")
def behind_prefetch(view: RtlView) -> Iterator[Breach]:
    held = vector_ops() | products() | {PREFETCH_V, BREAK}

    def clash(_prefetch: int, at: int, _between: int) -> str | None:
        if view.code.op[at] not in held:
            return None
        return "the H_PREFETCH_V directly before it does not hold it: write one other instruction between"

    yield from _close(view, frozenset({PREFETCH_V}), 0, clash)


@rule("R28", Evidence.DERIVED, "one instruction between a number and the S_ST_INT that stores it")
def stored_integers(view: RtlView) -> Iterator[Breach]:
    if not view.at({_STORE_INT}):
        return
    for pc in view.where(lambda spec: spec.writes_gp):
        for at in view.successors[pc]:
            if view.code.op[at] == _STORE_INT and view.code.rd[at] == view.code.rd[pc]:
                yield Breach(at, f"it stores the old gp{view.code.rd[pc]}: write one instruction between")


@rule("R31", Evidence.DOCUMENT, "four instructions behind S_RECI_FP, one between V_MUL_VF", warns=True)
def spacing(view: RtlView) -> Iterator[Breach]:
    def uses(reciprocal: int, at: int, _between: int) -> str | None:
        uses_it = view.code.op[at] in with_scalar() and view.code.rd[reciprocal] in view.reads_f(at)
        return "the templates write four S_ADDI_INT behind its S_RECI_FP" if uses_it else None

    def adjacent(_first: int, at: int, _between: int) -> str | None:
        return (
            "the templates write one instruction between two V_MUL_VF" if view.code.op[at] == MUL_VF else None
        )

    yield from _close(view, frozenset({_RECIPROCAL}), 3, uses)
    yield from _close(view, frozenset({MUL_VF}), 0, adjacent)


@rule("R38", Evidence.DERIVED, "two instructions between a reduction and what it does not hold")
def behind_reduction(view: RtlView) -> Iterator[Breach]:
    def clash(_reduction: int, at: int, _between: int) -> str | None:
        if view.code.op[at] not in unheld():
            return None
        return "it takes the operands of the reduction, which never ends: write two instructions between"

    yield from _close(view, reductions(), 1, clash)
