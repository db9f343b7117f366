"""What a graph is imported with: the values of its nodes and the ops that stand for them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from xdsl.builder import Builder
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, SymbolRefAttr, TensorType, f64, i64
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.rewriter import InsertPoint

from plena.dialects import aten
from plena.errors import CompileError
from plena.frontend.bands import mask_properties
from plena.frontend.folding import FoldingPlan, plan_folding
from plena.frontend.refusals import refusal_at
from plena.frontend.routing.values import OfRouting, Routing, instead_of
from plena.tensor.element_types import DTYPES, element_type, host_element_type, unsupported_dtype


@dataclass(frozen=True)
class Parameter:
    """A parameter of the model by its state_dict name."""

    symbol: str
    tensor: torch.Tensor


Value = SSAValue | Parameter | torch.Tensor | OfRouting | tuple[Any, ...] | list[Any] | float | str | None
"""What a node of the graph stands for: a value of the IR, a parameter, a folded constant, what depends on chosen
experts, or several of them."""


@dataclass
class GraphBuilder:
    """The function that becomes of the graph of `program`, built node by node.

    Attributes:
        tensors: what the function names.
        values: what the nodes so far stand for.
    """

    program: ExportedProgram
    tensors: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    values: dict[Node, Value] = field(default_factory=dict[Node, Value])

    def start(self) -> None:
        """Begin with an empty function."""
        self.node: Node
        self.plan: FoldingPlan = plan_folding(self.program)
        self.block = Block()
        self.builder = Builder(InsertPoint.at_end(self.block))
        self.sources = self.builder
        self.elsewhere: tuple[int, ...] | None = None
        self.other_element: Attribute | None = None
        self.routings: dict[tuple[SSAValue, int], Routing] = {}
        self.unions: dict[tuple[Routing, ...], Routing] = {}
        self.emitted: dict[tuple[int, bool] | str, SSAValue] = {}
        self.constants: dict[tuple[object, ...], list[str]] = {}
        self.symbols: dict[int, str] = {}
        self.held: list[torch.Tensor] = []
        self.origins: dict[int, Node] = {}
        self.location: dict[str, Attribute] = {}
        self.result_location: dict[str, Attribute] = {}

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

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the current node's result, of the first one if there are several."""
        if self.elsewhere is not None:
            return self.elsewhere
        return self._static(self.node, _first_of(self.node.meta.get("val")))

    @contextmanager
    def standing_for(
        self, shape: tuple[int, ...], builder: Builder | None = None, element: Attribute | None = None
    ) -> Generator[None]:
        """Inside, the current node's result has this shape, and this element type if one is given; ops go where
        `builder` puts them."""
        before = self.elsewhere, self.builder, self.other_element
        self.elsewhere, self.builder = shape, builder or self.builder
        self.other_element = element or self.other_element
        try:
            yield
        finally:
            self.elsewhere, self.builder, self.other_element = before

    @property
    def element(self) -> Attribute:
        """The element type of the current node's result, of the first one if there are several."""
        if self.other_element is not None:
            return self.other_element
        return self.tensor_type(_first_of(self.node.meta["val"]), self.node).get_element_type()

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

    def _insert_source(self, operation: aten.AtenOp) -> SSAValue:
        """Append a parameter or constant to the function, where everything behind it may read it."""
        self.sources.insert(operation)
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
            case _ if isinstance(value, OfRouting):
                raise refusal_at(
                    self.node,
                    "it needs the numbers of the chosen experts, or what is theirs, in the order of the slots",
                    "Use them to weight and to sum up what the chosen experts compute: programs have no slots."
                    + instead_of(value),
                )
            case _:
                raise refusal_at(
                    self.node,
                    f"{type(value).__name__} {value!r} is no tensor",
                    "Give it tensors and numbers alone.",
                )

    def _parameter(self, parameter: Parameter) -> SSAValue:
        if parameter.symbol not in self.emitted:
            self.tensors[parameter.symbol] = parameter.tensor
            self.emitted[parameter.symbol] = self._insert_source(
                aten.ParameterOp.build(
                    properties={"symbol": SymbolRefAttr(parameter.symbol)},
                    result_types=[self.tensor_type(parameter.tensor, None)],
                )
            )
        return self.emitted[parameter.symbol]

    def _constant(self, tensor: torch.Tensor) -> SSAValue:
        """A constant; a matrix that a product reads has a name, by which `check` knows how it is rounded."""
        named = _is_product(self.node) and tensor.ndim > 1 and tensor.is_floating_point()
        key = (id(tensor), named)
        if key not in self.emitted:
            if tensor.is_meta:
                raise CompileError(
                    "a constant is on the meta device and has no values", None, "Make it on the CPU."
                )
            self.held.append(tensor)
            compact = _without_repetition(tensor)
            name = self.plan.names.get(id(tensor), "constant")
            constant = self._constant_op(compact, name, named and not _is_power_of_two(compact))
            if isinstance(constant, aten.ConstantOp):
                self.symbols[id(tensor)] = constant.symbol.string_value()
            value = self._insert_source(constant)
            if compact.shape != tensor.shape:
                result_type = self.tensor_type(tensor, None)
                value = self._insert_source(aten.ExpandOp.build(operands=[value], result_types=[result_type]))
            self.emitted[key] = value
        return self.emitted[key]

    def _constant_op(self, tensor: torch.Tensor, name: str, named: bool) -> aten.AtenOp:
        result_type = self.tensor_type(tensor, None)
        if _is_uniform(tensor) and not named:
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
        return self._static(node, node.meta.get("val"))

    def _static(self, node: Node, value: Any) -> tuple[int, ...]:
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
        """The IR type of a tensor, an error if its element type is not supported.

        What only the host computes has types that the machine does not have.
        """
        on_host = getattr(self, "node", None) in self.plan.host
        element = host_element_type(tensor.dtype) if on_host else element_type(tensor.dtype)
        if element is None:
            why, hint = unsupported_dtype(tensor), DTYPES
            origin = node if node is not None else getattr(self, "node", None)
            if origin is None or origin.op == "placeholder":
                raise CompileError(why, "inputs" if origin is None else f"input {origin.name}", hint)
            raise refusal_at(origin, why, hint)
        return TensorType(element, tuple(tensor.shape))


def _first_of(value: Any) -> Any:
    """What a node gives, the first of several."""
    return value[0] if isinstance(value, list | tuple) else value


def _fingerprint(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for equal tensors, and cheap; different tensors rarely share one."""
    flat = tensor.reshape(-1)
    sample = flat[:: max(1, len(flat) // 1024)]
    return (tuple(tensor.shape), tensor.dtype, sample.double().sum().item())


_PRODUCTS = ("linear", "matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "addmv", "dot", "conv1d", "conv2d")


def _is_product(node: Node) -> bool:
    return str(node.target).removeprefix("aten.").partition(".")[0] in _PRODUCTS


def _is_power_of_two(tensor: torch.Tensor) -> bool:
    """Whether no number format rounds the first element, which is all that is looked at."""
    return bool(torch.frexp(tensor.reshape(-1)[:1].abs()).mantissa.eq(0.5).all()) or not tensor.any()


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
