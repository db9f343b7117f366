"""Translation of an exported FX graph into the `aten` dialect."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.fx import Node
from torch.utils import _pytree as pytree
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    Float32Type,
    Float64Type,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Attribute, Region, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of
from plena.errors import CompileError
from plena.frontend import operators
from plena.frontend.export import export_module
from plena.frontend.folding import evaluate_node, mutated_buffers
from plena.frontend.graph_builder import GraphBuilder, Parameter, Value
from plena.frontend.locations import location_attributes
from plena.frontend.program import Counter, ImportedProgram, TensorSpec
from plena.frontend.refusals import blamed_on_node, refusal_at
from plena.frontend.routing.table import left
from plena.frontend.spellings.conversions import convert
from plena.host.ports import FixedResult
from plena.host.values.graph import HostValue
from plena.tensor.host_values import HostValues


def import_module(
    module: torch.nn.Module | ExportedProgram,
    example_inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> ImportedProgram:
    """The model as a function of `aten` ops.

    Args:
        module: a module, exported in eval mode, or the result of torch.export.
        example_inputs: positional arguments that fix shapes and dtypes; not needed for an ExportedProgram.
        kwargs: keyword arguments.

    Raises:
        CompileError: torch cannot export the module, a shape is dynamic, an element type is not supported, or the
            model changes something else than its buffers.
    """
    with paused_collection():
        program = export_module(module, example_inputs, {} if kwargs is None else kwargs, operators.all_known)
        return GraphImporter(program).run()


@contextmanager
def paused_collection() -> Generator[None]:
    """Without garbage collection: tracing makes many objects, all of them live, which it would scan in
    vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass
class GraphImporter(GraphBuilder):
    """One walk over the graph of `program`; handlers of single operators are in plena.frontend.operators."""

    def run(self) -> ImportedProgram:
        """Translate the whole graph."""
        graph = self.program.graph_module.graph
        self.start()
        self.fixed_results: list[FixedResult] = []
        self._check_mutations()
        self.states: dict[str, TensorSpec] = {}
        self.initial_states: dict[str, torch.Tensor] = {}
        self.counters: dict[str, TensorSpec] = {}
        self.counters_after: dict[str, tuple[Node, SSAValue]] = {}
        self._check_effects()
        inputs = self._import_placeholders()
        for node in graph.nodes:
            if node.op == "call_function" and node in self.plan.needed:
                self.values[node] = self._import_node(node)
            elif node.op not in ("placeholder", "output", "call_function", "get_attr"):
                raise refusal_at(node, f"a graph with a {node.op} node cannot be imported")
        outputs, results = self._import_outputs()
        self.builder.insert(func.ReturnOp(*results))
        for routing in (*self.routings.values(), *self.unions.values()):
            routing.discard()
        return self._assemble(inputs, outputs, results)

    def _assemble(
        self, inputs: list[TensorSpec], outputs: list[TensorSpec], results: list[SSAValue]
    ) -> ImportedProgram:
        """The program around the block, which then is a function: what the host computes is found by its arguments."""
        types = ([argument.type for argument in self.block.args], [result.type for result in results])
        main = func.FuncOp("main", types, Region(self.block))
        counters = tuple(
            Counter(spec, self._counter_after(spec, *self.counters_after[name]))
            for name, spec in self.counters.items()
        )
        read = {symbol: self.tensors[symbol] for counter in counters for symbol in counter.after.constants}
        self._drop_unused()
        self.tensors.update(read)
        main.properties["arg_attrs"] = _names([*inputs, *(counter.spec for counter in counters)])
        main.properties["res_attrs"] = _names(outputs)
        return ImportedProgram(
            ModuleOp([main]),
            self.tensors,
            inputs,
            outputs,
            self.program,
            dict(self._leaves()),
            tuple(self.fixed_results),
            tuple(self.states.values()),
            counters,
            self.initial_states,
        )

    def _leaves(self) -> Iterator[tuple[str, str]]:
        for node, value in self.values.items():
            symbol = self.symbols.get(id(value)) if isinstance(value, torch.Tensor) else None
            if isinstance(value, Parameter):
                symbol = value.symbol
            if symbol is not None:
                yield node.name, symbol

    def _drop_unused(self) -> None:
        """Remove parameters, and views of them, that only folded nodes have read; equal constants share a tensor."""
        dropped = set[str]()
        for op in reversed(list(self.block.ops)):
            if isinstance(op, aten.WriteStateOp):
                continue
            if isinstance(op, aten.AtenOp) and not any(result.first_use for result in op.results):
                if isinstance(op, aten.ParameterOp | aten.ConstantOp):
                    dropped.add(op.symbol.string_value())
                op.detach()
                op.erase()
        sources = (op for op in self.block.ops if isinstance(op, aten.ParameterOp | aten.ConstantOp))
        for symbol in dropped - {op.symbol.string_value() for op in sources}:
            self.tensors.pop(symbol, None)

    # The boundary of the function.

    def _check_mutations(self) -> None:
        for output in self.program.graph_signature.output_specs:
            if output.kind not in (OutputKind.USER_OUTPUT, OutputKind.BUFFER_MUTATION, OutputKind.TOKEN):
                raise CompileError(
                    f"the model changes {output.target} in place",
                    "inputs",
                    "Return the new value, or register a buffer for it: buffers are kept from run to run.",
                )

    def _check_effects(self) -> None:
        for node in self.program.graph_module.graph.nodes:
            if node.target is torch.ops.higher_order.with_effects:
                raise refusal_at(
                    node, f"{node.args[1]} has effects", "Leave printing and the like out of the forward."
                )

    def _import_placeholders(self) -> list[TensorSpec]:
        inputs: list[TensorSpec] = []
        states = mutated_buffers(self.program)
        names: dict[tuple[Any, ...], str] = {}
        counters: list[tuple[Node, str]] = []
        nodes = {
            node.name: node for node in self.program.graph_module.graph.nodes if node.op == "placeholder"
        }
        for spec in self.program.graph_signature.input_specs:
            node = nodes[spec.arg.name]
            if spec.kind == InputKind.USER_INPUT:
                if isinstance(spec.arg, ConstantArgument):
                    self.values[node] = spec.arg.value
                    continue
                inputs.append(self._import_input(node))
            elif node not in self.plan.needed and spec.target not in states:
                continue
            elif spec.target in states:
                assert spec.target is not None
                if node.meta["val"].is_floating_point():
                    self.values[node] = self._import_state(node, spec.target)
                else:
                    counters.append((node, spec.target))
            elif spec.kind == InputKind.PARAMETER:
                assert spec.target is not None
                tensor = self.program.state_dict[spec.target]
                key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if tensor.numel() else (node,)
                self.values[node] = Parameter(names.setdefault(key, spec.target), tensor)
            elif node in self.plan.constants:
                self.values[node] = self.plan.constants[node]
            else:
                user = next(iter(node.users), node)
                raise refusal_at(
                    user,
                    f"it takes {node.name}, which is no tensor",
                    "Compute what depends on it when the module is built.",
                )
        for node, name in counters:
            self._import_counter(node, name)
        return inputs

    def _import_input(self, node: Node) -> TensorSpec:
        shape = self.static_shape(node)
        value = node.meta["val"]
        if not isinstance(value, torch.Tensor):
            raise CompileError("it is not a tensor", f"input {node.name}", "Give a tensor or a number.")
        if 0 in shape:
            hint = "Give a tensor that has elements."
            raise CompileError(f"its shape {list(shape)} is empty", f"input {node.name}", hint)
        argument = self.block.insert_arg(self.tensor_type(value, node), len(self.block.args))
        argument.name_hint = node.name
        self.values[node] = argument
        return TensorSpec(node.name, shape, value.dtype)

    def _import_state(self, node: Node, name: str) -> SSAValue:
        """A buffer of real numbers that the model changes."""
        shape, value = self.static_shape(node), node.meta["val"]
        self.states[name] = TensorSpec(name, shape, value.dtype)
        self._hold(node, name)
        return self.insert(
            aten.StateOp.build(
                properties={"symbol": SymbolRefAttr(name)}, result_types=[self.tensor_type(value, node)]
            )
        )

    def _import_counter(self, node: Node, name: str) -> None:
        """A buffer of integers that the model changes: the host keeps it and stages what depends on it."""
        self._hold(node, name)
        argument = self.block.insert_arg(self.tensor_type(node.meta["val"], node), len(self.block.args))
        argument.name_hint = node.name
        self.values[node] = argument
        self.counters[name] = TensorSpec(name, self.static_shape(node), node.meta["val"].dtype)

    def _hold(self, node: Node, name: str) -> None:
        """What a buffer that changes has in it at first."""
        shape = self.static_shape(node)
        if 0 in shape:
            raise CompileError(f"its shape {list(shape)} is empty", f"buffer {name}", "Leave it out.")
        held = self.program.state_dict.get(name, self.program.constants.get(name))
        assert isinstance(held, torch.Tensor)
        self.initial_states[name] = held.detach().clone()

    def _import_outputs(self) -> tuple[list[TensorSpec], list[SSAValue]]:
        output_node = next(node for node in self.program.graph_module.graph.nodes if node.op == "output")
        self.location = {}
        specs: list[TensorSpec] = []
        results: list[SSAValue] = []
        names = _output_names(self.program)
        pairs = list(zip(self.program.graph_signature.output_specs, output_node.args[0], strict=True))
        for spec, node in pairs:
            if spec.kind == OutputKind.BUFFER_MUTATION and spec.target in self.states:
                self._write_state(spec.target or "", node)
            if spec.kind == OutputKind.BUFFER_MUTATION and spec.target in self.counters:
                with blamed_on_node(node):
                    self.counters_after[spec.target or ""] = (node, self.ssa(self.values[node]))
        returned = [(spec, node) for spec, node in pairs if spec.kind == OutputKind.USER_OUTPUT]
        for place, ((spec, node), name) in enumerate(zip(returned, names, strict=True)):
            if isinstance(spec.arg, ConstantArgument):
                self.fixed_results.append((place, spec.arg.value))
            if not isinstance(spec.arg, TensorArgument):
                continue
            value = self._result(node)
            specs.append(TensorSpec(name, self.static_shape(node), node.meta["val"].dtype))
            results.append(value)
        if not results:
            raise CompileError("the model returns no tensor", "outputs", "Return what it computes.")
        return specs, results

    def _write_state(self, name: str, node: Node) -> None:
        with blamed_on_node(node):
            value = self.ssa(self.values[node])
        write = aten.WriteStateOp.build(
            operands=[value],
            properties={"symbol": SymbolRefAttr(name)},
            attributes=location_attributes(node),
        )
        self.builder.insert(write)

    def _counter_after(self, spec: TensorSpec, node: Node, value: SSAValue) -> HostValue:
        """What the host computes for the next run."""
        found = HostValues().of(value)
        if found is None:
            raise refusal_at(
                node,
                f"buffer {spec.name} of {str(spec.dtype).removeprefix('torch.')} becomes what the machine "
                "computes, which keeps real numbers only",
                "Keep real numbers in it, or compute it of integers alone.",
            )
        return found

    def _result(self, node: Node) -> SSAValue:
        """What the model returns; a constant has the place where it is computed."""
        value = self.values[node]
        self.result_location = location_attributes(self.origins.get(id(value), node))
        if 0 in self.static_shape(node):
            hint = "Return tensors that have elements."
            raise refusal_at(node, f"a result of shape {list(self.static_shape(node))} is empty", hint)
        with blamed_on_node(node):
            result = self.ssa(left(self, value))
            if isinstance(element_type_of(result), Float64Type):
                result = convert(self, result, Float32Type())
            return result

    # Nodes.

    def _refuse_empty_operands(self, node: Node) -> None:
        """Nothing is left to add up."""
        packet = getattr(node.target, "overloadpacket", None)
        result = node.meta.get("val")
        if packet not in _OVER_AXES or not isinstance(result, torch.Tensor) or 0 in result.shape:
            return
        for source in node.all_input_nodes:
            value = source.meta.get("val")
            if isinstance(value, torch.Tensor) and 0 in value.shape:
                hint = "Write what it is without them."
                raise refusal_at(node, f"{source.name} of shape {list(value.shape)} has no elements", hint)

    def _import_node(self, node: Node) -> Value:
        self.node = node
        if node in self.plan.foldable:
            with blamed_on_node(node):
                value = evaluate_node(node, self._known_value)
            self.plan.names[id(value)] = node.name
            self.origins[id(value)] = node
            return value
        self.location = location_attributes(node)
        self._refuse_empty_operands(node)
        with blamed_on_node(node):
            return operators.import_node(self, node)

    def _known_value(self, node: Node) -> Any:
        value = self.values[node]
        if isinstance(value, Parameter):
            return value.tensor
        if isinstance(value, SSAValue) or (isinstance(value, list | tuple) and value):
            return evaluate_node(node, self._known_value)
        return value


_ATEN = torch.ops.aten
_OVER_AXES = frozenset(
    [
        *(_ATEN.sum, _ATEN.mean, _ATEN.prod, _ATEN.var, _ATEN.std, _ATEN.logsumexp, _ATEN.any, _ATEN.all),
        *(_ATEN.matmul, _ATEN.mm, _ATEN.bmm, _ATEN.mv, _ATEN.addmm, _ATEN.linear, _ATEN.einsum),
    ]
)
"""Operators whose result has elements where an operand has none."""


def _names(specs: Sequence[TensorSpec]) -> Attribute:
    return ArrayAttr([DictionaryAttr({"plena.name": StringAttr(spec.name)}) for spec in specs])


def _output_names(program: ExportedProgram) -> list[str]:
    count = sum(spec.kind == OutputKind.USER_OUTPUT for spec in program.graph_signature.output_specs)
    structure = program.call_spec.out_spec
    leaves = [] if structure is None else pytree.tree_unflatten(range(count), structure)
    paths = pytree.tree_flatten_with_path(leaves)[0]
    names = [pytree.keystr(path).strip(".[]'\"").replace("']['", ".") or "output" for path, _ in paths]
    if len(names) != count:
        return [f"output.{i}" for i in range(count)]
    return [f"output.{name}" if name.isdigit() else name for name in names]
