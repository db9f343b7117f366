"""The emulator: executes words value for value and cycle for cycle as the public one does (plena_isa.md)."""

from plena.emulator.extensions import emulates, forget_kernel
from plena.emulator.machine import Machine, emulate, warm_up
from plena.emulator.result import EmulationResult, LoopCount

__all__ = ["EmulationResult", "LoopCount", "Machine", "emulate", "emulates", "forget_kernel", "warm_up"]
