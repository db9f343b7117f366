"""Interpreter of the `plena` dialect: the mathematical meaning of each kernel, computed in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    PythonValues,
    ReturnedValues,
    impl,
    impl_terminator,
    register_impls,
)
from xdsl.ir import Attribute

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.host.mask_steps import relative
from plena.host.staged_data import symbol_of
from plena.interpreters.states import States

if TYPE_CHECKING:
    import torch


def _activations() -> dict[str, Callable[..., Any]]:
    import torch
    import torch.nn.functional as F

    return {
        "silu": F.silu,
        "gelu_erf": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "gelu_quick": lambda x: x * torch.sigmoid(1.702 * x),
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "elu": F.elu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "exp": torch.exp,
        "reciprocal": torch.reciprocal,
        "sqrt": torch.sqrt,
        "rsqrt": torch.rsqrt,
        "abs": torch.abs,
        "log": torch.log,
        "log1p": torch.log1p,
        "expm1": torch.expm1,
        "softplus": F.softplus,
        "mish": F.mish,
    }


def _parts(x: torch.Tensor, groups: int) -> torch.Tensor:
    """[M, G*N] as [M, G, N]."""
    return x.reshape(x.shape[0], groups, -1)


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, style: str) -> torch.Tensor:
    """A rotary embedding of every head of x, of as many features as cos and sin have."""
    import torch

    parts, width = _parts(x, heads), cos.shape[1]
    turned, rest = parts[..., :width], parts[..., width:]
    if style == "half":
        a, b = turned.chunk(2, dim=-1)
        other = torch.cat([-b, a], dim=-1)
    else:
        other = torch.stack([-turned[..., 1::2], turned[..., 0::2]], dim=-1).flatten(2)
    times = x.shape[0] // cos.shape[0]
    cos, sin = (table.repeat(times, 1)[:, None, :] for table in (cos, sin))
    return torch.cat([turned * cos + other * sin, rest], dim=-1).reshape(x.shape)


def _like(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """A right operand of a binary kernel in lhs's shape."""
    if rhs.ndim == 1 or rhs.shape == lhs.shape:
        return rhs.expand(lhs.shape)
    return rhs.repeat_interleave(lhs.shape[1] // rhs.shape[1], dim=1)


@register_impls
@dataclass
class PlenaFunctions(InterpreterFunctions):
    """Values are torch tensors: float32, int64 or bool. `tensors` is the side table of the program.

    `staged` are parameters of experts as the machine has them, by the symbol of their expression, if they are to be so.
    """

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict[str, Any])
    states: States = field(default_factory=States)
    staged: Mapping[str, torch.Tensor] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self._expert: Callable[[Attribute], Attribute] | None = None

    @impl(plena.StateOp)
    def state(self, interpreter: Interpreter, op: plena.StateOp, args: PythonValues) -> PythonValues:
        return (self.states.read(op.value.operand),)

    @impl(plena.WriteRowsOp)
    def write_rows(self, interpreter: Interpreter, op: plena.WriteRowsOp, args: PythonValues) -> PythonValues:
        state, rows, positions = args
        batch = op.batch.value.data
        written = state.reshape(batch, op.length, -1).index_copy(
            1, positions, rows.reshape(batch, -1, rows.shape[1])
        )
        written = written.reshape(state.shape)
        self.states.replace(state, written)
        return (written,)

    @impl(plena.PickSampleOp)
    def pick_sample(
        self, interpreter: Interpreter, op: plena.PickSampleOp, args: PythonValues
    ) -> PythonValues:
        state, number = args
        return (state.reshape(op.batch.value.data, -1, state.shape[1])[int(number[0])],)

    @impl(plena.WriteStateOp)
    def write_state(
        self, interpreter: Interpreter, op: plena.WriteStateOp, args: PythonValues
    ) -> PythonValues:
        # A copy: the value may be what another state held, which it goes on standing for.
        self.states.replace(args[0], args[1].clone())
        return ()

    @impl(plena.RepeatOp)
    def repeat(self, interpreter: Interpreter, op: plena.RepeatOp, args: PythonValues) -> PythonValues:
        from plena.host.expressions import materialize

        carried = tuple(args)
        for iteration in range(op.iterations):
            stacked = tuple(
                self.states.read(expression.operand)
                if isinstance(expression, plena.StateAttr)
                else materialize(expression, self.tensors)
                for expression in (column.data[iteration] for column in op.stacked)
            )
            carried = tuple(interpreter.run_ssacfg_region(op.body, (*carried, *stacked), "plena.repeat"))
        return carried

    @impl_terminator(plena.YieldOp)
    def leave(
        self, interpreter: Interpreter, op: plena.YieldOp, args: PythonValues
    ) -> tuple[ReturnedValues, PythonValues]:
        return ReturnedValues(args), ()

    @impl(plena.ParameterOp)
    def parameter(self, interpreter: Interpreter, op: plena.ParameterOp, args: PythonValues) -> PythonValues:
        from plena.host.expressions import materialize

        if self._expert is not None:
            symbol = symbol_of(self._expert(op.value))
            if symbol in self.staged:
                return (self.staged[symbol],)
        return (materialize(op.value, self.tensors),)

    @impl(plena.HostOp)
    def host(self, interpreter: Interpreter, op: plena.HostOp, args: PythonValues) -> PythonValues:
        import torch

        from plena.host.values.attributes import value_of
        from plena.host.values.evaluation import evaluate
        from plena.host.values.program import HostProgram, plain_array

        values = HostProgram(tensors=self.tensors)
        found = evaluate(value_of(op.value), [plain_array(x) for x in args], values.constant)
        return (torch.from_numpy(found.copy()),)

    # Products.

    @impl(plena.LinearOp)
    def linear(self, interpreter: Interpreter, op: plena.LinearOp, args: PythonValues) -> PythonValues:
        from torch.nn.functional import linear

        return (linear(*args),)

    @impl(plena.ProjectionsOp)
    def projections(
        self, interpreter: Interpreter, op: plena.ProjectionsOp, args: PythonValues
    ) -> PythonValues:
        from torch.nn.functional import linear

        count = len(op.weights)
        x, weights, biases = args[0], args[1 : count + 1], args[count + 1 :] or (None,) * count
        return tuple(linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))

    @impl(plena.MatmulOp)
    def matmul(self, interpreter: Interpreter, op: plena.MatmulOp, args: PythonValues) -> PythonValues:
        batch, (heads, own) = op.batch.value.data, op.head_counts

        def split(x: torch.Tensor, count: int, wide: bool) -> torch.Tensor:
            if wide:
                return x.reshape(batch, -1, count, x.shape[1] // count).transpose(1, 2)
            return x.reshape(batch, count, -1, x.shape[1])

        lhs = split(args[0], heads, op.wide_lhs is not None)
        rhs = split(args[1], own, op.wide_rhs is not None).repeat_interleave(heads // own, dim=1)
        found = lhs @ (rhs.transpose(2, 3) if op.transpose_rhs.value.data else rhs)
        found = found.transpose(1, 2) if op.wide_result is not None else found
        return (found.reshape(shape_of(op.result)),)

    @impl(plena.AttentionOp)
    def attention(self, interpreter: Interpreter, op: plena.AttentionOp, args: PythonValues) -> PythonValues:
        import torch

        values = dict(zip(op.operands, args, strict=True))
        batch, heads, kv_heads = (a.value.data for a in (op.batch, op.heads, op.kv_heads))

        def split(x: torch.Tensor, count: int) -> torch.Tensor:
            per_head = x.reshape(batch, -1, count, x.shape[1] // count).transpose(1, 2)
            return per_head.repeat_interleave(heads // count, dim=1)

        q, k, v = split(args[0], heads), split(args[1], kv_heads), split(args[2], kv_heads)
        k, v = k[:, :, : op.key_length], v[:, :, : op.key_length]
        scores = q @ k.transpose(2, 3) * op.scale.value.data
        if op.softcap is not None:
            cap = op.softcap.value.data
            scores = torch.tanh(scores / cap) * cap
        masks: list[torch.Tensor] = []
        if op.bias is not None:
            bias = values[op.bias]
            if bias.is_floating_point():
                scores = scores + bias
            else:
                masks.append(bias == 0)
        if op.key_padding is not None:
            masks.append((values[op.key_padding] == 0)[:, None, None, :])
        scores = self._masked(op, scores, masks)
        if op.sinks is not None:
            sinks = values[op.sinks].reshape(1, heads, 1, 1).expand(batch, -1, op.query_length, 1)
            scores = torch.cat([scores, sinks], dim=-1)
        weights = torch.softmax(scores, dim=-1)[..., : op.key_length]
        if op.empty is not None and op.empty.data == "zero":
            weights = weights.masked_fill((scores == float("-inf")).all(-1, keepdim=True), 0.0)
        return ((weights @ v).transpose(1, 2).reshape(shape_of(op.result)),)

    def _masked(self, op: plena.AttentionOp, scores: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
        """The scores after the band and other masks, true where they hide."""
        infinity = float("-inf")
        outside = ~self._allowed(op)
        number = infinity if op.fill is None else op.fill.value.data
        match "within_band" if op.masked is None else op.masked.data:
            case "alike":
                for mask in masks:
                    outside = outside | mask
                return scores.where(~outside, scores + number)
            case "beyond_band":
                for mask in masks:
                    scores = scores.masked_fill(mask, infinity)
                return scores.where(~outside, scores + number)
            case "added":
                for mask in (*masks, outside):
                    scores = scores.where(~mask, scores + number)
                return scores
            case _:
                for mask in masks:
                    scores = scores.where(~mask, scores + number)
                return scores.masked_fill(outside, infinity)

    def _allowed(self, op: plena.AttentionOp) -> torch.Tensor:
        import torch

        allowed = torch.ones(op.query_length, op.key_length, dtype=torch.bool)
        if op.band is not None:
            distance = torch.arange(op.key_length)[None, :] - torch.arange(op.query_length)[:, None]
            if op.band.lower is not None:
                allowed &= distance >= op.band.lower
            if op.band.upper is not None:
                allowed &= distance <= op.band.upper
        return allowed

    @impl(plena.PatchEmbeddingOp)
    def patch_embedding(
        self, interpreter: Interpreter, op: plena.PatchEmbeddingOp, args: PythonValues
    ) -> PythonValues:
        from torch.nn.functional import linear, unfold

        kernel = op.kernel.get_values()
        patches = unfold(args[0], kernel, stride=kernel).transpose(1, 2)
        return (linear(patches.reshape(-1, patches.shape[2]), *args[1:]),)

    # Rows.

    @impl(plena.RmsNormOp)
    def rms_norm(self, interpreter: Interpreter, op: plena.RmsNormOp, args: PythonValues) -> PythonValues:
        import torch

        x = _parts(args[0], op.groups.value.data)
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + op.eps.value.data)
        return ((normed * args[1] if op.gain is not None else normed).reshape(args[0].shape),)

    @impl(plena.LayerNormOp)
    def layer_norm(self, interpreter: Interpreter, op: plena.LayerNormOp, args: PythonValues) -> PythonValues:
        from torch.nn.functional import layer_norm

        values = dict(zip(op.operands, args, strict=True))
        gain, bias = (None if o is None else values[o] for o in (op.gain, op.bias))
        x = _parts(args[0], op.groups.value.data)
        return (layer_norm(x, x.shape[-1:], gain, bias, op.eps.value.data).reshape(args[0].shape),)

    @impl(plena.SoftmaxOp)
    def softmax(self, interpreter: Interpreter, op: plena.SoftmaxOp, args: PythonValues) -> PythonValues:
        return (_parts(args[0], op.groups.value.data).softmax(-1).reshape(args[0].shape),)

    @impl(plena.ReduceOp)
    def reduce(self, interpreter: Interpreter, op: plena.ReduceOp, args: PythonValues) -> PythonValues:
        groups, (rows, columns) = op.groups.value.data, args[0].shape
        if op.axis.data == "features":
            x, axis = args[0].reshape(rows, groups, -1), 2
        else:
            x, axis = args[0].reshape(groups, -1, columns), 1
        result = {"sum": x.sum, "mean": x.mean, "max": x.amax}[op.kind.data](axis)
        return (result,)

    @impl(plena.RotaryOp)
    def rotary(self, interpreter: Interpreter, op: plena.RotaryOp, args: PythonValues) -> PythonValues:
        x, cos, sin = args
        return (_rotated(x, cos, sin, op.heads.value.data, op.style.data),)

    @impl(plena.RotariesOp)
    def rotaries(self, interpreter: Interpreter, op: plena.RotariesOp, args: PythonValues) -> PythonValues:
        *inputs, cos, sin = args
        heads = op.heads.get_values()
        return tuple(
            _rotated(x, cos, sin, count, op.style.data) for x, count in zip(inputs, heads, strict=True)
        )

    @impl(plena.RouteOp)
    def route(self, interpreter: Interpreter, op: plena.RouteOp, args: PythonValues) -> PythonValues:
        import torch

        scores = args[0].nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        order = scores.sort(dim=1, descending=True, stable=True).indices
        return (torch.zeros_like(scores).scatter(1, order[:, : op.k.value.data], 1.0),)

    @impl(plena.ExpertsOp)
    def experts(self, interpreter: Interpreter, op: plena.ExpertsOp, args: PythonValues) -> PythonValues:
        import torch

        mask, *operands = args
        rows, columns = len(op.rows), len(op.rows) + len(op.columns)
        total = torch.zeros(shape_of(op.result))
        for e in range(op.experts):
            own = [
                x if n < rows else x[:, e : e + 1] if n < columns else x[e] for n, x in enumerate(operands)
            ]
            (value,) = interpreter.run_ssacfg_region(op.body, tuple(own), "experts")
            total = total + torch.where(mask[:, e : e + 1] != 0, value, 0.0)
        return (total,)

    @impl(plena.ChosenExpertsOp)
    def chosen_experts(
        self, interpreter: Interpreter, op: plena.ChosenExpertsOp, args: PythonValues
    ) -> PythonValues:
        import torch

        count = len(op.rows)
        mask, rows = args[0], args[1 : count + 1]
        columns = args[count + 1 : count + 1 + len(op.columns)]
        stacked = args[count + 1 + len(op.columns) :][: len(op.stacked)]
        if op.scores is not None:
            columns = (*columns, args[-1].masked_fill(mask == 0, -torch.inf).softmax(-1))
        result = torch.zeros(shape_of(op.result))
        size = len(result) // len(mask)
        owners = [value.owner for value in op.stacked]
        known = [(o.value, shape_of(o.result)) for o in owners if isinstance(o, plena.ParameterOp)]
        stacks = known if len(known) == len(owners) else []
        outer = self.tensors
        for token, expert in mask.nonzero().tolist():
            own = {plena.expert_symbol(n).string_value(): stack[expert] for n, stack in enumerate(stacked)}
            self.tensors = {**outer, **own}
            self._expert = partial(plena.expert_parameter, stacks=stacks, expert=expert) if stacks else None
            own_rows = [x[token : token + 1] if len(mask) > 1 else x for x in rows]
            numbers = [x[token : token + 1, expert : expert + 1] for x in columns]
            (found,) = interpreter.run_ssacfg_region(op.body, (*own_rows, *numbers), "plena.chosen_experts")
            result[token * size : (token + 1) * size] += found
        self.tensors, self._expert = outer, None
        return (result,)

    # Elements.

    @impl(plena.ActivationOp)
    def activation(
        self, interpreter: Interpreter, op: plena.ActivationOp, args: PythonValues
    ) -> PythonValues:
        slope = () if op.slope is None else (op.slope.value.data,)
        return (_activations()[op.kind.data](args[0], *slope),)

    @impl(plena.GateOp)
    def gate(self, interpreter: Interpreter, op: plena.GateOp, args: PythonValues) -> PythonValues:
        return (_activations()[op.kind.data](args[0]) * args[1],)

    @impl(plena.AddOp)
    def add(self, interpreter: Interpreter, op: plena.AddOp, args: PythonValues) -> PythonValues:
        return (args[0] + _like(*args),)

    @impl(plena.SubOp)
    def sub(self, interpreter: Interpreter, op: plena.SubOp, args: PythonValues) -> PythonValues:
        return (args[0] - _like(*args),)

    @impl(plena.MulOp)
    def mul(self, interpreter: Interpreter, op: plena.MulOp, args: PythonValues) -> PythonValues:
        return (args[0] * _like(*args),)

    @impl(plena.DivOp)
    def div(self, interpreter: Interpreter, op: plena.DivOp, args: PythonValues) -> PythonValues:
        return (args[0] / _like(*args),)

    @impl(plena.MaximumOp)
    def maximum(self, interpreter: Interpreter, op: plena.MaximumOp, args: PythonValues) -> PythonValues:
        return (args[0].maximum(_like(*args)),)

    @impl(plena.MinimumOp)
    def minimum(self, interpreter: Interpreter, op: plena.MinimumOp, args: PythonValues) -> PythonValues:
        return (args[0].minimum(_like(*args)),)

    @impl(plena.FillInfinityOp)
    def fill_infinity(
        self, interpreter: Interpreter, op: plena.FillInfinityOp, args: PythonValues
    ) -> PythonValues:
        return (args[0].masked_fill(_like(*args) == 0, op.sign.value.data * float("inf")),)

    @impl(plena.AddScalarOp)
    def add_scalar(self, interpreter: Interpreter, op: plena.AddScalarOp, args: PythonValues) -> PythonValues:
        return (args[0] + op.value.value.data,)

    @impl(plena.MulScalarOp)
    def mul_scalar(self, interpreter: Interpreter, op: plena.MulScalarOp, args: PythonValues) -> PythonValues:
        return (args[0] * op.value.value.data,)

    @impl(plena.ClampOp)
    def clamp(self, interpreter: Interpreter, op: plena.ClampOp, args: PythonValues) -> PythonValues:
        low, high = (None if bound is None else bound.value.data for bound in (op.min, op.max))
        return (args[0].clamp(low, high),)

    @impl(plena.CastOp)
    def cast(self, interpreter: Interpreter, op: plena.CastOp, args: PythonValues) -> PythonValues:
        return (args[0].float(),)

    @impl(plena.CompareOp)
    def compare(self, interpreter: Interpreter, op: plena.CompareOp, args: PythonValues) -> PythonValues:
        import torch

        number = op.value.value.data
        if not args[0].is_floating_point() and number.is_integer():
            number = int(number)
        return (getattr(torch, op.predicate.data)(args[0], number),)

    @impl(plena.BitOp)
    def bit(self, interpreter: Interpreter, op: plena.BitOp, args: PythonValues) -> PythonValues:
        return (args[0] != 0,)

    # Layout.

    @impl(plena.ReshapeOp)
    def reshape(self, interpreter: Interpreter, op: plena.ReshapeOp, args: PythonValues) -> PythonValues:
        return (args[0].reshape(shape_of(op.result)),)

    @impl(plena.RearrangeOp)
    def rearrange(self, interpreter: Interpreter, op: plena.RearrangeOp, args: PythonValues) -> PythonValues:
        viewed = args[0].reshape(op.factors.get_values())
        return (viewed.permute(op.order.get_values()).reshape(shape_of(op.result)),)

    @impl(plena.SliceOp)
    def slice(self, interpreter: Interpreter, op: plena.SliceOp, args: PythonValues) -> PythonValues:
        (rows, columns), x = op.groups.get_values(), args[0]
        x = x.reshape(rows, x.shape[0] // rows, columns, x.shape[1] // columns)
        settings = (op.offsets, op.sizes, op.strides)
        picks = [
            [offset + stride * i for i in range(size)]
            for offset, size, stride in zip(*(a.get_values() for a in settings), strict=True)
        ]
        return (x[:, picks[0]][:, :, :, picks[1]].reshape(shape_of(op.result)),)

    @impl(plena.ConcatOp)
    def concat(self, interpreter: Interpreter, op: plena.ConcatOp, args: PythonValues) -> PythonValues:
        import torch

        groups = op.groups.value.data
        if op.axis.data == "rows":
            parts = [x.reshape(groups, -1, x.shape[1]) for x in args]
            return (torch.cat(parts, 1).reshape(shape_of(op.result)),)
        return (torch.cat([_parts(x, groups) for x in args], 2).reshape(shape_of(op.result)),)

    @impl(plena.ExpandOp)
    def expand(self, interpreter: Interpreter, op: plena.ExpandOp, args: PythonValues) -> PythonValues:
        return (args[0].expand(shape_of(op.result)),)

    @impl(plena.RelativeOp)
    def relative(self, interpreter: Interpreter, op: plena.RelativeOp, args: PythonValues) -> PythonValues:
        import torch

        staged = relative(*op.step).apply(args[0].detach().float().numpy())
        return (torch.from_numpy(staged).to(args[0].dtype),)

    @impl(plena.EmbeddingOp)
    def embedding(self, interpreter: Interpreter, op: plena.EmbeddingOp, args: PythonValues) -> PythonValues:
        table, ids = args
        return (table[ids.flatten()],)
