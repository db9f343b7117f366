"""Where a program rounds what it has computed: the second operand of every product passes through HBM.

Keys, values and right-hand sides of products are stored in an MX format, blocks along the rows in which they lie
there. The rows are those of the tensor as the model has it before scaling: a number that multiplies it is
multiplied into the scores instead. So are rows that are written into a state: what reads it later finds them rounded.
An input that is such an operand is staged in that format by the host, and once more
in that of activations if it is read as something else, too. A product with the picked matrix of an expert rounds
nothing: the program has the matrices of all experts as they are staged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.fx import Node
from xdsl.dialects.builtin import StringAttr

from plena.dialects.plena import AttentionOp, LinearOp, MatmulOp, ParameterOp, WriteRowsOp
from plena.dialects.provenance import NODE_ATTRIBUTE
from plena.machine.number_formats import Mx, NumberFormat

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from plena.checking.module_graph import ModuleGraph, Rounding

_SECOND = {"matmul": 1, "mm": 1, "bmm": 1, "mv": 1, "addmm": 2, "baddbmm": 2}
"""Position of the right-hand side among the arguments."""

_ROWS = {"index_put": 2, "index_copy": 3, "slice_scatter": 1, "select_scatter": 1}
"""Position of the rows that are written into a state."""

LAYOUT = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "permute",
        "transpose",
        "t",
        "mT",
        "numpy_T",
        "movedim",
        "swapaxes",
        "expand",
        "unsqueeze",
        "squeeze",
        "flatten",
        "unflatten",
        "clone",
        "contiguous",
        "detach",
        "alias",
        "to",
        "_to_copy",
        "type_as",
        "lift_fresh_copy",
        "repeat_interleave",
    ]
)
PARTS = frozenset(["slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "getitem"])


@dataclass(frozen=True)
class StoredRows:
    """Rounds a tensor as a store to HBM and a load do.

    Attributes:
        number_format: of the store.
        axis: along which blocks lie, -1 or -2.
        scale: of the tensor over what is stored.
    """

    number_format: NumberFormat
    axis: int = -1
    scale: float = 1.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        matrix = x.unsqueeze(-1) if x.ndim == 1 else x
        rows = matrix.movedim(self.axis, -1) / self.scale
        rounded = round_stored(rows, self.number_format) * self.scale
        return rounded.movedim(-1, self.axis).reshape(x.shape)


def round_stored(x: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """The values that remain after a store to HBM and a load, blocks along the last axis; NaN stays NaN."""
    array = x.detach().float().numpy()
    block = number_format.block if isinstance(number_format, Mx) else 1
    padded = np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, -array.shape[-1] % block)])
    finite = np.isfinite(array)
    held = padded if finite.all() else np.where(np.isfinite(padded), padded, np.float32(0))
    rounded = number_format.quantize(held, machine=True)[..., : array.shape[-1]]
    return torch.from_numpy(np.ascontiguousarray(np.where(finite, rounded, array))).to(x.dtype)


def rounding_sites(
    graph: ModuleGraph, tensor_level: ModuleOp, number_format: NumberFormat
) -> dict[str, dict[int, Rounding]]:
    """Which arguments of which nodes are rounded, and how.

    Args:
        graph: the module.
        tensor_level: the IR with plena.attention and plena.matmul, which says how the operands lie.
        number_format: of keys and values in HBM.
    """
    sites = _Sites(graph, tensor_level)
    found: dict[str, dict[int, Rounding]] = {}
    for node, position, axis, scaled in sites:
        operand = argument(node, position)
        if operand is None:
            continue
        base, scale = _origin(operand, scaled)
        if base in sites.computed or node.name in sites.written:
            found.setdefault(node.name, {})[position] = StoredRows(number_format, axis, scale)
    return found


def staged_operands(
    graph: ModuleGraph, tensor_level: ModuleOp, inputs: Mapping[str, torch.Tensor]
) -> dict[str, dict[int, Rounding]]:
    """What the second operands of products are that the host stages for them, of inputs that others read, too.

    Args:
        graph, tensor_level: as of `rounding_sites`.
        inputs: as the host stages them for products, by the names of their nodes.
    """
    sites = _Sites(graph, tensor_level)
    found: dict[str, dict[int, Rounding]] = {}
    for node, position, _, scaled in sites:
        operand = argument(node, position)
        leaf = None if operand is None else _origin(operand, scaled, LAYOUT | PARTS)[0]
        if operand is not None and leaf is not None and leaf.name in inputs:
            seen = graph.view(operand, leaf, inputs[leaf.name])
            found.setdefault(node.name, {})[position] = lambda _, seen=seen: seen
    return found


class _Sites:
    """Products of the graph with what the IR says about them."""

    def __init__(self, graph: ModuleGraph, tensor_level: ModuleOp) -> None:
        self.nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
        self.computed = set(_computed(graph))
        self.staged = {_node_of(op) for op in tensor_level.walk() if isinstance(op, LinearOp | ParameterOp)}
        self.attention = {_node_of(op) for op in tensor_level.walk() if isinstance(op, AttentionOp)}
        self.written = {_node_of(op) for op in tensor_level.walk() if isinstance(op, WriteRowsOp)}
        self.transposed = {
            _node_of(op): op.transpose_rhs.value.data
            for op in tensor_level.walk()
            if isinstance(op, MatmulOp)
        }

    def __iter__(self) -> Iterator[tuple[Node, int, int, bool]]:
        """Node, position of the operand, axis of the blocks, whether a scale is left out."""
        of_attention: set[Node] = set()
        for node in reversed(self.nodes):
            kind = packet(node)
            if node.name in self.written and kind in _ROWS:
                yield node, _ROWS[kind], -1, False
            elif kind == "scaled_dot_product_attention":
                yield node, 1, -1, True
                yield node, 2, -1, True
            elif kind == "linear":
                yield node, 1, -1, False
            elif kind in _SECOND:
                if node in of_attention:
                    yield node, _SECOND[kind], -2, True
                elif node.name in self.attention:
                    of_attention.update(self._products_before(node))
                    yield node, _SECOND[kind], -1, True
                elif node.name in self.transposed or node.name not in self.staged:
                    turned = self.transposed.get(node.name, False)
                    yield node, _SECOND[kind], -2 if turned else -1, False

    def _products_before(self, node: Node) -> Iterator[Node]:
        """The products that the left operand of one is computed from: the scores."""
        left = argument(node, _SECOND[packet(node)] - 1)
        pending, seen = [left], set[Node]()
        while pending:
            current = pending.pop()
            if current is None or current in seen or current not in self.computed:
                continue
            seen.add(current)
            if packet(current) in _SECOND:
                yield current
            else:
                pending.extend(current.all_input_nodes)


def packet(node: Node) -> str:
    """The operator's name without namespace and overload, e.g. `matmul`."""
    target = getattr(node.target, "overloadpacket", node.target)
    return getattr(target, "__name__", str(target))


def _node_of(op: AttentionOp | LinearOp | MatmulOp | ParameterOp | WriteRowsOp) -> str:
    name = op.attributes.get(NODE_ATTRIBUTE)
    return name.data if isinstance(name, StringAttr) else ""


def argument(node: Node, position: int) -> Node | None:
    schema = getattr(node.target, "_schema", None)
    if position < len(node.args):
        found = node.args[position]
    else:
        found = None if schema is None else node.kwargs.get(schema.arguments[position].name)
    return found if isinstance(found, Node) else None


def _computed(graph: ModuleGraph) -> Iterator[Node]:
    """The nodes that the program computes: they depend on an input and do more than move its elements."""
    inputs = {
        spec.arg.name
        for spec in graph.program.graph_signature.input_specs
        if spec.kind == InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument)
    }
    staged, computed = set[Node](), set[Node]()
    for node in graph.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            staged.add(node)
        elif node.op == "call_function" and node.name not in graph.foldable:
            sources = node.all_input_nodes
            if any(source in computed for source in sources):
                computed.add(node)
            elif any(source in staged for source in sources):
                (staged if packet(node) in LAYOUT | PARTS else computed).add(node)
    yield from computed


def _origin(node: Node, scaled: bool, moves: Set[str] = LAYOUT) -> tuple[Node, float]:
    """The node that an operand is a view of by some `moves`, times a number if `scaled`."""
    scale = 1.0
    while node.op == "call_function":
        source, *rest = node.args
        number = rest[0] if rest else None
        if packet(node) in moves and isinstance(source, Node):
            node = source
        elif scaled and packet(node) in ("mul", "div") and isinstance(number, int | float) and number != 0:
            assert isinstance(source, Node)
            scale = scale * number if packet(node) == "mul" else scale / number
            node = source
        else:
            break
    return node, scale
