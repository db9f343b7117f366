"""What is searched for: figures of a point, all of them to be small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plena.errors import PlenaError
from plena.timing.registry import DEFAULT_TIMING, profile_named

BY_PROFILE: tuple[str, ...] = ("latency", "cycles")
"""Figures that a timing profile counts: with waits for HBM, and without."""

PLAIN: dict[str, str] = {
    "area": "mm² by model B of `plena.area`, memories as far as the program uses them",
    "bytes": "bytes that transfers move between HBM and the SRAMs",
    "static": "static instructions",
    "error": "what the number formats lose on the example inputs, against PyTorch in float32",
}
"""The others, and what they are."""


@dataclass(frozen=True)
class Objectives:
    """Figures to make small, in the order that they were given.

    Attributes:
        names: "latency:<profile>", "cycles:<profile>", or one of `PLAIN`.
    """

    names: tuple[str, ...]

    @staticmethod
    def of(given: Any) -> Objectives:
        """Reads a list of names.

        Raises:
            PlenaError: none, one twice, or one that does not exist.
            CompileError: there is no such timing profile.
        """
        known = ", ".join([*(f"{kind}:<profile>" for kind in BY_PROFILE), *PLAIN])
        hint = f"The objectives are {known}."
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise PlenaError(f"objectives must be a list of names, not {given!r}", "objectives", hint)
        for name in given:
            kind, colon, profile = str(name).partition(":")
            if not (kind in BY_PROFILE and colon) and name not in PLAIN:
                raise PlenaError(f"there is no objective {name!r}", "objectives", hint)
            if colon:
                profile_named(profile, "objectives")
        if len(set(given)) < len(given):
            raise PlenaError("an objective is given twice", "objectives")
        return Objectives(tuple(given))

    @property
    def timing(self) -> str:
        """The first profile that counts: what programs are chosen for unless something else is asked for."""
        return next(iter(self.profiles(*BY_PROFILE)), DEFAULT_TIMING)

    def profiles(self, *kinds: str) -> tuple[str, ...]:
        """The profiles whose figures of these kinds count, in the order of the objectives."""
        parts = (name.partition(":") for name in self.names)
        return tuple(profile for kind, _, profile in parts if kind in kinds)
