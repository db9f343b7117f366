"""What a scheduler may know of an instruction under a profile: its unit, and how long that and its result take."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class Engine(Enum):
    """Who executes an instruction."""

    ELEMENTWISE = auto()
    """A vector pipe that takes an instruction in every interval while others are under way."""
    REDUCTION = auto()
    """The same pipe, which a reduction keeps to itself."""
    SCALAR = auto()
    SCALAR_SRAM = auto()
    OTHER = auto()
    """Nothing that others wait for."""


@dataclass(frozen=True, slots=True)
class Work:
    """Cycles of one instruction: until its engine takes the next (`interval`), and until its result is there."""

    engine: Engine
    interval: int
    ready: int
    takes_scalar: bool = False


@dataclass
class Clock:
    """In-order acceptance of vector and scalar instructions, estimated: operands by name, engines, one recovery cycle.

    An instruction of the vector pipe with another latency than the one before it waits for that one's result.
    """

    now: int = 0
    pipe: int = 0
    reduced: int = 0
    scalar: int = 0
    sram: int = 0
    element: tuple[int, int] = (0, 0)
    results: dict[object, int] = field(default_factory=dict[object, int])

    def accepts(self, work: Work, operands: tuple[object, ...]) -> int:
        """When an instruction that touches these would be accepted."""
        known = self.results
        at = max([self.now, *(known[o] for o in operands if o in known)])
        match work.engine:
            case Engine.ELEMENTWISE:
                ready, latency = self.element
                at = max(at, self.pipe, ready if latency not in (0, work.ready) else 0)
            case Engine.REDUCTION:
                at = max(at, self.pipe)
            case Engine.SCALAR:
                at = max(at, self.reduced, self.scalar)
            case Engine.SCALAR_SRAM:
                at = max(at, self.reduced, self.sram)
            case Engine.OTHER:
                pass
        if work.takes_scalar:
            at = max(at, self.scalar)
        return at + (at > self.now)

    def takes(self, work: Work, operands: tuple[object, ...], written: tuple[object, ...]) -> None:
        """The next instruction."""
        at = self.accepts(work, operands)
        ready = at + work.ready
        match work.engine:
            case Engine.ELEMENTWISE:
                self.pipe, self.element = at + work.interval, (ready, work.ready)
            case Engine.REDUCTION:
                self.pipe = self.reduced = at + work.interval
            case Engine.SCALAR:
                self.scalar = at + work.interval
            case Engine.SCALAR_SRAM:
                self.sram = at + work.interval
            case Engine.OTHER:
                pass
        for name in written:
            self.results[name] = ready
        self.now = at + 1
