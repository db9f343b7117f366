"""Small programs of the affine form: a reader for texts and a hypothesis strategy for random nests."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.parser import Parser

from plena.dialects.loop import AffineOp, ForOp, Linear, Loop
from plena.dialects.plena_isa import FRegister, GPRegister, PlenaISA, RegisterOp, build


def context() -> Context:
    """A context with the dialects of the affine form."""
    ctx = Context()
    for dialect in (Builtin, Loop, PlenaISA):
        ctx.load_dialect(dialect)
    return ctx


def parse(text: str) -> ModuleOp:
    """A verified module from text, the outer `builtin.module` may be left out."""
    module = Parser(context(), text).parse_module()
    module.verify()
    return module


class Program:
    """A module with the text as its repr; not a dataclass, which hypothesis would show field by field."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module

    def __repr__(self) -> str:
        return str(self.module)


@dataclass
class _Cells:
    zero: SSAValue
    stride: SSAValue
    fs: list[SSAValue]


VECTOR_KINDS = ("V_ADD_VV", "V_MUL_VF", "V_RED_MAX", "V_EXP_V")
SCALAR_KINDS = ("S_LD_FP", "S_ST_FP", "S_ADD_FP")
MATRIX_KINDS = ("M_MM", "M_MM_WO", "H_PREFETCH_M")
OTHER_KINDS = ("H_PREFETCH_V", "H_STORE_V", "S_LD_INT", "S_ST_FP")


@st.composite
def programs(
    draw: st.DrawFn,
    depth: int = 3,
    kinds: tuple[str, ...] | None = None,
    most: int = 12,
    shapes: tuple[str, ...] = ("free",),
) -> Program:
    """Random programs; addresses are linear in the loops around, small enough to collide often.

    Shapes: any nest, a perfect nest of two loops, two adjacent loops of equal trip count.
    """
    module = ModuleOp([])
    block = module.body.block

    def cell(kind: object) -> SSAValue:
        op = RegisterOp(kind)  # type: ignore[arg-type]
        block.add_op(op)
        return op.cell

    cells = _Cells(
        cell(GPRegister.at(0)), cell(GPRegister.at(0)), [cell(FRegister.unallocated()) for _ in range(2)]
    )
    if kinds is None:
        groups = (VECTOR_KINDS, VECTOR_KINDS + SCALAR_KINDS, MATRIX_KINDS, VECTOR_KINDS + OTHER_KINDS)
        kinds = draw(st.sampled_from(groups))
    left = [most]
    known: list[SSAValue] = []
    shape = draw(st.sampled_from(shapes))
    if shape == "free":
        for _ in range(draw(st.integers(1, 3))):
            _item(draw, block, known, cells, kinds, depth, left)
        return Program(module)
    if draw(st.booleans()):
        emit(draw, block, known, cells, draw(st.sampled_from(kinds)))
    trips = draw(st.integers(2, 4))
    for loop in [ForOp(trips)] if shape == "nest" else [ForOp(trips), ForOp(trips)]:
        block.add_op(loop)
        indices, inside = [*known, loop.index], loop
        if shape == "nest":
            inside = ForOp(draw(st.integers(2, 4)))
            _fill(loop, [inside])
            indices.append(inside.index)
        body = Block()
        for _ in range(draw(st.integers(1, 4))):
            emit(draw, body, indices, cells, draw(st.sampled_from(kinds)))
        _fill(inside, [op for op in list(body.ops) if body.detach_op(op)])
    return Program(module)


def _fill(loop: ForOp, operations: list[Operation]) -> None:
    last = loop.body.block.last_op
    assert last is not None
    loop.body.block.insert_ops_before(operations, last)


def _item(
    draw: st.DrawFn,
    block: Block,
    indices: list[SSAValue],
    cells: _Cells,
    kinds: tuple[str, ...],
    depth: int,
    left: list[int],
) -> None:
    if left[0] <= 0:
        return
    if depth and draw(st.booleans()):
        loop = ForOp(draw(st.integers(1, 4)))
        body = loop.body.block
        yielded = body.last_op
        assert yielded is not None
        yielded.detach()
        known = [*indices, loop.index]
        for _ in range(draw(st.integers(1, 3))):
            _item(draw, body, known, cells, kinds, depth - 1, left)
        body.add_op(yielded)
        block.add_op(loop)
        return
    left[0] -= 1
    emit(draw, block, indices, cells, draw(st.sampled_from(kinds)))


def emit(draw: st.DrawFn, block: Block, indices: list[SSAValue], cells: _Cells, kind: str) -> None:
    """Appends one instruction with drawn operands."""

    def address(unit: int, limit: int = 4) -> SSAValue:
        terms = [(i, unit * draw(st.sampled_from((1, 0, 2, limit)))) for i in indices]
        near, far = draw(st.integers(0, 2)), draw(st.sampled_from((0, 16, 32, 48)))
        op = AffineOp(Linear.of(unit * (near + far), terms))
        block.add_op(op)
        return op.results[0]

    def f() -> SSAValue:
        return draw(st.sampled_from(cells.fs))

    row, tile = 8, 64
    match kind:
        case "V_ADD_VV":
            op = build(kind, dst=address(row), a=address(row), b=address(row))
        case "V_MUL_VF":
            op = build(kind, dst=address(row), a=address(row), b=f())
        case "V_EXP_V":
            op = build(kind, dst=address(row), a=address(row))
        case "V_RED_MAX":
            op = build(kind, acc=f(), a=address(row))
        case "S_LD_FP":
            op = build(kind, dst=f(), base=address(1))
        case "S_ST_FP":
            op = build(kind, src=f(), base=address(1))
        case "S_ADD_FP":
            op = build(kind, dst=f(), a=f(), b=f())
        case "M_MM":
            op = build(kind, mat=address(32, 2), vec=address(row))
        case "M_MM_WO":
            op = build(kind, dst=address(4), stride=cells.zero)
        case "S_LD_INT":
            op = build(kind, base=address(1))
        case _:
            sram = {"H_PREFETCH_M": "dst", "H_PREFETCH_V": "dst", "H_STORE_V": "src"}[kind]
            sizes = {"scale": AffineOp(Linear(1 << 16))}
            if draw(st.booleans()):
                sizes["stride"] = AffineOp(Linear(8 * draw(st.integers(1, 4))))
            block.add_ops(sizes.values())
            operands = {
                sram: address(tile if kind == "H_PREFETCH_M" else row),
                "off": address(8),
                "base": address(8),
            }
            operands |= {name: op.results[0] for name, op in sizes.items()}
            op = build(kind, rstride=1 if "stride" in sizes else 0, **operands)
    block.add_op(op)
    if kind == "S_LD_INT":
        indices.append(op.results[0])
