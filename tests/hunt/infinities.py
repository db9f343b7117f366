"""Steps with infinities: filled in, joined, padded, selected; then what makes them vanish, or nothing that does."""

from __future__ import annotations

from tests.hunt.integers import flags
from tests.hunt.writer import Shape, Writer

INFINITE = ('float("-inf")', 'float("-inf")', 'float("inf")')

BEHIND = (
    "{}.softmax(-1)", "{}.amax(-1, keepdim=True)", "{}.amax(-2, keepdim=True)", "F.relu({})", "torch.sigmoid({})",
    "{}.exp()", "{}.clamp(-3, 3)", "{}", "-{}", "{} * 0.5", "{} + 1", "torch.maximum({}, torch.zeros(()))",
    "{}.clamp(min=-2.0)", "torch.tanh({})", "F.log_softmax({}, -1)", "{}.amin(-1, keepdim=True)", "F.gelu({})",
    "F.silu({})", "1 / {}", "{} - {}.amax(-1, keepdim=True)", "({} > 0).float()", "torch.nan_to_num({})",
    "{}.isinf().float()",
)  # fmt: skip


def infinite(w: Writer) -> None:
    """An infinity in some places of a value, and an operator behind it."""
    found = w.value(2, 3)
    if not found:
        return
    name, shape = found
    whole, filled = _filled(w, name, shape)
    made = w.line(whole)
    kept = w.text(*BEHIND)
    behind: Shape = filled
    if "(-1, keepdim" in kept and " - " not in kept:
        behind = (*filled[:-1], 1)
    elif "(-2, keepdim" in kept:
        behind = (*filled[:-2], 1, filled[-1])
    w.let(kept.replace("{}", made), behind)


def _filled(w: Writer, name: str, shape: Shape) -> tuple[str, Shape]:
    value = w.text(*INFINITE)
    match w.integer(0, 6):
        case 0:
            mask = w.buffer(f"torch.rand({shape[-2:]}) < {w.one(0.3, 0.7, 1.0)}")
            return f"{name}.masked_fill({mask}, {value})", shape
        case 1:
            return f"{name}.masked_fill({flags(w, shape[-2:])}, {value})", shape
        case 2:
            extra = w.integer(1, 3)
            row = f"torch.full({(*shape[:-1], extra)}, {value})"
            names = f"{name}, {row}" if w.flag() else f"{row}, {name}"
            return f"torch.cat([{names}], -1)", (*shape[:-1], shape[-1] + extra)
        case 3:
            left, right = w.integer(0, 2), w.integer(0, 2)
            return f"F.pad({name}, ({left}, {right}), value={value})", (*shape[:-1], shape[-1] + left + right)
        case 4:
            top = w.integer(1, 2)
            return f"F.pad({name}, (0, 0, {top}, 0), value={value})", (
                *shape[:-2],
                shape[-2] + top,
                shape[-1],
            )
        case 5:
            return f"torch.where({flags(w, shape[-2:])}, {name}, {value})", shape
        case _:
            constant = w.buffer(
                f"torch.zeros({shape[-2:]}).masked_fill(torch.rand({shape[-2:]}) < 0.4, {value})"
            )
            return f"{name} + {constant}", shape
