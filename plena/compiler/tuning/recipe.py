"""A schedule without its module: what a search chose, as plain data that can be applied to another module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, get_args

from xdsl.dialects.builtin import ModuleOp

from plena.compiler.candidate import Candidate, Lowering
from plena.compiler.search import LARGEST_BLOCK
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.kernels.schedule import LoopOrder, Schedule
from plena.loops.selection.changes import LoopChange, changes_of
from plena.loops.selection.choices import Choice
from plena.loops.selection.tree import Loop, Part, tree_of
from plena.machine.choices import AttentionChoice, MatmulChoice
from plena.machine.target import Target
from plena.passes.apply_loop_choices import ApplyLoopChoices
from plena.passes.schedule_transfers import ScheduleTransfers
from plena.passes.split_layers import SplitLayers
from plena.timing.registry import profile_named

Setting: TypeAlias = bool | int | str

LONGEST = 20_000
"""Instructions, address updates apart, beyond which loops are not expanded because an entry says so."""

_MOST = 10_000
"""No number of an entry is larger."""


def _number(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: type(value) is str and value in values


def _truth(value: Any) -> bool:
    return type(value) is bool


SETTINGS: Mapping[str, Callable[[Any], bool]] = {
    "query_block": _number(0, LARGEST_BLOCK * 4),
    "order": _one_of(*get_args(LoopOrder)),
    "parts": _number(1, _MOST),
    "sections": _number(1, 64),
    "pairing": _truth,
    "shortening": _number(0, _MOST * 10),
    "row_groups": _truth,
    "by_matrices": _number(0, _MOST),
    "matmul": _one_of(*get_args(MatmulChoice)),
    "attention": _one_of(*get_args(AttentionChoice)),
}
"""What a search may choose in a schedule, and which values that can have."""

ASKED = ("matmul", "attention")
"""Settings that are only free where "auto" was asked for."""


def free_settings(asked: Schedule) -> tuple[str, ...]:
    """Those of `ASKED` that a search may choose. The RTL multiplies by one instruction alone."""
    free = (name for name in ASKED if getattr(asked, name) == "auto")
    return tuple(name for name in free if (name, asked.machine) != ("matmul", "rtl"))


@dataclass(frozen=True)
class Recipe:
    """What a search chose.

    Args:
        layers: 0: layers one after the other; else equal layers are so many loops.
        settings: of the schedule, those that are not as was asked.
        room: instructions that loads ahead of time may add; None: loads stay where they are.
        changes: of loops, as `ApplyLoopChoices` takes them.
    """

    layers: int = 0
    settings: tuple[tuple[str, Setting], ...] = ()
    room: int | None = None
    changes: tuple[str, ...] = ()

    @staticmethod
    def of(candidate: Candidate, asked: Schedule) -> Recipe:
        """What makes a candidate of a module, of which `asked` was demanded."""
        layers, room, changes = 0, None, ()
        for step in candidate.passes:
            if step == "roll-layers":
                layers = 1
            elif isinstance(step, SplitLayers):
                layers = step.parts
            elif isinstance(step, ScheduleTransfers):
                room = step.room or 0
            elif isinstance(step, ApplyLoopChoices):
                changes = step.choices
        chosen = {name: getattr(candidate.schedule, name) for name in SETTINGS}
        settings = tuple((name, v) for name, v in chosen.items() if v != getattr(asked, name))
        return Recipe(layers, settings, room, changes)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "layers": self.layers,
            "settings": dict(self.settings),
            "room": self.room,
            "changes": list(self.changes),
        }

    @staticmethod
    def from_json(document: object) -> Recipe:
        """Inverse of `to_json`.

        Raises:
            CompileError: not such a document.
        """
        match document:
            case {
                "layers": int(layers),
                "settings": dict(settings),
                "room": int() | None as room,
                "changes": [*changes],
            } if (
                0 <= layers <= _MOST
                and (room is None or 0 <= room <= _MOST)
                and all(name in SETTINGS and SETTINGS[name](value) for name, value in settings.items())
                and all(isinstance(text, str) for text in changes)
            ):
                return Recipe(layers, tuple(settings.items()), room, tuple(changes))
            case _:
                raise CompileError("it is no schedule")

    def schedule(self, asked: Schedule) -> Schedule:
        """The whole schedule.

        Raises:
            CompileError: it chooses what was asked for otherwise.
        """
        for name in ASKED:
            if name in dict(self.settings) and name not in free_settings(asked):
                raise CompileError(f"it chooses {name}, which was asked for")
        return replace(asked, **dict(self.settings))  # type: ignore[arg-type]

    def lowering(self, kernels: ModuleOp, asked: Schedule) -> Lowering:
        """A module of plena kernels under the schedule, loops as they are; the module stays as it is.

        Raises:
            CompileError: it cannot be lowered so.
        """
        variant = kernels.clone()
        if self.layers:
            split = (SplitLayers(self.layers),) if self.layers > 1 else ()
            run_pipeline(variant, ("roll-layers", *split))
        found = Lowering.of(variant, self.schedule(asked))
        assert found is not None
        return found if self.room is None else found.loading_ahead(self.room)

    def candidate(self, kernels: ModuleOp, asked: Schedule) -> Candidate:
        """A module of plena kernels lowered and counted; changes that are not legal are refused by their pass.

        Raises:
            CompileError: it cannot be lowered so, or would be too long.
        """
        return with_changes(self.lowering(kernels, asked), self.changes)


def with_changes(lowering: Lowering, changes: tuple[str, ...], longest: int = LONGEST) -> Candidate:
    """A lowering with changes of its loops, counted; `longest`: instructions, address updates apart.

    Raises:
        CompileError: there are no such loops, a change is not legal, or the program would be too long.
    """
    target = Target.from_module(lowering.affine)
    tree = tree_of(lowering.affine, target, profile_named(lowering.schedule.timing))
    choices = tuple(_choices(tree, {change.loop: change for change in map(LoopChange.parse, changes)}))
    if tuple(str(change) for change in changes_of(choices)) != changes:
        raise CompileError("its loops are others")
    if sum(map(_length, tree, _aligned(tree, choices))) > longest:
        raise CompileError(f"its loops would be expanded to more than {longest:,} instructions")
    return lowering.candidate(choices if changes else ())


def _choices(parts: tuple[Part, ...], changes: Mapping[int, LoopChange]) -> Iterator[Choice]:
    """What changes make of every loop of a body."""
    for loop in parts:
        if not isinstance(loop, Loop):
            continue
        change = changes.get(loop.number)
        if change is None:
            yield Choice(loop, children=tuple(_choices(loop.parts, changes)))
            continue
        flat = change.flat or change.kind == "jam"
        children = () if flat else tuple(_choices(loop.parts, changes))
        factors = change.factor, change.inner_factor, change.interchange
        yield Choice(loop, change.kind, *factors, flat=flat, children=children)


def _aligned(parts: tuple[Part, ...], choices: tuple[Choice, ...]) -> Iterator[Choice | None]:
    """The choice of every part; None where it is no loop."""
    left = iter(choices)
    for part in parts:
        yield next(left) if isinstance(part, Loop) else None


def _length(part: Part, choice: Choice | None) -> int:
    """Instructions of a part, address updates apart."""
    if not isinstance(part, Loop):
        return len(part.steps)
    assert choice is not None
    if choice.kind == "jam" and part.inner is not None:
        return choice.factor * choice.inner_factor * part.inner.expanded_length()
    body = (
        part.expanded_length()
        if choice.flat
        else sum(map(_length, part.parts, _aligned(part.parts, choice.children)))
    )
    match choice.kind:
        case "expand":
            return part.trips * body
        case "unroll":
            return (choice.factor + part.trips % choice.factor) * body
        case _:
            return 2 + body
