"""Numbers of the instruction set that no setting changes (plena_isa.md sections 1.3 and 3.1)."""

GP_REGISTERS = 16
"""Integer registers; gp0 is zero because nobody writes it."""

F_REGISTERS = 8
"""bf16 registers; f0 is zero."""

A_REGISTERS = 16
"""HBM base registers that the encoding names; generated code uses the first eight, which the hardware has."""

INT_LIMIT = 1 << 32
"""Integer registers hold numbers below this and count modulo it."""

IMMEDIATE_LIMIT = 1 << 18
"""One past the largest unsigned immediate of S_ADDI_INT and of the offset fields."""

LARGEST_TRIP_COUNT = (1 << 22) - 1
"""Largest trip count of a hardware loop."""

HBM_WORD = 64
"""Bytes of an HBM word, the unit of transfers."""
