"""Interpreter of products with vectors, and of those whose schedule differs from the plain ones in addresses only."""

from __future__ import annotations

import numpy as np
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls

from plena.dialects.tile import MatmulPairOp, PackVectorsOp, VectorMatmulOp
from plena.interpreters.tile_values import Floats
from plena.machine.number_formats import bf16_round
from plena.machine.target import Target


@register_impls
class ProductFunctions(InterpreterFunctions):
    """Implements `tile.matmul_pair`, `tile.pack_vectors`, `tile.vector_matmul`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.open_sum: Floats | None = None

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

    @impl(PackVectorsOp)
    def run_pack_vectors(
        self, interpreter: Interpreter, op: PackVectorsOp, args: PythonValues
    ) -> PythonValues:
        out, x, p = args
        mlen, hlen, slots = self.target.mlen, self.target.hlen, self.target.broadcast_amount
        tile = p.rows(mlen, mlen, mlen)
        for k in range(op.blocks):
            total = np.zeros((slots, mlen), np.float32)
            for b in range(op.vectors):
                vector = x.rows(1, mlen, mlen, k * op.x_block + b * op.x_vector)[0]
                total += np.float32(0.25) * (
                    vector.reshape(slots, hlen) @ tile[:, b * hlen : (b + 1) * hlen].T
                )
            out.rows(slots, mlen, mlen, k * op.out_block)[:] = bf16_round(total)
        return ()

    @impl(VectorMatmulOp)
    def run_vector_matmul(
        self, interpreter: Interpreter, op: VectorMatmulOp, args: PythonValues
    ) -> PythonValues:
        out, x, w = args
        mlen, hlen, slots = self.target.mlen, self.target.hlen, self.target.broadcast_amount
        for block in range(op.n_tiles):
            total, self.open_sum = self.open_sum, None
            if total is None:
                total = np.zeros((slots, mlen), np.float32)
            for k, slices in [*((k, slots) for k in range(op.k_tiles)), (op.k_tiles, op.slices)]:
                for c in range(slices):
                    vectors = x.rows(1, mlen, mlen, k * op.x_block + c * mlen)[0].reshape(slots, hlen)
                    tile = w.rows(mlen, mlen, mlen, block * op.w_n + k * op.w_k)
                    total = total + np.float32(0.25) * (vectors @ tile[:, c * hlen : (c + 1) * hlen].T)
            if op.partial:
                self.open_sum = total
                continue
            out.rows(slots, mlen, mlen, block * op.out_block)[:] = bf16_round(total)
        return ()
