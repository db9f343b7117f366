"""Comparing every tensor between two kernels with what the machine computes for it: which kernel goes wrong first.

The tensor level is compiled once more with its intermediate tensors as further outputs, as many at a time as vector
SRAM holds, layers not rolled. Every operation is then interpreted in float32 on the machine's own operands, so that
an error is charged to the kernel that makes it and not to those behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import Float32Type, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.interpreter import Interpreter
from xdsl.ir import Operation, SSAValue

from plena.checking.plain_torch import plain_torch
from plena.checking.reference import KEY_VALUE_TYPE, ModuleReferences, as_tensors
from plena.checking.rounding_sites import round_stored
from plena.checking.staged_values import quantized_inputs, rounded_expressions
from plena.dialects.plena import ParameterOp
from plena.dialects.provenance import MODULE_ATTRIBUTE
from plena.dialects.tensor_shapes import shape_of
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.frontend.program import ImportedProgram, TensorSpec
from plena.host.call_inputs import example_call
from plena.host.staged_data import symbol_of
from plena.interpreters.rounded_products import rounding_interpreter
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.program.thresholds import Comparison, Thresholds
from plena.tensor.tracing import is_staged

if TYPE_CHECKING:
    from plena.program.data import ProgramData

BOUND = 0.03
"""Relative RMS error from which on a kernel counts as wrong."""


@dataclass(frozen=True)
class OperationError:
    """How far a tensor is from what it should be.

    Args:
        module: path of the module in the model that the operation comes from, empty if it is not known.
        operation: the kernel, e.g. "plena.linear".
        result: its number among the results of the operation.
        shape: of the tensor.
        own: relative RMS error against the operation in float32 on the machine's own operands.
        accumulated: against the whole computation in float32 on the parameters and inputs that the machine sees.
    """

    module: str
    operation: str
    result: int
    shape: tuple[int, ...]
    own: float
    accumulated: float

    def __str__(self) -> str:
        return f"{self.operation} of {self.module or 'the model'}, own relative RMS error {self.own:.3%}"


@dataclass(frozen=True)
class PerOpReport:
    """Every tensor that was compared, in program order; ``unseen`` could not be read back."""

    compared: tuple[OperationError, ...]
    unseen: tuple[str, ...] = ()
    bound: float = BOUND

    @property
    def first(self) -> OperationError | None:
        """The first kernel that goes wrong."""
        return next((error for error in self.compared if not error.own <= self.bound), None)

    @property
    def passed(self) -> bool:
        """Whether no kernel goes wrong."""
        return self.first is None

    def __str__(self) -> str:
        rows = [("module", "operation", "shape", "own error", "accumulated", "")]
        for error in self.compared:
            rows.append(
                (
                    error.module or "-",
                    error.operation + (f" #{error.result}" if error.result else ""),
                    "x".join(map(str, error.shape)),
                    f"{error.own:.3%}",
                    f"{error.accumulated:.3%}",
                    "" if error.own <= self.bound else "<- wrong",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.extend(f"not read back: {what}" for what in self.unseen)
        lines.append(
            "every operation passed" if self.first is None else f"FAILED: the first wrong one is {self.first}"
        )
        return "\n".join(lines)


def check_per_op(
    module: Any,
    example_inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[torch.Tensor] | None = None,
    target: Target | None = None,
    schedule: Schedule | None = None,
) -> PerOpReport:
    """Compile a module such that every intermediate tensor can be read back, run it and compare them.

    Args:
        module, example_inputs, kwargs, target: as of ``plena.compile``.
        inputs: the tensors to run on, those of the example by default.
        schedule: of the kernels.

    Raises:
        PlenaError: the module cannot be compiled.
        EmulatorError: the program aborts.
    """
    from plena.frontend import import_module

    target = target or Target()
    target.validate()
    args, keywords = example_call(module, example_inputs, kwargs)
    imported = import_module(module, args, keywords)
    if imported.states:
        raise CompileError(
            f"a model with states ({imported.states[0].name}) is not checked operation by operation",
            "check",
            "Check it as a whole: program.check(*inputs).",
        )
    target.attach(imported.module)
    run_pipeline(imported.module, TENSOR_PIPELINE)
    if inputs is None:
        inputs = as_tensors((args, keywords))
    observer = _Observer(imported, module, args, keywords, inputs, schedule or Schedule())
    places = [place for place, value in _tensors(imported.module) if _computed(value)]
    program, seen, unseen = observer.observe(places)
    assert program.signature is not None
    source = ModuleReferences(program, imported, module, program.signature)
    rounded = rounded_expressions(program, source.staged())
    parameters = _Parameters(rounded, imported.tensors)
    given, _ = program.given(quantized_inputs(program, inputs))
    arguments = [torch.as_tensor(x) for x in given]
    compared = _compare(imported.module, parameters, arguments, seen, target)
    ops = _operations(imported.module)
    return PerOpReport(tuple(compared), tuple(_describe(ops[index]) for index, _ in unseen))


Place = tuple[int, int]
"""A tensor: the number of its operation in @main and its number among the results."""


@dataclass(frozen=True)
class _Observer:
    """Compiles and runs a tensor-level module with intermediate tensors as outputs."""

    imported: ImportedProgram
    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: Sequence[torch.Tensor]
    schedule: Schedule

    def observe(self, places: Sequence[Place]) -> tuple[ProgramData, dict[Place, torch.Tensor], list[Place]]:
        """A program, the machine's tensors, and the places that no program returns.

        Raises:
            PlenaError: the module cannot be compiled even without further outputs.
        """
        try:
            program = self._compiled(places)
        except CompileError:
            if not places:
                raise
            if len(places) == 1:
                return self._compiled(()), {}, list(places)
            middle = len(places) // 2
            program, seen, unseen = self.observe(places[:middle])
            _, others, also_unseen = self.observe(places[middle:])
            return program, seen | others, unseen + also_unseen
        image = program.image
        program.stage_inputs(self.inputs, image)
        outputs = as_tensors(program.results(program.execute(image, progress=False)))
        own = len(self.imported.outputs)
        return program, dict(zip(places, outputs[own:], strict=True)), []

    def _compiled(self, places: Sequence[Place]) -> ProgramData:
        from plena.compiler.candidate import lower_plainly
        from plena.compiler.emitted import emitted

        kernels = self.imported.module.clone()
        values = [_operations(kernels)[index].results[number] for index, number in places]
        _return_also(kernels, values)
        further = [
            TensorSpec(f"tensor_{n}", shape_of(value), torch.float32) for n, value in enumerate(values)
        ]
        extended = replace(self.imported, module=kernels, outputs=[*self.imported.outputs, *further])
        return emitted(lower_plainly(kernels, self.schedule), extended, self.module, self.args, self.kwargs)


def _main(module: ModuleOp) -> FuncOp:
    return next(op for op in module.body.block.ops if isinstance(op, FuncOp))


def _operations(module: ModuleOp) -> list[Operation]:
    return list(_main(module).body.block.ops)


def _tensors(module: ModuleOp) -> Iterator[tuple[Place, SSAValue]]:
    for index, op in enumerate(_operations(module)):
        for number, value in enumerate(op.results):
            yield (index, number), value


def _computed(value: SSAValue) -> bool:
    """Whether the program computes a tensor, in floating point."""
    kind = value.type
    return (
        isinstance(kind, TensorType) and isinstance(kind.element_type, Float32Type) and not is_staged(value)
    )


def _return_also(module: ModuleOp, values: Sequence[SSAValue]) -> None:
    function = _main(module)
    leave = function.body.block.last_op
    assert isinstance(leave, ReturnOp)
    results = [*leave.arguments, *values]
    function.body.block.erase_op(leave)
    function.body.block.add_op(ReturnOp(*results))
    function.update_function_type()


def _compare(
    module: ModuleOp,
    parameters: _Parameters,
    arguments: Sequence[torch.Tensor],
    seen: Mapping[Place, torch.Tensor],
    target: Target,
) -> Iterator[OperationError]:
    """Interpret operation by operation, on the machine's operands and on exact ones."""
    stored = target.precision[KEY_VALUE_TYPE]
    interpreter = rounding_interpreter(
        module, parameters.tensors, lambda x: round_stored(x, stored), parameters.rounded
    )
    values = [x.float() if x.is_floating_point() else x.long() for x in arguments]
    exact: dict[SSAValue, Any] = dict(zip(_main(module).body.block.args, values, strict=True))
    machine = dict(exact)
    for index, op in enumerate(_operations(module)):
        if isinstance(op, ReturnOp):
            return
        wanted = parameters.value(op) or _run(interpreter, op, exact)
        expected = wanted if isinstance(op, ParameterOp) else _run(interpreter, op, machine)
        for number, value in enumerate(op.results):
            exact[value] = wanted[number]
            machine[value] = seen.get((index, number), expected[number])
            if (index, number) in seen:
                own, accumulated = (
                    Comparison.of([machine[value]], [reference], Thresholds()).relative_rms
                    for reference in (expected[number], wanted[number])
                )
                yield OperationError(_path(op), op.name, number, shape_of(value), own, accumulated)


@dataclass(frozen=True)
class _Parameters:
    """Parameters as they are staged for each use.

    Attributes:
        rounded: values of staging expressions by their symbol.
        tensors: parameters and constants by name.
    """

    rounded: Mapping[str, torch.Tensor]
    tensors: Mapping[str, torch.Tensor]

    def value(self, op: Operation) -> tuple[torch.Tensor, ...]:
        """What a parameter op gives, nothing for others and for what is not rounded."""
        symbol = symbol_of(op.value) if isinstance(op, ParameterOp) else ""
        return (self.rounded[symbol],) if symbol in self.rounded else ()


def _run(interpreter: Interpreter, op: Operation, values: Mapping[SSAValue, Any]) -> tuple[Any, ...]:
    with plain_torch():
        return interpreter.run_op(op, tuple(values[operand] for operand in op.operands))


def _path(op: Operation) -> str:
    path = op.attributes.get(MODULE_ATTRIBUTE)
    return path.data if isinstance(path, StringAttr) else ""


def _describe(op: Operation) -> str:
    return f"{op.name} of {_path(op) or 'the model'}"
