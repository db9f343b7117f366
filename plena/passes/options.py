"""What can be asked of the compiler: the one table of options that its functions, passes and commands read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from plena.errors import CompileError, did_you_mean
from plena.machine.choices import AttentionChoice, Machine, MatmulChoice, Objective, Staging
from plena.timing.registry import timings


@dataclass(frozen=True)
class Option:
    """An option of `plena.compile`, `plena.explore`, some of them of `plena.optimize` and of passes.

    `values`: a function that gives them, the first one is the default; None: it is a whole number of at least 1, or
    nothing by default.
    `help`: what it is, in a phrase. `advice`: what to give instead of a wrong value.
    """

    name: str
    help: str
    values: Callable[[], tuple[str, ...]] | None = None
    advice: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """Its values now: profiles may be registered; empty for a number."""
        return () if self.values is None else self.values()

    @property
    def default(self) -> str | None:
        """What it is when it is left out."""
        return self.choices[0] if self.choices else None

    @property
    def hyphenated(self) -> str:
        """The name as commands and pipelines spell it."""
        return self.name.replace("_", "-")


OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        Option("objective", "what to minimise", lambda: get_args(Objective)),
        Option("timing", "the profile whose cycles count", timings),
        Option("matmul", "schedule of products", lambda: get_args(MatmulChoice)),
        Option("attention", "form of the softmax", lambda: get_args(AttentionChoice)),
        Option("staging", "rounding of weights and inputs on their way into HBM", lambda: get_args(Staging)),
        Option(
            "machine", "what runs the program, rtl: by the rules of the public RTL", lambda: get_args(Machine)
        ),
        Option(
            "max_instructions",
            "budget of static instructions",
            advice="Give the static instructions that the program may have at most, or leave it out.",
        ),
    )
}
"""By name, in the order that help texts have. `plena.compile` takes all of them."""

CHOOSING: tuple[str, ...] = ("objective", "timing", "max_instructions")
"""Options of whatever chooses loops of a program that exists: `plena.optimize`, select-loops."""


def check_values(values: Mapping[str, Any], where: str, *, hyphenated: bool = False) -> None:
    """Whether options can have these values.

    Args:
        values: by names that are in the table.
        where: what they are options of, for the message.
        hyphenated: name them as commands and pipelines do.

    Raises:
        CompileError: which one cannot, and which values it has.
    """
    for name, value in values.items():
        option = OPTIONS[name]
        problem, hint = _number_problem(value), option.advice
        if option.choices:
            known = isinstance(value, str) and value in option.choices
            problem = None if known else f"must be one of {', '.join(option.choices)}, not {_shown(value)}"
            hint = did_you_mean(value, option.choices) if isinstance(value, str) else ""
            hint += f"Leave it out for {option.default!r}, or see docs/index.md for what each does."
        if problem is not None:
            raise CompileError(f"{option.hyphenated if hyphenated else name} {problem}", where, hint)


def _number_problem(value: object) -> str | None:
    """What is wrong with a value of an option that is a number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be a whole number, not {_shown(value)}"
    return f"must be positive, got {value}" if value < 1 else None


def _shown(value: object) -> str:
    """A value in one short line."""
    text = repr(value)
    return text if len(text) < 60 and "\n" not in text else f"a {type(value).__name__}"
