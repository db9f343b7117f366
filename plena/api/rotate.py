"""`plena.rotate`: a module whose attentions have turned values, which number formats lose less of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from plena.api.choosing_formats import calls_of, inputs_of
from plena.api.imported_call import ImportedCall
from plena.api.program import Program
from plena.api.sample_errors import SampleErrors
from plena.calibrating.rotation import Rotation, rotated
from plena.checking.plain_torch import plain_torch
from plena.errors import CompileError


def rotate(
    module: Any, example_inputs: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Rotation:
    """Turns the values of every attention by a Hadamard matrix, in its neighbours' weights (docs/formats.md).

    The module that comes out computes the same, with no instruction more; it can be compiled, calibrated and judged as
    any other. Attentions whose neighbours are no linear layers stay as they are; the result says why.

    Args:
        module: torch.nn.Module; it stays as it is.
        example_inputs, kwargs: as of `plena.compile`.

    Raises:
        PlenaError: it cannot be captured.
    """
    if not isinstance(module, nn.Module):
        raise CompileError(
            f"rotation takes a torch.nn.Module, not {type(module).__name__}",
            "rotation",
            "Give the module that was exported.",
        )
    call = ImportedCall.of(module, example_inputs, kwargs)
    return rotated(
        module, call.imported.exported, lambda turned: _difference(module, turned, call.args, call.kwargs)
    )


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
    samples: Sequence[Any] | None,
    *,
    only_if_better: bool,
) -> Program:
    """What `plena.compile` gives with rotation: the program of the turned module, or of the module if that loses less.

    Args:
        compiled: the program of a module.
        samples: on which both are compared; by default the example inputs.
        only_if_better: whether they are.

    Raises:
        PlenaError: as of `rotate` and `plena.compile`; nothing can be turned, unless they are compared.
    """
    found = rotate(module, example_inputs, kwargs)
    if not found.sites and not only_if_better:
        raise CompileError(
            "there are no values to turn" + "".join(f"; {reason}" for reason in found.skipped),
            "rotation",
            "Compile it without rotation.",
        )
    if not found.sites:
        return _noted(compiled(module), found, "none")
    turned = compiled(found.module)
    if not only_if_better:
        return _noted(turned, found, "values")
    plain = compiled(module)
    inputs = [tuple(plain.example_inputs or ())]
    if samples is not None:
        inputs = inputs_of(plain, calls_of(samples))
    errors = SampleErrors(plain, inputs)
    assert plain.source is not None and turned.source is not None
    lost, without = map(errors.error, (turned.source.simulated(), plain.source.simulated()))
    cycles, before = (p.stats().cycles[p.timing] for p in (turned, plain))
    with_turned = f"{lost:.4g} with turned values in {cycles:,} cycles"
    said = f"rotation: {errors.measure} {with_turned}, {without:.4g} in {before:,} without"
    if lost < without:
        return _noted(turned, found, "values", said)
    return _noted(plain, found, "none", said)


def _noted(program: Program, found: Rotation, taken: str, *lines: str) -> Program:
    """The program, which says in its decisions what became of rotation."""
    none = "rotation: none is used" if lines else "rotation: nothing can be turned"
    program.decisions += (*(str(found).splitlines() if taken == "values" else (none, *found.skipped)), *lines)
    if program.rationale is not None:
        options = {**program.rationale.options, "rotation": taken}
        program.rationale = replace(program.rationale, options=options)
    return program
