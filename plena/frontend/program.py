"""The result of an import: the module in IR and, beside it, the tensors that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.export import ExportedProgram
from xdsl.dialects.builtin import ModuleOp

from plena.errors import CompileError
from plena.host.ports import FixedResult
from plena.host.values.graph import HostValue
from plena.host.values.program import HostProgram


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and the user's dtype of an input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Counter:
    """An integer buffer that a run changes: @main takes it behind the inputs, the host computes what it becomes."""

    spec: TensorSpec
    after: HostValue


@dataclass
class ImportedProgram:
    """A model at the tensor level.

    Attributes:
        module: holds func.func @main with one argument per input and one result per output. tensors:
        parameters and buffers by their state_dict names and folded constants by their node names; the
            model's own tensors, not copies.
        inputs: the tensors that @main takes, in order.
        outputs: the tensors that it returns, in order.
        exported: the graph that was imported.
        leaves: which nodes of that graph `tensors` holds: node name -> symbol, of parameters and of what was computed
            of constants at import. Uniform tensors have no symbol.
        states: the buffers of real numbers that a run changes.
        counters: those of integers.
        initial_states: what both hold before the first run, copies.
        fixed_results: what the model returns beside them, None and numbers, with its place among all results.
    """

    module: ModuleOp
    tensors: dict[str, torch.Tensor]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    exported: ExportedProgram
    leaves: Mapping[str, str] = field(default_factory=dict[str, str])
    fixed_results: tuple[FixedResult, ...] = ()
    states: tuple[TensorSpec, ...] = ()
    counters: tuple[Counter, ...] = ()
    initial_states: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])

    def check_inputs(self, inputs: Sequence[torch.Tensor]) -> None:
        """Raises CompileError unless the tensors are what @main takes."""
        if len(inputs) != len(self.inputs):
            raise CompileError(f"the program takes {len(self.inputs)} inputs, got {len(inputs)}")
        for spec, value in zip(self.inputs, inputs, strict=True):
            if tuple(value.shape) != spec.shape or value.dtype != spec.dtype:
                raise CompileError(
                    f"input {spec.name} is {tuple(value.shape)} {value.dtype}, "
                    f"the program was compiled for {spec.shape} {spec.dtype}"
                )

    def evaluate(
        self, *inputs: torch.Tensor, states: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The outputs in float32 by interpreting the module, at whichever tensor level it is.

        `states` are the buffers that it changes, what they hold at first without it; the dictionary is updated.
        """
        from plena.interpreters.states import States
        from plena.interpreters.tensor_level import evaluate

        self.check_inputs(inputs)
        found = {} if states is None else states
        kept = States({**self.initial_states, **found})
        given = self.arguments(inputs, kept.before)
        outputs = evaluate(self.module, self.tensors, given, kept)
        found.update(kept.after)
        for counter in self.counters:
            after = HostProgram({"": counter.after}, self.tensors)(given)("")
            found[counter.spec.name] = torch.from_numpy(after).to(counter.spec.dtype)
        return outputs

    def arguments(
        self, inputs: Sequence[torch.Tensor], states: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        """What @main takes: the inputs, and the counters as `states` has them."""
        return (*inputs, *(states[counter.spec.name] for counter in self.counters))
