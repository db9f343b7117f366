"""The pipelined profile: steady-state issue cycles of the analytic model; every instruction takes its slot."""

from __future__ import annotations

from plena.dialects.plena_isa.spec import Cost
from plena.integers import ceil_div
from plena.machine.target import Target
from plena.timing.latencies import LATENCIES, constant, latency
from plena.timing.profile import TableProfile


def _row_product(target: Target) -> int:
    """The published 1 + BLEN, but never more multiply-accumulates in a cycle than BLEN * MLEN."""
    macs = target.broadcast_amount * target.hlen * target.mlen
    return max(1 + target.blen, ceil_div(macs, target.blen * target.mlen))


PROFILE = TableProfile(
    "pipelined",
    "steady-state issue cycles of the analytic model",
    {
        **LATENCIES,
        Cost.TILE_PRODUCT: lambda t, _: t.blen,
        Cost.BROADCAST_PRODUCT: lambda t, _: (t.mlen // t.blen) ** 2 * t.blen,
        Cost.BROADCAST_ROW_PRODUCT: lambda t, _: _row_product(t),
        Cost.ROW_PRODUCT: lambda t, _: 1 + t.blen,
        Cost.V_EXP: latency("VECTOR_EXP_CYCLES", issue=1),
        Cost.V_RECI: latency("VECTOR_EXP_CYCLES", issue=1),
        Cost.V_RED_MAX: latency("VECTOR_MAX_CYCLES", issue=1),
        Cost.TOPK: latency("VECTOR_MAX_CYCLES", issue=1),
        Cost.TWO_VLEN: constant(1),
        Cost.S_INT: constant(1),
        Cost.HBM: constant(1),
    },
)
