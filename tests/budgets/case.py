"""A program whose counts are guarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from plena.api.compile import compile

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
        """Static and dynamic instructions, cycles under the profiles in GUARDED."""
        model = self.build()
        statistics = compile(model.module, model.inputs, **self.options).stats()
        cycles = {name: statistics.cycles[name] for name in GUARDED}
        return {"static": statistics.static, "dynamic": statistics.dynamic, **cycles}
