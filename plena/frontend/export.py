"""From an nn.Module to a functional FX graph of ATen operators."""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from plena.errors import CompileError
from plena.frontend.decompositions import DECOMPOSITIONS
from plena.frontend.example_inputs import require_distinct, require_inputs, require_values
from plena.frontend.fast_paths import FAST_PATHS
from plena.frontend.fourier import FOURIER
from plena.frontend.functional import functional, with_plain_names, without_dropout
from plena.frontend.locations import line_of
from plena.frontend.mutations import (
    refuse_changes_in_place,
    refuse_counters,
    refuse_shared_states,
    watched_attributes,
)
from plena.frontend.row_sums import chooses, einsum

_KEPT = (
    "linear.default",
    "scaled_dot_product_attention.default",
    "silu.default",
    "gelu.default",
    "celu.default",
    "prelu.default",
    "layer_norm.default",
    "rms_norm.default",
    "softmax.int",
    "matmul.default",
    "group_norm.default",
    "instance_norm.default",
    "max_pool1d.default",
    "max_pool2d.default",
    "avg_pool1d.default",
    "adaptive_avg_pool1d.default",
    "upsample_bicubic2d.vec",
    "select_scatter.default",
    "roll.default",
    "im2col.default",
    "col2im.default",
    "softplus.default",
    "mish.default",
    "log_sigmoid.default",
    "log_softmax.int",
    "logsumexp.default",
    "real.default",
    "imag.default",
)

_capturing = threading.RLock()
"""torch traces with modes and patches of the whole process, and silence is the whole process's too: one thread at a
time. It can be taken again by a thread that has it, since a module's forward may compile another one."""

_LOST = "We found a fake tensor in the exported program constant's list"

LOSSES = 3
"""How often torch may lose sight of what it traces. torch 2.13 takes the first `arange` of a forward for a constant
of the module in one of twelve first exports of a process whose main thread is busy, as Dask's workers are; what it
says then cannot be told from an operator that it cannot trace, of which it says so each time."""

_FOREIGN_OUTPUT = re.compile(r"Found <class '(?P<kind>[^']+)'> in output, which is not a known type")


def export_module(
    module: object,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    importable: Callable[[ExportedProgram], bool],
) -> ExportedProgram:
    """The module as a functional graph whose operators the importer mostly knows.

    Decomposing costs more than exporting, so it happens only when `importable` refuses the graph as captured.

    Raises:
        CompileError: torch.export cannot capture the module.
    """
    require_inputs(args, kwargs)
    if not isinstance(module, ExportedProgram | torch.nn.Module):
        what = module.__name__ if isinstance(module, type) else type(module).__name__
        raise CompileError(
            f"the model must be a torch.nn.Module or an ExportedProgram, not {what}",
            "model",
            "Make an object of the class." if isinstance(module, type) else "Wrap it in a torch.nn.Module.",
        )
    with _capturing:
        return _functional(module, args, kwargs, importable)


def _functional(
    module: torch.nn.Module | ExportedProgram,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    importable: Callable[[ExportedProgram], bool],
) -> ExportedProgram:
    program = module if isinstance(module, ExportedProgram) else _capture(module, args, kwargs)
    if program is module:
        require_distinct(program)
    refuse_shared_states(program)
    if importable(program):
        return program
    if isinstance(module, torch.nn.Module):
        without_dropout(program)
        with_plain_names(program)
        if importable(program):
            return program
    written = functional(program)
    if written is not None and importable(written):
        return written
    refuse_changes_in_place(program)
    try:
        with torch.no_grad(), _quiet():
            return program.run_decompositions(_decompositions(program))
    except Exception as error:
        raise CompileError(
            f"torch cannot decompose the graph of {_name_of(module)}: {_told_by(error)}",
            line_of(error) or _name_of(module),
            "Write the forward without operators in place and without control flow on tensor values.",
        ) from error


def _name_of(module: object) -> str:
    return "the program" if isinstance(module, ExportedProgram) else type(module).__name__


def _told_by(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    line = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return line if len(line) < 300 else f"{line[:300]} ..."


def _exported(module: torch.nn.Module, args: Any, kwargs: Any) -> ExportedProgram:
    """torch.export, again where it has lost sight of a tensor."""
    losses = 0
    while True:
        try:
            return torch.export.export(module, args, kwargs, strict=False)
        except RuntimeError as error:
            losses += 1
            if losses > LOSSES or _LOST not in str(error):
                raise


def _capture(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ExportedProgram:
    require_values(module)
    arguments, keywords = _distinct((tuple(args), dict(kwargs)))
    training = {child: child.training for child in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), _quiet():
            with watched_attributes(module) as watched:
                program = _exported(module, arguments, keywords)
            if watched.changed:
                refuse_counters(module, arguments, keywords)
            return program
    except CompileError:
        raise
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        foreign = _FOREIGN_OUTPUT.match(first_line)
        if foreign is not None:
            raise CompileError(
                f"{type(module).__name__} returns a {foreign['kind']}, which is no tensor",
                "outputs",
                hint="Return tensors only; a KV cache is not supported: switch it off (config.use_cache = False).",
            ) from error
        raise CompileError(
            f"torch.export cannot capture {type(module).__name__}: {_told_by(error)}",
            line_of(error) or type(module).__name__,
            hint=_advice(error, module),
        ) from error
    finally:
        for child, mode in training.items():
            child.training = mode


_NUMBER_OF_TENSOR = (
    "A tensor is made a number of, as by int(n), n.item() or an index n of no axes: index with a tensor of one axis, "
    "x[n.reshape(1)], or with index_select and index_copy_."
)


def _advice(error: Exception, module: torch.nn.Module) -> str:
    """What to write where torch.export cannot capture a module."""
    if "specialized integer" in str(error):
        return _NUMBER_OF_TENSOR
    advice = "The forward must run on the example inputs and must not branch on tensor values."
    # Experts of transformers may run in a loop over those that were chosen.
    configs = (getattr(child, "config", None) for child in module.modules())
    unset: Any = object()
    if any(getattr(config, "_experts_implementation", unset) in (None, "eager") for config in configs):
        return f'{advice} Experts need config._experts_implementation = "grouped_mm" or "batched_mm".'
    return advice


@contextmanager
def _quiet() -> Generator[None]:
    """Without what torch prints and logs about a model that it cannot capture: the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _distinct(inputs: Any) -> Any:
    """The inputs with repeated tensors copied: export would make one input of a tensor passed twice."""
    seen: set[int] = set()

    def copy_if_repeated(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if value.data_ptr() in seen:
            return value.clone()
        seen.add(value.data_ptr())
        return value

    return pytree.tree_map(copy_if_repeated, inputs)


def _decompositions(program: ExportedProgram) -> dict[Any, Any]:
    """What operators are taken apart, and into what. Making the table anew takes torch 0.1 seconds, most of them for
    looking through all operators that libraries have registered: it is kept for programs that have none of those."""
    own = all(getattr(node.target, "namespace", "aten") == "aten" for node in program.graph.nodes)
    return (_kept_table if own else _table)(chooses(program))


def _table(routed: bool) -> dict[Any, Any]:
    table: Any = torch.export.default_decompositions()
    for name in _KEPT:
        packet, overload = name.split(".")
        table.pop(getattr(getattr(torch.ops.aten, packet), overload), None)
    table.update(FAST_PATHS)
    table.update(FOURIER)
    table.update(DECOMPOSITIONS)
    if routed:
        table[torch.ops.aten.einsum.default] = einsum
    return dict(table)


_kept_table = cache(_table)
