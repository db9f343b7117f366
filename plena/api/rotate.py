"""`plena.rotate`: a module with turned values, residual stream or inputs, which number formats may lose less of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import nn

from plena.api.choosing_formats import calls_of, inputs_of
from plena.api.imported_call import ImportedCall
from plena.api.program import Program
from plena.api.sample_errors import SampleErrors
from plena.calibrating.rotation import Rotation, rotated
from plena.checking.plain_torch import plain_torch
from plena.errors import CompileError
from plena.machine.choices import Turned
from plena.machine.target import Target


def rotate(
    module: Any,
    example_inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    parts: Turned = "values",
    target: Target | None = None,
) -> Rotation:
    """Turns the values of every attention, or the residual stream, in the weights around them (docs/formats.md).

    The module that comes out computes the same; it can be compiled, calibrated and judged as any other. It has no
    instruction more but with "online", which multiplies inputs of linear layers by Hadamard matrices that no weight
    before them can take. What has no linear layers and RMS norms around it stays as it is; the result says why.

    Args:
        module: torch.nn.Module; it stays as it is.
        example_inputs, kwargs: as of `plena.compile`.
        parts: "values", "residual" or "all"; "online": values, and at run time what activations, products and other
            attentions give to linear layers.
        target: the machine, for "online": as many features are turned together as a tile has; shipped settings by
            default.

    Raises:
        PlenaError: it cannot be captured, or there are no such parts.
    """
    _require_module(module)
    if parts not in get_args(Turned):
        raise CompileError(f"parts must be one of {', '.join(get_args(Turned))}, not {parts!r}", "rotation")
    return _rotations(module, example_inputs, kwargs, target)(parts)


def _require_module(module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise CompileError(
            f"rotation takes a torch.nn.Module, not {type(module).__name__}",
            "rotation",
            "Give the module that was exported.",
        )


def _rotations(
    module: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None, target: Target | None
) -> Callable[[Turned], Rotation]:
    """The turned copies of a module, which is captured once.

    Raises:
        PlenaError: it cannot be captured.
    """
    call = ImportedCall.of(module, example_inputs, kwargs)

    def difference(turned: nn.Module) -> float:
        return _difference(module, turned, call.args, call.kwargs)

    width = (target or Target()).mlen
    return lambda parts: rotated(module, call.imported.exported, difference, parts, width)


def _difference(
    module: nn.Module, turned: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> float:
    """The relative error of the results of another module, both in float32."""
    from torch.utils import _pytree as pytree

    results: list[list[torch.Tensor]] = []
    for each in (module, turned):
        own = copy.deepcopy(each).eval()  # a call may change buffers
        with plain_torch():
            leaves = pytree.tree_leaves(own(*args, **kwargs))
        results.append([x.double() for x in leaves if isinstance(x, torch.Tensor) and x.is_floating_point()])
    finite = [(a[a.isfinite()], b[a.isfinite()]) for a, b in zip(*results, strict=True)]
    lost = sum(float((a - b).square().sum()) for a, b in finite)
    return (lost / max(sum(float(a.square().sum()) for a, _ in finite), 1e-300)) ** 0.5


def compile_rotated(
    compiled: Callable[[Any], Program],
    module: Any,
    example_inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    parts: Turned,
    target: Target | None,
) -> Program:
    """What `plena.compile` gives with rotation.

    Args:
        compiled: the program of a module.

    Raises:
        PlenaError: as of `rotate` and `plena.compile`; nothing can be turned.
    """
    found = rotate(module, example_inputs, kwargs, parts=parts, target=target)
    if not found.turns:
        what = {"values": "are no values", "residual": "is no residual stream"}.get(parts, "is nothing")
        raise CompileError(
            f"there {what} to turn" + "".join(f"; {reason}" for reason in found.skipped),
            "rotation",
            "Compile it without rotation.",
        )
    program = compiled(found.module)
    return _noted(program, found, parts, *(_cost(program, compiled(module)) if found.inputs else ()))


def _cost(program: Program, plain: Program) -> list[str]:
    """What turning at run time takes of a program, which would be another one without."""
    taken, before = (p.stats().cycles[p.timing] for p in (program, plain))
    share = (taken - before) / max(before, 1)
    return [f"rotation: {taken:,} cycles, {before:,} without ({share:+.1%})"]


def compile_best_rotated(
    compiled: Callable[[Any], Program],
    module: Any,
    example_inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    samples: Sequence[Any] | None,
    target: Target | None,
) -> Program:
    """Of the programs of the module and of its turned copies the one that loses least.

    Args:
        compiled: the program of a module.
        samples: on which they are compared; by default the example inputs.

    Raises:
        PlenaError: as of `rotate` and `plena.compile`.
    """
    _require_module(module)
    turned = _rotations(module, example_inputs, kwargs, target)
    found: dict[Turned, Rotation] = {parts: turned(parts) for parts in ("values", "residual")}
    if all(rotation.turns for rotation in found.values()):
        found["all"] = turned("all")
    online = turned("online")
    if online.inputs or not online.turns:
        found["online"] = online
    plain = compiled(module)
    skipped = tuple(reason for rotation in found.values() for reason in rotation.skipped)
    found = {parts: rotation for parts, rotation in found.items() if rotation.turns}
    if not found:
        return _noted(plain, Rotation(module, skipped=skipped), "none")
    inputs = [tuple(plain.example_inputs or ())]
    if samples is not None:
        inputs = inputs_of(plain, calls_of(samples))
    errors = SampleErrors(plain, inputs)
    best, best_error, taken = plain, _error(errors, plain), "none"
    lines = [_said(errors, plain, "without", best_error)]
    for parts, rotation in found.items():
        program = compiled(rotation.module)
        error = _error(errors, program)
        lines.append(_said(errors, program, f"with turned {_CALLED[parts]}", error))
        if error < best_error:
            best, best_error, taken = program, error, parts
    return _noted(best, found.get(taken, Rotation(module, skipped=skipped)), taken, *lines)  # type: ignore[call-overload]


_CALLED: Mapping[Turned, str] = {
    "values": "values",
    "residual": "residual stream",
    "all": "values and residual stream",
    "online": "inputs of linear layers",
}


def _error(errors: SampleErrors, program: Program) -> float:
    assert program.source is not None
    return errors.error(program.source.simulated())


def _said(errors: SampleErrors, program: Program, what: str, error: float) -> str:
    cycles = program.stats().cycles[program.timing]
    return f"rotation: {errors.measure} {error:.4g} {what} in {cycles:,} cycles"


def _noted(program: Program, found: Rotation, taken: str, *lines: str) -> Program:
    """The program, which says in its decisions what became of rotation."""
    none = "rotation: none is used" if lines else "rotation: nothing can be turned"
    program.decisions += (*((none, *found.skipped) if taken == "none" else str(found).splitlines()), *lines)
    if program.rationale is not None:
        options = {**program.rationale.options, "rotation": taken}
        program.rationale = replace(program.rationale, options=options)
    return program
