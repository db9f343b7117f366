"""What must hold of every compiled case, and how far rounding may take a result from PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from plena.checking.comparison import Comparison, Thresholds
from plena.checking.reference import as_tensors
from plena.compiler.compile import compile
from plena.errors import CompileError
from plena.machine.target import Target
from plena.program.program import Program
from plena.verification import Severity, verify
from plena.verification.findings import Finding
from tests.hunt.case import BlockCase, Case
from tests.poison import HBM_FILL, run_on_garbage

REFUSALS = (
    "has no kernel",
    "only matrices are rearranged",
    "do not fit rows of",
    "need HBM_V_KV_TYPE or HBM_V_ACT_TYPE",
    "does not fit in",
    "free tiles",
    "watchdog",
    "addressable",
    "words of FP SRAM",
)
"""Parts of the messages of a compiler that cannot serve a machine this small."""


def examine(case: Case | BlockCase) -> str:
    """Compile, run and compare.

    Returns:
        "compiled", or why the compiler may refuse the case.

    Raises:
        AssertionError: a result is wrong. Any other exception is a failure, too.
    """
    module, inputs = case.module(), case.inputs()
    try:
        program = compile(module, inputs, case.target, **case.options)
    except CompileError as error:
        if any(part in str(error) for part in REFUSALS):
            return f"refused: {next(part for part in REFUSALS if part in str(error))}"
        raise
    results = as_tensors(program.run(*inputs, progress=False))
    assert program.machine_reference is not None
    of_machine = Comparison.of(results, program.machine_reference(*inputs), Thresholds())
    assert of_machine.relative_rms <= 0.002, f"machine reference: {of_machine.relative_rms:.4%}"
    compare_with_torch(program, module, inputs, results)
    for name in HBM_FILL:
        others = run_on_garbage(program, inputs, name)
        for index, (result, other) in enumerate(zip(results, others, strict=True)):
            same = torch.equal(result.nan_to_num(), other.nan_to_num())
            assert same, f"output {index} hangs on memory that nothing has written ({name})"
    findings = [
        f for f in verify(program.words, _exact(program), program.preloaded_spans()) if not _harmless(f)
    ]
    assert not findings, f"verify finds {findings[0]}"
    return "compiled"


def _harmless(finding: Finding) -> bool:
    """Rows behind the last one are read by instructions that work on BLEN rows; the garbage shows that it is well."""
    return finding.severity is Severity.WARNING and finding.code.startswith("unwritten-")


def _exact(program: Program) -> Target:
    """The target with the HBM that the program is run in."""
    return program.target.with_settings({"HBM_SIZE": program.hbm_bytes})


def compare_with_torch(
    program: Program, module: nn.Module, inputs: Sequence[Tensor], results: Sequence[Tensor]
) -> None:
    """Against the module on what the machine sees, within what its rounding explains.

    Raises:
        AssertionError: the error is larger than that.
    """
    assert program.quantized_reference is not None and program.float_reference is not None
    rounded = as_tensors(program.quantized_reference(*inputs))
    exact = as_tensors(program.float_reference(*inputs))
    for index, (result, expected) in enumerate(zip(results, rounded, strict=True)):
        if not expected.isfinite().all():
            continue
        found = Comparison.of([result], [expected], Thresholds())
        formats = Comparison.of([expected], [exact[index]], Thresholds()).relative_rms
        noise = sensitivity(module, inputs, index)
        bound = 0.01 + 4 * noise + 0.5 * formats
        assert found.finite and found.relative_rms <= bound, (
            f"output {index}: {found.relative_rms:.3%} from the quantised reference, {bound:.3%} explained "
            f"(noise {noise:.3%}, formats {formats:.3%})"
        )


def sensitivity(module: nn.Module, inputs: Sequence[Tensor], index: int) -> float:
    """How far the output moves, relative RMS, if every operator's result is off by up to a bf16 step."""
    with torch.no_grad():
        exact = as_tensors(module(*inputs))[index]
        worst = 0.0
        for seed in range(3):
            with _Noise(seed):
                noisy = as_tensors(module(*inputs))[index]
            worst = max(worst, Comparison.of([noisy], [exact], Thresholds()).relative_rms)
    return worst


class _Noise(TorchDispatchMode):
    """Moves every floating-point result by up to 2^-8 of its size."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.is_view or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        return result * (1 + (torch.rand(result.shape, generator=self.generator) - 0.5) / 128)
