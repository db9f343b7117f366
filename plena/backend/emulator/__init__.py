"""The emulator: executes words value for value and cycle for cycle as the public one does (plena_isa.md)."""

from plena.backend.emulator.machine import EmulationResult, LoopCount, Machine, emulate

__all__ = ["EmulationResult", "LoopCount", "Machine", "emulate"]
