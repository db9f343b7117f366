"""Running a module of the tensor level on all samples at once, operation by operation; weights are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.dialects.plena import AttentionOp, EmbeddingOp, LinearOp, MatmulOp, ParameterOp, ProjectionsOp
from plena.frontend.program import ImportedProgram
from plena.interpreters.states import States
from plena.interpreters.tensor_level import interpreter_of
from plena.machine.formats import Formats
from plena.machine.number_formats import Mx, NumberFormat

Solve: TypeAlias = Callable[[Attribute, torch.Tensor, Sequence["Seen"]], torch.Tensor]
"""Staging expression of a weight, the weight [N, K], its inputs of every sample: what it becomes."""

Values: TypeAlias = dict[SSAValue, torch.Tensor]


class Seen(NamedTuple):
    """Inputs [M, K] of a layer in one sample: what the rounded layers before it make of it, and the exact ones."""

    rounded: torch.Tensor
    exact: torch.Tensor


LayerOp: TypeAlias = LinearOp | ProjectionsOp


def weights_of(op: LayerOp) -> tuple[SSAValue, ...]:
    """The weights of layers with one input."""
    return (op.weight,) if isinstance(op, LinearOp) else tuple(op.weights)


def layers_of(module: ModuleOp) -> Iterator[tuple[LayerOp, Attribute]]:
    """The layers with the staging expressions of their weights; those of weights that are computed are left out."""
    for op in _main(module).ops:
        if isinstance(op, LinearOp | ProjectionsOp):
            for weight in weights_of(op):
                if isinstance(weight.owner, ParameterOp):
                    yield op, weight.owner.value


@torch.no_grad()
def walk(
    imported: ImportedProgram, samples: Sequence[Sequence[torch.Tensor]], formats: Formats, solve: Solve
) -> None:
    """Run the layers in their order; each sees what the layers before it, rounded, make of the samples.

    Keys, values, embeddings and inputs are rounded as they lie in HBM. What no layer needs is not computed.

    Args:
        imported: at the tensor level, after its pipeline.
        samples: the inputs of @main.
        solve: is called for every weight, when its inputs are known.
    """
    main = _main(imported.module)
    needed = _needed(main)
    run = _Walk(imported, len(samples), formats, solve)
    for number, inputs in enumerate(samples):
        for argument, value in zip(main.args, inputs, strict=True):
            run.values[number][argument], run.exact[number][argument] = run.input(value)
    operations = [op for op in main.ops if op in needed]
    last = {operand: op for op in operations for operand in op.operands}
    for op in operations:
        run.step(op, any(use.operation in needed for result in op.results for use in result.uses))
        for operand in op.operands:
            if last[operand] is op:
                run.forget(operand)


class _Walk:
    """The values of every sample, as they are rounded and as they would be."""

    def __init__(self, imported: ImportedProgram, count: int, formats: Formats, solve: Solve) -> None:
        self.values: list[Values] = [{} for _ in range(count)]
        self.exact: list[Values] = [{} for _ in range(count)]
        self.formats, self.solve = formats, solve
        self._interpreters = [
            interpreter_of(imported.module, imported.tensors, States(dict(imported.initial_states)))
            for _ in range(count)
        ]

    def input(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """An input as the machine sees it, and as it is."""
        if value.is_floating_point():
            return _stored(value.float(), self.formats.activations, machine=False), value.float()
        whole = value if value.dtype == torch.bool else value.long()
        return whole, whole

    def step(self, op: Operation, used: bool) -> None:
        """Its weights, if it is a layer, and its results if they are `used`."""
        if isinstance(op, ParameterOp):
            (shared,) = self._run(self._interpreters[0], op, ())
            for values in (*self.values, *self.exact):
                values[op.result] = shared
            return
        if isinstance(op, LinearOp | ProjectionsOp):
            inputs = [
                Seen(values[op.input], exact[op.input])
                for values, exact in zip(self.values, self.exact, strict=True)
            ]
            for weight in weights_of(op):
                if isinstance(weight.owner, ParameterOp):
                    replaced = self.solve(weight.owner.value, self.values[0][weight], inputs)
                    for values in self.values:
                        values[weight] = replaced
        if not used:
            return
        for interpreter, values in zip(self._interpreters, self.values, strict=True):
            arguments = [values[operand] for operand in op.operands]
            for position in _stored_operands(op):
                if not isinstance(op.operands[position].owner, ParameterOp):
                    arguments[position] = _stored(arguments[position], self.formats.keys_values)
            results = self._run(interpreter, op, tuple(arguments))
            if isinstance(op, EmbeddingOp):
                results = tuple(_stored(r, self.formats.activations, machine=False) for r in results)
            values.update(zip(op.results, results, strict=True))
        for interpreter, values in zip(self._interpreters, self.exact, strict=True):
            results = self._run(interpreter, op, tuple(values[operand] for operand in op.operands))
            values.update(zip(op.results, results, strict=True))

    def forget(self, value: SSAValue) -> None:
        for values in (*self.values, *self.exact):
            values.pop(value, None)

    @staticmethod
    def _run(
        interpreter: Interpreter, op: Operation, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        return tuple(interpreter.run_op(op, arguments))


def _stored_operands(op: Operation) -> tuple[int, ...]:
    """Positions of the operands that pass through HBM."""
    match op:
        case AttentionOp():
            return (1, 2)
        case MatmulOp():
            return (1,)
        case _:
            return ()


def _stored(x: torch.Tensor, number_format: NumberFormat, machine: bool = True) -> torch.Tensor:
    """What remains of rows in HBM; infinities stay."""
    array = x.numpy()
    block = number_format.block if isinstance(number_format, Mx) else 1
    finite = np.isfinite(array)
    held = np.where(finite, array, np.float32(0))
    padded = np.pad(held, [*[(0, 0)] * (array.ndim - 1), (0, -array.shape[-1] % block)])
    rounded = (
        number_format.quantize(padded, machine=True) if machine else number_format.staged(padded, "nearest")
    )
    rounded = rounded[..., : array.shape[-1]]
    return torch.from_numpy(np.where(finite, rounded, array).astype(np.float32))


def _needed(main: Block) -> set[Operation]:
    """The layers, and what their inputs are computed from."""
    needed = set[Operation]()
    pending: list[Operation] = [op for op in main.ops if isinstance(op, LinearOp | ProjectionsOp)]
    while pending:
        op = pending.pop()
        if op in needed:
            continue
        needed.add(op)
        pending.extend(operand.owner for operand in op.operands if isinstance(operand.owner, Operation))
    return needed


def _main(module: ModuleOp) -> Block:
    main = next(op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "main")
    return main.body.block
