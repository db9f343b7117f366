"""Hypothesis draws the same cases today and tomorrow: not numbers that it finds in our source.

Beside its random numbers Hypothesis draws constants that it reads from the source of every imported module of the
project, also when it is derandomised and when a seed is given. A number changed anywhere, or another test that the same
worker ran before, would then draw other cases in all property tests.
"""

from __future__ import annotations

from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants


def forget_own_constants() -> None:
    """From now on constants that Hypothesis draws are those it brings itself. There is no setting for it."""
    providers.__dict__["_get_local_constants"] = Constants
