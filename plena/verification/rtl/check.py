"""All rules on one program."""

from __future__ import annotations

from itertools import islice

from plena.lifting.flat_program import FlatProgram
from plena.lifting.preloaded import Preloaded
from plena.machine.target import Target
from plena.verification.findings import Finding, Severity
from plena.verification.program import MOST_FINDINGS
from plena.verification.rtl import addresses, distances, hazards, loops, words
from plena.verification.rtl.rules import RULES, Breach, Rule
from plena.verification.rtl.view import RtlView

MODULES = (words, loops, addresses, distances, hazards)
"""The modules that declare rules when they are imported."""


def verify_rtl(code: FlatProgram, target: Target, preloaded: Preloaded) -> list[Finding]:
    """The rules that a program breaks: errors, then warnings, each in program order.

    Args:
        target: gives MLEN and BLEN; memories are those of the build (`plena.machine.rtl_build`).
    """
    view = RtlView(code, target, preloaded)
    found = {
        (one.code, breach): None
        for one in RULES.values()
        for breach in islice(one.breaches(view), MOST_FINDINGS)
    }
    findings = [_finding(view, RULES[name], breach) for name, breach in found]
    if view.unknown_addresses is not None:
        message = "addresses are not known before a run, so rules about them were not applied: "
        message += view.unknown_addresses
        findings.append(Finding(Severity.WARNING, "rtl-addresses", message))
    return sorted(findings, key=lambda f: (not f.is_error, -1 if f.index is None else f.index, f.code))


def _finding(view: RtlView, broken: Rule, breach: Breach) -> Finding:
    pc = breach.pc
    return Finding(
        broken.severity,
        broken.code,
        f"{breach.message} (rule: {broken.title})",
        pc,
        None if pc is None else view.code.line(pc),
        breach.operand,
        None if pc is None else view.code.shown(pc),
        broken.evidence.value,
    )
