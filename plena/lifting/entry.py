"""Entry points of the lift: from a program to its affine form."""

from __future__ import annotations

from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr

from plena.assembly import encode
from plena.assembly.stream import attributes_of, stream_from_module
from plena.dialects.plena_isa import Instruction
from plena.gc_pause import without_collection
from plena.lifting.build import module_of
from plena.lifting.execute import SymbolicRun
from plena.lifting.flat_program import FlatProgram, statement_lines
from plena.lifting.preloaded import Preloaded
from plena.lifting.resolve import Resolver
from plena.lifting.structure import loop_tree
from plena.lifting.tree import LiftedProgram
from plena.machine.target import Target


def check_decodable(code: FlatProgram) -> None:
    """Rejects words that the machine cannot execute at all.

    Raises:
        PlenaError: an unknown opcode, an f register above f7, a broadcast product with a nonzero rd field.
    """
    for pc in range(len(code)):
        spec = code.spec(pc)
        if spec is None:
            raise code.error(pc, "the word decodes to no instruction")
        if spec.refuses_rd and code.rd[pc]:
            raise code.error(pc, f"{spec.mnemonic} with a nonzero rd field does not load")
    for pc in code.bad_f_registers():
        raise code.error(pc, "it names an f register above f7")


def lifted_program(code: FlatProgram, target: Target, preloaded: Preloaded | None = None) -> LiftedProgram:
    """A flat program in affine form, as plain data.

    Args:
        preloaded: what the host loads; only INT SRAM matters here.

    Raises:
        PlenaError: naming the line of whatever cannot be lifted exactly.
    """
    check_decodable(code)
    tree = loop_tree(code)
    return Resolver(SymbolicRun(code, tree, target), preloaded or Preloaded()).program()


def lift_code(code: FlatProgram, target: Target, preloaded: Preloaded | None = None) -> ModuleOp:
    """A flat program as a module in affine form, see `lifted_program`."""
    with without_collection():
        return module_of(lifted_program(code, target, preloaded))


def lift_module(module: ModuleOp, preloaded: Preloaded | None = None) -> ModuleOp:
    """The affine form of a module in allocated register form, for the target it carries."""
    return lift_code(code_of_module(module), Target.from_module(module), preloaded)


def code_of_module(module: ModuleOp) -> FlatProgram:
    """The flat program of a module in allocated register form, with the provenance and the lines of its ops."""
    stream = stream_from_module(module)
    attributes = [attributes_of(origin) for origin in stream.provenance]
    file, lines = _lines_of_module(module)
    return FlatProgram(
        encode(stream.instructions),
        file=file,
        attributes=attributes if any(attributes) else None,
        line_numbers=lines if len(lines) == len(stream.instructions) else None,
    )


def _lines_of_module(module: ModuleOp) -> tuple[str | None, list[int]]:
    """File and lines of the instructions of a flat module read from assembly; no lines when any is unknown."""
    file: str | None = None
    lines: list[int] = []
    for op in module.body.block.ops:
        if isinstance(op, Instruction):
            if not isinstance(op.location, FileLineColLoc):
                return None, []
            file = op.location.filename.data
            lines.append(op.location.line.data)
    return file, lines


def record_lines(module: ModuleOp, text: str, file: str) -> None:
    """Gives the ops of a flat module the lines of the assembly text that they were read from."""
    name = StringAttr(file)
    instructions = [op for op in module.body.block.ops if isinstance(op, Instruction)]
    for op, line in zip(instructions, statement_lines(text), strict=True):
        op.location = FileLineColLoc(name, IntAttr(line), IntAttr(1))
