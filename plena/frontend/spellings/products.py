"""Products of matrices, linear layers, attention and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import BoolAttr, FloatAttr, IntegerAttr, f64, i64
from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import broadcast_shapes, shape_of
from plena.frontend.spellings import convolution
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.channels import batched, from_pixels, to_pixels
from plena.frontend.spellings.handlers import Arguments, Handler, ints
from plena.frontend.spellings.joining import pad
from plena.frontend.spellings.shapes import view
from plena.frontend.spellings.taps import per_axis

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _matmul(g: GraphBuilder, a: Arguments) -> SSAValue:
    """matmul, mm, bmm, mv; a vector is a matrix of one row or column."""
    second = next(name for name in ("mat2", "other", "vec") if name in a)
    x, y = g.ssa(a["self"]), g.ssa(a[second])
    matrices = [
        view(g, x, (1, *shape_of(x))) if len(shape_of(x)) == 1 else x,
        view(g, y, (*shape_of(y), 1)) if len(shape_of(y)) == 1 else y,
    ]
    return view(g, _product(g, *matrices), g.shape)


def _product(g: GraphBuilder, x: SSAValue, y: SSAValue) -> SSAValue:
    batch = (
        broadcast_shapes([shape_of(x)[:-2], shape_of(y)[:-2]])
        if max(len(shape_of(v)) for v in (x, y)) > 2
        else ()
    )
    shape = (*(batch or ()), shape_of(x)[-2], shape_of(y)[-1])
    return g.build(aten.MatmulOp, [x, y], shape=shape)


def _linear(g: GraphBuilder, a: Arguments) -> Any:
    """A weight without an axis of outputs gives one number a row; a bias that is no vector of outputs is added."""
    x, weight, bias = g.ssa(a["input"]), g.ssa(a["weight"]), a["bias"]
    vector = len(shape_of(weight)) == 1
    if not vector and (bias is None or shape_of(g.ssa(bias)) == shape_of(weight)[:1]):
        return NotImplemented
    matrix = view(g, weight, (1, *shape_of(weight))) if vector else weight
    rows = g.build(aten.LinearOp, [x, matrix, []], shape=(*shape_of(x)[:-1], shape_of(matrix)[0]))
    product = view(g, rows, shape_of(rows)[:-1]) if vector else rows
    return product if bias is None else g.build(aten.AddOp, [product, bias])


def _addmm(g: GraphBuilder, a: Arguments) -> SSAValue:
    """beta * self + alpha * (first @ second) of addmm and baddbmm."""
    first, second = a.get("mat1", a.get("batch1")), a.get("mat2", a.get("batch2"))
    product = scaled(g, _product(g, g.ssa(first), g.ssa(second)), a["alpha"])
    if a["beta"] == 0:
        return product
    addend = scaled(g, g.ssa(a["self"]), a["beta"])
    return g.build(aten.AddOp, [product, addend])


def _attention(g: GraphBuilder, a: Arguments) -> Any:
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


def _convolution(g: GraphBuilder, a: Arguments) -> Any:
    """Convolutions with up to three spatial axes; an op if the kernels are patches of the image."""
    x, weight = g.ssa(a["input"]), g.ssa(a["weight"])
    axes = len(shape_of(weight)) - 2
    image = batched(g, x, axes)
    if image is not x:
        return view(g, _convolution_of(g, {**a, "input": image}, (1, *g.shape)), g.shape)
    return _convolution_of(g, a, g.shape)


def _convolution_of(g: GraphBuilder, a: Arguments, shape: Sequence[int]) -> SSAValue:
    """A convolution of a batch of images with a result of this shape."""
    x, weight = g.ssa(a["input"]), g.ssa(a["weight"])
    axes = len(shape_of(weight)) - 2
    if isinstance(a["padding"], str):
        x, a = _padded_evenly(g, x, a, shape_of(weight)[2:])
    pairs = {name: per_axis(a[name], axes) for name in ("stride", "padding", "dilation")}
    groups, bias = int(a["groups"]), a["bias"]
    if a.get("transposed", "output_padding" in a and "transposed" not in a):
        return convolution.transposed(g, x, weight, bias, shape[2:], **pairs, groups=groups)
    if not convolution.is_patches(x, weight, **pairs) or groups > 1:
        return convolution.by_taps(g, x, weight, bias, **pairs, groups=groups)
    if axes != 2:
        return convolution.by_patches(g, x, weight, bias)
    properties: dict[str, Attribute] = {name: ints(n) for name, n in pairs.items()}
    properties["groups"] = IntegerAttr(groups, i64)
    return g.build(aten.Conv2dOp, [x, weight, [] if bias is None else [bias]], properties, shape=shape)


def _padded_evenly(
    g: GraphBuilder, x: SSAValue, a: Arguments, kernel: Sequence[int]
) -> tuple[SSAValue, Arguments]:
    """What "same" adds around an image, one element more behind it than before it if the number is odd."""
    axes = len(kernel)
    dilation = per_axis(a["dilation"], axes)
    added = [d * (k - 1) if a["padding"] == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    amounts = [n for total in reversed(added) for n in (total // 2, total - total // 2)]
    padded = pad(g, to_pixels(g, x), [0, 0, *amounts])
    return from_pixels(g, padded), {**a, "padding": [0] * axes}


SPELLINGS: dict[str, Handler] = {
    "aten.linear.default": _linear,
    "aten.matmul.default": _matmul,
    "aten.mm.default": _matmul,
    "aten.bmm.default": _matmul,
    "aten.mv.default": _matmul,
    "aten.addmm.default": _addmm,
    "aten.baddbmm.default": _addmm,
    "aten.scaled_dot_product_attention.default": _attention,
    **{f"aten.conv{n}d.{overload}": _convolution for n in (1, 2, 3) for overload in ("default", "padding")},
    "aten.conv_transpose1d.default": _convolution,
    "aten.conv_transpose2d.input": _convolution,
    "aten.convolution.default": _convolution,
}  # fmt: skip
"""Handlers by overload."""
