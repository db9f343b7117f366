"""The static check: finds what would abort on the machine, and what would run but hardly as meant, without running.

Errors carry the emulator's abort classes (plena_isa.md section 3.8), warnings names of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdsl.dialects.builtin import ModuleOp

from plena.errors import PlenaError
from plena.lifting.flat_program import FlatProgram, Program
from plena.lifting.preloaded import Declared, Preloaded, Span
from plena.machine.choices import CHECKED_MACHINES
from plena.machine.target import Target
from plena.verification.findings import Finding, Severity
from plena.verification.program import ProgramCheck


def verify(
    program: Program,
    target: Target | None = None,
    preloaded: Preloaded | Mapping[str, Declared] | str | None = None,
    machine: str = "emulator",
) -> list[Finding]:
    """Checks a program against a target; empty when nothing is wrong with it.

    Args:
        program: assembly text, words, or parsed instructions.
        target: the machine, the shipped settings if not given.
        preloaded: what the host loads, see `Preloaded.of`: sizes or ranges of `hbm` (bytes), `vector` and `matrix`
            (elements), `fp` and `int` (words); `int` with ranges or contents. Reads of HBM are only looked at when
            `hbm` is declared.
        machine: "emulator", or "rtl" for the rules R01 to R38 of the public RTL instead (docs/rtl.md).

    Raises:
        AssemblyError: the text cannot be parsed.
        PlenaError: malformed words, a malformed declaration, another machine.
    """
    check = checker_of(machine)
    return check(FlatProgram.of(program), target or Target(), Preloaded.of(preloaded))


def checker_of(machine: str) -> Callable[[FlatProgram, Target, Preloaded], list[Finding]]:
    """The check for one of `CHECKED_MACHINES`.

    Raises:
        PlenaError: another machine.
    """
    if machine not in CHECKED_MACHINES:
        raise PlenaError(
            f"there is no machine {machine!r} to check for",
            "verify",
            f"It is {' or '.join(CHECKED_MACHINES)}.",
        )
    if machine == "emulator":
        return verify_code
    from plena.verification.rtl import verify_rtl

    return verify_rtl


def verify_code(code: FlatProgram, target: Target, preloaded: Preloaded) -> list[Finding]:
    """Checks a program that is already decoded, see `verify`."""
    return ProgramCheck(code, target, preloaded).run()


def verify_module(module: ModuleOp, preloaded: Preloaded) -> list[Finding]:
    """Checks a module of `plena_isa`: in allocated register form like its words, in affine form errors only.

    Raises:
        PlenaError: an operation of another level, or registers that are not allocated.
    """
    from plena.lifting.entry import code_of_module
    from plena.lifting.read import is_affine, program_of_module

    target = Target.from_module(module)
    if is_affine(module):
        program = program_of_module(module)
        return ProgramCheck(program.code, target, preloaded).run_affine(program)
    return verify_code(code_of_module(module), target, preloaded)


__all__ = [
    "Finding",
    "Preloaded",
    "Severity",
    "Span",
    "checker_of",
    "verify",
    "verify_code",
    "verify_module",
]
