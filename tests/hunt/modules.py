"""Ordinary steps of random small torch modules: arithmetic, movement, products."""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import strategies as st

from tests.hunt.writer import LARGEST, LENGTHS, Shape, Writer

UNARY = (
    "F.relu({})", "F.silu({})", "F.gelu({})", 'F.gelu({}, approximate="tanh")', "torch.sigmoid({})",
    "torch.tanh({})", "{}.clamp(-4, 3).exp()", "-{}", "{}.abs()", "{}.square()", "({}.abs() + 0.5).sqrt()",
    "({}.square() + 0.5).rsqrt()", "1 / ({}.abs() + 0.5)", "{} * 0.37", "{} + 1.5", "1.25 - {}", "{} / 3",
    "{}.clamp(-0.5, 0.75)", "F.leaky_relu({}, 0.1)", "F.elu({})", "F.hardswish({})", "{}.clamp(min=0.1)",
)  # fmt: skip

BINARY = ("{} + {}", "{} - {}", "{} * {}", "{} / ({}.abs() + 0.5)", "F.silu({}) * {}", "F.gelu({}) * {}")

REDUCTIONS = ("{}.mean({}, keepdim=True)", "{}.sum({}, keepdim=True)", "{}.amax({}, keepdim=True)")


def linear(w: Writer) -> None:
    if found := w.value():
        name, shape = found
        width = w.width()
        layer = w.child(f"nn.Linear({shape[-1]}, {width}, bias={w.flag()})")
        w.let(f"{layer}({name})", (*shape[:-1], width))


def norm(w: Writer) -> None:
    found = w.value()
    if found and found[1][-1] > 1:
        name, shape = found
        kind, affine = w.one("LayerNorm", "RMSNorm"), w.flag()
        layer = w.child(f"nn.{kind}({shape[-1]}, eps={w.one(1e-5, 1e-6, 1e-3)}, elementwise_affine={affine})")
        if affine:
            w.init.append(f"nn.init.normal_({layer}.weight, 1.0, 0.3)")
        w.let(f"{layer}({name})", shape)


def unary(w: Writer) -> None:
    if found := w.value():
        name, shape = found
        w.let(w.draw(st.sampled_from(UNARY)).format(name), shape)


def binary(w: Writer) -> None:
    if found := w.value():
        name, shape = found
        w.let(w.draw(st.sampled_from(BINARY)).format(name, w.like(shape)), shape)


def with_parameter(w: Writer) -> None:
    """A row, a column or a number that is a parameter of the module."""
    if found := w.value():
        name, shape = found
        size = w.draw(st.sampled_from([(shape[-1],), (1,), shape[-2:], (*shape[:-1], 1)]))
        parameter = w.child(f"nn.Parameter(torch.randn({size}))")
        first, second = (name, parameter) if w.flag() else (parameter, name)
        w.let(w.draw(st.sampled_from(BINARY)).format(first, second), shape)


def reduction(w: Writer) -> None:
    """Along features or rows, alone or combined with what was reduced."""
    found = w.value(2)
    if found:
        name, shape = found
        axis = w.draw(st.sampled_from([-1, -1, -2]))
        text = w.draw(st.sampled_from(REDUCTIONS)).format(name, axis)
        reduced = (*shape[:-1], 1) if axis == -1 else (*shape[:-2], 1, shape[-1])
        part = w.let(text, reduced)
        if part and w.flag():
            w.let(w.draw(st.sampled_from(BINARY)).format(name, part), shape)


def softmax(w: Writer) -> None:
    if found := w.value():
        name, shape = found
        w.let(f"{name}.softmax(-1)", shape)


def product(w: Writer) -> None:
    """Of two computed matrices, or batches of them."""
    if found := w.value(2):
        name, shape = found
        width = w.draw(st.sampled_from(LENGTHS))
        scale = round(shape[-1] ** -0.5, 3)
        if w.flag():
            other = w.like((*shape[:-2], width, shape[-1]))
            w.let(f"{name} @ {other}.transpose(-2, -1) * {scale}", (*shape[:-1], width))
        else:
            other = w.like((*shape[:-2], shape[-1], width))
            w.let(f"({name} @ {other}) * {scale}", (*shape[:-1], width))


def attention(w: Writer) -> None:
    """Heads from linears of a value, or of values as they are."""
    found = w.value(2)
    if not found or len(found[1]) > 3:
        return
    name, shape = found
    lead, length, width = shape[:-2], shape[-2], shape[-1]
    groups, kv_heads, size = (
        w.integer(1, 3),
        w.integer(1, 2),
        w.draw(st.sampled_from([2, 4, 8, 15, 16, 20, 32])),
    )
    heads = groups * kv_heads
    keys = length if w.flag() else w.draw(st.sampled_from(LENGTHS))
    source = name if keys == length and w.flag() else w.like((*lead, keys, width))
    query = w.child(f"nn.Linear({width}, {heads * size}, bias={w.flag()})")
    bias = w.flag()
    key, value = (w.child(f"nn.Linear({width}, {kv_heads * size}, bias={bias})") for _ in "kv")
    if math.prod(lead) * max(length, keys) * heads * size > LARGEST:
        return
    parts = [
        f"{layer}({given}).unflatten(-1, ({count}, {size})).transpose(-3, -2)"
        for layer, given, count in ((query, name, heads), (key, source, kv_heads), (value, source, kv_heads))
    ]
    causal = keys == length and w.flag()
    batch = "" if lead else "[None]"
    options = f"is_causal={causal}" + (", enable_gqa=True" if groups > 1 else "")
    if w.flag():
        options += f", scale={w.one(0.2, 0.5, 1.0)}"
    text = f"F.scaled_dot_product_attention({', '.join(f'({p}){batch}' for p in parts)}, {options})"
    text += "" if lead else "[0]"
    w.let(f"({text}).transpose(-3, -2).flatten(-2)", (*lead, length, heads * size))


def transpose(w: Writer) -> None:
    if found := w.value(2):
        name, shape = found
        a, b = sorted(w.draw(st.sets(st.integers(0, len(shape) - 1), min_size=2, max_size=2)))
        moved = list(shape)
        moved[a], moved[b] = moved[b], moved[a]
        w.let(f"{name}.transpose({a}, {b})", tuple(moved))


def reshape(w: Writer) -> None:
    """Axes merged, or one split in two."""
    if found := w.value():
        name, shape = found
        if len(shape) > 1 and w.flag():
            at = w.integer(0, len(shape) - 2)
            new = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
        else:
            at = w.integer(0, len(shape) - 1)
            divisors = [n for n in range(1, shape[at] + 1) if shape[at] % n == 0]
            first = w.draw(st.sampled_from(divisors))
            new = (*shape[:at], first, shape[at] // first, *shape[at + 1 :])
        w.let(f"{name}.reshape{new}", new)


def part(w: Writer) -> None:
    """A slice, with a step or without."""
    if found := w.value():
        name, shape = found
        axis = w.integer(0, len(shape) - 1)
        start = w.integer(0, shape[axis] - 1)
        stop = w.integer(start + 1, shape[axis])
        step = w.integer(1, 2)
        count = len(range(start, stop, step))
        index = ", ".join([*[":"] * axis, f"{start}:{stop}:{step}"])
        w.let(f"{name}[{index}]", (*shape[:axis], count, *shape[axis + 1 :]))


def join(w: Writer) -> None:
    if found := w.value():
        name, shape = found
        axis = w.integer(0, len(shape) - 1)
        other = list(shape)
        other[axis] = w.draw(st.sampled_from([shape[axis], *LENGTHS[:6]]))
        second = w.like(tuple(other))
        names = f"{name}, {second}" if w.flag() else f"{second}, {name}"
        whole = (*shape[:axis], shape[axis] + other[axis], *shape[axis + 1 :])
        w.let(f"torch.cat([{names}], {axis})", whole)


def expand(w: Writer) -> None:
    """Repetition of rows or of features."""
    if found := w.value(2):
        name, shape = found
        times, axis = w.integer(2, 3), w.draw(st.sampled_from([-1, -2]))
        new = list(shape)
        new[axis] *= times
        w.let(f"{name}.repeat_interleave({times}, {axis})", tuple(new))


def embedding(w: Writer) -> None:
    rows, width, length = w.integer(2, 9), w.width(), w.draw(st.sampled_from(LENGTHS))
    shape: Shape = (length,) if w.flag() else (w.integer(1, 2), length)
    ids = w.input(shape, rows)
    w.let(f"{w.child(f'nn.Embedding({rows}, {width})')}({ids})", (*shape, width))


Step = Callable[[Writer], None]

ARITHMETIC: tuple[Step, ...] = (unary, binary, with_parameter, reduction, softmax, norm)
MOVEMENT: tuple[Step, ...] = (transpose, reshape, part, join, expand)
PRODUCTS: tuple[Step, ...] = (linear, product, attention, embedding)
STEPS = (*ARITHMETIC, *MOVEMENT, *PRODUCTS, linear, unary)
"""Steps that every machine has a kernel for."""
