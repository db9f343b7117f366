"""The rules by number, with how grave each is and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from plena.verification.findings import Severity
from plena.verification.rtl.view import RtlView


class Evidence(Enum):
    """Where a rule comes from."""

    CODE = "RTL code"
    DOCUMENT = "documents of the RTL"
    DERIVED = "derived from the RTL code, not simulated"


@dataclass(frozen=True)
class Breach:
    """A rule broken at an instruction; `pc` is None for the program as a whole."""

    pc: int | None
    message: str
    operand: str | None = None


Checker = Callable[[RtlView], Iterator[Breach]]


@dataclass(frozen=True)
class Rule:
    """One rule of plena_rtl.md section 7.3.

    Attributes:
        code: "R01" to "R38".
        severity: an error may give wrong results or hang there; a warning asks for a proof that nobody has.
        evidence: where it comes from.
        title: what it demands.
        breaches: finds where a program breaks it.
    """

    code: str
    severity: Severity
    evidence: Evidence
    title: str
    breaches: Checker


RULES: dict[str, Rule] = {}
"""Every rule by its code, in order of declaration."""


def rule(code: str, evidence: Evidence, title: str, *, warns: bool = False) -> Callable[[Checker], Checker]:
    """Declares a rule; `warns` makes its breaches warnings."""

    def declare(checker: Checker) -> Checker:
        severity = Severity.WARNING if warns else Severity.ERROR
        RULES[code] = Rule(code, severity, evidence, title, checker)
        return checker

    return declare
