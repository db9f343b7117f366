"""Comparisons of what the machine computes with a number, as numbers 0 and 1: products that saturate."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.staged_tests import Test

_FACTOR = 2.0**100
"""Twice this and the smallest number of bf16 is beyond 1."""


def emit_computed_test(e: Emitter, value: SSAValue, test: Test) -> SSAValue:
    """1 where a computed tensor passes a test of its elements as the machine has them, 0 elsewhere; in its shape.

    The elements must be finite: what is NaN would be NaN in the result, and infinity minus infinity is.
    """
    x = e.flat(value)
    difference = x if test.number == 0 else e.add(plena.AddScalarOp(x, -test.number))
    above, below = test.predicate in ("gt", "le"), test.predicate in ("lt", "ge")
    found = _positive(e, difference, 1.0 if above or not below else -1.0)
    if test.predicate in ("eq", "ne"):
        found = e.add(plena.AddOp(found, _positive(e, difference, -1.0)))
    if test.predicate in ("le", "ge", "eq"):
        found = e.add(plena.AddScalarOp(e.add(plena.MulScalarOp(found, -1.0)), 1.0))
    return e.reshape(found, shape_of(value))


def _positive(e: Emitter, x: SSAValue, sign: float) -> SSAValue:
    """1 where sign * x is positive, else 0. It is cut at 1 before each product, so that none overflows."""
    for factor in (sign * _FACTOR, _FACTOR):
        x = e.add(plena.MulScalarOp(e.add(plena.ClampOp(x, -1.0, 1.0)), factor))
    return e.add(plena.ClampOp(x, 0.0, 1.0))
