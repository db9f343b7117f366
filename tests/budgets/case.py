"""A program whose counts are guarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from plena.api.compile import compile


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
        """Static and dynamic instructions, cycles under both profiles."""
        model = self.build()
        statistics = compile(model.module, model.inputs, **self.options).stats()
        return {"static": statistics.static, "dynamic": statistics.dynamic, **statistics.cycles}
