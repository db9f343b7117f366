"""What a program and its parts add up to, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Count:
    """What a part of a program adds up to; `utilization` by profile where useful work is known."""

    static: int = 0
    dynamic: int = 0
    cycles: dict[str, int] = field(default_factory=dict[str, int])
    dma_cycles: int = 0
    utilization: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(slots=True)
class LoopCount(Count):
    """A loop: `first_line` is its C_LOOP_START, `last_line` its C_LOOP_END (1-based instruction lines).

    `static`, `dynamic` and `cycles` are of the body with the C_LOOP_END, over the whole run of the program.
    """

    first_line: int = 0
    last_line: int = 0
    trip_count: int = 0
    depth: int = 0


@dataclass(slots=True)
class ProgramCount(Count):
    """Counts of a whole program.

    Attributes:
        opcodes: mnemonic -> (static, dynamic), in opcode order.
        loops: in program order, outer before inner.
        loop_starts: C_LOOP_START lines.
        matrix_share: profile -> share of the cycles spent in matrix products.
        modules, steps: counts by module path of the model and by kernel step; empty without provenance.
        utilization: profile -> useful multiply-accumulates / (BLEN * MLEN * cycles); empty if they are not known.
            A profile that charges less than the array needs (M_BTMV takes 1 cycle by the transactional one) has none.
    """

    opcodes: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    loops: list[LoopCount] = field(default_factory=list[LoopCount])
    loop_starts: int = 0
    matrix_share: dict[str, float] = field(default_factory=dict[str, float])
    modules: dict[str, Count] = field(default_factory=dict[str, Count])
    steps: dict[str, Count] = field(default_factory=dict[str, Count])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a manifest or a JSON file."""
        from dataclasses import asdict

        return asdict(self)
