"""Writes into buffers as functions of them: what torch's own decomposition does for every graph, for simple ones.

Decomposing traces the whole graph twice more, which takes longer than exporting it. A model with a cache mostly writes
into its buffers directly, and never looks at an old view of one: then each write is replaced where it stands.
"""

from __future__ import annotations

import copy
from collections.abc import Set
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


def functional(program: ExportedProgram) -> ExportedProgram | None:
    """The program with the values that its buffers get as outputs; None unless every write is a simple one.

    Simple is a write into a whole buffer by an operator that has a twin which is none, gives the same type, and behind
    which no view of the buffer from before is read.
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
    for node in list(places):
        if not changes_in_place(node):
            continue
        before, twin = node.args[0], _twin(node)
        if not isinstance(before, Node) or before not in holders or twin is None:
            return None
        behind = {user for user, place in places.items() if place > places[node]}
        if _is_seen_later(before, node, behind):
            return None
        with graph.inserting_before(node):
            after = graph.call_function(twin, node.args, node.kwargs)
        after.meta = dict(node.meta)
        places[after] = places.pop(node)
        node.replace_all_uses_with(after)
        before.replace_all_uses_with(after, delete_user_cb=behind.__contains__)
        graph.erase_node(node)
        holders[after] = holders.pop(before)
        changed[holders[after]] = after
    return _with_outputs(program, graph, {n: changed[n] for n in buffers.values() if n in changed})


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


def _is_seen_later(value: Node, write: Node, behind: Set[Node]) -> bool:
    """Whether a view of a value is read behind a write, or the write itself reads one."""
    views = [user for user in value.users if user is not write and _is_view(user)]
    while views:
        view = views.pop()
        if any(user is write or user in behind for user in view.users):
            return True
        views += [user for user in view.users if _is_view(user)]
    return False


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
