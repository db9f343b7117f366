"""Steps on integers and flags of any value: masks from comparisons, arithmetic on ids, integers as factors."""

from __future__ import annotations

from tests.hunt.writer import Shape, Writer

COMPARISONS = ("!=", "==", ">", "<", ">=", "<=")

ON_INTEGERS = (
    "{} + 1", "{} - 2", "{} * 3", "-{}", "{}.abs()", "{} % 3", "{} // 2", "{}.clamp(0, 2)", "1 - {}", "{} * {}",
    "torch.cumsum({}, -1)", "{}.flip(-1)", "{}.clamp(min=1)", "{}.square()", "{}.float().long()", "{} & 1", "{} ^ 1",
)  # fmt: skip

AS_NUMBERS = (
    "{}.float()",
    "{}.to(torch.float32)",
    "{} * 1.0",
    "{} / 4",
    "{}.float().square()",
    "torch.sqrt({}.abs().float())",
)


def integers(w: Writer, shape: Shape) -> str:
    """A name of integers of a shape: an input, or computed from one."""
    known = [name for name, found in w.integers.items() if found == shape]
    name = (
        w.text(*known) if known and w.flag() else w.input(shape, w.text("integers", "counts", "0/1", "ids"))
    )
    while w.integer(0, 2) == 0:
        name = w.line(w.text(*ON_INTEGERS).replace("{}", name))
        w.integers[name] = shape
    return name


def flags(w: Writer, shape: Shape) -> str:
    """An expression of truth values of a shape."""
    match w.integer(0, 7):
        case 0 | 1 | 2:
            return f"({integers(w, shape)} {w.text(*COMPARISONS)} {w.integer(-1, 3)})"
        case 3:
            return f"({integers(w, shape)} {w.text(*COMPARISONS)} {integers(w, shape)})"
        case 4:
            return f"{integers(w, shape)}.bool()"
        case 5:
            return f"({w.like(shape)} {w.text('>', '<', '>=', '<=')} {w.one(0.0, 0.5, -1.0)})"
        case 6:
            first, second = (w.input(shape, "flags") for _ in "ab")
            return w.text(
                f"({first} & {second})", f"({first} | ~{second})", f"({first} ^ {second})", f"(~{first})"
            )
        case _:
            return w.input(shape, w.text("flags", "padding", "left padding"))


def masked_rows(w: Writer) -> None:
    """Rows kept or dropped by a flag or scaled by an integer each."""
    if found := w.value(2, 3):
        name, shape = found
        mask = flags(w, shape[:-1]) + ".unsqueeze(-1)"
        match w.integer(0, 6):
            case 0:
                w.let(f"{name} * {mask}", shape)
            case 1:
                w.let(f"{name} * {mask}.float()", shape)
            case 2:
                w.let(f"torch.where({mask}, {name}, {w.one(0.0, 1.5, -2.0)})", shape)
            case 3:
                w.let(f"{name}.masked_fill({mask}, {w.one(0.0, -1.0, 3.0)})", shape)
            case 4:
                w.let(f"torch.where({mask}, {name}, {w.like(shape)})", shape)
            case 5:
                kept = w.line(f"{mask}.float()")
                w.let(
                    f"({name} * {kept}).sum(-2) / {kept}.sum(-2).clamp(min={w.one(1, 1e-9)})",
                    (*shape[:-2], shape[-1]),
                )
            case _:
                w.let(f"{name} * {integers(w, shape[:-1])}.unsqueeze(-1)", shape)


def masked_embedding(w: Writer) -> None:
    """`emb(ids) * (ids != 0)` and its relatives."""
    rows, width = w.integer(3, 9), w.width()
    shape: Shape = (w.length(),) if w.flag() else (w.integer(1, 2), w.length())
    ids = w.input(shape, rows)
    w.integers[ids] = shape
    padding = f", padding_idx={w.integer(0, 1)}" if w.integer(0, 3) == 0 else ""
    rows_of = w.let(f"{w.child(f'nn.Embedding({rows}, {width}{padding})')}({ids})", (*shape, width))
    if rows_of:
        mask = f"({ids} {w.text(*COMPARISONS)} {w.integer(0, 2)}).unsqueeze(-1)"
        text = w.text(
            "{0} * {1}",
            "{0} * {1}.float()",
            "{0}.masked_fill({1}, 0.0)",
            "torch.where({1}, {0}, 0.0)",
            "{0} + {1}",
        )
        w.let(text.format(rows_of, mask), (*shape, width))


def ids_of_ids(w: Writer) -> None:
    """Ids computed from ids."""
    rows, width, shape = w.integer(3, 9), w.width(), (w.length(),)
    ids = integers(w, shape)
    inside = w.text(
        f"{ids} % {rows}",
        f"{ids}.clamp(0, {rows - 1})",
        f"({ids} > 0).long()",
        f"{ids}.abs().clamp(max={rows - 1})",
    )
    w.let(f"{w.child(f'nn.Embedding({rows}, {width})')}({inside})", (*shape, width))


def numbers(w: Writer) -> None:
    """Integers that become numbers."""
    found = w.value(1, 3)
    if found:
        name, shape = found
        number = w.text(*AS_NUMBERS).format(integers(w, shape))
        w.let(w.text("{0} + {1}", "{0} * {1}", "{1} - {0}").format(name, f"({number})"), shape)


def integral_result(w: Writer) -> None:
    """Integers or truth values are returned."""
    if found := w.value(1, 3):
        name, shape = found
        w.returned.append(
            w.text(
                f"{name} > 0.5",
                f"{name}.argmax(-1)",
                f"{integers(w, shape[-1:])} + 1",
                f"{flags(w, shape[-1:])}.long()",
                f"({integers(w, shape[-1:])} == 1).sum()",
            )
        )
