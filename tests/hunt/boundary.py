"""Steps at the outside of a module: results without axes, None, plain numbers; inputs without axes."""

from __future__ import annotations

from tests.hunt.writer import Writer


def scalar_result(w: Writer) -> None:
    """A result without axes."""
    if found := w.value(1, 4):
        name, _ = found
        text = w.text(
            "{}.sum()",
            "{}.mean()",
            "{}.amax()",
            "{}.square().mean()",
            "({} * 0.5).sum()",
            "{}.flatten()[0] * 2.0",
        )
        w.returned.append(text.format(name))


def plain_result(w: Writer) -> None:
    """A result that is no tensor."""
    w.returned.append(w.text("None", "3", "x0.shape[0]", "x0.shape[-1]", "True", '"text"', "2.5"))


def scalar_input(w: Writer) -> None:
    """An input without axes."""
    if found := w.value(1, 4):
        name, shape = found
        scalar = w.input((), 0)
        del w.values[scalar]
        w.let(w.text("{} * {}", "{} + {}", "{} / ({}.abs() + 0.5)").format(name, scalar), shape)


def constant_result(w: Writer) -> None:
    """A result that no input reaches."""
    w.returned.append(
        w.text("torch.ones(3)", "torch.arange(4.0)", "torch.zeros(2, 2) + 1", "torch.tensor(2.5)")
    )
