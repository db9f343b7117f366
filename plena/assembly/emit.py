"""Output formats of `plena-opt`: assembly text and machine words of a module in allocated register form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from plena.assembly import encode, print_asm, print_mem
from plena.assembly.stream import instructions_from_module, stream_from_module


@dataclass(frozen=True)
class AssemblyTarget(Target):
    """Assembly text, one instruction a line; comments say which part of the model follows, if the module does."""

    name = "plena-asm"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        stream = stream_from_module(module)
        output.write(print_asm(stream.instructions, stream.provenance))


@dataclass(frozen=True)
class WordsTarget(Target):
    """Machine words, one `0x%08X` a line."""

    name = "plena-words"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        output.write(print_mem(encode(instructions_from_module(module))))
