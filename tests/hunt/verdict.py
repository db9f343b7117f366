"""What must hold of every compiled case; what the compiler may refuse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from plena.api.compile import compile
from plena.api.program import Program
from plena.checking.reference import as_tensors
from plena.dialects.refusals import CompilerBug
from plena.errors import CompileError, EmulatorError, PlenaError, VerificationError
from plena.machine.target import Target
from plena.verification import Severity, verify
from plena.verification.findings import Finding
from tests.hunt.case import BlockCase, Case
from tests.hunt.tolerance import Expected, Wrong
from tests.poison import HBM_FILL, run_on_garbage

REFUSALS = (
    "does not fit in",
    "free tiles",
    "watchdog",
    "addressable",
    "words of FP SRAM",
    "need HBM_V_KV_TYPE",
    "needs the broadcast unit",
)
"""Parts of the messages of a compiler that cannot serve a machine this small, or one without a format that stores and
loads keys, or without the unit that products are asked to be made by (tests.hunt.machines draws formats, units and
options apart), and of the kernels that are still missing."""

VARIANTS = 3
"""Inputs that a program is run on: those it was compiled with, and others."""


class Disagreement(AssertionError):
    """`check` says FAILED about a right program."""


class Undefined(AssertionError):
    """A result that hangs on memory that nothing has written, or an instruction that `verify` warns of."""


def examine(case: Case | BlockCase) -> str:
    """Compile, run and compare.

    Returns:
        "compiled", or "refused: " and why.

    Raises:
        Wrong: a result is wrong, whatever `check` says. Any other exception is a failure, too.
    """
    module, inputs = case.module(), case.inputs()
    try:
        program = compile(module, inputs, target=case.target, **case.options)
    except (CompilerBug, VerificationError):
        raise
    except CompileError as error:
        if "is not valid after" in error.what:
            raise
        return f"refused: {reason(error)}"
    for variant in range(VARIANTS):
        given = case.inputs(variant)
        try:
            results = as_tensors(program.run(*given, progress=False))
        except PlenaError as error:
            if isinstance(error, EmulatorError):
                raise
            return f"refused: {reason(error)}"
        try:
            Expected(module, given, case.target).require(results)
        except Wrong as error:
            raise Wrong(f"{error} (inputs {variant}; {opinion(program, given)})") from None
        for name in HBM_FILL if variant == 0 else ():
            require_defined(program, flat(given), results, name)
        if variant == 0:
            said = opinion(program, given)
            if "FAILED" in said:
                raise Disagreement(said)
    findings = [
        f for f in verify(program.words, _exact(program), program.preloaded_spans()) if not _harmless(f)
    ]
    if findings:
        raise Undefined(f"verify finds {findings[0]}")
    return "compiled"


def compare_with_torch(
    program: Program, module: torch.nn.Module, inputs: Sequence[Any], results: Sequence[Tensor]
) -> None:
    """Raises Wrong unless the roundings of the program's machine explain its results."""
    Expected(module, inputs, program.target).require(results)


def flat(inputs: Sequence[Any]) -> list[Tensor]:
    """The tensors among a module's arguments, as a program takes them."""
    return [x for x in pytree.tree_leaves(tuple(inputs)) if isinstance(x, Tensor)]


def reason(error: PlenaError) -> str:
    """A refusal's kind: what it says without numbers, shapes, names and places."""
    text = re.sub(r"<[^>]*>|\S+\.py:\d+:?", "", error.what.partition(";")[0])
    text = re.sub(r"\[[^\]]*\]|\([^()]*\)", "[]", text)
    text = re.sub(r"\b[a-z]+\d+(_\d+)?\b", "V", text)
    return re.sub(r"-?\d[\d.,e+-]*", "N", text)[:200]


def opinion(program: Program, inputs: Sequence[Any]) -> str:
    """What `check` says."""
    try:
        report = program.check(*inputs, quiet=True)
    except Exception as error:
        return f"check FAILED with {type(error).__name__}: {error}"
    return f"check FAILED: {'; '.join(report.failures)}" if report.failures else "check passed"


def require_defined(program: Program, inputs: Sequence[Tensor], results: Sequence[Tensor], fill: str) -> None:
    """Raises Undefined if results differ when undefined memory holds garbage."""
    for index, (result, other) in enumerate(zip(results, run_on_garbage(program, inputs, fill), strict=True)):
        same = torch.equal(result.nan_to_num(), other.nan_to_num()) and torch.equal(
            result.isnan(), other.isnan()
        )
        if not same:
            raise Undefined(f"output {index} hangs on memory that nothing has written ({fill})")


def _harmless(finding: Finding) -> bool:
    """Rows behind the last one are read by instructions that work on BLEN rows; the garbage shows that it is well."""
    return finding.severity is Severity.WARNING and finding.code.startswith("unwritten-")


def _exact(program: Program) -> Target:
    """The target with the HBM that the program is run in."""
    return program.target.with_settings({"HBM_SIZE": program.hbm_bytes})
