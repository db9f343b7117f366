"""Writes into buffers as functions of them: what torch's own decomposition does for every graph, for simple ones.

Decomposing traces the whole graph twice more, which takes longer than exporting it. A model with a cache mostly writes
into its buffers directly, and never looks at an old view of one: then each write is replaced where it stands.
"""

from __future__ import annotations

import copy
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

_ARITHMETIC = frozenset(["add_", "sub_", "mul_", "div_", "neg_", "abs_", "clamp_", "masked_fill_"])
_BOOLEAN = frozenset(["logical_not_", "logical_and_", "logical_or_", "bitwise_not_"])
_MOVES = frozenset(["copy_", "index_copy_", "index_put_", "fill_", "zero_"])
"""Operators whose twin gives the buffer's type: of numbers of that type, of booleans, and always."""


def functional(program: ExportedProgram) -> ExportedProgram | None:
    """The program with the values that its buffers get as outputs; None unless every write is a simple one.

    Simple is a write into a whole buffer by an operator that has a twin which is none, gives the same type, and behind
    which no view of the buffer from before is read.
    """
    if not any(_writes(node) for node in program.graph_module.graph.nodes):
        return None
    graph = copy.deepcopy(program.graph_module.graph)
    for own, node in zip(program.graph_module.graph.nodes, graph.nodes, strict=True):
        node.name = own.name  # A copy gives others to what is called as a function of Python is.
    names = {
        spec.arg.name: spec.target
        for spec in program.graph_signature.input_specs
        if spec.kind == InputKind.BUFFER
    }
    current = {
        node: node for node in graph.nodes if node.op == "placeholder" and names.get(node.name) is not None
    }
    if any(kind.kind == OutputKind.BUFFER_MUTATION for kind in program.graph_signature.output_specs):
        return None
    shared = _shared(program)
    for node in list(graph.nodes):
        if node.op != "call_function" or not _writes(node):
            continue
        buffer = next((b for b, value in current.items() if node.args and node.args[0] is value), None)
        twin = _twin(node)
        if buffer is None or twin is None or names[buffer.name] in shared:
            return None
        if _is_seen_later(current[buffer], node):
            return None
        with graph.inserting_before(node):
            after = graph.call_function(twin, node.args, node.kwargs)
        after.meta = dict(node.meta)
        before = current[buffer]
        node.replace_all_uses_with(after)
        behind = _behind(graph, after)
        before.replace_all_uses_with(after, delete_user_cb=lambda user, behind=behind: user in behind)
        graph.erase_node(node)
        current[buffer] = after
    return _with_outputs(program, graph, {str(names[b.name]): v for b, v in current.items() if v is not b})


def without_dropout(program: ExportedProgram) -> None:
    """Takes out what does nothing in evaluation mode: its result is its argument, also when that changes later, which
    its declaration does not say."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        name = getattr(getattr(node.target, "_schema", None), "name", "")
        is_dropout = name in ("aten::dropout", "aten::feature_dropout", "aten::alpha_dropout")
        if is_dropout and node.args[2] is False and not any(user.op == "output" for user in node.users):
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


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _twin(node: Node) -> Any:
    """The operator that gives what this one writes into its first argument, None if there is none of that type."""
    schema: Any = getattr(node.target, "_schema", None)
    first, *others = schema.arguments
    is_first_alone = first.alias_info is not None and not any(
        a.alias_info is not None and a.alias_info.is_write for a in others
    )
    name = schema.name.removeprefix("aten::")
    if not is_first_alone or not name.endswith("_") or not schema.name.startswith("aten::"):
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


def _is_seen_later(value: Node, write: Node) -> bool:
    """Whether a view of a value is read behind a write, or the write itself reads one."""
    behind = _behind(write.graph, write) | {write}
    views = [user for user in value.users if user is not write and _is_view(user)]
    while views:
        view = views.pop()
        if any(user in behind for user in view.users):
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


def _behind(graph: Graph, node: Node) -> set[Node]:
    found: set[Node] = set()
    seen = False
    for other in graph.nodes:
        if seen:
            found.add(other)
        seen = seen or other is node
    return found


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
