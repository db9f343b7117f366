"""Writes into tensors as functions of them: what torch's own decomposition does for every graph, for simple ones.

Decomposing traces the whole graph twice more, which takes longer than exporting it. A model mostly writes into its
buffers, or into parts of what it computes, directly, and never looks at an old view of it: then each write is replaced
where it stands.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence, Set
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, GraphModule, Node

from plena.frontend.mutations import changes_in_place, written
from plena.frontend.refusals import name_of

_ARITHMETIC = frozenset(["add_", "sub_", "mul_", "div_", "neg_", "abs_", "clamp_", "masked_fill_"])
_BOOLEAN = frozenset(["logical_not_", "logical_and_", "logical_or_", "bitwise_not_"])
_MOVES = frozenset(["copy_", "index_copy_", "index_put_", "fill_", "zero_"])
"""Operators whose twin gives the buffer's type: of numbers of that type, of booleans, and always."""

_DROPOUT = ("aten.dropout.default", "aten.feature_dropout.default", "aten.alpha_dropout.default")


_SCATTERS = {
    "aten.select.int": torch.ops.aten.select_scatter.default,
    "aten.slice.Tensor": torch.ops.aten.slice_scatter.default,
}
"""What puts a part of a tensor in the place that a view shows."""


def functional(program: ExportedProgram) -> ExportedProgram | None:
    """The program with the values that its buffers get as outputs; None unless every write is a simple one.

    Simple is a write into a whole buffer, or into what the model computes or a slice of it, by an operator that has a
    twin which is none, gives the same type, and behind which no view of the tensor from before is read.
    """
    signature = program.graph_signature
    is_plain = not any(spec.kind == OutputKind.BUFFER_MUTATION for spec in signature.output_specs)
    if not is_plain or not any(changes_in_place(node) for node in program.graph_module.graph.nodes):
        return None
    graph = copy.deepcopy(program.graph_module.graph)
    for own, node in zip(program.graph_module.graph.nodes, graph.nodes, strict=True):
        node.name = own.name  # A copy gives others to what is called as a function of Python is.
    shared = _shared(program)
    buffers = {
        spec.arg.name: str(spec.target)
        for spec in signature.input_specs
        if spec.kind == InputKind.BUFFER and spec.target not in shared
    }
    # The nodes that are what buffers hold at this place of the graph.
    holders = {node: buffers[node.name] for node in graph.nodes if node.name in buffers}
    changed: dict[str, Node] = {}
    places = {node: place for place, node in enumerate(graph.nodes)}
    parts = _Parts()
    for node in list(places):
        if not changes_in_place(node):
            continue
        twin, (before, views) = _twin(node), _origin(node.args[0])
        is_buffer = before in holders
        if twin is None or before is None or not (is_buffer or _is_new(before)):
            return None
        if views and is_buffer:
            return None
        behind = {user for user, place in places.items() if place > places[node]}
        if _is_seen_later(before, node, behind, views) or parts.overlap(before, behind):
            return None
        place = places.pop(node)
        with graph.inserting_before(node):
            after = graph.call_function(twin, node.args, node.kwargs)
            after.meta = dict(node.meta)
            wholes = [after]
            for view in reversed(views):
                whole = view.args[0]
                assert isinstance(whole, Node)
                after = graph.call_function(
                    _SCATTERS[name_of(view)], (whole, after, *view.args[1:]), view.kwargs
                )
                after.meta = {**node.meta, "val": whole.meta["val"]}
                wholes.insert(0, after)
        places.update(dict.fromkeys(wholes, place))
        node.replace_all_uses_with(wholes[-1])
        for old, new in zip((before, *views), wholes, strict=True):
            old.replace_all_uses_with(new, delete_user_cb=behind.__contains__)
        parts.replaced(before, wholes)
        graph.erase_node(node)
        if is_buffer:
            holders[after] = holders.pop(before)
            changed[holders[after]] = after
    return _with_outputs(program, graph, {n: changed[n] for n in buffers.values() if n in changed})


def with_plain_names(program: ExportedProgram) -> None:
    """Gives operators that are others under another name their names."""
    for node in program.graph_module.graph.nodes:
        name = name_of(node) if node.op == "call_function" else ""
        if name in _PLAIN:
            node.target = _PLAIN[name]
        elif name == "aten.pad.default" and (node.args[2:3] or ["constant"])[0] == "constant":
            fill = node.args[3] if len(node.args) > 3 else node.kwargs.get("value")
            node.target = torch.ops.aten.constant_pad_nd.default
            node.args, node.kwargs = (*node.args[:2], fill or 0), {}
    program.graph_module.recompile()


_PLAIN = {
    "aten.max.other": torch.ops.aten.maximum.default,
    "aten.min.other": torch.ops.aten.minimum.default,
    "aten.concatenate.default": torch.ops.aten.cat.default,
}


def without_dropout(program: ExportedProgram) -> None:
    """Takes out what does nothing in evaluation mode: its result is its argument, also when that changes later, which
    its declaration does not say."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if (
            name_of(node) in _DROPOUT
            and node.args[2] is False
            and not any(user.op == "output" for user in node.users)
        ):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()


def _shared(program: ExportedProgram) -> set[str]:
    """The tensors that have their memory in common with others."""
    memory: dict[int, list[str]] = {}
    for name, tensor in {**program.state_dict, **program.constants}.items():
        if isinstance(tensor, torch.Tensor):
            memory.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return {name for names in memory.values() if len(names) > 1 for name in names}


def _twin(node: Node) -> Any:
    """The operator that gives what this one writes into its first argument, None if there is none of that type."""
    schema: Any = getattr(node.target, "_schema", None)
    name = schema.name.removeprefix("aten::")
    if written(node) != [node.args[0]] or not name.endswith("_") or not schema.name.startswith("aten::"):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    twin = getattr(packet, schema.overload_name or "default", None)
    kinds = {
        value.dtype
        for argument in node.args
        if isinstance(argument, Node) and isinstance(value := argument.meta.get("val"), torch.Tensor)
    }
    keeps_type = (
        name in _MOVES
        or (name in _ARITHMETIC and len(kinds) == 1)
        or (name in _BOOLEAN and kinds == {torch.bool})
    )
    return twin if keeps_type else None


def _origin(node: Any) -> tuple[Node | None, list[Node]]:
    """The tensor of which a node is a part, and the views from the whole to the part."""
    views: list[Node] = []
    while isinstance(node, Node) and name_of(node) in _SCATTERS:
        views.insert(0, node)
        node = node.args[0]
    return (node if isinstance(node, Node) else None), views


def _is_new(node: Node) -> bool:
    """Whether a node has memory of its own."""
    return (
        node.op == "call_function"
        and getattr(node.target, "_schema", None) is not None
        and not _is_view(node)
    )


def _is_seen_later(value: Node, write: Node, behind: Set[Node], through: Sequence[Node]) -> bool:
    """Whether a view of a value from before a write is read behind it, other than those `through` which it writes."""
    views = [user for user in value.users if user is not write and user not in behind and _is_view(user)]
    while views:
        view = views.pop()
        if view not in through and not behind.isdisjoint(view.users):
            return True
        views += [user for user in view.users if user is not write and user not in behind and _is_view(user)]
    return False


class _Parts:
    """Values of parts of tensors that have a name of their own: a write into one is none into the other any more."""

    def __init__(self) -> None:
        self.wholes: dict[Node, list[Node]] = {}

    def overlap(self, written: Node, behind: Set[Node]) -> bool:
        """Whether something is read behind a write into a tensor that it would change too."""
        pairs = ((part, whole) for part, wholes in self.wholes.items() for whole in wholes)
        others = (a if b is written else b for a, b in pairs if written in (a, b))
        return any(not behind.isdisjoint(other.users) for other in others)

    def replaced(self, before: Node, values: Sequence[Node]) -> None:
        """A tensor has become the first of some values, the next is a part of it, and so on."""
        around = self.wholes.pop(before, [])
        for place, value in enumerate(values):
            if around or place:
                self.wholes[value] = [*around, *values[:place]]


def _is_view(node: Node) -> bool:
    """Whether a node may share its memory with an argument."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function":
        return False
    if schema is None:
        return True
    return any(result.alias_info is not None for result in schema.returns)


def _with_outputs(program: ExportedProgram, graph: Graph, written: dict[str, Node]) -> ExportedProgram:
    output = next(node for node in graph.nodes if node.op == "output")
    returned: tuple[Any, ...] = tuple(output.args[0])
    output.args = ((*written.values(), *returned),)
    signature = program.graph_signature
    specs = [
        OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(node.name), name)
        for name, node in written.items()
    ]
    for spec, node in zip(signature.output_specs, returned, strict=True):
        # A result may have been a write.
        is_tensor = isinstance(spec.arg, TensorArgument) and isinstance(node, Node)
        specs.append(OutputSpec(spec.kind, TensorArgument(node.name), spec.target) if is_tensor else spec)
    module = GraphModule(program.graph_module, graph)
    module.meta.update(program.graph_module.meta)
    return ExportedProgram(
        root=module,
        graph=graph,
        graph_signature=ExportGraphSignature(list(signature.input_specs), specs),
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=program.verifiers,
    )
