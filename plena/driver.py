"""Runs pipelines of passes on modules, in a context with every dialect."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import is_

from xdsl.context import Context
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass, PassPipeline
from xdsl.utils.exceptions import VerifyException

from plena.dialects.derived import derived
from plena.dialects.remembered_checks import remembered_checks
from plena.errors import CompileError
from plena.universe import PLENA_UNIVERSE, load_pass

VERIFY_VARIABLE = "PLENA_VERIFY_PASSES"
"""Environment variable: 1 verifies modules between passes unless a caller says otherwise."""

_verify: ContextVar[bool | None] = ContextVar("plena_verify_passes", default=None)


@derived
def context() -> Context:
    """A context with xDSL's dialects and ours, each loaded when it is first met."""
    ctx = Context()
    for name, factory in {**get_all_dialects(), **PLENA_UNIVERSE.all_dialects}.items():
        ctx.register_dialect(name, factory)
    return ctx


def run_pipeline(module: ModuleOp, passes: Sequence[str | ModulePass], *, verified: bool = False) -> None:
    """Runs passes in place; a name stands for the pass with its default options.

    Args:
        verified: the module is what another pipeline made, or a copy of that: it is verified behind passes alone.

    Raises:
        CompileError: modules are verified (see `verified_passes`) and one is not valid; it names the pass before.
    """
    steps = tuple(load_pass(p)() if isinstance(p, str) else p for p in passes)
    PassPipeline(steps, _Verifier(verified) if _verifies() else None).apply(context(), module)


def pipeline_text(passes: Sequence[str | ModulePass]) -> str:
    """What `plena-opt --pass-pipeline` takes for these passes; options that have their default are left out."""
    return ",".join(str(p) for p in passes)


def parsed_pipeline(text: str) -> tuple[ModulePass, ...]:
    """The passes of a `pipeline_text`.

    Raises:
        ValueError: an unknown pass or option.
        ArgSpecParseError: no such text.
    """
    return PassPipeline.parse_spec(dict(PLENA_UNIVERSE.all_passes), text).passes


@contextmanager
def verified_passes(on: bool | None) -> Generator[None]:
    """Whether modules are verified between passes; None leaves it to the surroundings and PLENA_VERIFY_PASSES."""
    token = _verify.set(_verify.get() if on is None else on)
    try:
        yield
    finally:
        _verify.reset(token)


def _verifies() -> bool:
    chosen = _verify.get()
    return os.environ.get(VERIFY_VARIABLE, "0") not in ("", "0") if chosen is None else chosen


class _Verifier:
    """Verifies a module before the first pass and behind each one that changed something.

    Many passes find nothing to do. Objects of the last module verified are kept, so that none of them can be taken for
    another one that lies where it lay.

    Args:
        verified: so was the module before the first pass.
    """

    def __init__(self, verified: bool) -> None:
        self._verified = verified
        self._valid: list[object] = []

    def __call__(self, before: ModulePass | None, module: ModuleOp, after: ModulePass | None) -> None:
        contents = _contents(module)
        if len(contents) == len(self._valid) and all(map(is_, contents, self._valid)):
            return
        if before is not None or not self._verified:
            _require_valid(before, module)
        self._valid = contents


def _contents(module: ModuleOp) -> list[object]:
    """All that an operation's validity can hang on: where it is, its operands, types and attributes."""
    contents: list[object] = []
    _add_contents(module, contents)
    return contents


def _add_contents(op: Operation, contents: list[object]) -> None:
    """Adds those of an operation and of all in it: what `walk` goes through, several times faster.

    Operands and successors are read where they are kept: the views that xDSL makes of them take most of the time.
    """
    contents += (op, op.parent)
    contents += op._operands  # pyright: ignore[reportPrivateUsage]
    contents += op._successors  # pyright: ignore[reportPrivateUsage]
    contents += [result.type for result in op.results]
    for named in (op.attributes, op.properties):
        contents += named
        contents += named.values()
    for region in op.regions:
        block = region.first_block
        while block is not None:
            contents += (block, *block.arg_types)
            inner = block.first_op
            while inner is not None:
                _add_contents(inner, contents)
                inner = inner.next_op
            block = block.next_block


def _require_valid(before: ModulePass | None, module: ModuleOp) -> None:
    try:
        with remembered_checks():
            module.verify()
    except VerifyException as error:
        if before is None:
            raise CompileError(f"the module is not valid: {error}") from error
        raise CompileError(
            f"the module is not valid after this pass: {error}", before.name, "Please report this as a bug."
        ) from error
