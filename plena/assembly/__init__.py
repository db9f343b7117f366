"""Flat programs: assembly text, 32-bit words, the instructions between them (plena_isa.md sections 3.1, 6.4).

text  --parse_asm-->  [AsmInstruction]  --encode-->  words  --print_mem-->  .mem text
      <--print_asm--                    <--decode--         <--parse_mem--
"""

from plena.assembly.encoding import Columns, columns, decode, decode_word, encode
from plena.assembly.instruction import INVALID, AsmInstruction, format_instruction
from plena.assembly.memory_file import parse_mem, print_mem
from plena.assembly.parser import parse_asm
from plena.assembly.printer import print_asm

__all__ = [
    "INVALID",
    "AsmInstruction",
    "Columns",
    "columns",
    "decode",
    "decode_word",
    "encode",
    "format_instruction",
    "parse_asm",
    "parse_mem",
    "print_asm",
    "print_mem",
]
