"""What may be given to a model that is compiled: dense tensors with values, numbers, and containers of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from plena.errors import CompileError
from plena.tensor.element_types import DTYPES, element_type, unsupported_dtype


def require_inputs(args: object, kwargs: object) -> None:
    """Check the example inputs before torch sees them.

    Args:
        args: positional ones, a tuple or list.
        kwargs: named ones, a dictionary.

    Raises:
        CompileError: naming the input and what to give instead.
    """
    if isinstance(args, torch.Tensor):
        raise CompileError(
            "the example inputs must be a tuple, not one tensor",
            "inputs",
            "Write plena.compile(model, (x,)).",
        )
    if isinstance(args, Mapping):
        raise CompileError(
            "the example inputs must be a tuple, not a dictionary",
            "inputs",
            "Named inputs are the third argument: plena.compile(model, (), inputs).",
        )
    if not isinstance(args, tuple | list):
        raise CompileError(
            f"the example inputs must be a tuple of tensors, not {_kind(args)}",
            "inputs",
            "Write plena.compile(model, (x,)) with a tensor of the shape that the program should take.",
        )
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise CompileError(
            f"named inputs must be a dictionary by their names, not {_kind(kwargs)}",
            "inputs",
            'Write plena.compile(model, (x,), {"mask": mask}).',
        )
    for name, value in (*enumerate(args), *kwargs.items()):
        for path, leaf in pytree.tree_flatten_with_path(value)[0]:
            _require_leaf(leaf, f"input {name}{pytree.keystr(path)}")


def require_values(module: torch.nn.Module) -> None:
    """Check that the parameters and buffers of a module have values that can be read.

    Raises:
        CompileError: naming the parameter.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise CompileError(
            "the model is a ScriptModule, which has no Python to capture",
            "model",
            "Give the module that was scripted or traced.",
        )
    if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        name = type(module).__name__
        raise CompileError(f"the model is a {name}", "model", "Give the module that it wraps: model.module.")
    for kind, named in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, tensor in named:
            _require_dense(tensor, f"{kind} {name} of {type(module).__name__}")


def require_distinct(program: ExportedProgram) -> None:
    """Check that no input of a program was lost because it was exported with one tensor for two inputs.

    Raises:
        CompileError: torch.export made the graph read one of them for both.
    """
    given, named = program.example_inputs or ((), {})
    leaves = pytree.tree_leaves((tuple(given), dict(named)))
    by_name = dict(zip(program.graph_signature.user_inputs, leaves, strict=False))
    read = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    for name, value in by_name.items():
        others = [other for other in by_name if other != name and by_name[other] is value and other in read]
        if isinstance(value, torch.Tensor) and name not in read and others:
            raise CompileError(
                f"the program was exported with one tensor for {name} and {others[0]}, and reads {others[0]} for both",
                f"input {name}",
                "Export it with a tensor of its own for each input: torch.export.export(model, (x, x.clone())).",
            )


def _require_leaf(leaf: object, place: str) -> None:
    if isinstance(leaf, torch.Tensor):
        _require_dense(leaf, place)
        if element_type(leaf.dtype) is None:
            hint = f"{DTYPES} Complex ones have two parts: torch.view_as_real(x)."
            raise CompileError(unsupported_dtype(leaf), place, hint if leaf.is_complex() else DTYPES)
        if 0 in leaf.shape:
            raise CompileError(
                f"its shape {list(leaf.shape)} is empty", place, "Give a tensor that has elements."
            )
    elif not (leaf is None or isinstance(leaf, bool | int | float | str)):
        hint = "Give a tensor: torch.as_tensor(x)." if hasattr(leaf, "__array__") else "Give a tensor."
        raise CompileError(f"it is {_kind(leaf)}, which is no tensor", place, hint)


def _require_dense(tensor: torch.Tensor, place: str) -> None:
    """Whether the values of a tensor can be read on the host."""
    if torch.nn.parameter.is_lazy(tensor):
        raise CompileError("it has no shape yet", place, "Call the model once on inputs, or give a tensor.")
    if tensor.is_nested:
        raise CompileError("it is a nested tensor", place, "Pad it: torch.nested.to_padded_tensor(x, 0.0).")
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise CompileError(f"it is sparse ({layout})", place, "Make it dense: x.to_dense().")
    if tensor.is_quantized:
        raise CompileError(f"it is quantised ({tensor.dtype})", place, "Give its values: x.dequantize().")
    if tensor.is_meta:
        raise CompileError("it is on the meta device and has no values", place, "Make it on the CPU.")
    if tensor.device.type != "cpu":
        raise CompileError(f"it is on {tensor.device}", place, "Move it to the CPU: x.cpu().")


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value) if len(repr(value)) < 40 else f"a {type(value).__name__}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"a {name}"
