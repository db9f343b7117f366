"""What a model must not do: change its parameters, inputs, plain attributes or numbers while it runs.

Buffers that it changes are its state (docs/state.md).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.utils import _pytree as pytree

from plena.errors import CompileError
from plena.frontend.locations import source_line

ATTRIBUTE = "Register it: what self.register_buffer(name, tensor) makes is a state, which a program keeps between runs."
"""What to do about a tensor that is a plain attribute and changes."""

_ADVICE = {
    InputKind.PARAMETER: "Change parameters before the model is compiled. An nn.Embedding with max_norm does it in "
    "every call: renormalise its weight once, then set max_norm to None.",
    InputKind.USER_INPUT: "Make a new tensor instead: y = x + 1 for x += 1, x.relu() for x.relu_().",
}


def refuse_changes_in_place(program: ExportedProgram) -> None:
    """Find operators that write into what the graph is given and is no buffer.

    Raises:
        CompileError: which tensor, which operator, which line, and what to write instead.
    """
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for node in program.graph_module.graph.nodes:
        for changed in written(node):
            origin = _viewed(changed)
            if origin.op == "placeholder" and specs[origin.name].kind != InputKind.BUFFER:
                spec = specs[origin.name]
                kind = spec.kind.name.lower().replace("user_", "").replace("constant_tensor", "attribute")
                name = spec.target or spec.arg.name
                raise CompileError(
                    f"{node.target} changes the {kind} {name} in place",
                    source_line(node),
                    _ADVICE.get(spec.kind, ATTRIBUTE),
                )


def refuse_shared_states(program: ExportedProgram) -> None:
    """Find operators that write into a tensor which the module has by another name, too: each would be a state.

    Raises:
        CompileError: which tensors, which operator, which line, and what to write instead.
    """
    shared = _shared_tensors(program)
    if not shared:
        return
    targets = {spec.arg.name: spec.target or "" for spec in program.graph_signature.input_specs}
    for node in program.graph_module.graph.nodes:
        for changed in written(node):
            name = targets.get(_viewed(changed).name, "")
            if name in shared:
                others = ", ".join(shared[name])
                raise CompileError(
                    f"{node.target} changes {name}, which lies in the same memory as {others}",
                    source_line(node),
                    "Register the tensor once and read it by one name, or give each its own memory: "
                    "self.m = self.n.clone().",
                )


def _shared_tensors(program: ExportedProgram) -> dict[str, list[str]]:
    """By buffer, parameter or attribute the names of the others that lie in the same memory."""
    by_memory: dict[int, list[str]] = {}
    for name, value in {**program.constants, **program.state_dict}.items():
        if isinstance(value, torch.Tensor) and value.numel() and not value.is_meta:
            by_memory.setdefault(value.untyped_storage().data_ptr(), []).append(name)
    return {
        name: [other for other in names if other != name]
        for names in by_memory.values()
        if len(names) > 1
        for name in names
    }


def changes_in_place(node: Node) -> bool:
    """Whether an operator writes into an argument."""
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and schema.is_mutable


def written(node: Node) -> list[Node]:
    """The arguments that an operator writes into."""
    if not changes_in_place(node):
        return []
    schema: Any = getattr(node.target, "_schema", None)
    given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | node.kwargs
    names = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return [value for name in names if isinstance(value := given.get(name), Node)]


def _viewed(node: Node) -> Node:
    """The tensor that a view shows, or that an operator in place gives back."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], Node):
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.arguments or schema.arguments[0].alias_info is None:
            break
        node = node.args[0]
    return node


Plain = bool | int | float | str
_OWN = frozenset(torch.nn.Module().__dict__)
_ABSENT = object()


@dataclass
class PlainAttributes:
    """What modules carry beside their tensors and children, before a model is called.

    Attributes:
        before: by module path and name the objects that were there; `copies` are those of lists, dictionaries and sets.
        changed: plain numbers and names, also in containers, with what they were before and after the last call.
    """

    module: torch.nn.Module
    before: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    copies: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    plain: dict[str, Plain] = field(default_factory=dict[str, Plain])
    changed: dict[str, tuple[Plain, Plain]] = field(default_factory=dict[str, tuple[Plain, Plain]])

    def __post_init__(self) -> None:
        for path, child in self.module.named_modules():
            for name, value in child.__dict__.items():
                if name not in _OWN:
                    self.before[path, name] = value
                    if isinstance(value, list | dict | set):
                        self.copies[path, name] = value.copy()
        self.plain = self._plain_now()

    def _plain_now(self) -> dict[str, Plain]:
        found: dict[str, Plain] = {}
        for path, child in self.module.named_modules():
            for name, value in child.__dict__.items():
                for keys, leaf in pytree.tree_flatten_with_path(value)[0] if name not in _OWN else ():
                    if isinstance(leaf, Plain):
                        found[f"{path}.{name}{pytree.keystr(keys)}".strip(".")] = leaf
        return found

    def compare(self) -> None:
        """Note which plain values differ from what they were."""
        now = self._plain_now()
        self.changed = {
            name: (old, now[name]) for name, old in self.plain.items() if name in now and now[name] != old
        }

    def restore(self) -> None:
        """Give every module what it had: tracing leaves tensors without values behind."""
        for path, child in self.module.named_modules():
            for name in [name for name in child.__dict__ if name not in _OWN]:
                if (path, name) not in self.before:
                    del child.__dict__[name]
        modules = dict(self.module.named_modules())
        for (path, name), old in self.before.items():
            if modules[path].__dict__.get(name, _ABSENT) is not old:
                modules[path].__dict__[name] = old
            if (path, name) not in self.copies:
                continue
            copied = self.copies[path, name]
            if isinstance(old, list):
                old[:] = copied
            else:
                old.clear()
                old.update(copied)


@contextmanager
def watched_attributes(module: torch.nn.Module) -> Generator[PlainAttributes]:
    """Watch what calls of a module inside the context do to its plain attributes; undone behind it."""
    watched = PlainAttributes(module)
    hook = module.register_forward_hook(lambda *_: watched.compare())
    try:
        yield watched
    finally:
        hook.remove()
        watched.restore()


def refuse_counters(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call a module twice; what it remembers of a first call is fine, what goes on changing is not.

    Raises:
        CompileError: the attribute that every call changes.
    """
    with torch.no_grad(), watched_attributes(module) as watched:
        module(*args, **kwargs)
        first = watched.changed
        module(*args, **kwargs)
        for name, (old, new) in watched.changed.items():
            once = first[name][1] if name in first else old
            if once != new:
                raise CompileError(
                    f"the model changes its attribute {name} in every call, {once!r} became {new!r}",
                    type(module).__name__,
                    "A program computes the same in every run: make it an input of the model, or leave it out.",
                )
