"""Programs of any origin, assembly text or machine words: measured, lifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.machine.target import Target

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from plena.statistics.statistics import Statistics

Words: TypeAlias = str | Sequence[int] | npt.NDArray[np.integer[Any]]
"""Assembly text, or 32-bit words."""


def stats(asm_or_words: Words, target: Target | None = None) -> Statistics:
    """Static and dynamic instructions and cycles by timing profile.

    Raises:
        AssemblyError: the text cannot be read.
        PlenaError: loops that are not nested.
    """
    from plena.statistics.statistics import statistics_of

    return statistics_of(_instructions(asm_or_words), target or Target())


def lift(asm_or_words: Words, target: Target | None = None, preloaded: Any = None) -> ModuleOp:
    """The affine form: loops, and addresses as linear functions of their indices.

    Args:
        preloaded: what the host loads into INT SRAM (plena.lift.Preloaded or what it is made of).

    Raises:
        AssemblyError: the text cannot be read.
        PlenaError: naming the line of whatever cannot be lifted exactly.
    """
    from plena.lifting import FlatProgram, Preloaded, lift_code

    target = target or Target()
    module = lift_code(FlatProgram.of(asm_or_words), target, Preloaded.of(preloaded))
    target.attach(module)
    return module


def _instructions(asm_or_words: Words) -> Sequence[Any]:
    from plena.assembly import decode, parse_asm

    return parse_asm(asm_or_words) if isinstance(asm_or_words, str) else decode(asm_or_words)
