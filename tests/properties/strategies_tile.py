"""Hypothesis strategies for the `tile` dialect, derived from the declarations of its operations.

Modules verify; sizes and strides are arbitrary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena import FullAttr
from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.dialects.tile import (
    TILE_OPS,
    AddressOp,
    BufferOp,
    ConstantOp,
    DataOp,
    DeclaredOp,
    ElementwiseOp,
    LanesYieldOp,
    LanewiseOp,
    LoadIdOp,
    MatrixAttr,
    PanelRows,
    PlacementAttr,
    TopkOp,
    ViewOp,
)
from plena.dialects.tile.buffers import SPACES
from plena.dialects.tile.elementwise import BINARY_KINDS, SCALAR_KINDS, UNARY_KINDS
from plena.host.layout import Source, TensorPlacement
from plena.host.mask_steps import Biases, Hidden
from plena.host.placement_attributes import placement_attribute
from plena.host.view import Array, Bits, Compare, Pad, Permute, Reshape, Slice
from tests.properties.strategies_isa import Text, attributes

DECLARATIONS = (BufferOp, ConstantOp, DataOp, ViewOp, AddressOp, LoadIdOp)
WITH_BODY = (ElementwiseOp, LanewiseOp, LanesYieldOp)
DRAWN = (*DECLARATIONS, *WITH_BODY, *TILE_OPS)
"""Every operation that these strategies draw."""

SOURCES = (
    Source("input", 2),
    Source("output", 0),
    Source("state", symbol="layers.0.keys"),
    Source("scratch"),
)
DATA: dict[str, Attribute | Array] = {
    "layers.0.w": SymbolRefAttr("layers.0.w"),
    str(FullAttr(0.5, (3, 5))): FullAttr(0.5, (3, 5)),
    "ones": np.ones((3, 5), np.float32),
}
"""What placements name."""

LIMITED = {(TopkOp, "policy"): st.sampled_from(sorted(TOPK_SHAPES))}
"""Numbers of which few are right."""

NUMBERS = st.integers(0, 8) | st.sampled_from([64, 4096, 262144, (1 << 40) + 1])


@dataclass
class Scope:
    """The buffers of each space and the index values that an operation may name."""

    buffers: dict[str, list[SSAValue]] = field(default_factory=lambda: {space: [] for space in SPACES})
    indices: list[SSAValue] = field(default_factory=list[SSAValue])

    def inside(self, index: SSAValue) -> Scope:
        return Scope({space: list(values) for space, values in self.buffers.items()}, [*self.indices, index])


@st.composite
def placements(draw: st.DrawFn) -> PlacementAttr:
    """A placement as an attribute, parts present and absent."""
    placement = TensorPlacement(
        name=draw(st.sampled_from(["x", "layers.0.weight"])),
        memory="hbm",
        address=draw(st.integers(0, 99)),
        shape=(3, 5),
        layout="tiled",
        format="HBM_M_WEIGHT_TYPE",
        source=draw(st.sampled_from([*SOURCES, *(Source("data", symbol=symbol) for symbol in DATA)])),
        padded=draw(st.sampled_from([(), (64, 64)])),
        view=draw(
            st.sampled_from(
                [
                    (),
                    (Reshape((5, 3)), Permute((1, 0))),
                    (Slice(0, 1, 4), Pad(1, 0, 2)),
                    (Compare("lt", float("inf")), Bits(), Biases((1, -2)), Hidden((), (3,), 64, empty=-1)),
                ]
            )
        ),
        scale=draw(st.sampled_from([1.0, 0.125])),
        order=draw(st.sampled_from(["rows", "columns"])),
        limit=draw(st.integers(0, 1)),
        residual=draw(st.booleans()),
        staging=draw(st.sampled_from(["public", "nearest"])),
    )
    return placement_attribute(placement, DATA)


@st.composite
def buffers(draw: st.DrawFn, name: str, space: str, most: int = 2) -> BufferOp:
    """A declaration with at most so many placements."""
    placed = draw(st.lists(placements(), max_size=most)) if most else []
    least = max((p.offset.data + p.elements for p in placed), default=1)
    size, address = draw(st.integers(least, 1 << 40)), draw(st.none() | NUMBERS)
    anchor = None
    if space in ("matrix", "vector") and draw(st.booleans()):
        anchor = (draw(st.sampled_from(["vector_0", "w"])), draw(NUMBERS))
    return BufferOp(name, space, size, address, placed, anchor)


@st.composite
def constants(draw: st.DrawFn) -> ConstantOp:
    """Some words of FP SRAM."""
    numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1e-6])
    return ConstantOp(tuple(draw(st.lists(numbers, min_size=1, max_size=3))), draw(st.none() | NUMBERS))


@st.composite
def matrices(draw: st.DrawFn) -> DataOp:
    """A matrix of a kernel's own, printed as numbers, one number or bytes."""
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    numbers = st.floats(width=32, allow_nan=False)
    if draw(st.booleans()):
        return DataOp("g", MatrixAttr.of(np.full((rows, columns), draw(numbers), np.float32)))
    count = rows * columns
    values = draw(st.lists(numbers, min_size=count, max_size=count))
    return DataOp("g", MatrixAttr.of(np.array(values, np.float32).reshape(rows, columns)))


@st.composite
def views(draw: st.DrawFn, scope: Scope) -> list[Operation]:
    """A view of a buffer; it joins the scope."""
    space = draw(st.sampled_from(SPACES))
    terms = [(index, draw(st.integers(-99, 99))) for index in scope.indices if draw(st.booleans())]
    offset = AffineOp(Linear.of(draw(st.integers(0, 9999)), terms))
    view = ViewOp(draw(st.sampled_from(scope.buffers[space])), offset.result)
    scope.buffers[space].append(view.view)
    return [offset, view]


@st.composite
def loaded_ids(draw: st.DrawFn, scope: Scope) -> list[Operation]:
    """A number of INT SRAM as an index value; it joins the scope."""
    op = LoadIdOp(draw(st.sampled_from(scope.buffers["int"])), draw(attributes()))
    scope.indices.append(op.id)
    return [op]


@st.composite
def tile_operations(draw: st.DrawFn, op: type[DeclaredOp], scope: Scope) -> list[Operation]:
    """A tile operation with named operands; optional ones are there or not."""
    values: dict[str, SSAValue | int | str | None] = {}
    for name, spaces in op.SPACES.items():
        if name not in op.OPTIONAL or draw(st.booleans()):
            values[name] = draw(st.sampled_from(scope.buffers[draw(st.sampled_from(spaces))]))
    for name in op.NUMBERS:
        if draw(st.booleans()):
            values[name] = draw(LIMITED.get((op, name), NUMBERS))
    for name in op.KEYWORDS:
        values[name] = draw(st.sampled_from(op.KEYWORDS[name]))
    return [op.named(values, draw(attributes()))]


@st.composite
def bodies(draw: st.DrawFn, inputs: int, outputs: int, words: list[SSAValue], most: int = 6) -> Block:
    """The body of an elementwise operation."""
    body = ElementwiseOp.empty_body(inputs)
    block = body.block
    rows: list[SSAValue] = list(block.args)
    made: list[SSAValue] = []
    for _ in range(draw(st.integers(outputs, max(outputs, most)))):
        kind = draw(st.sampled_from([*BINARY_KINDS, *SCALAR_KINDS, *UNARY_KINDS]))
        a, b = draw(st.sampled_from(rows)), None
        if kind in SCALAR_KINDS:
            b = draw(st.sampled_from(words))
        elif kind in BINARY_KINDS:
            b = draw(st.sampled_from([*rows, *words]))
        step = LanewiseOp(kind, a, b)
        block.add_op(step)
        rows.append(step.result)
        made.append(step.result)
    block.add_op(LanesYieldOp(*draw(st.permutations(made))[:outputs]))
    return block


@st.composite
def elementwise(draw: st.DrawFn, scope: Scope) -> list[Operation]:
    """An elementwise operation on whatever buffers there are."""
    rows = scope.buffers["vector"]
    outs = draw(st.lists(st.sampled_from(rows), min_size=1, max_size=2, unique=True))
    inputs = draw(st.lists(st.sampled_from(rows), min_size=1, max_size=3))
    strides: dict[SSAValue, tuple[int, int]] = {}

    def panel(buffer: SSAValue) -> PanelRows:
        return PanelRows(buffer, *strides.setdefault(buffer, (draw(NUMBERS), draw(NUMBERS))))

    body = draw(bodies(len(inputs), len(outs), scope.buffers["fp"])).parent
    assert body is not None
    return [
        ElementwiseOp(
            [panel(out) for out in outs],
            [panel(buffer) for buffer in inputs],
            draw(st.none() | st.sampled_from(rows)),
            (draw(st.integers(1, 99)), draw(st.integers(1, 9))),
            body,
            draw(attributes()),
        )
    ]


def operations(op: type[Operation], scope: Scope) -> st.SearchStrategy[list[Operation]]:
    """The operation of a class, with what it needs; body operations come inside an elementwise one."""
    if op is BufferOp:
        return st.sampled_from(SPACES).flatmap(lambda space: buffers("more", space)).map(lambda o: [o])
    if op is ConstantOp:
        return constants().map(lambda o: [o])
    if op is DataOp:
        return matrices().map(lambda o: [o])
    if op is ViewOp:
        return views(scope)
    if op is AddressOp:
        every = [value for values in scope.buffers.values() for value in values]
        return st.sampled_from(every).map(lambda value: [AddressOp(value)])
    if op is LoadIdOp:
        return loaded_ids(scope)
    if op in WITH_BODY:
        return elementwise(scope)
    assert issubclass(op, DeclaredOp)
    return tile_operations(op, scope)


@st.composite
def tile_modules(draw: st.DrawFn, last: type[Operation] | None = None, most: int = 12) -> Text:
    """Modules of the tile level; `last` is the class of the operation they end with.

    With one the buffers that it may name have no placements, whose text takes most of the time.
    """
    module = ModuleOp([])
    block = module.body.block
    scope = Scope()
    for space in SPACES:
        for number in range(draw(st.integers(1, 2))):
            op = draw(buffers(f"{space}_{number}", space, 2 if last is None else 0))
            block.add_op(op)
            scope.buffers[space].append(op.buffer)
    constant = draw(constants())
    block.add_op(constant)
    scope.buffers["fp"].append(constant.buffer)
    left = draw(st.integers(0, most))
    inside = [op for op in DRAWN if op not in (BufferOp, ConstantOp)]
    while left > 0:
        left -= 1
        if draw(st.integers(0, 3)) == 0:
            loop = ForOp(draw(st.integers(1, 9)), attributes={"plena.step": StringAttr("s")})
            body, nested = loop.body.block, scope.inside(loop.index)
            terminator = body.last_op
            assert terminator is not None
            for _ in range(draw(st.integers(0, 3))):
                for op in draw(operations(draw(st.sampled_from(inside)), nested)):
                    body.insert_op_before(op, terminator)
            block.add_op(loop)
        else:
            block.add_ops(draw(operations(draw(st.sampled_from(inside)), scope)))
    if last is not None:
        block.add_ops(draw(operations(last, scope)))
    return Text(module)
