"""Interpreter of the `loop` dialect: index values are Python integers."""

from __future__ import annotations

from typing import Any

from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    PythonValues,
    ReturnedValues,
    impl,
    impl_terminator,
    register_impls,
)

from plena.dialects.loop import AffineOp, ForOp, YieldOp


@register_impls
class LoopFunctions(InterpreterFunctions):
    """Runs counted loops and evaluates linear expressions.

    A counter cell (anything with `store`) reads trips, trips - 1, ..., 1 in the iterations and 0 behind them.
    """

    @impl(ForOp)
    def run_for(self, interpreter: Interpreter, op: ForOp, args: PythonValues) -> PythonValues:
        for index in range(op.trips):
            for counter in args:
                counter.store(op.trips - index)
            interpreter.run_ssacfg_region(op.body, (index,), "loop.for")
        for counter in args:
            counter.store(0)
        return ()

    @impl_terminator(YieldOp)
    def run_yield(
        self, interpreter: Interpreter, op: YieldOp, args: tuple[Any, ...]
    ) -> tuple[ReturnedValues, PythonValues]:
        return ReturnedValues(args), ()

    @impl(AffineOp)
    def run_affine(self, interpreter: Interpreter, op: AffineOp, args: PythonValues) -> PythonValues:
        return (op.constant.data + sum(c.data * v for c, v in zip(op.coefficients, args, strict=True)),)
