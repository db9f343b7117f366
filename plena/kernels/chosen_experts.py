"""Experts by token and slot: the base of an expert's parameters in HBM is its id in INT SRAM times their pitch."""

from __future__ import annotations

from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import (
    ChosenExpertsOp,
    ParameterOp,
    RouteOp,
    YieldOp,
    expert_parameter,
    expert_symbol,
    symbols_of,
)
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import MarkLanesOp, PanelRows, ZeroOp
from plena.host.layout import Source
from plena.host.staged_data import symbol_of
from plena.kernels.context import ChosenIds, KernelContext, kernel_for, lower_operation
from plena.kernels.finite_operands import require_finite
from plena.kernels.fp_sram import fill, sum_of_row
from plena.kernels.movement import packed_panel
from plena.kernels.tensors import HostTensor, Panel, Scalars


@kernel_for(ChosenExpertsOp)
def lower_chosen_experts(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ChosenExpertsOp)
    _Experts(op, ctx).run()


class _Experts:
    """The experts of one operation."""

    def __init__(self, op: ChosenExpertsOp, ctx: KernelContext) -> None:
        self.op, self.ctx = op, ctx
        self.tokens, self.experts = shape_of(op.mask)
        self.chosen: ChosenIds = ctx.chosen_ids[op.mask]
        self.rows = [self._rows_of(value) for value in op.rows]
        self.columns = [packed_panel(ctx, op, ctx.panel(value)) for value in op.columns]
        route = op.mask.owner
        assert op.scores is None or (isinstance(route, RouteOp) and route.input is op.scores)
        if op.columns:
            require_finite(ctx, op, "picking the numbers of an expert", of=list(op.columns))
        self.result = ctx.new_panel("experts", *shape_of(op.result))
        self.height = shape_of(op.yielded)[0]
        self.stacks = [self._stack(value) for value in op.stacked]
        self.own = {expert_symbol(n).string_value() for n in range(len(self.stacks))}

    def run(self) -> None:
        """For each token and slot the body on one row, added to the token's row of the result.

        With one slot there is nothing to add to; for one token it is the result.
        """
        ctx, builder, op = self.ctx, self.ctx.builder, self.op
        slots = op.k.value.data
        arguments = op.body.block.args
        numbers = self._numbers() if self.columns else None
        outer, times = ctx.iteration, ctx.iterations
        ctx.iterations *= self.tokens * slots
        with builder.loop(self.tokens) as token:
            for argument, panel in zip(arguments, self.rows, strict=False):
                ctx.set(argument, self._row(panel, token) if isinstance(panel, Panel) else panel)
            if not self._is_alone:
                self._clear(token)
            with builder.loop(slots) as slot:
                place = builder.view(self.chosen.ids, token * self.chosen.pitch + slot)
                with builder.step("find expert"):
                    found = builder.load_id(place)
                ctx.iteration = (Linear(0) if outer is None else outer * self.experts) + found
                if op.scores is not None:
                    weight = builder.view(self.chosen.weights, token * self.chosen.pitch + slot)
                    ctx.set(arguments[-1], Scalars(weight, 1, 1))
                for argument, panel in zip(arguments[len(self.rows) :], self.columns, strict=False):
                    assert numbers is not None
                    ctx.set(argument, self._number(panel, token, place, numbers))
                self._body(token)
                ctx.iteration = outer
        ctx.iterations = times
        ctx.set(op.result, self.result)

    @property
    def _is_alone(self) -> bool:
        """Whether one expert makes the whole result."""
        return self.op.k.value.data == 1

    def _clear(self, token: Linear) -> None:
        """Zeros in the rows of a token."""
        builder, vlen, result = self.ctx.builder, self.ctx.target.vlen, self.result
        blocks, rows = result.blocks(vlen), self.height
        if result.block == rows * vlen:
            blocks, rows = 1, blocks * rows
        with builder.step("clear sums"), builder.loop(blocks) as block:
            start = token * vlen + block * result.block
            builder.insert(ZeroOp(dst=builder.view(result.buffer, start), rows=rows))

    def _body(self, token: Linear) -> None:
        for inner in self.op.body.block.ops:
            match inner:
                case YieldOp():
                    self._add(self.ctx.panel(inner.values[0]), token)
                case ParameterOp() if not self.own.isdisjoint(symbols_of(inner.value)):
                    self.ctx.set(inner.result, self._parameter(inner))
                case _:
                    lower_operation(inner, self.ctx)

    def _stack(self, value: SSAValue) -> list[Attribute]:
        """The expressions of a stack of parameters: one, or in a repetition those of all iterations.

        Raises:
            CompileError: the program computes it.
        """
        tensor = self.ctx.host(value)
        sources = () if tensor is None or tensor.view else tensor.stack or (tensor.source,)
        found = [self.ctx.data.get(source.symbol) for source in sources]
        expressions = [expression for expression in found if isinstance(expression, Attribute)]
        if not expressions or len(expressions) < len(found):
            raise refusal(
                self.op,
                "the parameters of experts are no parameters of the model",
                "Keep the weights of all experts in one parameter each.",
            )
        return expressions

    def _parameter(self, op: ParameterOp) -> HostTensor:
        """A parameter of the body: those of all experts, in a repetition of all iterations, one behind the other."""
        shapes = [shape_of(value) for value in self.op.stacked]
        iterations = max(len(stack) for stack in self.stacks)
        symbols: list[str] = []
        for n in range(iterations):
            of_iteration = [stack[n if len(stack) > 1 else 0] for stack in self.stacks]
            stacks = list(zip(of_iteration, shapes, strict=True))
            for expert in range(self.experts):
                expression = expert_parameter(op.value, stacks, expert)
                symbols.append(symbol_of(expression))
                self.ctx.data[symbols[-1]] = expression
        sources = tuple(Source("data", symbol=symbol) for symbol in symbols)
        return HostTensor(sources[0], shape_of(op.result), stack=sources)

    def _rows_of(self, value: SSAValue) -> Panel | HostTensor:
        """Rows in vector SRAM; those of one choice that the host stages come in the form that their readers like."""
        tensor = self.ctx.host(value)
        if tensor is not None and self.tokens == 1 and len(tensor.shape) == 2:
            return tensor
        return packed_panel(self.ctx, self.op, self.ctx.panel(value))

    def _row(self, panel: Panel, token: Linear) -> Panel:
        """A token's row as a matrix of its own, which nothing overwrites."""
        ctx = self.ctx
        if self.tokens > 1:
            row, vlen = ctx.new_panel("token", 1, panel.columns), ctx.target.vlen
            source = PanelRows(ctx.builder.view(panel.buffer, token * vlen), vlen, panel.block)
            with ctx.builder.step("copy"):
                ctx.builder.map(
                    "copy", PanelRows(row.buffer, vlen, row.block), source, size=(1, row.blocks(vlen))
                )
            panel = row
        ctx.shared.add(panel.buffer)
        return panel

    def _numbers(self) -> tuple[SSAValue, SSAValue]:
        """Zeros in FP SRAM and room in vector SRAM for as many numbers as a token has of each column."""
        ctx, vlen = self.ctx, self.ctx.target.vlen
        lanes = self.columns[0].blocks(vlen) * vlen
        row, found = ctx.builder.buffer("marked", "fp", lanes), ctx.builder.buffer("lanes", "vector", lanes)
        fill(ctx, row, 0.0, lanes)
        return row, found

    def _number(
        self, panel: Panel, token: Linear, place: SSAValue, numbers: tuple[SSAValue, SSAValue]
    ) -> Scalars:
        """The number of a token for the expert of a slot: a row with a single one picks it."""
        builder, vlen = self.ctx.builder, self.ctx.target.vlen
        row, lanes = numbers
        blocks = panel.blocks(vlen)
        found = Scalars(builder.buffer("number", "fp", 1), 1, 1)
        given = PanelRows(builder.view(panel.buffer, token * vlen), vlen, panel.block)
        picked = PanelRows(lanes, vlen, vlen)
        with builder.step("pick numbers"):
            builder.insert(
                MarkLanesOp(
                    out=lanes,
                    row=row,
                    ids=place,
                    one=builder.constant(1.0),
                    count=1,
                    blocks=blocks,
                    out_block=vlen,
                )
            )
            builder.map("mul", picked, picked, given, size=(1, blocks))
            sum_of_row(self.ctx, lanes, blocks, found.buffer)
        return found

    def _add(self, value: Panel, token: Linear) -> None:
        builder, vlen = self.ctx.builder, self.ctx.target.vlen
        value = packed_panel(self.ctx, self.op, value)
        if self._is_alone and self.tokens == 1:
            self.result = value
            return
        total = PanelRows(builder.view(self.result.buffer, token * vlen), vlen, self.result.block)
        added = PanelRows(value.buffer, vlen, value.block)
        size = (self.height, self.result.blocks(vlen))
        if self._is_alone:
            with builder.step("place expert"):
                builder.map("copy", total, added, size=size)
            return
        with builder.step("add expert"):
            builder.map("add", total, total, added, size=size)
