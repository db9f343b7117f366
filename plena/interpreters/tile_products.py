"""Interpreter of products whose schedule differs from the plain ones in addresses, not in values."""

from __future__ import annotations

import numpy as np
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls

from plena.dialects.tile import MatmulPairOp
from plena.machine.number_formats import bf16_round
from plena.machine.target import Target


@register_impls
class ProductFunctions(InterpreterFunctions):
    """Implements `tile.matmul_pair`."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @impl(MatmulPairOp)
    def run_matmul_pair(self, interpreter: Interpreter, op: MatmulPairOp, args: PythonValues) -> PythonValues:
        out, x, copy, w = args
        mlen = self.target.mlen
        for block, source in enumerate((x, copy)):
            total = np.zeros((mlen, mlen), np.float32)
            for k in range(op.k_tiles):
                tile = w.rows(mlen, mlen, mlen, (block * op.k_tiles + k) * self.target.tile)
                left = source.rows(mlen, mlen, mlen, k * op.block)
                total = total + left @ (tile.T if op.transposed else tile)
            out.rows(mlen, mlen, mlen, block * op.out_block)[:] = bf16_round(total)
        return ()
