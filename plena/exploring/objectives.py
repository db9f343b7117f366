"""What is searched for: figures of a point, all of them to be small, and bounds that it must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plena.errors import PlenaError, did_you_mean
from plena.exploring.constraints import EXAMPLE, Constraint
from plena.timing.registry import DEFAULT_TIMING, profile_named, timings

BY_PROFILE: tuple[str, ...] = ("latency", "cycles")
"""Figures that a timing profile counts: with waits for HBM, and without."""

PLAIN: dict[str, str] = {
    "area": "mm² by model B of `plena.area`, memories as far as the program uses them",
    "bytes": "bytes that transfers move between HBM and the SRAMs",
    "static": "static instructions",
    "error": "what the number formats lose on the samples or the example inputs, against PyTorch in float32",
}
"""The others, and what they are."""

BOUNDED: dict[str, str] = {
    "dynamic": "instructions that are executed",
    "sram_bytes": "of the SRAMs, as far as the program uses them",
    "bytes_per_row": "bytes over the rows of the first output",
    "utilization": "share of the multipliers that are of use, under the profile that chooses programs",
}
"""Figures that can be bounded, beside the objectives."""


@dataclass(frozen=True)
class Objectives:
    """Figures to make small, in the order that they were given.

    Attributes:
        names: "latency:<profile>", "cycles:<profile>", or one of `PLAIN`.
        constraints: bounds that points on the front keep.
    """

    names: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()

    @staticmethod
    def of(given: Any, constraints: Any = ()) -> Objectives:
        """Reads a list of names, and of texts as "area <= 2.0".

        Raises:
            PlenaError: no name, one twice, one that does not exist, or a text of another form.
            CompileError: there is no such timing profile.
        """
        known = ", ".join([*(f"{kind}:<profile>" for kind in BY_PROFILE), *PLAIN])
        hint = f"The objectives are {known}."
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise PlenaError(f"objectives must be a list of names, not {given!r}", "objectives", hint)
        for name in given:
            if not _is_known(name, "objectives"):
                bare = f"Did you mean {name}:{DEFAULT_TIMING}? " if name in BY_PROFILE else ""
                raise PlenaError(
                    f"there is no objective {name!r}",
                    "objectives",
                    (bare or did_you_mean(name, _every_name())) + hint,
                )
        if len(set(given)) < len(given):
            raise PlenaError("an objective is given twice", "objectives")
        return Objectives(
            tuple(given), _bounds(constraints, f"The figures are {known}, {', '.join(BOUNDED)}.")
        )

    @property
    def figures(self) -> tuple[str, ...]:
        """What every point must have: the objectives, and what is bounded."""
        return tuple(dict.fromkeys((*self.names, *(c.figure for c in self.constraints))))

    def broken(self, figures: Mapping[str, Any]) -> list[Constraint]:
        """The constraints that figures do not keep."""
        return [c for c in self.constraints if c.excess(figures) > 0]

    @property
    def timing(self) -> str:
        """The first profile that counts: what programs are chosen for unless something else is asked for."""
        return next(iter(self.profiles(*BY_PROFILE)), DEFAULT_TIMING)

    def profiles(self, *kinds: str) -> tuple[str, ...]:
        """The profiles whose figures of these kinds count, in the order of the objectives."""
        parts = (name.partition(":") for name in self.figures)
        return tuple(dict.fromkeys(profile for kind, _, profile in parts if kind in kinds))


def _every_name() -> list[str]:
    """All objectives that there are."""
    return [*(f"{kind}:{profile}" for kind in BY_PROFILE for profile in timings()), *PLAIN]


def _is_known(name: Any, where: str) -> bool:
    """Whether there is such an objective."""
    kind, colon, profile = str(name).partition(":")
    if kind in BY_PROFILE and colon:
        profile_named(profile, where)
        return True
    return name in PLAIN


def _bounds(given: Any, hint: str) -> tuple[Constraint, ...]:
    """Reads constraints.

    Raises:
        PlenaError: no list, a text of another form, of a figure that does not exist, or two that nothing keeps.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise PlenaError(f"constraints must be a list of texts, not {given!r}", "constraints", EXAMPLE)
    found = tuple(dict.fromkeys(Constraint.of(text) for text in given))
    for constraint in found:
        if not _is_known(constraint.figure, "constraints") and constraint.figure not in BOUNDED:
            close = did_you_mean(constraint.figure, (*_every_name(), *BOUNDED))
            raise PlenaError(
                f"there is no figure {constraint.figure!r}", f"constraint {constraint}", close + hint
            )
        for other in found:
            same = other.figure == constraint.figure and other.is_upper and not constraint.is_upper
            if same and other.bound < constraint.bound:
                raise PlenaError(
                    f"nothing keeps both {other} and {constraint}", "constraints", "Take one away."
                )
    return found
