"""Entry points of the lift: from a program to its affine form."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from xdsl.dialects.builtin import ModuleOp

from plena.backend.assembly import encode
from plena.backend.stream import REFUSED_WITH_RD, stream_from_module

from plena.lift.build import module_of
from plena.lift.code import Code
from plena.lift.execute import SymbolicRun
from plena.lift.preloaded import Preloaded
from plena.lift.resolve import Resolver
from plena.lift.structure import loop_tree
from plena.lift.tree import LiftedProgram
from plena.target import Target


@contextmanager
def without_collection() -> Iterator[None]:
    """Turns the garbage collector off: big programs are millions of live objects and no garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_decodable(code: Code) -> None:
    """Rejects words that the machine cannot execute at all.

    Raises:
        PlenaError: an unknown opcode, an f register above f7, a broadcast product with a nonzero rd field.
    """
    for pc in range(len(code)):
        spec = code.spec(pc)
        if spec is None:
            raise code.error(pc, "the word decodes to no instruction")
        if spec.mnemonic in REFUSED_WITH_RD and code.rd[pc]:
            raise code.error(pc, f"{spec.mnemonic} with a nonzero rd field does not load")
    for pc in code.bad_f_registers():
        raise code.error(pc, "it names an f register above f7")


def lifted_program(code: Code, target: Target, preloaded: Preloaded | None = None) -> LiftedProgram:
    """A flat program in affine form, as plain data.

    Args:
        preloaded: what the host loads; only INT SRAM matters here.

    Raises:
        PlenaError: naming the line of whatever cannot be lifted exactly.
    """
    check_decodable(code)
    tree = loop_tree(code)
    return Resolver(SymbolicRun(code, tree, target), preloaded or Preloaded()).program()


def lift_code(code: Code, target: Target, preloaded: Preloaded | None = None) -> ModuleOp:
    """A flat program as a module in affine form, see `lifted_program`."""
    with without_collection():
        return module_of(lifted_program(code, target, preloaded))


def lift_module(module: ModuleOp, preloaded: Preloaded | None = None) -> ModuleOp:
    """The affine form of a module in allocated register form, for the target it carries."""
    return lift_code(code_of_module(module), Target.from_module(module), preloaded)


def code_of_module(module: ModuleOp) -> Code:
    """The flat program of a module in allocated register form, with the provenance of its ops."""
    from plena.backend.stream import attributes_of

    stream = stream_from_module(module)
    attributes = [attributes_of(origin) for origin in stream.provenance]
    return Code(encode(stream.instructions), attributes=attributes if any(attributes) else None)
