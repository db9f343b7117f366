"""`verify-program`: rejects programs that would abort on the machine."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.errors import VerificationError
from plena.verification import Preloaded, verify_module

SHOWN = 20
"""Errors that one message lists."""


@dataclass(frozen=True)
class VerifyProgram(ModulePass):
    """Checks every address over all loop iterations, loops and immediates; changes nothing.

    The errors are exactly the abort conditions of the machine (plena_isa.md section 3.8), in register form and, as far
    as addresses and loops go, in affine form; there an address below zero is one too. What is only suspicious is
    reported by `plena verify`.

    Options:
        preloaded: what the host loads, as `int:start-stop=low..high fp:start-stop hbm:start-stop`; numbers from INT
            SRAM can only be checked as addresses when their range is declared.

    Before::

        builtin.module {
          loop.for %i = 0 to 16 {
            %0 = loop.affine 4096 + 64 * %i
            plena_isa.v_exp_v dst(%0) a(%0)
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 16 {
            %0 = loop.affine 4096 + 64 * %i
            plena_isa.v_exp_v dst(%0) a(%0)
          }
        }
    """

    name = "verify-program"
    preloaded: str = ""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        errors = [f for f in verify_module(op, Preloaded.of(self.preloaded)) if f.is_error]
        if not errors:
            return
        lines = [str(error) for error in errors[:SHOWN]]
        if len(errors) > SHOWN:
            lines.append(f"and {len(errors) - SHOWN} more")
        raise VerificationError("the program would abort:\n  " + "\n  ".join(lines), self.name)
