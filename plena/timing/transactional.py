"""The transactional profile: what the public emulator charges (plena_isa.md section 3.3), one instruction at a time."""

from __future__ import annotations

from plena.dialects.plena_isa.spec import Cost
from plena.machine.target import Target
from plena.timing.latencies import LATENCIES, constant
from plena.timing.profile import TableProfile


def _systolic(target: Target, rows: int) -> int:
    return target.cycles("SYSTOLIC_PROCESSING_OVERHEAD") + rows


PROFILE = TableProfile(
    "transactional",
    "what the public emulator charges: one instruction after the other",
    {
        **LATENCIES,
        Cost.TILE_PRODUCT: lambda t, _: _systolic(t, t.mlen),
        Cost.BROADCAST_PRODUCT: lambda t, _: _systolic(t, t.mlen),
        Cost.BROADCAST_ROW_PRODUCT: lambda t, _: _systolic(t, 1),
        Cost.ROW_PRODUCT: lambda t, _: t.mlen,
        Cost.TWO_VLEN: lambda t, _: 2 * t.vlen,
        Cost.TOPK: lambda t, experts: t.cycles("VECTOR_MAX_CYCLES") * experts,
        Cost.HBM: constant(0),
    },
    skips_f0=True,
)
"""Waits for HBM are apart: DMA instructions take 0."""
