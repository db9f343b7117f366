"""Steps whose weights are shared, summed, normalised or computed from parameters alone."""

from __future__ import annotations

from tests.hunt.writer import Shape, Writer

ALONE = (
    "F.gelu({})", "torch.sigmoid({})", "{}.exp()", "F.softplus({})", "{}.softmax(0)", "{} * {}", "torch.tanh({}) * 2",
    "1 / (1 + {}.abs())", "F.normalize({}, dim=0)", "{} - {}.mean()", "torch.cumsum({}, 0)",
    "{}.abs().sqrt()", "-{}.exp()",
)  # fmt: skip


def tied(w: Writer) -> None:
    """Embedding, norm with a gain, and the embedding's weight once more behind it."""
    rows, width, shape = w.integer(3, 20), w.width(), (w.length(),)
    if width < 2:
        return
    shape = shape if w.flag() else (w.integer(1, 2), *shape)
    ids, table = w.input(shape, rows), w.child(f"nn.Embedding({rows}, {width})")
    norm = w.child(f"nn.{w.text('RMSNorm', 'LayerNorm')}({width})")
    w.init.append(f"nn.init.normal_({norm}.weight, 1.0, 0.5)")
    rows_of = w.line(f"{table}({ids})")
    if w.flag():
        rows_of = w.line(f"{rows_of} + {w.child(f'nn.Linear({width}, {width})')}({rows_of})")
    head = w.text(f"F.linear({norm}({rows_of}), {table}.weight)", f"{norm}({rows_of}) @ {table}.weight.T")
    w.let(head, (*shape, rows))


def shared_linear(w: Writer) -> None:
    """One matrix behind two gains, or used from both sides."""
    if found := w.value(2, 3):
        name, shape = found
        width, hidden = shape[-1], w.width()
        if width < 2:
            return
        layer = w.child(f"nn.Linear({width}, {hidden}, bias={w.flag()})")
        norms = [w.child(f"nn.{w.text('RMSNorm', 'LayerNorm')}({width})") for _ in "ab"]
        w.init.extend(f"nn.init.normal_({norm}.weight, 1.0, 0.5)" for norm in norms)
        first = w.line(f"{layer}({norms[0]}({name}))")
        if w.flag():
            w.let(f"{first} + {layer}({norms[1]}({name}))", (*shape[:-1], hidden))
        else:
            w.let(f"{first} @ {layer}.weight", shape)


def low_rank(w: Writer) -> None:
    """A linear with a low-rank sum, beside it or in its weight."""
    if found := w.value(1, 3):
        name, shape = found
        width, hidden, rank = shape[-1], w.width(), w.integer(1, 4)
        layer = w.child(f"nn.Linear({width}, {hidden}, bias={w.flag()})")
        a, b = (
            w.child(f"nn.Parameter(torch.randn({rank}, {width}))"),
            w.child(f"nn.Parameter(torch.randn({hidden}, {rank}))"),
        )
        scale = w.one(0.5, 1.0, 2.0)
        if w.flag():
            w.let(f"{layer}({name}) + {scale} * (({name} @ {a}.T) @ {b}.T)", (*shape[:-1], hidden))
        else:
            w.let(
                f"F.linear({name}, {layer}.weight + {scale} * ({b} @ {a}), {layer}.bias)",
                (*shape[:-1], hidden),
            )


def parametrized(w: Writer) -> None:
    """weight_norm, spectral_norm and orthogonal of a linear."""
    if found := w.value(1, 3):
        name, shape = found
        hidden = w.width()
        kind = w.text("weight_norm", "weight_norm", "spectral_norm", "orthogonal")
        layer = w.child(
            f"nn.utils.parametrizations.{kind}(nn.Linear({shape[-1]}, {hidden}, bias={w.flag()}))"
        )
        w.let(f"{layer}({name})", (*shape[:-1], hidden))


def of_parameter(w: Writer) -> None:
    """A function of a parameter alone, as a row, a column, or a weight."""
    if found := w.value(2, 3):
        name, shape = found
        kind = w.integer(0, 2)
        size: Shape = (shape[-1],) if kind == 0 else (shape[-2], 1) if kind == 1 else (shape[-1], w.width())
        function = w.text(*ALONE).replace("{}", w.child(f"nn.Parameter(torch.randn({size}))"))
        if kind == 2:
            w.let(f"{name} @ ({function})", (*shape[:-1], size[-1]))
        else:
            w.let(w.text("{} * ({})", "{} + ({})", "({1}) - {0}").format(name, function), shape)
