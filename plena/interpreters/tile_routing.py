"""Interpreter of the tile operations that choose experts, part of the machine reference (plena.interpreters.tile)."""

from __future__ import annotations

import numpy as np
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.dialects.tile import ClearIdsOp, LoadIdOp, LookUpIdsOp, MarkLanesOp, OffsetIdsOp, TopkOp
from plena.interpreters.tile_values import Floats, panels_of
from plena.machine.number_formats import bf16_round
from plena.machine.target import Target


@register_impls
class RoutingFunctions(InterpreterFunctions):
    """Implements the operations of plena.dialects.tile.routing."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @impl(TopkOp)
    def run_topk(self, interpreter: Interpreter, op: TopkOp, args: PythonValues) -> PythonValues:
        panels = panels_of(op, args)
        experts, kept = TOPK_SHAPES[op.policy]
        scores = panels["x"].rows(1, 1, experts)[0]
        scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
        order = _largest_first(scores)[:kept]
        panels["ids"].rows(1, 1, kept)[0, :] = order
        panels["weights"].rows(1, 1, kept)[0, :] = _softmax(scores[order])
        return ()

    @impl(MarkLanesOp)
    def run_mark_lanes(self, interpreter: Interpreter, op: MarkLanesOp, args: PythonValues) -> PythonValues:
        panels, vlen = panels_of(op, args), self.target.vlen
        row = panels["row"].rows(1, 1, op.first + op.blocks * vlen)[0]
        marked = row.copy()
        ids = panels["ids"].rows(1, 1, op.count)[0].astype(np.int64)
        marked[ids] = panels["one"].rows(1, 1, 1)[0, 0]
        for block in range(op.blocks):
            out = panels["out"].rows(1, vlen, vlen, block * op.out_block)
            start = op.first + block * vlen
            out[0, :] = marked[start : start + vlen]
        row[ids] = 0.0
        return ()

    @impl(LoadIdOp)
    def run_load_id(self, interpreter: Interpreter, op: LoadIdOp, args: PythonValues) -> PythonValues:
        return (int(args[0].rows(1, 1, 1)[0, 0]),)

    @impl(ClearIdsOp)
    def run_clear_ids(self, interpreter: Interpreter, op: ClearIdsOp, args: PythonValues) -> PythonValues:
        args[0].rows(1, 1, op.count)[:] = 0
        return ()

    @impl(OffsetIdsOp)
    def run_offset_ids(self, interpreter: Interpreter, op: OffsetIdsOp, args: PythonValues) -> PythonValues:
        ids, x = args
        ids.rows(1, 1, op.count)[:] = x.rows(1, 1, op.count) + op.offset
        return ()

    @impl(LookUpIdsOp)
    def run_look_up_ids(self, interpreter: Interpreter, op: LookUpIdsOp, args: PythonValues) -> PythonValues:
        ids, positions, table = args
        found = [
            table.rows(1, 1, 1, p)[0, 0] for p in positions.rows(1, 1, op.count)[0].astype(np.int64).tolist()
        ]
        ids.rows(1, 1, op.count)[0, :] = found
        return ()


def _largest_first(scores: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Lanes by falling score, equal ones in their order; a zero is larger than minus zero, as the machine has it."""
    return np.lexsort((np.signbit(scores), -scores))


def _softmax(scores: Floats) -> Floats:
    """Weights of scores in falling order, added up one by one; all 0 if their sum is no number."""
    weights = np.exp((scores - scores[0]).astype(np.float64)).astype(np.float32)
    total = np.float32(0)
    for weight in weights:
        total += weight
    if not np.isfinite(total) or total <= 0:
        return np.zeros_like(weights)
    return bf16_round(weights / total)
