"""Runs passes by name on modules, in a context with every dialect."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.context import Context
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import ModuleOp

from plena.dialects.derived import derived
from plena.universe import PLENA_UNIVERSE, load_pass


@derived
def context() -> Context:
    """A context with xDSL's dialects and ours, each loaded when it is first met."""
    ctx = Context()
    for name, factory in {**get_all_dialects(), **PLENA_UNIVERSE.all_dialects}.items():
        ctx.register_dialect(name, factory)
    return ctx


def run_pipeline(module: ModuleOp, names: Sequence[str]) -> None:
    """Runs passes with their default options, in place."""
    for name in names:
        load_pass(name)().apply(context(), module)
