"""Steps that repeat themselves: powers, layers that read where they started, layers that share some parameters."""

from __future__ import annotations

from tests.hunt.modules import UNARY
from tests.hunt.writer import Writer


def powers(w: Writer) -> None:
    """Products and sums of a value with itself."""
    if found := w.value(1, 4):
        name, shape = found
        text = w.text(
            "{} ** 3", "{} ** 4", "{0} * {0} * {0}", "{0} + {0} + {0} + {0}",
            "{0} * ({0} + 1) * ({0} + 1)", "{0}.square() * {0}",
        )  # fmt: skip
        w.let(text.format(name), shape)


def layers(w: Writer) -> None:
    """Layers with parameters of their own or shared ones; each may read the first value once more."""
    found = w.value(2, 3)
    if not found:
        return
    first, shape = found
    width, count = shape[-1], w.integer(2, 4)
    matrices = w.child(f"nn.ModuleList(nn.Linear({width}, {width}) for _ in range({count}))")
    rows = w.child(f"nn.ParameterList(nn.Parameter(torch.randn({width})) for _ in range({count}))")
    function = w.text(*UNARY)
    body = w.text(
        f"{matrices}[{{i}}]({{h}}) + {{x}}",
        f"{matrices}[{{i}}]({{h}}) + {{h}}",
        f"{{h}} * {rows}[{{i}}] + {{x}}",
        f"{{h}} * {rows}[{{i}}] + {rows}[0]",
        f"{matrices}[{{i}}]({{h}}) + {matrices}[0]({{h}})",
        f"{matrices}[{{i}}]({{x}}) * {{h}}",
        f"{matrices}[0]({{h}}) - {{x}}",
        f"{matrices}[{{i}}]({{h}}) * {rows}[{{j}}] + {{h}}",
        "{h} * {x}",
        "{h} - {x} + {h}",
    )
    value = first
    for i in range(count):
        text = body.format(i=i, j=count - 1 - i, h=value, x=first)
        value = w.line(f"torch.tanh({text})" if body == "{h} * {x}" else function.replace("{}", f"({text})"))
        w.values[value] = shape


def pairs(w: Writer) -> None:
    """Two values that each step makes of the two before."""
    found = w.value(1, 3)
    if not found:
        return
    a, shape = found
    b = w.like(shape)
    for _ in range(w.integer(2, 4)):
        c = w.line(
            w.text("torch.tanh({0}) + {1}", "{0} - 0.5 * {1}", "torch.sigmoid({1}) * {0}").format(a, b)
        )
        w.values[c] = shape
        a, b = (b, c) if w.flag() else (c, a)


ONE_OPERAND = (
    "{h} / ({h}.abs() + 0.5)", "torch.maximum({h}, {h})", "{h} - {h}", "torch.cat([{h}, {h}], -1)[..., 1:1 + {n}]",
    "torch.where({h2} > 0, {h}, {h})", "F.silu({h}) * {h}", "torch.stack([{h}, {h}], 0).sum(0)",
)  # fmt: skip


def one_operand(w: Writer) -> None:
    """An operator all of whose operands are one tensor, as in attention of rows to themselves."""
    found = w.value(2, 4)
    if not found:
        return
    h, shape = found
    if w.flag():
        options = w.text("", ", is_causal=True", ", scale=0.7")
        text = w.text(
            "F.scaled_dot_product_attention({h}, {h}, {h}{o})",
            "F.scaled_dot_product_attention({h} * 0.5, {h}, {h}{o})",
            "F.scaled_dot_product_attention({h}, {h}, {h} + 1{o})",
            "({h} @ {h}.transpose(-2, -1) * 0.3).softmax(-1) @ {h}",
        )
        w.let(text.format(h=h, o=options), shape)
        return
    other = w.input(shape)
    w.let(w.text(*ONE_OPERAND).format(h=h, h2=other, n=shape[-1]), shape)
