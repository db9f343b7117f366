"""Kernels of instructions that the compiled run loop has no branch for.

The loop stops at such an instruction, Python runs its kernel and the loop goes on behind it: some microseconds each. A
kernel that is used a lot gets a name in `kernels` and a branch in `run_loop` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from plena.dialects.derived import forget_derived
from plena.emulator.state import State

Extension: TypeAlias = Callable[[State, Mapping[str, int]], int]
"""Changes the state as an instruction does, given the numbers in its slots by name; returns `aborts.OK` or the code of
an abort whose facts it left in `state.facts`."""

EXTENSIONS: dict[str, Extension] = {}
"""Kernels by the name in `InstructionSpec.semantics`."""


def emulates(semantics: str) -> Callable[[Extension], Extension]:
    """Registers the kernel of the instructions that declare these semantics."""

    def register(kernel: Extension) -> Extension:
        EXTENSIONS[semantics] = kernel
        forget_derived()
        return kernel

    return register


def forget_kernel(semantics: str) -> None:
    """Takes a kernel back: its instructions abort as unknown opcodes do."""
    del EXTENSIONS[semantics]
    forget_derived()
