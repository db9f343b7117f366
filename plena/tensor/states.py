"""States as matrices of rows: which axis of a buffer is written row by row, and how it lies for its readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten, plena
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.layout_maps import Atom, LayoutMap
from plena.tensor.tracing import apply_layout, trace


@dataclass(frozen=True)
class RowForm:
    """A tensor with its axes in the order `axes`, of which the first `batch` are row groups and the next is rows."""

    axes: tuple[int, ...]
    batch: int

    @staticmethod
    def of(rank: int, dim: int, batch: int) -> RowForm:
        """Rows along `dim`, the first `batch` axes as row groups, all others as columns."""
        rest = [axis for axis in range(batch, rank) if axis != dim]
        return RowForm((*range(batch), dim, *rest), batch)

    def matrix(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of a tensor in this form."""
        sizes = [shape[axis] for axis in self.axes]
        return prod(sizes[: self.batch + 1]), prod(sizes[self.batch + 1 :])

    def groups(self, shape: Sequence[int]) -> int:
        """Row groups of a tensor in this form."""
        return prod(shape[axis] for axis in self.axes[: self.batch])

    def layout(self, shape: Sequence[int]) -> LayoutMap:
        """The view of a tensor as a matrix."""
        found = LayoutMap.of(shape).permuted(self.axes).reshaped(self.matrix(shape))
        assert found is not None
        return found

    def undone(self, shape: Sequence[int]) -> LayoutMap:
        """The view of the matrix as the tensor."""
        moved = tuple(shape[axis] for axis in self.axes)
        return LayoutMap.of(moved).permuted([self.axes.index(axis) for axis in range(len(shape))])


def _forms(rank: int, dim: int) -> Iterator[RowForm]:
    """The forms of a tensor written along an axis, the likeliest first: samples outside, heads beside each other."""
    likely = min(dim, 1) if rank > 2 else 0
    yield RowForm.of(rank, dim, likely)
    for batch in range(dim + 1):
        if batch != likely:
            yield RowForm.of(rank, dim, batch)


def emit_state(e: Emitter, op: aten.StateOp) -> None:
    """The buffer as the matrix that attention reads of it, if it is written row by row."""
    shape = shape_of(op.result)
    copies = [use.operation for use in op.result.uses if isinstance(use.operation, aten.IndexCopyOp)]
    if not copies:
        e.replace(e.add(_as_it_is(op.symbol, shape)))
        return
    forms = list(_forms(len(shape), copies[0].dim.value.data))
    wanted = list(_read_by_attention(copies[0].result))
    form = next((form for form in forms if form.layout(shape).simplified() in wanted), forms[0])
    rows = form.matrix(shape)
    state = e.add(plena.StateOp(_expression(op.symbol, form.layout(shape), rows), rows))
    e.replace(e.view(state, form.undone(shape), shape))


def _as_it_is(symbol: SymbolRefAttr, shape: tuple[int, ...]) -> plena.StateOp:
    """A buffer as rows of its last axis."""
    rows = (prod(shape[:-1]), shape[-1] if shape else 1)
    return plena.StateOp(_expression(symbol, LayoutMap.of(shape), rows), rows)


def _expression(symbol: SymbolRefAttr, layout: LayoutMap, shape: tuple[int, int]) -> Attribute:
    simple = layout.simplified()
    if simple.is_reshape:
        return plena.reshaped(symbol, shape)
    return plena.rearranged(symbol, simple.factors, simple.order, shape)


def _read_by_attention(value: SSAValue) -> Iterator[LayoutMap]:
    """The views of a buffer that attentions have as keys or values, of its last version."""
    for use in value.uses:
        reader = use.operation
        if isinstance(reader, aten.IndexCopyOp) and use.index == 0:
            yield from _read_by_attention(reader.result)
        elif isinstance(reader, plena.RearrangeOp | plena.ReshapeOp):
            layout = apply_layout(LayoutMap.of(shape_of(value)), reader)
            if layout is not None and any(
                isinstance(u.operation, plena.AttentionOp) for u in reader.result.uses
            ):
                yield layout.simplified()


def emit_index_copy(e: Emitter, op: aten.IndexCopyOp) -> None:
    """Rows of a state, written in place."""
    state, shape = trace(op.input), shape_of(op.result)
    if not isinstance(state.base.owner, plena.StateOp | plena.WriteRowsOp):
        raise refusal(
            op,
            "at run-time places more than 8 slices are written only into buffers",
            "Register what is written as a buffer and write it in place, as in self.cache[:, position] = x, or join "
            "parts by torch.cat.",
        )
    matrix = shape_of(state.base)
    for form in _forms(len(shape), op.dim.value.data):
        moved = state.layout.permuted(form.axes).reshaped(matrix)
        if form.matrix(shape) == matrix and moved is not None and moved.simplified().is_reshape:
            break
    else:
        raise refusal(
            op,
            "the buffer is written along two axes",
            "Keep rows of one axis for each position, as in cache[batch, heads, positions, features].",
        )
    given = shape_of(op.source)
    rows = e.view(op.source, form.layout(given), form.matrix(given))
    written = e.add(plena.WriteRowsOp(state.base, rows, op.index, form.groups(shape)))
    e.replace(e.view(written, form.undone(shape), shape))


def picks_sample(op: aten.IndexSelectOp) -> bool:
    """Whether one of the samples of a state is read, which are groups of its rows: their place is known at run time."""
    if op.dim.value.data != 0 or shape_of(op.index) != (1,):
        return False
    traced = trace(op.input)
    state, samples = traced.base, shape_of(op.input)[0]
    if not isinstance(state.owner, aten.StateOp | aten.IndexCopyOp):
        return False
    copy, shape = state.owner, shape_of(state)
    while isinstance(copy, aten.IndexCopyOp) and isinstance(copy.input.owner, aten.IndexCopyOp):
        copy = copy.input.owner
    if isinstance(copy, aten.IndexCopyOp):
        if not isinstance(copy.input.owner, aten.StateOp):
            return False
        form = next(_forms(len(shape), copy.dim.value.data))
        if form.batch > 0 and shape[0] % samples:
            return False
        if form.axes[0] != 0:
            return False
    return _of_sample(traced.layout) is not None


def emit_index_select_of_state(e: Emitter, op: aten.IndexSelectOp) -> bool:
    """A sample of a state, read where it lies."""
    traced, samples = trace(op.input), shape_of(op.input)[0]
    layout = _of_sample(traced.layout)
    is_state = isinstance(traced.base.owner, plena.StateOp | plena.WriteRowsOp)
    if not is_state or layout is None or op.dim.value.data != 0 or shape_of(op.index) != (1,):
        return False
    if shape_of(traced.base)[0] % samples:
        return False
    sample = e.add(plena.PickSampleOp(traced.base, op.index, samples))
    e.replace(e.view(sample, layout, shape_of(op.result)))
    return True


def _of_sample(layout: LayoutMap) -> LayoutMap | None:
    """The view that the first slice along axis 0 is of what axis 0 does not count; None if that is not one piece."""
    first, *rest = layout.axes
    if tuple(atom.source for atom in first) != tuple(range(len(first))):
        return None
    axes = (
        tuple(Atom(a.size, a.source - len(first) if a.source >= 0 else a.source) for a in axis)
        for axis in rest
    )
    return LayoutMap(layout.factors[len(first) :], ((), *axes))


def emit_write_state(e: Emitter, op: aten.WriteStateOp) -> None:
    """Nothing where rows were written into it already; else the whole buffer is written."""
    block = e.anchor.parent_block()
    assert block is not None
    name = op.symbol.string_value()
    states = (s for s in block.ops if isinstance(s, plena.StateOp) and s.value.symbol == name)
    # The ops of a buffer that nobody reads are gone; it has a place all the same.
    state = next(states, None) or e.insert(_as_it_is(op.symbol, shape_of(op.value)))
    traced = trace(op.value)
    value = e.view(op.value, _layout_of(state, shape_of(op.value)), shape_of(state.result))
    moved = trace(value)
    is_written = _is_version(traced.base, state.result) and traced.base is not state.result
    if not is_written or moved.base is not traced.base or not moved.layout.simplified().is_reshape:
        e.insert(plena.WriteStateOp(state.result, value))
    e.rewriter.erase(op)


def _is_version(value: SSAValue, state: SSAValue) -> bool:
    """Whether a value is a state, or what became of it row by row."""
    while isinstance(value.owner, plena.WriteRowsOp):
        value = value.owner.state
    return value is state


def _layout_of(state: plena.StateOp, shape: tuple[int, ...]) -> LayoutMap:
    """How the buffer becomes the matrix of the state."""
    found, moved = LayoutMap.of(shape), state.value.operand
    for step in moved.steps if isinstance(moved, plena.ViewAttr) else ():
        moved_on = found.permuted(step.shape) if step.kind.data == "permute" else found.reshaped(step.shape)
        assert moved_on is not None
        found = moved_on
    whole = found.reshaped(shape_of(state.result))
    assert whole is not None
    return whole
