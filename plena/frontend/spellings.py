"""Operators that are other spellings of ops the dialect has: one entry per overload.

A handler takes the importer and the bound arguments (values or Python numbers by schema name) and returns the
value of the node, or NotImplemented to leave it to the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf, prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import (
    BoolAttr,
    DenseArrayBase,
    Float32Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.element_types import is_real
from plena.frontend.refusals import refusal_at

if TYPE_CHECKING:
    from plena.frontend.importer import GraphImporter

Arguments = Mapping[str, Any]
Handler = Callable[["GraphImporter", Arguments], Any]

_BOOLEAN = IntegerType(1)


def _ints(values: Sequence[int]) -> Attribute:
    return DenseArrayBase.from_list(i64, list(values))


def _same(g: GraphImporter, a: Arguments) -> Any:
    """The input itself: alias, clone, detach, contiguous."""
    return g.ssa(a["self"])


def _dropout(g: GraphImporter, a: Arguments) -> Any:
    return NotImplemented if a["train"] and a["p"] > 0 else g.ssa(a["input"])


# Shapes.


def _view(g: GraphImporter, a: Arguments) -> SSAValue:
    return view(g, g.ssa(a["self"]), g.shape)


def view(g: GraphImporter, value: SSAValue, shape: Sequence[int]) -> SSAValue:
    """`value` under another shape."""
    if shape_of(value) == tuple(shape):
        return value
    return g.build(aten.ViewOp, [value], shape=shape, element=element_type_of(value))


def permute(g: GraphImporter, value: SSAValue, dims: Sequence[int]) -> SSAValue:
    """`value` with its axes reordered."""
    shape = shape_of(value)
    if list(dims) == list(range(len(shape))):
        return value
    return g.build(
        aten.PermuteOp,
        [value],
        {"dims": _ints(dims)},
        shape=[shape[d] for d in dims],
        element=element_type_of(value),
    )


def _permute_like(g: GraphImporter, a: Arguments) -> SSAValue:
    """Any operator that only reorders axes: torch tells how, on a tensor whose axes all differ in size."""
    value = g.ssa(a["self"])
    probe = torch.empty(tuple(range(1, len(shape_of(value)) + 1)), device="meta")
    arguments = {name: v for name, v in a.items() if name != "self"}
    reordered: torch.Tensor = g.node.target(probe, **arguments)  # type: ignore[operator]
    return permute(g, value, [size - 1 for size in reordered.shape])


def expand(g: GraphImporter, value: SSAValue, shape: Sequence[int]) -> SSAValue:
    """`value` repeated to `shape`."""
    if shape_of(value) == tuple(shape):
        return value
    return g.build(aten.ExpandOp, [value], shape=shape, element=element_type_of(value))


def _expand(g: GraphImporter, a: Arguments) -> SSAValue:
    return expand(g, g.ssa(a["self"]), g.shape)


def _repeat(g: GraphImporter, a: Arguments) -> SSAValue:
    value, repeats = g.ssa(a["self"]), a["repeats"] if "repeats" in a else a["dims"]
    rank = max(len(repeats), len(shape_of(value)))
    shape = [1] * (rank - len(shape_of(value))) + list(shape_of(value))
    repeats = [1] * (rank - len(repeats)) + list(repeats)
    apart = [size for n in shape for size in (1, n)]
    repeated = [size for n, times in zip(shape, repeats, strict=True) for size in (times, n)]
    return view(g, expand(g, view(g, value, apart), repeated), g.shape)


def _repeat_interleave(g: GraphImporter, a: Arguments) -> Any:
    value, dim = g.ssa(a["self"]), a["dim"]
    if dim is None:
        return NotImplemented
    shape = list(shape_of(value))
    dim %= len(shape)
    apart = [*shape[: dim + 1], 1, *shape[dim + 1 :]]
    repeated = [*shape[: dim + 1], a["repeats"], *shape[dim + 1 :]]
    return view(g, expand(g, view(g, value, apart), repeated), g.shape)


def slice_along(g: GraphImporter, value: SSAValue, dim: int, start: int, end: int, step: int = 1) -> SSAValue:
    """Elements start, start + step, ... before end along dim, bounds as in Python."""
    shape = list(shape_of(value))
    dim %= len(shape)
    start, end, step = slice(start, end, step).indices(shape[dim])
    if (start, step) == (0, 1) and end == shape[dim]:
        return value
    shape[dim] = len(range(start, end, step))
    numbers = {"dim": dim, "start": start, "end": end, "step": step}
    properties = {name: IntegerAttr(number, i64) for name, number in numbers.items()}
    return g.build(aten.SliceOp, [value], properties, shape=shape, element=element_type_of(value))


def _slice(g: GraphImporter, a: Arguments) -> SSAValue:
    return slice_along(g, g.ssa(a["self"]), a["dim"], a["start"], a["end"], a["step"])


def _narrow(g: GraphImporter, a: Arguments) -> SSAValue:
    return slice_along(g, g.ssa(a["self"]), a["dim"], a["start"], a["start"] + a["length"])


def _select(g: GraphImporter, a: Arguments) -> SSAValue:
    value = g.ssa(a["self"])
    index = a["index"] % shape_of(value)[a["dim"]]
    return view(g, slice_along(g, value, a["dim"], index, index + 1), g.shape)


def _split(g: GraphImporter, a: Arguments) -> list[SSAValue]:
    """split, split_with_sizes, chunk, tensor_split: the pieces have the sizes that torch gives them."""
    value = g.ssa(a["self"])
    shape, dim = shape_of(value), a["dim"] % len(shape_of(value))
    arguments = {name: v for name, v in a.items() if name != "self"}
    pieces = g.node.target(torch.empty(shape, device="meta"), **arguments)  # type: ignore[operator]
    ends = [sum(piece.shape[dim] for piece in pieces[: i + 1]) for i in range(len(pieces))]
    return [slice_along(g, value, dim, end - p.shape[dim], end) for p, end in zip(pieces, ends, strict=True)]


def _unbind(g: GraphImporter, a: Arguments) -> list[SSAValue]:
    value = g.ssa(a["self"])
    shape, dim = shape_of(value), a["dim"] % len(shape_of(value))
    rest = [*shape[:dim], *shape[dim + 1 :]]
    return [view(g, slice_along(g, value, dim, i, i + 1), rest) for i in range(shape[dim])]


def _cat(g: GraphImporter, a: Arguments) -> SSAValue:
    empty = [isinstance(tensor, torch.Tensor) and tensor.numel() == 0 for tensor in a["tensors"]]
    tensors = [g.ssa(tensor) for tensor, skip in zip(a["tensors"], empty, strict=True) if not skip]
    if len(tensors) == 1:
        return tensors[0]
    return _joined(g, tensors, a["dim"] % len(g.shape))


def _joined(g: GraphImporter, tensors: Sequence[SSAValue], dim: int) -> SSAValue:
    """A concatenation; of parts that are infinite throughout zeros are joined, the infinities are chosen behind."""
    numbers = [aten.full_value(tensor) for tensor in tensors]
    infinities = sorted({number for number in numbers if number is not None and isinf(number)})
    sizes = [shape_of(tensor)[dim] for tensor in tensors]
    shape = list(shape_of(tensors[0]))
    shape[dim] = sum(sizes)
    finite = [
        g.ssa(torch.zeros(shape_of(tensor))) if number in infinities else tensor
        for tensor, number in zip(tensors, numbers, strict=True)
    ]
    element = element_type_of(tensors[0])
    value = g.build(aten.CatOp, [finite], {"dim": IntegerAttr(dim, i64)}, shape=shape, element=element)
    for infinity in infinities:
        kept = torch.cat([torch.full((size,), n != infinity) for size, n in zip(sizes, numbers, strict=True)])
        kept = kept.view([-1 if axis == dim else 1 for axis in range(len(shape))])
        g.name_constant(kept)
        value = g.build(aten.WhereOp, [kept, value, infinity], shape=shape, element=element)
    return value


def _stack(g: GraphImporter, a: Arguments) -> SSAValue:
    dim = a["dim"] % len(g.shape)
    slices = [*g.shape[:dim], 1, *g.shape[dim + 1 :]]
    return _joined(g, [view(g, g.ssa(tensor), slices) for tensor in a["tensors"]], dim)


def _index(g: GraphImporter, a: Arguments) -> Any:
    """x[i, j, ...] where constant indices only place axes, or one index vector picks along one axis."""
    value, indices = g.ssa(a["self"]), a["indices"]
    tensors = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(tensors) == len(shape_of(value)) and all(isinstance(i, torch.Tensor) for _, i in tensors):
        placed = _placed_axes(shape_of(value), [index for _, index in tensors])
        if placed is not None:
            return expand(g, view(g, value, placed), g.shape)
    if len(tensors) != 1:
        return NotImplemented
    axis, index = tensors[0]
    if isinstance(index, torch.Tensor) and index.dtype != torch.bool and index.ndim == 1:
        return pick(g, value, axis, index.tolist())
    index = g.ssa(index)
    if element_type_of(index) == _BOOLEAN:
        return NotImplemented
    flat = view(g, index, (prod(shape_of(index)),))
    shape = list(shape_of(value))
    shape[axis] = shape_of(flat)[0]
    picked = g.build(aten.IndexSelectOp, [value, flat], {"dim": IntegerAttr(axis, i64)}, shape=shape)
    return view(g, picked, g.shape)


def _index_select(g: GraphImporter, a: Arguments) -> Any:
    if not isinstance(a["index"], torch.Tensor):
        return NotImplemented
    value = g.ssa(a["self"])
    return pick(g, value, a["dim"] % len(shape_of(value)), a["index"].flatten().tolist())


def pick(g: GraphImporter, value: SSAValue, axis: int, indices: Sequence[int]) -> SSAValue:
    """The slices of value along axis with constant numbers: runs of consecutive ones are slices."""
    size = shape_of(value)[axis]
    runs: list[list[int]] = []
    for index in (i % size for i in indices):
        if runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        else:
            runs.append([index, index + 1])
    parts = [slice_along(g, value, axis, start, end) for start, end in runs]
    if len(parts) == 1:
        return parts[0]
    shape = list(shape_of(value))
    shape[axis] = len(indices)
    properties = {"dim": IntegerAttr(axis, i64)}
    return g.build(aten.CatOp, [parts], properties, shape=shape, element=element_type_of(value))


def _placed_axes(shape: Sequence[int], indices: Sequence[torch.Tensor]) -> list[int] | None:
    """The shape that gives x[indices] as a view of x, if index k counts 0, 1, ... along an axis of its
    own."""
    rank = max(index.ndim for index in indices)
    placed, last = [1] * rank, -1
    for size, index in zip(shape, indices, strict=True):
        if index.dtype == torch.bool or not torch.equal(index.flatten(), torch.arange(size)):
            return None
        long_axes = [axis + rank - index.ndim for axis, n in enumerate(index.shape) if n > 1]
        if size == 1:
            continue
        if len(long_axes) != 1 or long_axes[0] <= last:
            return None
        last = long_axes[0]
        placed[last] = size
    return placed


def _pad(g: GraphImporter, a: Arguments) -> Any:
    return pad(g, g.ssa(a["self"]), a["pad"], a["value"])


def pad(g: GraphImporter, value: SSAValue, amounts: Sequence[int], number: float | None = None) -> SSAValue:
    """Constant padding as concatenation with uniform tensors; negative padding cuts. The last axis comes first."""
    rank = len(shape_of(value))
    for i in range(len(amounts) // 2):
        dim, before, after = rank - 1 - i, amounts[2 * i], amounts[2 * i + 1]
        if min(before, after) < 0:
            value = slice_along(g, value, dim, max(-before, 0), shape_of(value)[dim] - max(-after, 0))
        parts = [
            _uniform_part(g, value, dim, before, number),
            [value],
            _uniform_part(g, value, dim, after, number),
        ]
        tensors = [tensor for part in parts for tensor in part]
        if len(tensors) > 1:
            value = _joined(g, tensors, dim)
    return value


def _uniform_part(
    g: GraphImporter, value: SSAValue, dim: int, size: int, number: float | None
) -> list[SSAValue]:
    if size <= 0:
        return []
    shape = list(shape_of(value))
    shape[dim] = size
    return [g.ssa(torch.full(shape, float(number or 0.0)))]


# Element types.


def _to(g: GraphImporter, a: Arguments) -> SSAValue:
    """Between floating-point types nothing happens: the tensor level computes with real numbers."""
    return convert(g, g.ssa(a["self"]), g.element)


def convert(g: GraphImporter, value: SSAValue, element: Attribute) -> SSAValue:
    """`value` with another kind of element."""
    if element_type_of(value) == element:
        return value
    return g.build(aten.ToOp, [value], shape=shape_of(value), element=element)


# Products.


def _matmul(g: GraphImporter, a: Arguments) -> SSAValue:
    """matmul, mm, bmm; a vector is a matrix of one row or column."""
    x, y = g.ssa(a["self"]), g.ssa(a.get("mat2", a.get("other")))
    matrices = [
        view(g, x, (1, *shape_of(x))) if len(shape_of(x)) == 1 else x,
        view(g, y, (*shape_of(y), 1)) if len(shape_of(y)) == 1 else y,
    ]
    return view(g, _product(g, *matrices), g.shape)


def _product(g: GraphImporter, x: SSAValue, y: SSAValue) -> SSAValue:
    from plena.dialects.tensor_shapes import broadcast_shapes

    batch = (
        broadcast_shapes([shape_of(x)[:-2], shape_of(y)[:-2]])
        if max(len(shape_of(v)) for v in (x, y)) > 2
        else ()
    )
    shape = (*(batch or ()), shape_of(x)[-2], shape_of(y)[-1])
    return g.build(aten.MatmulOp, [x, y], shape=shape)


def _linear(g: GraphImporter, a: Arguments) -> Any:
    """A weight without an axis of outputs gives one number a row; a bias that is no vector of outputs is added."""
    x, weight, bias = g.ssa(a["input"]), g.ssa(a["weight"]), a["bias"]
    vector = len(shape_of(weight)) == 1
    if not vector and (bias is None or shape_of(g.ssa(bias)) == shape_of(weight)[:1]):
        return NotImplemented
    matrix = view(g, weight, (1, *shape_of(weight))) if vector else weight
    rows = g.build(aten.LinearOp, [x, matrix, []], shape=(*shape_of(x)[:-1], shape_of(matrix)[0]))
    product = view(g, rows, shape_of(rows)[:-1]) if vector else rows
    return product if bias is None else g.build(aten.AddOp, [product, bias])


def _addmm(g: GraphImporter, a: Arguments) -> SSAValue:
    """beta * self + alpha * (first @ second) of addmm and baddbmm."""
    first, second = a.get("mat1", a.get("batch1")), a.get("mat2", a.get("batch2"))
    product = scaled(g, _product(g, g.ssa(first), g.ssa(second)), a["alpha"])
    if a["beta"] == 0:
        return product
    addend = scaled(g, g.ssa(a["self"]), a["beta"])
    return g.build(aten.AddOp, [product, addend])


def _attention(g: GraphImporter, a: Arguments) -> Any:
    mask = a["attn_mask"]
    if a["dropout_p"] > 0:
        return NotImplemented
    properties: dict[str, Attribute] = {
        "is_causal": BoolAttr.from_bool(a["is_causal"]),
        "enable_gqa": BoolAttr.from_bool(a["enable_gqa"]),
    }
    if a["scale"] is not None:
        properties["scale"] = FloatAttr(float(a["scale"]), f64)
    operands = [a["query"], a["key"], a["value"], [] if mask is None else [mask]]
    return g.build(aten.ScaledDotProductAttentionOp, operands, properties)


def _convolution(g: GraphImporter, a: Arguments) -> Any:
    """Convolutions with one or two spatial axes, not transposed; an op if the kernels are patches of the image."""
    x, weight = g.ssa(a["input"]), g.ssa(a["weight"])
    axes = len(shape_of(weight)) - 2
    if len(shape_of(x)) == axes + 1:
        image = view(g, x, (1, *shape_of(x)))
        result = _convolution_of(g, {**a, "input": image}, (1, *g.shape))
        return result if result is NotImplemented else view(g, result, g.shape)
    return _convolution_of(g, a, g.shape)


def _convolution_of(g: GraphImporter, a: Arguments, shape: Sequence[int]) -> Any:
    """A convolution of a batch of images with a result of this shape."""
    from plena.frontend import convolution

    x, weight = g.ssa(a["input"]), g.ssa(a["weight"])
    axes = len(shape_of(weight)) - 2
    if axes not in (1, 2) or a.get("transposed") or isinstance(a["padding"], str):
        return NotImplemented
    pairs = {name: tuple(a[name]) * (axes // len(a[name])) for name in ("stride", "padding", "dilation")}
    groups, bias = int(a["groups"]), a["bias"]
    if axes == 2 and (convolution.is_patches(weight, **pairs) or not convolution.has_taps(weight, groups)):
        properties: dict[str, Attribute] = {name: _ints(n) for name, n in pairs.items()}
        properties["groups"] = IntegerAttr(groups, i64)
        return g.build(aten.Conv2dOp, [x, weight, [] if bias is None else [bias]], properties, shape=shape)
    if not convolution.has_taps(weight, groups):
        return NotImplemented
    return convolution.by_taps(g, x, weight, bias, **pairs, groups=groups)


# Arithmetic.


def scaled(g: GraphImporter, value: SSAValue, factor: float) -> SSAValue:
    """`value` times a number."""
    if factor == 1:
        return value
    return g.build(aten.MulOp, [value, g.ssa(float(factor))], shape=shape_of(value))


def _binary(operation: type[aten.AtenOp]) -> Handler:
    """A binary operator with a tensor or a number on the right, times alpha."""

    def handler(g: GraphImporter, a: Arguments) -> Any:
        if a.get("rounding_mode") is not None:
            return NotImplemented
        if isinstance(a["self"], ComplexPair) or isinstance(a["other"], ComplexPair):
            return _complex_product(g, a) if operation is aten.MulOp else NotImplemented
        if _is_neutral(operation, a["other"]) and g.ssa(a["self"]).type == g.result_type:
            return g.ssa(a["self"])
        x, y = (_operand(g, a[name]) for name in ("self", "other"))
        return g.build(operation, [x, scaled(g, y, a.get("alpha", 1))])

    return handler


def _is_neutral(operation: type[aten.AtenOp], number: Any) -> bool:
    """Whether `x op number` is x."""
    if not isinstance(number, int | float):
        return False
    return number == (1 if operation in (aten.MulOp, aten.DivOp) else 0)


@dataclass(frozen=True)
class ComplexPair:
    """A complex tensor by its parts, as some models write rotary embeddings."""

    real: SSAValue
    imaginary: SSAValue


def _view_as_complex(g: GraphImporter, a: Arguments) -> ComplexPair:
    value = g.ssa(a["self"])
    last, shape = len(shape_of(value)) - 1, shape_of(value)[:-1]
    element = element_type_of(value)
    parts = [slice_along(g, value, last, i, i + 1) for i in (0, 1)]
    real, imaginary = (g.build(aten.ViewOp, [part], shape=shape, element=element) for part in parts)
    return ComplexPair(real, imaginary)


def _parts(g: GraphImporter, value: Any) -> ComplexPair:
    if isinstance(value, ComplexPair):
        return value
    if not isinstance(value, torch.Tensor) or not value.is_complex():
        raise refusal_at(
            g.node,
            "a complex tensor is multiplied by what is no complex tensor",
            "Multiply real and imaginary parts: torch.view_as_real(x) gives them.",
        )
    parts = [value.real.contiguous(), value.imag.contiguous()]
    for part in parts:
        g.name_constant(part)
    return ComplexPair(*(g.ssa(part) for part in parts))


def _complex_product(g: GraphImporter, a: Arguments) -> Any:
    """(a + bi)(c + di) = (ac - bd) + (ad + bc)i."""
    x, y = (_parts(g, a[name]) for name in ("self", "other"))

    def build(operation: type[aten.AtenOp], lhs: SSAValue, rhs: SSAValue) -> SSAValue:
        return g.build(operation, [lhs, rhs], shape=g.shape, element=element_type_of(lhs))

    products = [build(aten.MulOp, u, v) for u in (x.real, x.imaginary) for v in (y.real, y.imaginary)]
    ac, ad, bc, bd = products
    return ComplexPair(build(aten.SubOp, ac, bd), build(aten.AddOp, ad, bc))


def _view_as_real(g: GraphImporter, a: Arguments) -> Any:
    pair = a["self"]
    if not isinstance(pair, ComplexPair):
        return NotImplemented
    columns = [view(g, part, (*shape_of(part), 1)) for part in (pair.real, pair.imaginary)]
    return g.build(aten.CatOp, [columns], {"dim": IntegerAttr(len(g.shape) - 1, i64)})


def _operand(g: GraphImporter, value: Any) -> SSAValue:
    """An operand with the kind of element of the current node's result."""
    if isinstance(g.element, Float32Type):
        if isinstance(value, int):
            value = float(value)
        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            value = value.float()
            g.name_constant(value)
    return convert(g, g.ssa(value), g.element)


def _rsub(g: GraphImporter, a: Arguments) -> SSAValue:
    other, value = (_operand(g, a[name]) for name in ("other", "self"))
    return g.build(aten.SubOp, [other, scaled(g, value, a.get("alpha", 1))])


def _power(g: GraphImporter, a: Arguments) -> Any:
    """Powers with a constant exponent that need no power function."""
    value, exponent = a["self"], a["exponent"]
    if not isinstance(exponent, int | float):
        return NotImplemented
    x = g.ssa(value)
    roots = {0.5: aten.SqrtOp, -0.5: aten.RsqrtOp, -1: aten.ReciprocalOp}
    if exponent in roots:
        return g.build(roots[exponent], [x])
    if exponent == 1:
        return x
    if exponent in (2, 3, 4):
        square = g.build(aten.MulOp, [x, x])
        return {2: lambda: square}.get(
            int(exponent), lambda: g.build(aten.MulOp, [square, x if exponent == 3 else square])
        )()
    return g.build(aten.PowOp, [x, float(exponent)])


def _power_of_tensors(g: GraphImporter, a: Arguments) -> SSAValue:
    return g.build(aten.PowOp, [_operand(g, a["self"]), _operand(g, a["exponent"])])


def _square(g: GraphImporter, a: Arguments) -> SSAValue:
    x = g.ssa(a["self"])
    return g.build(aten.MulOp, [x, x])


def _clamp(low: str | float | None, high: str | float | None) -> Handler:
    """Clamping to bounds that are arguments (by name) or numbers."""

    def handler(g: GraphImporter, a: Arguments) -> Any:
        bounds = {
            "min": a.get(low) if isinstance(low, str) else low,
            "max": a.get(high) if isinstance(high, str) else high,
        }
        if not all(bound is None or isinstance(bound, int | float) for bound in bounds.values()):
            return NotImplemented
        properties = {k: FloatAttr(float(b), f64) for k, b in bounds.items() if b is not None}
        return g.build(aten.ClampOp, [a["self"]], properties)

    return handler


def _hard(g: GraphImporter, a: Arguments, times_input: bool) -> SSAValue:
    """hardsigmoid clamp(x + 3, 0, 6) / 6, times x for hardswish."""
    x = g.ssa(a["self"])
    bounds = {"min": FloatAttr(0.0, f64), "max": FloatAttr(6.0, f64)}
    clamped = g.build(aten.ClampOp, [g.build(aten.AddOp, [x, 3.0])], bounds)
    part = g.build(aten.MulOp, [clamped, 1.0 / 6.0])
    return g.build(aten.MulOp, [x, part]) if times_input else part


def _elu(g: GraphImporter, a: Arguments) -> SSAValue:
    return elu(g, a["self"], float(a["alpha"]), float(a["scale"]), float(a["input_scale"]))


def elu(g: GraphImporter, x: Any, alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> SSAValue:
    """scale * x, and scale * alpha * (e^(input_scale * x) - 1) where x is negative: the scales taken out of the op."""
    x = scaled(g, g.ssa(x), input_scale)
    curve = g.build(aten.EluOp, [x], {"alpha": FloatAttr(alpha * input_scale, f64)})
    return scaled(g, curve, scale / input_scale)


SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
"""The constants of aten.selu (Klambauer et al., Self-Normalizing Neural Networks)."""


def _prelu(g: GraphImporter, a: Arguments) -> SSAValue:
    """max(x, 0) + weight * min(x, 0), a weight for all or one for each channel, axis 1."""
    x, weight = g.ssa(a["self"]), g.ssa(a["weight"])
    rank = len(shape_of(x))
    if rank > 1:
        weight = view(g, weight, [1, *shape_of(weight), *[1] * (rank - 2)])
    positive = g.build(aten.ReluOp, [x])
    negative = g.build(aten.SubOp, [x, positive])
    return g.build(aten.AddOp, [positive, g.build(aten.MulOp, [negative, weight])])


def _compare(predicate: str) -> Handler:
    def handler(g: GraphImporter, a: Arguments) -> SSAValue:
        return g.build(
            aten.CompareOp, [a["self"], a["other"]], {"predicate": StringAttr(predicate)}, element=_BOOLEAN
        )

    return handler


def _boolean(operation: type[aten.AtenOp]) -> Handler:
    """and, not: of booleans; the bitwise operators of integers have no op."""

    def handler(g: GraphImporter, a: Arguments) -> Any:
        values = [g.ssa(a[name]) for name in ("self", "other") if name in a]
        if g.element != _BOOLEAN:
            return NotImplemented
        return g.build(operation, [convert(g, value, _BOOLEAN) for value in values])

    return handler


def _or(g: GraphImporter, a: Arguments) -> Any:
    """not (not x and not y), so that masks are conjunctions throughout."""
    if g.element != _BOOLEAN:
        return NotImplemented
    neither = [_not(g, a[name]) for name in ("self", "other")]
    both = g.build(aten.LogicalAndOp, neither)
    return g.build(aten.LogicalNotOp, [both])


def _not(g: GraphImporter, mask: Any) -> Any:
    """The negation of a mask, right away if it is constant."""
    if isinstance(mask, torch.Tensor):
        inverse = mask == 0
        g.name_constant(inverse)
        return inverse
    mask = convert(g, g.ssa(mask), _BOOLEAN)
    return g.build(aten.LogicalNotOp, [mask], shape=shape_of(mask), element=_BOOLEAN)


def _where(g: GraphImporter, a: Arguments) -> SSAValue:
    """where; a constant condition is turned round if that puts the number on the right."""
    condition, x, y = a["condition"], a["self"], a["other"]
    if isinstance(condition, torch.Tensor) and _is_number(x) and not _is_number(y):
        condition, x, y = ~condition, y, x
        g.name_constant(condition)
    return g.build(aten.WhereOp, [condition, x, y])


def _masked_fill(g: GraphImporter, a: Arguments) -> SSAValue:
    allowed, value = _not(g, a["mask"]), a["value"]
    number = float(value) if isinstance(value, int | float) and is_real(g.ssa(a["self"]).type) else value
    return g.build(aten.WhereOp, [allowed, a["self"], number])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1)


# Reductions and norms.


def _reduce(operation: type[aten.AtenOp]) -> Handler:
    """A reduction over the axes `dim`, all if it is absent or empty."""

    def handler(g: GraphImporter, a: Arguments) -> SSAValue:
        return reduce(
            g, operation, convert(g, g.ssa(a["self"]), g.element), a.get("dim"), a.get("keepdim", False)
        )

    return handler


def reduce(
    g: GraphImporter, operation: type[aten.AtenOp], value: SSAValue, dim: Any, keepdim: bool
) -> SSAValue:
    """`operation` over the axes `dim` of value."""
    shape = shape_of(value)
    axes = [dim] if isinstance(dim, int) else list(dim or range(len(shape)))
    axes = sorted(axis % len(shape) for axis in axes)
    reduced = [1 if i in axes else n for i, n in enumerate(shape) if keepdim or i not in axes]
    properties = {"dim": _ints(axes), "keepdim": BoolAttr.from_bool(keepdim)}
    return g.build(operation, [value], properties, shape=reduced, element=element_type_of(value))


def _max_dim(g: GraphImporter, a: Arguments) -> Any:
    """max along an axis whose indices nobody reads."""
    if any(user.args[1] == 1 and user in g.plan.needed for user in g.node.users):
        return NotImplemented
    return [reduce(g, aten.AmaxOp, g.ssa(a["self"]), a["dim"], a["keepdim"]), None]


def _variance(g: GraphImporter, a: Arguments, root: bool = False) -> SSAValue:
    """mean((x - mean)^2) * n / (n - correction), the root of it for std."""
    x, dim, keepdim = g.ssa(a["self"]), a.get("dim"), a.get("keepdim", False)
    correction = a.get("correction", 1 if a.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    mean = reduce(g, aten.MeanOp, x, dim, keepdim=True)
    centered = g.build(aten.SubOp, [x, mean], shape=shape_of(x))
    square = g.build(aten.MulOp, [centered, centered], shape=shape_of(x))
    variance = reduce(g, aten.MeanOp, square, dim, keepdim)
    count = prod(shape_of(x)) // prod(shape_of(mean))
    if count <= correction:
        raise refusal_at(
            g.node,
            f"the variance of {count} numbers with correction {correction} is not finite",
            "Reduce over more numbers, or set correction=0.",
        )
    variance = scaled(g, variance, count / (count - correction))
    return g.build(aten.SqrtOp, [variance]) if root else variance


def _vector_norm(g: GraphImporter, a: Arguments) -> Any:
    """The Euclidean norm sqrt(sum(x^2))."""
    if a.get("ord", a.get("p", 2)) not in (None, 2):
        return NotImplemented
    x = g.ssa(a["self"])
    square = g.build(aten.MulOp, [x, x], shape=shape_of(x))
    total = reduce(g, aten.SumOp, square, a.get("dim"), a.get("keepdim", False))
    return g.build(aten.SqrtOp, [total])


def _softmax(g: GraphImporter, a: Arguments) -> SSAValue:
    dim = a["dim"] % len(g.shape)
    return g.build(aten.SoftmaxOp, [a["self"]], {"dim": IntegerAttr(dim, i64)})


def _native_layer_norm(g: GraphImporter, a: Arguments) -> Any:
    if any(user.args[1] != 0 and user in g.plan.needed for user in g.node.users):
        return NotImplemented
    x = g.ssa(a["input"])
    optional = [[] if a[name] is None else [a[name]] for name in ("weight", "bias")]
    properties = {"normalized_shape": _ints(a["normalized_shape"]), "eps": FloatAttr(float(a["eps"]), f64)}
    return [
        g.build(aten.LayerNormOp, [x, *optional], properties, shape=shape_of(x), element=element_type_of(x))
    ]


SPELLINGS: dict[str, Handler] = {
    **dict.fromkeys(
        [
            "aten.alias.default", "aten.clone.default", "aten.detach.default", "aten.contiguous.default",
            "aten.lift_fresh_copy.default", "aten.positive.default",
        ],
        _same,
    ),
    "aten.dropout.default": _dropout,
    **dict.fromkeys(
        [
            "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.unsqueeze.default",
            "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims", "aten.flatten.using_ints",
            "aten.unflatten.int", "aten.view_as.default", "aten.reshape_as.default",
        ],
        _view,
    ),
    **dict.fromkeys(
        [
            "aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.movedim.int",
            "aten.movedim.intlist", "aten.swapaxes.default", "aten.numpy_T.default", "aten.mT.default",
        ],
        _permute_like,
    ),
    "aten.expand.default": _expand,
    "aten.expand_as.default": _expand,
    "aten.broadcast_to.default": _expand,
    "aten.repeat.default": _repeat,
    "aten.tile.default": _repeat,
    "aten.repeat_interleave.self_int": _repeat_interleave,
    "aten.slice.Tensor": _slice,
    "aten.narrow.default": _narrow,
    "aten.select.int": _select,
    "aten.split.Tensor": _split,
    "aten.split_with_sizes.default": _split,
    "aten.split.sizes": _split,
    "aten.chunk.default": _split,
    "aten.tensor_split.sections": _split,
    "aten.unbind.int": _unbind,
    "aten.cat.default": _cat,
    "aten.concat.default": _cat,
    "aten.stack.default": _stack,
    "aten.index.Tensor": _index,
    "aten.index_select.default": _index_select,
    "aten.constant_pad_nd.default": _pad,
    **dict.fromkeys(
        [
            "aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten.to.other", "aten._to_copy.default",
            "aten.type_as.default",
        ],
        _to,
    ),
    "aten.view_as_complex.default": _view_as_complex,
    "aten.view_as_real.default": _view_as_real,
    "aten.linear.default": _linear,
    "aten.matmul.default": _matmul,
    "aten.mm.default": _matmul,
    "aten.bmm.default": _matmul,
    "aten.mv.default": _matmul,
    "aten.addmm.default": _addmm,
    "aten.baddbmm.default": _addmm,
    "aten.scaled_dot_product_attention.default": _attention,
    "aten.conv1d.default": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.convolution.default": _convolution,
    "aten.add.Tensor": _binary(aten.AddOp),
    "aten.add.Scalar": _binary(aten.AddOp),
    "aten.sub.Tensor": _binary(aten.SubOp),
    "aten.sub.Scalar": _binary(aten.SubOp),
    "aten.mul.Tensor": _binary(aten.MulOp),
    "aten.mul.Scalar": _binary(aten.MulOp),
    "aten.div.Tensor": _binary(aten.DivOp),
    "aten.div.Scalar": _binary(aten.DivOp),
    "aten.true_divide.Tensor": _binary(aten.DivOp),
    "aten.rsub.Scalar": _rsub,
    "aten.rsub.Tensor": _rsub,
    "aten.pow.Tensor_Scalar": _power,
    "aten.pow.Tensor_Tensor": _power_of_tensors,
    "aten.square.default": _square,
    "aten.clamp.default": _clamp("min", "max"),
    "aten.clamp_min.default": _clamp("min", None),
    "aten.clamp_max.default": _clamp(None, "max"),
    "aten.hardtanh.default": _clamp("min_val", "max_val"),
    "aten.relu6.default": _clamp(0.0, 6.0),
    "aten.hardsigmoid.default": lambda g, a: _hard(g, a, times_input=False),
    "aten.hardswish.default": lambda g, a: _hard(g, a, times_input=True),
    "aten.elu.default": _elu,
    "aten.selu.default": lambda g, a: elu(g, a["self"], SELU_ALPHA, SELU_SCALE),
    "aten.celu.default": lambda g, a: elu(g, a["self"], float(a["alpha"]), input_scale=1.0 / float(a["alpha"])),
    "aten.prelu.default": _prelu,
    **{
        f"aten.{predicate}.{overload}": _compare(predicate)
        for predicate in ("eq", "ne", "lt", "le", "gt", "ge")
        for overload in ("Tensor", "Scalar")
    },
    "aten.logical_and.default": _boolean(aten.LogicalAndOp),
    "aten.bitwise_and.Tensor": _boolean(aten.LogicalAndOp),
    "aten.__and__.Tensor": _boolean(aten.LogicalAndOp),
    "aten.logical_or.default": _or,
    "aten.bitwise_or.Tensor": _or,
    "aten.__or__.Tensor": _or,
    "aten.logical_not.default": _boolean(aten.LogicalNotOp),
    "aten.bitwise_not.default": _boolean(aten.LogicalNotOp),
    "aten.where.self": _where,
    "aten.where.ScalarOther": _where,
    "aten.where.ScalarSelf": _where,
    "aten.where.Scalar": _where,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.masked_fill.Tensor": _masked_fill,
    "aten.sum.dim_IntList": _reduce(aten.SumOp),
    "aten.sum.default": _reduce(aten.SumOp),
    "aten.mean.dim": _reduce(aten.MeanOp),
    "aten.mean.default": _reduce(aten.MeanOp),
    "aten.amax.default": _reduce(aten.AmaxOp),
    "aten.max.default": _reduce(aten.AmaxOp),
    "aten.max.dim": _max_dim,
    "aten.var.correction": _variance,
    "aten.var.dim": _variance,
    "aten.var.default": _variance,
    "aten.std.correction": lambda g, a: _variance(g, a, root=True),
    "aten.std.dim": lambda g, a: _variance(g, a, root=True),
    "aten.linalg_vector_norm.default": _vector_norm,
    "aten.norm.ScalarOpt_dim": _vector_norm,
    "aten.softmax.int": _softmax,
    "aten._softmax.default": _softmax,
    "aten._safe_softmax.default": _softmax,
    "aten.native_layer_norm.default": _native_layer_norm,
}  # fmt: skip
"""Handlers by overload."""
