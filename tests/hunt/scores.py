"""Steps with masks and biases before a softmax: excluded, merely small, absorbed; rows without any visible key."""

from __future__ import annotations

import math

from tests.hunt.inputs import ADDED
from tests.hunt.integers import COMPARISONS, flags, integers
from tests.hunt.writer import LARGEST, Shape, Writer

EXCLUDED = ('float("-inf")', "torch.finfo(torch.float32).min", "-1e9", "-1e4", "-200.0", "-100.0", "-1e30")


def visible(w: Writer, batch: int, queries: int, keys: int) -> str:
    """Truth values that broadcast to [batch, heads, queries, keys]: where attention may look."""
    lower = f"torch.ones({queries}, {keys}, dtype=torch.bool).tril({w.integer(-1, 1)})"
    match w.integer(0, 9):
        case 0:
            return w.buffer(lower)
        case 1:
            return f"({lower} & torch.ones({queries}, {keys}, dtype=torch.bool).triu({w.integer(-3, 1)}))"
        case 2:
            return w.buffer(f"torch.rand({queries}, {keys}) < {w.one(0.2, 0.5, 0.8)}")
        case 3:
            return (
                f"({integers(w, (batch, keys))} {w.text(*COMPARISONS)} {w.integer(0, 2)})[:, None, None, :]"
            )
        case 4:
            return w.input((batch, keys), w.text("padding", "left padding", "flags")) + "[:, None, None, :]"
        case 5:
            return (
                f"({w.input((batch, keys), w.text('padding', 'left padding'))}[:, None, None, :] & {lower})"
            )
        case 6:
            first, second = integers(w, (batch, queries)), integers(w, (batch, keys))
            return f"({first}[:, None, :, None] == {second}[:, None, None, :])"
        case 7:
            return w.input((batch, 1, queries, keys), "flags")
        case 8:
            return f"{w.input((batch, keys), '0/1')}[:, None, None, :].bool()"
        case _:
            return w.input((queries, keys), "flags")


def added(w: Writer, batch: int, heads: int, queries: int, keys: int) -> str:
    """Numbers that broadcast to [batch, heads, queries, keys]: what is added to the scores."""
    apart = f"(torch.arange({keys}) - torch.arange({queries})[:, None])"
    match w.integer(0, 10):
        case 0 | 1:
            mask = visible(w, batch, queries, keys)
            return f"torch.zeros({mask}.shape).masked_fill(~{mask}, {w.text(*EXCLUDED)})"
        case 2:
            return f"(1.0 - {visible(w, batch, queries, keys)}.float()) * {w.text(*EXCLUDED[1:])}"
        case 3:
            return f"torch.where({visible(w, batch, queries, keys)}, 0.0, {w.text(*EXCLUDED)})"
        case 4:
            slopes = f"torch.tensor({[w.one(0.5, 0.25, 4.0, 30.0) for _ in range(heads)]})[:, None, None]"
            return f"(-{apart}.abs().float() * {slopes})"
        case 5:
            return w.buffer(f"-torch.rand({queries}, {keys}) * {w.one(1.0, 10.0, 100.0, 1e4)}")
        case 6:
            return w.buffer(f"torch.full(({queries}, {keys}), {w.text('-1e4', '-300.0', '-1e9', '50.0')})")
        case 7:
            low = w.integer(-10000, -150)
            return w.buffer(f"{low}.0 + torch.rand({queries}, {keys}) * 10")
        case 8:
            return w.input((batch, 1, queries, keys), w.text(*ADDED))
        case 9:
            return w.input((queries, keys), "bias")
        case _:
            return (
                f"(1.0 - {w.input((batch, keys), '0/1')}[:, None, None, :].float()) * {w.text(*EXCLUDED[1:])}"
            )


def masked_attention(w: Writer) -> None:
    """Heads of a value with a mask: scaled_dot_product_attention, or written out."""
    found = w.value(3, 3)
    if found and w.integer(0, 2):
        name, (batch, queries, width) = found
    else:
        batch, queries, width = w.integer(1, 2), w.length(), w.width()
        name = w.input((batch, queries, width))
    keys = queries if w.flag() else w.length()
    source = name if keys == queries else w.like((batch, keys, width))
    heads, size = w.integer(1, 3), int(str(w.one(2, 4, 8, 15, 16)))
    if batch * max(queries, keys) * heads * size > LARGEST or batch * heads * queries * keys > LARGEST:
        return
    split = f".unflatten(-1, ({heads}, {size})).transpose(1, 2)"
    q, k, v = (
        w.line(w.child(f"nn.Linear({width}, {heads * size}, bias={w.flag()})") + f"({x}){split}")
        for x in (name, source, source)
    )
    where = visible(w, batch, queries, keys) if w.flag() else ""
    bias = added(w, batch, heads, queries, keys) if not where or w.integer(0, 3) == 0 else ""
    match w.integer(0, 2):
        case 0 if not (where and bias):
            mixed = f"F.scaled_dot_product_attention({q}, {k}, {v}, attn_mask={where or bias})"
        case _:
            scores = w.line(f"{q} @ {k}.transpose(-2, -1) * {size**-0.5:.3f}")
            if bias:
                scores = w.line(f"{scores} + {bias}")
            if where:
                scores = w.line(f"{scores}.masked_fill(~{where}, {w.text(*EXCLUDED)})")
            shares = w.let(f"{scores}.softmax(-1)", (batch, heads, queries, keys))
            if shares and w.integer(0, 3) == 0:
                w.returned.append(w.text(shares, shares, f"{scores}"))
            mixed = f"{shares} @ {v}"
    w.let(f"({mixed}).transpose(1, 2).flatten(-2)", (batch, queries, heads * size))


def multihead(w: Writer) -> None:
    """nn.MultiheadAttention with its masks, with and without weights."""
    heads, size = w.integer(1, 3), int(str(w.one(2, 4, 8, 16)))
    batch, length = w.integer(1, 2), w.length()
    width, shape = heads * size, (batch, length, heads * size)
    if math.prod(shape) > LARGEST or batch * heads * length * length > LARGEST:
        return
    name = w.like(shape)
    options = ["batch_first=True", *([f"bias={w.flag()}"] if w.flag() else [])]
    layer = w.child(f"nn.MultiheadAttention({width}, {heads}, {', '.join(options)})")
    given: list[str] = []
    if w.flag():
        given.append(f"key_padding_mask={flags(w, (batch, length))}")
    if w.flag():
        masks = (
            w.buffer(f"torch.ones({length}, {length}, dtype=torch.bool).triu({w.integer(-1, 1)})"),
            f"torch.full(({length}, {length}), {w.text(*EXCLUDED)}).triu({w.integer(0, 1)})",
            w.input((length, length), "flags"),
        )
        given.append(f"attn_mask={w.text(*masks)}")
    weights = w.flag()
    given.append(
        f"need_weights={weights}" + (f", average_attn_weights={w.flag()}" if weights and w.flag() else "")
    )
    both = w.line(f"{layer}({name}, {name}, {name}, {', '.join(given)})")
    w.let(f"{both}[0]", shape)
    if weights and w.flag():
        w.returned.append(f"{both}[1]")


def encoder_layer(w: Writer) -> None:
    """nn.TransformerEncoderLayer with a padding mask."""
    heads, size, batch, length = w.integer(1, 2), int(str(w.one(4, 8))), w.integer(1, 2), w.length()
    shape: Shape = (batch, length, heads * size)
    name = w.like(shape)
    sizes = f"{heads * size}, {heads}, {w.integer(4, 20)}, 0.0"
    layer = w.child(f"nn.TransformerEncoderLayer({sizes}, batch_first=True, norm_first={w.flag()})")
    mask = f", src_key_padding_mask={flags(w, (batch, length))}" if w.integer(0, 3) else ""
    w.let(f"{layer}({name}{mask})", shape)


def masked_softmax(w: Writer) -> None:
    """A mask or a bias on any value, and a softmax."""
    if found := w.value(2, 4):
        name, shape = found
        rows, columns = shape[-2:]
        match w.integer(0, 3):
            case 0:
                mask = w.buffer(f"torch.rand({rows}, {columns}) < {w.one(0.3, 0.6, 1.0)}")
                text = f"{name}.masked_fill({mask}, {w.text(*EXCLUDED)})"
            case 1:
                text = f"{name}.masked_fill({flags(w, shape[-2:])}, {w.text(*EXCLUDED)})"
            case 2:
                text = f"torch.where({flags(w, shape[-2:])}, {name}, {w.text(*EXCLUDED)})"
            case _:
                text = f"{name} + {w.input((rows, columns), w.text(*ADDED, 'bias'))}"
        w.let(f"({text}).softmax({w.one(-1, -1, -1, -2)})", shape)
