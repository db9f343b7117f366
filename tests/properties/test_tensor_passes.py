"""The passes on `plena` ops preserve what a module computes, on random walks of kernels and rearrangements."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr
from xdsl.ir import Block, Operation, Region, SSAValue

from plena.dialects import plena
from plena.dialects.plena import real
from plena.dialects.tensor_shapes import shape_of
from plena.interpreters.tensor_level import evaluate
from plena.universe import load_pass

PASSES = (
    "canonicalize-layouts",
    "sink-layouts",
    "merge-duplicates",
    "fold-staging",
    "widen-rotary",
    "split-projections",
    "fold-norm-gain",
    "scale-before-products",
    "share-projections",
    "share-rotations",
)
IDEMPOTENT = (
    "canonicalize-layouts", "sink-layouts", "merge-duplicates", "fold-staging", "share-projections", "share-rotations",
)  # fmt: skip


@dataclass(repr=False)
class Walk:
    """A program under construction: matrices so far, and the data of arguments and parameters."""

    draw: st.DrawFn
    block: Block = field(default_factory=Block)
    matrices: list[SSAValue] = field(default_factory=list[SSAValue])
    tensors: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    inputs: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    tables: dict[tuple[int, int], list[SSAValue]] = field(
        default_factory=dict[tuple[int, int], list[SSAValue]]
    )
    module: ModuleOp = field(default_factory=lambda: ModuleOp([]))

    def __repr__(self) -> str:
        return str(self.module)

    def finish(self) -> Walk:
        """Return the last two matrices."""
        results = self.matrices[-2:]
        self.block.add_op(func.ReturnOp(*results))
        types = ([v.type for v in self.block.args], [v.type for v in results])
        self.module = ModuleOp([func.FuncOp("main", types, Region(self.block))])
        return self

    def add(self, op: Operation) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def parameter(self, *shape: int) -> SSAValue:
        name = f"p{len(self.tensors)}"
        generator = torch.Generator().manual_seed(len(self.tensors))
        self.tensors[name] = torch.randn(shape, generator=generator)
        return self.add(plena.ParameterOp(SymbolRefAttr(name), shape))

    def argument(self, *shape: int) -> SSAValue:
        generator = torch.Generator().manual_seed(100 + len(self.inputs))
        self.inputs.append(torch.randn(shape, generator=generator))
        return self.block.insert_arg(real(*shape), len(self.block.args))

    def divisor(self, number: int) -> int:
        return self.draw(st.sampled_from([n for n in range(1, number + 1) if number % n == 0]))

    def step(self, x: SSAValue) -> SSAValue:
        """One more kernel or rearrangement of a matrix."""
        return getattr(self, self.draw(st.sampled_from(STEPS)))(x)

    # Kernels.

    def activation(self, x: SSAValue) -> SSAValue:
        kind = self.draw(st.sampled_from(["silu", "gelu_erf", "tanh", "sigmoid", "relu", "abs"]))
        return self.add(plena.ActivationOp(kind, x))

    def scalar(self, x: SSAValue) -> SSAValue:
        op = self.draw(st.sampled_from([plena.AddScalarOp, plena.MulScalarOp]))
        return self.add(op(x, self.draw(st.sampled_from([0.5, -1.0, 2.0]))))

    def norm(self, x: SSAValue) -> SSAValue:
        columns = shape_of(x)[1]
        groups = self.divisor(columns)
        gain = self.parameter(columns // groups) if self.draw(st.booleans()) else None
        if self.draw(st.booleans()):
            return self.add(plena.RmsNormOp(x, gain, 1e-2, groups))
        bias = self.parameter(columns // groups) if self.draw(st.booleans()) else None
        return self.add(plena.LayerNormOp(x, gain, bias, 1e-1, groups))

    def softmax(self, x: SSAValue) -> SSAValue:
        return self.add(plena.SoftmaxOp(x, self.divisor(shape_of(x)[1])))

    def linear(self, x: SSAValue) -> SSAValue:
        columns = self.draw(st.sampled_from([4, 6, 12]))
        bias = self.parameter(columns) if self.draw(st.booleans()) else None
        return self.add(plena.LinearOp(x, self.parameter(columns, shape_of(x)[1]), bias))

    def binary(self, x: SSAValue) -> SSAValue:
        op = self.draw(st.sampled_from([plena.AddOp, plena.SubOp, plena.MulOp]))
        rows, columns = shape_of(x)
        same = [m for m in self.matrices if shape_of(m) == (rows, columns)]
        parts = self.divisor(columns)
        choices = [
            lambda: self.parameter(columns),
            lambda: self.parameter(rows, columns),
            lambda: self.add(plena.ReduceOp("mean", "features", x, parts)),
            lambda: self.draw(st.sampled_from([*same, x])),
        ]
        return self.add(op(x, self.draw(st.sampled_from(choices))()))

    def gate(self, x: SSAValue) -> SSAValue:
        same = [m for m in self.matrices if shape_of(m) == shape_of(x)]
        return self.add(plena.GateOp("silu", x, self.draw(st.sampled_from([*same, x]))))

    def reduce(self, x: SSAValue) -> SSAValue:
        kind = self.draw(st.sampled_from(["sum", "mean", "max"]))
        groups = self.divisor(shape_of(x)[1])
        return self.add(plena.ReduceOp(kind, "features", x, groups))

    def rotary(self, x: SSAValue) -> SSAValue:
        rows, columns = shape_of(x)
        if columns % 2:
            return self.activation(x)
        heads = self.divisor(columns // 2)
        width = 2 * self.draw(st.integers(1, columns // heads // 2))
        positions = self.divisor(rows)
        tables = self.tables.get((positions, width)) or [self.parameter(positions, width) for _ in range(2)]
        self.tables[positions, width] = tables
        return self.add(
            plena.RotaryOp(x, *tables, heads, self.draw(st.sampled_from(["half", "interleaved"])))
        )

    # Movement.

    def rearrange(self, x: SSAValue) -> SSAValue:
        """To any matrix; often to [groups of rows * parts of columns, ...] and back, as heads move."""
        rows, columns = shape_of(x)
        outer, parts = self.divisor(rows), self.divisor(columns)
        factors = (outer, rows // outer, parts, columns // parts)
        order = self.draw(st.permutations(range(4)) | st.just([0, 2, 1, 3]))
        sizes = [factors[i] for i in order]
        cut = self.draw(st.sampled_from([1, 2, 3]))
        shape = (torch.Size(sizes[:cut]).numel(), torch.Size(sizes[cut:]).numel())
        return self.add(plena.RearrangeOp(x, factors, order, shape))

    def reshape(self, x: SSAValue) -> SSAValue:
        count = torch.Size(shape_of(x)).numel()
        rows = self.divisor(count)
        return self.add(plena.ReshapeOp(x, (rows, count // rows)))

    def back(self, x: SSAValue) -> SSAValue:
        """Undo a rearrangement if there was one."""
        for matrix in reversed(self.matrices):
            op = matrix.owner
            if isinstance(op, plena.RearrangeOp) and shape_of(matrix) == shape_of(x):
                factors, order = op.factors.get_values(), op.order.get_values()
                inverse = [order.index(i) for i in range(len(order))]
                moved = [factors[i] for i in order]
                return self.add(plena.RearrangeOp(x, moved, inverse, shape_of(op.input)))
        return self.rearrange(x)

    def slice(self, x: SSAValue) -> SSAValue:
        rows, columns = shape_of(x)
        groups = self.divisor(columns)
        size = columns // groups
        start = self.draw(st.integers(0, size - 1))
        count = self.draw(st.integers(1, size - start))
        return self.add(plena.SliceOp(x, (0, start), (rows, count), (1, 1), (1, groups)))

    def concat(self, x: SSAValue) -> SSAValue:
        other = self.activation(x)
        axis = self.draw(st.sampled_from(["features", "rows"]))
        return self.add(plena.ConcatOp(axis, [x, other], self.divisor(shape_of(x)[axis == "features"])))


STEPS = (
    "activation", "scalar", "norm", "softmax", "linear", "binary", "gate", "reduce", "rotary",
    "rearrange", "rearrange", "back", "back", "reshape", "slice", "concat",
)  # fmt: skip


@st.composite
def walks(draw: st.DrawFn) -> Walk:
    walk = Walk(draw)
    if draw(st.booleans()):
        start = walk.argument(draw(st.sampled_from([4, 6])), draw(st.sampled_from([8, 12])))
    else:
        start = walk.add(plena.ReshapeOp(walk.argument(2, 3, 12), (6, 12)))
    walk.matrices.append(start)
    for _ in range(draw(st.integers(1, 12))):
        walk.matrices.append(walk.step(draw(st.sampled_from(walk.matrices[-3:]))))
    return walk.finish()


def run(name: str, module: ModuleOp) -> None:
    load_pass(name)().apply(Context(), module)
    module.verify()


@pytest.mark.parametrize("name", PASSES)
@given(walk=walks())
def test_pass_preserves_values(name: str, walk: Walk) -> None:
    expected = evaluate(walk.module, walk.tensors, walk.inputs)
    run(name, walk.module)
    for got, want in zip(evaluate(walk.module, walk.tensors, walk.inputs), expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3, equal_nan=True)


@given(walk=walks())
def test_all_passes_preserve_values(walk: Walk) -> None:
    expected = evaluate(walk.module, walk.tensors, walk.inputs)
    for name in PASSES:
        run(name, walk.module)
    for got, want in zip(evaluate(walk.module, walk.tensors, walk.inputs), expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3, equal_nan=True)


@pytest.mark.parametrize("name", IDEMPOTENT)
@given(walk=walks())
def test_pass_is_idempotent(name: str, walk: Walk) -> None:
    run(name, walk.module)
    once = walk.module.clone()
    run(name, walk.module)
    assert walk.module.is_structurally_equivalent(once)
