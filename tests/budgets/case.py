"""A program whose counts are guarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from plena.api.compile import compile
from plena.timing.registry import profile_named

GUARDED = ("transactional", "pipelined")
"""Profiles whose cycles are budgets: the search minimises one of them, the others only follow."""


class Model(Protocol):
    """A module and its example inputs."""

    @property
    def module(self) -> Any: ...

    @property
    def inputs(self) -> tuple[Any, ...]: ...


@dataclass(frozen=True)
class Case:
    """What to compile and with which options; slow cases are counted by `make test-slow`."""

    build: Callable[[], Model]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    slow: bool = False

    def counts(self) -> dict[str, int]:
        """Static and dynamic instructions, cycles under the profiles in GUARDED; under a profile in which transfers
        run beside other work, which the search then minimises, the latency by it."""
        model = self.build()
        statistics = compile(model.module, model.inputs, **self.options).stats()
        cycles = {name: statistics.cycles[name] for name in GUARDED}
        timing = self.options.get("timing", "transactional")
        latency = statistics.latency[timing] if profile_named(timing).overlaps else None
        known = {} if latency is None else {f"{timing} latency": latency}
        return {"static": statistics.static, "dynamic": statistics.dynamic, **cycles, **known}
