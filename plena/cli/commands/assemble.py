"""`plena asm` and `plena disasm`: text to words and back."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.text_files import read_text, write_text


def asm_arguments(parser: ArgumentParser) -> None:
    """The text and where the words go."""
    parser.add_argument("program", type=Path, help="assembly text")
    parser.add_argument("-o", "--output", metavar="FILE.mem", type=Path, help="default: standard output")
    parser.add_argument(
        "--upstream-quirks", action="store_true", help="place operands where the public assembler does"
    )


def assemble(args: Namespace) -> int:
    """Text to words."""
    from plena.assembly import encode, parse_asm, print_mem

    instructions = parse_asm(read_text(args.program), args.upstream_quirks, str(args.program))
    _write(print_mem(encode(instructions)), args.output)
    return 0


def disasm_arguments(parser: ArgumentParser) -> None:
    """The words and where the text goes."""
    parser.add_argument("program", type=Path, help="machine code, hexadecimal words")
    parser.add_argument("-o", "--output", metavar="FILE.asm", type=Path, help="default: standard output")


def disassemble(args: Namespace) -> int:
    """Words to text."""
    from plena.assembly import decode, parse_mem, print_asm

    words = parse_mem(read_text(args.program), str(args.program))
    _write(print_asm(decode(words)), args.output)
    return 0


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
    else:
        write_text(path, text)


ASM = Command(
    "asm",
    "assemble text to machine words",
    """\
plena asm program.asm -o program.mem
plena asm foreign.asm --upstream-quirks""",
    asm_arguments,
    assemble,
)

DISASM = Command(
    "disasm",
    "disassemble machine words",
    """\
plena disasm program.mem
plena disasm generated_machine_code.mem -o program.asm""",
    disasm_arguments,
    disassemble,
)
