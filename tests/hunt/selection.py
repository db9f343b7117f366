"""Steps that select: the side that is not selected may be anything, an infinity on the selected side survives."""

from __future__ import annotations

from tests.hunt.integers import flags
from tests.hunt.writer import Shape, Writer

GUARDED = (
    "{y} / {x}", "1 / {x}", "{x}.sqrt()", "{x}.rsqrt()", "{x}.log()", "(100 * {x}).exp()", "{y} / {x}.abs()",
    "{x} ** -1", "{x}.abs() ** 0.5", "{x} * float('inf')", "{y} / ({x} - {x})",
)  # fmt: skip


def guarded(w: Writer) -> None:
    """`torch.where(x != 0, y / x, 0.)` and its relatives."""
    if found := w.value(1, 3):
        name, shape = found
        x = w.input(shape, w.text("zeros", "signs"))
        risky = w.text(*GUARDED).format(x=x, y=name)
        mask = w.text(f"({x} != 0)", f"({x} > 0)", f"({x} == 0)", f"({x}.abs() > 0.5)", flags(w, shape))
        first, second = risky, w.text("0.0", "1.5", name)
        if w.integer(0, 3) == 0:
            first, second = second, first
        if name in (first, second):
            w.let(f"torch.where({mask}, {first}, {second})", shape)
        else:
            text = w.text(
                "torch.where({}, {}, {})", "torch.where({}, {}, {})", "({1}).masked_fill(~{0}, {2})"
            )
            w.let(
                text.format(mask, first, second)
                if second in ("0.0", "1.5")
                else f"torch.where({mask}, {first}, {second})",
                shape,
            )


def infinite_side(w: Writer) -> None:
    """An infinity is selected, or not."""
    if found := w.value(1, 3):
        name, shape = found
        value = w.text(
            'float("inf")', 'float("-inf")', 'float("nan")', "1e30", "torch.finfo(torch.float32).max"
        )
        sides = (name, value) if w.flag() else (value, name)
        w.let(f"torch.where({flags(w, _part(w, shape))}, {', '.join(sides)})", shape)


def _part(w: Writer, shape: Shape) -> Shape:
    return shape if w.flag() else shape[-1:]
