"""One case: a module, a machine, options; how it is built and printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

from plena.machine.target import Target
from tests.hunt import machines
from tests.hunt.inputs import tensor
from tests.hunt.kinds import sources, special_sources
from tests.hunt.modules import STEPS, Step
from tests.hunt.writer import Source
from tests.properties.test_tensor_modules import Block, configurations, inputs


@dataclass(frozen=True)
class Case:
    """A module, a machine and options; shown as a program that shows the failure."""

    source: Source
    settings: dict[str, Any]
    options: dict[str, Any]

    def module(self) -> nn.Module:
        """The module with parameters that depend on the case only."""
        torch.manual_seed(1)
        names: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
        exec(self.source.text, names)
        return names["Random"]().eval()

    def inputs(self, variant: int = 0) -> tuple[Any, ...]:
        """Arguments of the module; equal variants are equal."""
        torch.manual_seed(2 + variant)
        found = [(name, tensor(kind, shape)) for name, shape, kind in self.source.inputs]
        packed = self.source.packed
        alone, inside = found[: len(found) - abs(packed)], found[len(found) - abs(packed) :]
        pack = dict(inside) if packed < 0 else [value for _, value in inside]
        return (*(value for _, value in alone), *([pack] if inside else []))

    @property
    def target(self) -> Target:
        return Target().with_settings(self.settings)

    def __repr__(self) -> str:
        return "\n".join(
            [
                "",
                "import torch",
                "import torch.nn.functional as F",
                "from torch import nn",
                "from tests.hunt.case import Case",
                "from tests.hunt.writer import Source",
                "from tests.hunt.verdict import examine",
                "",
                'text = """',
                self.source.text.rstrip(),
                '"""',
                f"inputs = {self.source.inputs!r}",
                f"packed = {self.source.packed!r}",
                f"settings = {self.settings!r}",
                f"options = {self.options!r}",
                "examine(Case(Source(text, inputs, packed), settings, options))",
                "",
            ]
        )


@dataclass(frozen=True)
class BlockCase:
    """A transformer block of tests/properties/test_tensor_modules.py, a machine and options."""

    configuration: dict[str, Any]
    settings: dict[str, Any]
    options: dict[str, Any]

    def module(self) -> nn.Module:
        torch.manual_seed(1)
        return Block(self.configuration).eval()

    def inputs(self, variant: int = 0) -> tuple[Any, ...]:
        """Arguments of the module; every second variant hides other keys."""
        x, padding = inputs(self.configuration)
        return (x, padding.flip(-1)) if variant % 2 else (x, padding)

    @property
    def target(self) -> Target:
        return Target().with_settings(self.settings)

    def __repr__(self) -> str:
        return "\n".join(
            [
                "",
                "from tests.hunt.case import BlockCase",
                "from tests.hunt.verdict import examine",
                "",
                f"configuration = {self.configuration!r}",
                f"settings = {self.settings!r}",
                f"options = {self.options!r}",
                "examine(BlockCase(configuration, settings, options))",
                "",
            ]
        )


def cases(most: int = 6, steps: tuple[Step, ...] = STEPS) -> st.SearchStrategy[Case]:
    """Modules of up to `most` steps for random machines."""
    return st.builds(Case, sources(most, steps), machines.settings(), machines.options)


def special_cases(most: int = 4, kind: str | None = None) -> st.SearchStrategy[Case]:
    """Modules with steps of `kind`, or of any of tests.hunt.kinds, for random machines."""
    return st.builds(Case, special_sources(most, kind), machines.settings(roomy=True), machines.options)


blocks = st.builds(BlockCase, configurations(), machines.settings(), machines.options)
"""Transformer blocks for random machines."""
