"""What a program and its parts add up to, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, cast

from plena.errors import CompileError
from plena.statistics.by_profile import ByProfile, Figures
from plena.timing.registry import profiles


@dataclass(slots=True)
class Count:
    """What a part of a program adds up to; `utilization` by profile where useful work is known.

    Cycles of a profile that simulates the program are computed when they are asked for.
    """

    static: int = 0
    dynamic: int = 0
    cycles: dict[str, int] = field(default_factory=ByProfile)
    dma_cycles: int = 0
    utilization: dict[str, float] = field(default_factory=Figures[float])


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
        utilization: profile -> useful multiply-accumulates / (BLEN * MLEN * cycles); not there if they are not known,
            and for a profile whose machine does not execute all instructions right, or that charges
            less than the array needs (M_BTMV takes 1 cycle by the transactional one).
        unsupported: profile -> share of its cycles in such instructions, where there are some.
        unavailable: profile -> why it has no cycles for the program.
        hbm_bytes: class of tensors (plena.machine.formats) -> bytes that transfers of its HBM types move, scales
            included; without those that move none.
        hbm_traffic: class of data (`plena.statistics.traffic.CLASSES`) -> bytes of elements and scales that one run
            moves, by the tensors themselves where they are known; computed when it is asked for.
        latency: profile -> cycles with waits for HBM, computed when it is asked for; None where that hangs on data
            or runs too long to be simulated.
    """

    opcodes: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    loops: list[LoopCount] = field(default_factory=list[LoopCount])
    loop_starts: int = 0
    matrix_share: dict[str, float] = field(default_factory=Figures[float])
    modules: dict[str, Count] = field(default_factory=dict[str, Count])
    steps: dict[str, Count] = field(default_factory=dict[str, Count])
    unsupported: dict[str, float] = field(default_factory=Figures[float])
    unavailable: dict[str, str] = field(default_factory=Figures[str])
    hbm_bytes: dict[str, int] = field(default_factory=dict[str, int])
    hbm_traffic: Mapping[str, int] = field(default_factory=dict[str, int], repr=False, compare=False)
    latency: Mapping[str, int | None] = field(
        default_factory=dict[str, "int | None"], repr=False, compare=False
    )

    def cycles_by(self, timing: str) -> int:
        """Cycles by a profile that is to choose or compare; DMA waits are apart.

        Raises:
            CompileError: it has none for an instruction of the program.
        """
        if timing in self.unavailable:
            others = ", ".join(p.name for p in profiles() if not self.opcodes.keys() & set(p.missing))
            raise CompileError(
                f"timing profile {timing} cannot choose this program: {self.unavailable[timing]}",
                "options",
                f"{without(self.unavailable[timing])}Choose by another profile, which counts it: {others}.",
            )
        return self.cycles[timing]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a manifest or a JSON file; without latencies and traffic, which take time."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.repr}


def without(missing: str) -> str:
    """How a model does without an instruction that a profile has no cycles for, with a space behind; else nothing."""
    return 'Compiled with machine="rtl" a ReLU does without V_MAX_VF. ' if "V_MAX_VF" in missing else ""


def _plain(value: object) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        named = cast("Mapping[str, object]", value)
        return {name: _plain(entry) for name, entry in named.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in cast("list[object]", value)]
    return value
