"""What is emitted of a lowering: a program with its tensors, checked statically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import ModuleOp

from plena.compiler.candidate import Candidate
from plena.compiler.lowered import (
    constant_words,
    host_values_of,
    machine_reference,
    memory_map_of,
    placements_of,
    staged_data_of,
    useful_macs_of,
)
from plena.dialects.plena import AttentionOp, LinearOp, MatmulOp, ProjectionsOp
from plena.driver import pipeline_text
from plena.errors import CompileError, VerificationError
from plena.host.calibration import Calibration
from plena.host.ports import Port
from plena.host.staged_data import StagedData
from plena.integers import ceil_div
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.program.data import ProgramData, counter_symbol
from plena.program.thresholds import Thresholds

if TYPE_CHECKING:
    from plena.frontend import ImportedProgram
    from plena.frontend.program import TensorSpec


def emitted(
    chosen: Candidate,
    imported: ImportedProgram,
    module: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> ProgramData:
    """The chosen lowering with its tensors and the reference of the machine; `args` and `kwargs` are the example call.

    Raises:
        VerificationError: the program would abort.
    """
    from plena.host.call_inputs import CallSignature
    from plena.program.state import KeptState

    signature = CallSignature.of(args, kwargs or {}, module)
    program = ProgramData.from_module(
        chosen.program.registers,
        inputs=_ports(imported.inputs),
        outputs=_ports(imported.outputs),
        fixed_results=imported.fixed_results,
        placements=tuple(placements_of(chosen.tiles)),
        constants=constant_words(chosen.tiles),
        memory_map=tuple(memory_map_of(chosen.tiles)),
        useful_macs=useful_macs_of(chosen.tiles),
        timing=chosen.schedule.timing,
        decisions=chosen.decisions,
        pipeline=pipeline_text((*TENSOR_PIPELINE, *chosen.passes)),
        data=staged_data_of(chosen.tiles, imported.tensors),
        host_values=host_values_of(chosen.tiles, imported.tensors),
        example_inputs=signature.tensors(args, kwargs or {}),
        signature=signature,
        thresholds=thresholds_for(imported.module),
    )
    if calibration is not None and isinstance(program.data, StagedData):
        data = calibration.applied(program.data, program.placements, program.target.formats)
        program = replace(program, data=data)
    if imported.states or imported.counters:
        placed = tuple(program.placements_of("state"))
        ports = _ports([*imported.states, *(counter.spec for counter in imported.counters)])
        kept = KeptState(ports, placed, imported.initial_states, program.target)
        after = {counter_symbol(counter.spec.name): counter.after for counter in imported.counters}
        values = replace(program.host_values, values={**program.host_values.values, **after})
        program = replace(program, kept=kept, host_values=values)
    program = replace(program, decisions=(*program.decisions, *_warnings(program)))
    if chosen.schedule.machine == "rtl":
        _require_rules(program)
    return replace(program, machine_reference=machine_reference(program, chosen.tiles))


def _ports(tensors: Sequence[TensorSpec]) -> tuple[Port, ...]:
    """Inputs, outputs or states as a program has them."""
    return tuple(Port(t.name, t.shape, str(t.dtype).removeprefix("torch.")) for t in tensors)


def _warnings(program: ProgramData) -> tuple[str, ...]:
    """The static check of every emitted program: errors are bugs of the compiler, warnings go to its decisions.

    Raises:
        VerificationError: the program would abort.
    """
    from plena.verification import Severity, verify

    findings = verify(program.executed, program.target, program.preloaded_spans())
    errors = [f for f in findings if f.severity is Severity.ERROR]
    if errors:
        listed = "; ".join(str(f) for f in errors[:3])
        raise VerificationError(
            f"the compiled program would abort: {listed}", hint="Please report this as a bug."
        )
    return tuple(str(f) for f in findings)


def _require_rules(program: ProgramData) -> None:
    """Whether a program for the RTL breaks none of its rules.

    Raises:
        CompileError: which it breaks.
    """
    from plena.verification import verify

    errors = [
        f for f in verify(program.words, program.target, program.preloaded_spans(), "rtl") if f.is_error
    ]
    if errors:
        listed = "; ".join(str(f) for f in errors[:3])
        raise CompileError(
            f"no program was found that keeps the rules of the RTL: {listed}",
            "machine",
            "Compile a smaller part of the model, or leave machine out.",
        )


def thresholds_for(tensor_level: ModuleOp) -> Thresholds:
    """What ``check`` should demand of a program: attention alone by its keys, models by their layers.

    Two products of what layers compute round as many operands on their way through HBM as one attention.
    """
    attentions = [op for op in tensor_level.walk() if isinstance(op, AttentionOp)]
    products = sum(isinstance(op, MatmulOp) for op in tensor_level.walk())
    if not attentions and not products:
        return Thresholds()
    if any(isinstance(op, LinearOp | ProjectionsOp) for op in tensor_level.walk()):
        return Thresholds.for_layers(len(attentions) + ceil_div(products, 2))
    return Thresholds.for_attention(max((op.key_length for op in attentions), default=0))
