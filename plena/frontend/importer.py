"""Translation of an exported FX graph into the `aten` dialect."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.fx import Node
from torch.utils import _pytree as pytree
from xdsl.builder import Builder
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    f64,
    i64,
)
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from plena.dialects import aten
from plena.errors import CompileError
from plena.frontend import operators
from plena.frontend.bands import mask_properties
from plena.frontend.element_types import DTYPES, element_type, unsupported_dtype
from plena.frontend.export import export_module
from plena.frontend.folding import FoldingPlan, evaluate_node, plan_folding
from plena.frontend.locations import location_attributes
from plena.frontend.mutations import STATE
from plena.frontend.program import ImportedProgram, TensorSpec
from plena.frontend.refusals import blamed_on_node, refusal_at
from plena.host.ports import FixedResult


@dataclass(frozen=True)
class Parameter:
    """A parameter of the model by its state_dict name."""

    symbol: str
    tensor: torch.Tensor


Value = SSAValue | Parameter | torch.Tensor | tuple[Any, ...] | list[Any] | float | str | None
"""What a node of the graph stands for: a value of the IR, a parameter, a folded constant, or several of
them."""


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
        CompileError: torch cannot export the module, a shape is dynamic, an element type is not supported, or
        the
            model changes its own buffers.
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
class GraphImporter:
    """One walk over the graph of `program`; handlers of single operators are in plena.frontend.operators."""

    program: ExportedProgram
    tensors: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    values: dict[Node, Value] = field(default_factory=dict[Node, Value])

    def run(self) -> ImportedProgram:
        """Translate the whole graph."""
        graph = self.program.graph_module.graph
        self.plan: FoldingPlan = plan_folding(self.program)
        self.block = Block()
        self.builder = Builder(InsertPoint.at_end(self.block))
        self.emitted: dict[int | str, SSAValue] = {}
        self.constants: dict[tuple[object, ...], list[str]] = {}
        self.symbols: dict[int, str] = {}
        self.held: list[torch.Tensor] = []
        self.origins: dict[int, Node] = {}
        self.location: dict[str, Attribute] = {}
        self.result_location: dict[str, Attribute] = {}
        self.fixed_results: list[FixedResult] = []
        self._check_mutations()
        self._check_effects()
        inputs = self._import_placeholders()
        for node in graph.nodes:
            if node.op == "call_function" and node in self.plan.needed:
                self.values[node] = self._import_node(node)
            elif node.op not in ("placeholder", "output", "call_function", "get_attr"):
                raise refusal_at(node, f"a graph with a {node.op} node cannot be imported")
        outputs, results = self._import_outputs()
        self.builder.insert(func.ReturnOp(*results))
        self._drop_unused()
        return self._assemble(inputs, outputs, results)

    def _assemble(
        self, inputs: list[TensorSpec], outputs: list[TensorSpec], results: list[SSAValue]
    ) -> ImportedProgram:
        types = ([argument.type for argument in self.block.args], [result.type for result in results])
        main = func.FuncOp("main", types, Region(self.block))
        main.properties["arg_attrs"] = _names(inputs)
        main.properties["res_attrs"] = _names(outputs)
        return ImportedProgram(
            ModuleOp([main]),
            self.tensors,
            inputs,
            outputs,
            self.program,
            dict(self._leaves()),
            tuple(self.fixed_results),
        )

    def _leaves(self) -> Iterator[tuple[str, str]]:
        for node, value in self.values.items():
            symbol = self.symbols.get(id(value)) if isinstance(value, torch.Tensor) else None
            if isinstance(value, Parameter):
                symbol = value.symbol
            if symbol is not None:
                yield node.name, symbol

    def _drop_unused(self) -> None:
        """Remove parameters, and views of them, that only folded nodes have read."""
        for op in reversed(list(self.block.ops)):
            if isinstance(op, aten.AtenOp) and not any(result.first_use for result in op.results):
                if isinstance(op, aten.ParameterOp | aten.ConstantOp):
                    self.tensors.pop(op.symbol.string_value(), None)
                op.detach()
                op.erase()

    # The boundary of the function.

    def _check_mutations(self) -> None:
        for output in self.program.graph_signature.output_specs:
            if output.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION):
                raise CompileError(
                    f"the model changes {output.target} in place",
                    hint=STATE,
                )

    def _check_effects(self) -> None:
        for node in self.program.graph_module.graph.nodes:
            if node.target is torch.ops.higher_order.with_effects:
                raise refusal_at(
                    node, f"{node.args[1]} has effects", "Leave printing and the like out of the forward."
                )

    def _import_placeholders(self) -> list[TensorSpec]:
        inputs: list[TensorSpec] = []
        names: dict[tuple[Any, ...], str] = {}
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
            elif node not in self.plan.needed:
                continue
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

    def _import_outputs(self) -> tuple[list[TensorSpec], list[SSAValue]]:
        output_node = next(node for node in self.program.graph_module.graph.nodes if node.op == "output")
        self.location = {}
        specs: list[TensorSpec] = []
        results: list[SSAValue] = []
        names = _output_names(self.program)
        for place, (spec, node, name) in enumerate(
            zip(self.program.graph_signature.output_specs, output_node.args[0], names, strict=True)
        ):
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

    def _result(self, node: Node) -> SSAValue:
        """What the model returns; a constant has the place where it is computed."""
        value = self.values[node]
        self.result_location = location_attributes(self.origins.get(id(value), node))
        if 0 in self.static_shape(node):
            hint = "Return tensors that have elements."
            raise refusal_at(node, f"a result of shape {list(self.static_shape(node))} is empty", hint)
        with blamed_on_node(node):
            return self.ssa(value)

    # Nodes.

    def _import_node(self, node: Node) -> Value:
        self.node = node
        if node in self.plan.foldable:
            with blamed_on_node(node):
                value = evaluate_node(node, self._known_value)
            self.plan.names[id(value)] = node.name
            self.origins[id(value)] = node
            return value
        self.location = location_attributes(node)
        with blamed_on_node(node):
            return operators.import_node(self, node)

    def _known_value(self, node: Node) -> Any:
        value = self.values[node]
        if isinstance(value, Parameter):
            return value.tensor
        if isinstance(value, SSAValue) or (isinstance(value, list | tuple) and value):
            return evaluate_node(node, self._known_value)
        return value

    def name_constant(self, tensor: torch.Tensor) -> None:
        """Call a tensor that a handler derived from constants by the current node's name."""
        self.held.append(tensor)
        self.plan.names[id(tensor)] = self.node.name

    def value_of(self, argument: Any) -> Any:
        """A node's argument with nodes replaced by their values, also inside lists."""
        if isinstance(argument, Node):
            if argument.op == "get_attr" and argument not in self.values:
                raise refusal_at(
                    self.node,
                    "it runs one of several graphs at run time",
                    "Compute both sides and choose with torch.where, or branch on shapes and settings.",
                )
            return self.values[argument]
        if isinstance(argument, list | tuple):
            return [self.value_of(element) for element in argument]
        return argument

    # What handlers build with.

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the current node's result."""
        return self.static_shape(self.node)

    @property
    def element(self) -> Attribute:
        """The element type of the current node's result."""
        return self.tensor_type(self.node.meta["val"], self.node).get_element_type()

    @property
    def result_type(self) -> TensorType[Any]:
        """The type of the current node's result."""
        return TensorType(self.element, self.shape)

    def build(
        self,
        operation: type[aten.AtenOp],
        operands: Sequence[Any],
        properties: Mapping[str, Attribute] | None = None,
        shape: Sequence[int] | None = None,
        element: Attribute | None = None,
    ) -> SSAValue:
        """A new op of the current node's location; its type is the node's unless given.

        An operand is anything that `ssa` takes, or a list of such for optional and variadic operands.
        """
        values = [[self.ssa(x) for x in o] if isinstance(o, list) else self.ssa(o) for o in operands]
        result_type = TensorType(element or self.element, self.shape if shape is None else shape)
        built = operation.build(
            operands=values,
            result_types=[result_type],
            properties=properties or {},
            attributes=self.location,
        )
        return self.insert(built)

    def insert(self, operation: aten.AtenOp) -> SSAValue:
        """Append an op that has one result."""
        self.builder.insert(operation)
        return operation.results[0]

    def ssa(self, value: Any) -> SSAValue:
        """The value in the IR: parameters and constants appear where they are first used."""
        match value:
            case SSAValue():
                return value
            case Parameter():
                return self._parameter(value)
            case torch.Tensor():
                return self._constant(value)
            case bool() | int() | float():
                return self._number(value)
            case _:
                raise refusal_at(
                    self.node,
                    f"{type(value).__name__} {value!r} is no tensor",
                    "Give it tensors and numbers alone.",
                )

    def _parameter(self, parameter: Parameter) -> SSAValue:
        if parameter.symbol not in self.emitted:
            self.tensors[parameter.symbol] = parameter.tensor
            self.emitted[parameter.symbol] = self.insert(
                aten.ParameterOp.build(
                    properties={"symbol": SymbolRefAttr(parameter.symbol)},
                    result_types=[self.tensor_type(parameter.tensor, None)],
                )
            )
        return self.emitted[parameter.symbol]

    def _constant(self, tensor: torch.Tensor) -> SSAValue:
        if id(tensor) not in self.emitted:
            if tensor.is_meta:
                raise CompileError(
                    "a constant is on the meta device and has no values", None, "Make it on the CPU."
                )
            self.held.append(tensor)
            compact = _without_repetition(tensor)
            constant = self._constant_op(compact, self.plan.names.get(id(tensor), "constant"))
            if isinstance(constant, aten.ConstantOp):
                self.symbols[id(tensor)] = constant.symbol.string_value()
            value = self.insert(constant)
            if compact.shape != tensor.shape:
                result_type = self.tensor_type(tensor, None)
                value = self.insert(aten.ExpandOp.build(operands=[value], result_types=[result_type]))
            self.emitted[id(tensor)] = value
        return self.emitted[id(tensor)]

    def _constant_op(self, tensor: torch.Tensor, name: str) -> aten.AtenOp:
        result_type = self.tensor_type(tensor, None)
        if _is_uniform(tensor):
            number = tensor.flatten()[0].item()
            return aten.FullOp.build(
                properties={"value": _number_attribute(number)},
                result_types=[result_type],
                attributes=self.result_location,
            )
        symbol = self._equal_constant(tensor)
        if symbol is None:
            symbol = self._fresh_symbol(name)
            self.tensors[symbol] = tensor
            self.constants.setdefault(_fingerprint(tensor), []).append(symbol)
        return aten.ConstantOp.build(
            properties={"symbol": SymbolRefAttr(symbol), **mask_properties(tensor)},
            result_types=[result_type],
        )

    def _equal_constant(self, tensor: torch.Tensor) -> str | None:
        """The symbol of a folded constant with the same elements: every layer folds its own rotary tables."""
        for symbol in self.constants.get(_fingerprint(tensor), ()):
            if torch.equal(self.tensors[symbol], tensor):
                return symbol
        return None

    def _fresh_symbol(self, stem: str) -> str:
        symbol, count = stem, 1
        while symbol in self.tensors:
            symbol, count = f"{stem}.{count}", count + 1
        return symbol

    def _number(self, number: float) -> SSAValue:
        element = self.tensor_type(torch.tensor(number), None).get_element_type()
        return self.insert(
            aten.FullOp.build(
                properties={"value": _number_attribute(number)}, result_types=[TensorType(element, ())]
            )
        )

    def static_shape(self, node: Node) -> tuple[int, ...]:
        """The shape of a node's tensor, an error if a dimension is symbolic."""
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return ()
        sizes: list[Any] = list(value.shape)
        if not all(isinstance(size, int) for size in sizes):
            raise refusal_at(
                node,
                f"it has the dynamic shape [{', '.join(str(s) for s in value.shape)}]",
                "Export with example inputs and without dynamic_shapes; shapes must not hang on values of tensors.",
            )
        return tuple(value.shape)

    def tensor_type(self, tensor: torch.Tensor, node: Node | None) -> TensorType[Any]:
        """The IR type of a tensor, an error if its element type is not supported."""
        element = element_type(tensor.dtype)
        if element is None:
            why, hint = unsupported_dtype(tensor), DTYPES
            origin = node if node is not None else getattr(self, "node", None)
            if origin is None or origin.op == "placeholder":
                raise CompileError(why, "inputs" if origin is None else f"input {origin.name}", hint)
            raise refusal_at(origin, why, hint)
        return TensorType(element, tuple(tensor.shape))


def _fingerprint(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for equal tensors, and cheap; different tensors rarely share one."""
    flat = tensor.reshape(-1)
    sample = flat[:: max(1, len(flat) // 1024)]
    return (tuple(tensor.shape), tensor.dtype, sample.double().sum().item())


def _is_uniform(tensor: torch.Tensor) -> bool:
    """Whether all elements are equal; the ends differ in most tensors that are not."""
    flat = tensor.reshape(-1)
    if len(flat) == 0 or bool(flat[0] != flat[-1]) or bool((flat[:64] != flat[0]).any()):
        return False
    return bool((flat == flat[0]).all())


def _without_repetition(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with axes along which it was expanded cut to size 1."""
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and stride == 0:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _number_attribute(number: float) -> Attribute:
    if isinstance(number, float):
        return FloatAttr(number, f64)
    return IntegerAttr(int(number), i64)


def _names(specs: Sequence[TensorSpec]) -> Attribute:
    return ArrayAttr([DictionaryAttr({"plena.name": StringAttr(spec.name)}) for spec in specs])


def _output_names(program: ExportedProgram) -> list[str]:
    count = len(program.graph_signature.output_specs)
    structure = program.call_spec.out_spec
    leaves = [] if structure is None else pytree.tree_unflatten(range(count), structure)
    paths = pytree.tree_flatten_with_path(leaves)[0]
    names = [pytree.keystr(path).strip(".[]'\"").replace("']['", ".") or "output" for path, _ in paths]
    if len(names) != count:
        return [f"output.{i}" for i in range(count)]
    return [f"output.{name}" if name.isdigit() else name for name in names]
