"""The module under construction: values by kind, lines of __init__ and forward, what goes in and what comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.hunt.inputs import BOOLEAN, FLOATING, INTEGRAL

Shape = tuple[int, ...]
Draw = st.DrawFn

LARGEST = 4096
"""Elements of a value."""

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 64, 65, 80)
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 20)


Kind = int | str
"""What an input holds: 0 numbers, a positive n the integers below n, otherwise a name of tests.hunt.inputs."""


@dataclass(frozen=True)
class Source:
    """The text of a class `Random`, and names, shapes and kinds of what its forward takes.

    Attributes:
        packed: how many of the last inputs arrive in one list, or in one dictionary if negative.
    """

    text: str
    inputs: tuple[tuple[str, Shape, Kind], ...]
    packed: int = 0

    def __repr__(self) -> str:
        return f"\n{self.text}# inputs: {self.inputs}, packed {self.packed}\n"


@dataclass
class Writer:
    """Lines of __init__ and forward so far; what they have computed, with shapes.

    Attributes:
        values: floating-point tensors, of which results are chosen; the last one always is one.
        integers: tensors of integers.
        flags: tensors of truth values.
        special: values of a special kind, which are returned more often.
        returned: further results, as text.
    """

    draw: Draw
    init: list[str] = field(default_factory=list[str])
    body: list[str] = field(default_factory=list[str])
    inputs: list[tuple[str, Shape, Kind]] = field(default_factory=list[tuple[str, Shape, Kind]])
    values: dict[str, Shape] = field(default_factory=dict[str, Shape])
    integers: dict[str, Shape] = field(default_factory=dict[str, Shape])
    flags: dict[str, Shape] = field(default_factory=dict[str, Shape])
    special: list[str] = field(default_factory=list[str])
    returned: list[str] = field(default_factory=list[str])

    def one(self, *choices: object) -> object:
        return self.draw(st.sampled_from(choices))

    def text(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def width(self) -> int:
        return self.draw(st.sampled_from(WIDTHS))

    def length(self) -> int:
        return self.draw(st.sampled_from(LENGTHS))

    def input(self, shape: Shape, kind: Kind = 0) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append((name, shape, kind))
        if kind == 0 or kind in FLOATING:
            self.values[name] = shape
        elif kind in BOOLEAN:
            self.flags[name] = shape
        elif kind in INTEGRAL:
            self.integers[name] = shape
        return name

    def child(self, text: str) -> str:
        name = f"m{len(self.init)}"
        self.init.append(f"self.{name} = {text}")
        return f"self.{name}"

    def buffer(self, text: str) -> str:
        """A constant of the module."""
        name = f"c{len(self.init)}"
        self.init.append(f'self.register_buffer("{name}", {text})')
        return f"self.{name}"

    def let(self, text: str, shape: Shape) -> str | None:
        """A new value, unless it would be too large."""
        if math.prod(shape) > LARGEST or len(shape) > 4:
            return None
        name = self.line(text)
        self.values[name] = shape
        return name

    def line(self, text: str) -> str:
        """A name for an expression that later steps do not choose."""
        name = f"t{len(self.body)}"
        self.body.append(f"{name} = {text}")
        return name

    def value(self, rank: int = 1, most: int = 4) -> tuple[str, Shape] | None:
        """A value of this many axes; late ones are likelier."""
        known = [item for item in self.values.items() if rank <= len(item[1]) <= most]
        if not known:
            return None
        return known[-1] if self.flag() else self.draw(st.sampled_from(known))

    def like(self, shape: Shape) -> str:
        """A value of this very shape, or a new input."""
        known = [name for name, found in self.values.items() if found == shape]
        return self.draw(st.sampled_from(known)) if known and self.flag() else self.input(shape)

    def finish(self) -> Source:
        names = list(self.values)
        results = [names[-1]]
        if self.special and self.integer(0, 2):
            results = [self.draw(st.sampled_from(self.special))]
        if len(names) > 1 and self.integer(0, 3) == 0:
            results.append(self.draw(st.sampled_from(names[:-1])))
        # A module's result may not be an argument as it is.
        results = [f"{name} * 1.5" if name.startswith("x") else name for name in results]
        results += self.returned
        packed = self.draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, -1, -2]))
        packed = packed if abs(packed) < len(self.inputs) else 0
        alone = [name for name, _, _ in self.inputs][: len(self.inputs) - abs(packed)]
        inside = [name for name, _, _ in self.inputs][len(alone) :]
        keys = [f'pack["{name}"]' for name in inside] if packed < 0 else ["*pack"]
        lines = [
            "class Random(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {line}" for line in self.init),
            "",
            f"    def forward(self, {', '.join([*alone, *(['pack'] if inside else [])])}):",
            *([f"        {', '.join(inside)}, = {', '.join(keys)},"] if inside else []),
            *(f"        {line}" for line in self.body),
            f"        return {self._results(results)}",
            "",
        ]
        return Source("\n".join(lines), tuple(self.inputs), packed)

    def _results(self, results: list[str]) -> str:
        match self.integer(0, 9):
            case 0:
                return "{" + ", ".join(f'"r{n}": {name}' for n, name in enumerate(results)) + "}"
            case 1:
                return f"[{', '.join(results)}]"
            case 2 if len(results) > 1:
                return f"({results[0]}, [{', '.join(results[1:])}])"
            case _:
                return ", ".join(results)
