"""Which tile operations the public RTL does as the emulator does them."""

from __future__ import annotations

from plena.dialects.plena_isa import Instruction
from plena.dialects.plena_isa.on_rtl import Support
from plena.dialects.tile import TileOp
from plena.errors import CompileError
from plena.instructions import elementwise, norms, products, reductions, routing, rows, scalars, transfers
from plena.instructions.alone import instructions_of
from plena.machine.target import Target

_REGISTERED = (elementwise, norms, products, reductions, routing, rows, scalars, transfers)

_RELIABLE = (Support.VERIFIED, Support.BY_CODE)

_ADVICE = (
    "Compute it outside, or leave machine out: the emulator does it (docs/rtl.md says what the RTL does)."
)


def require_on_rtl(op: TileOp, target: Target) -> None:
    """Whether the RTL executes the instructions of an operation as the emulator does.

    Raises:
        CompileError: which instruction it does not.
    """
    for instruction in instructions_of(op, target):
        problem = _problem(instruction)
        if problem is not None:
            raise CompileError(f"{instruction.SPEC.mnemonic} on the RTL: {problem}", hint=_ADVICE)


def _problem(instruction: Instruction) -> str | None:
    spec = instruction.SPEC
    if spec.rtl.support not in _RELIABLE:
        return str(spec.rtl)
    masked = "mask" in spec.by_name and instruction.number("mask")
    return "it has no mask of lanes" if masked else None
