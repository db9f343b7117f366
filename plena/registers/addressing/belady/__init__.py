"""The compiled part of address planning: one pass over a block in a register file, by Belady's rule.

Registers are tracks 0 .. capacity - 1. A value is a class (the variable part, numbered from 0 = plain number) and a
constant. `tables` has what goes in and out, `passes` the entry points.
"""
