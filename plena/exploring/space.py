"""What is searched: values of settings of the machine and of options of `plena.compile`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from plena.api.choosing_formats import CANDIDATES
from plena.api.compile import check_options
from plena.errors import PlenaError, SettingsError, did_you_mean
from plena.exploring.constraints import EXAMPLE
from plena.machine.target import FORMATS, Target
from plena.passes.options import OPTIONS
from plena.text_files import read_text

Scalar: TypeAlias = bool | int | float | str | None

Values: TypeAlias = Sequence[Scalar]

Point: TypeAlias = dict[str, Any]
"""A value for every key of a space."""

FOLLOWERS: dict[str, str] = {"VLEN": "MLEN", "HBM_M_Prefetch_Amount": "MLEN"}
"""Settings that follow another one unless they are given: VLEN must equal MLEN, a prefetch fills one tile."""

OPTION_KEYS: tuple[str, ...] = (*OPTIONS, "allow_unsupported")
"""Options of `plena.compile` that a space may have; all other keys are settings."""

FORMAT_SPACE = "formats"
"""Names a space."""

CONSTRAINTS = "constraints"
"""The key of a space that is no dimension."""

NOTHING = "none"
"""What a file writes for no budget."""

_EXAMPLE = "Write MLEN = [32, 64] or VECTOR_SRAM_SIZE = { low = 512, high = 4096, factor = 2 }."


@dataclass(frozen=True)
class Space:
    """Finitely many points: every key has a list of values, or a `range`.

    Attributes:
        values: by key of the settings file, with dots where it goes into a table, or by option.
        constraints: what points must keep, as it was written.
    """

    values: Mapping[str, Values]
    constraints: tuple[Any, ...] = ()

    @staticmethod
    def of(given: Any) -> Space:
        """Reads a dictionary or a TOML file; "formats": the number formats that are tried of each class of tensors.

        A value is a list, a `range`, or a table with `low`, `high` and `step` (1 by default) or `factor`; other tables
        go into the settings by name, as dots do. `constraints` is a list of texts (plena.exploring.constraints).

        Raises:
            PlenaError: an unknown key, no values or the same twice, a value that its key cannot have, no such file.
        """
        where = "space"
        if given == FORMAT_SPACE:
            return Space({f"{FORMATS}.{name}": texts for name, texts in CANDIDATES.items()})
        if isinstance(given, str | Path):
            where = str(given)
            try:
                given = tomllib.loads(read_text(Path(given)))
            except tomllib.TOMLDecodeError as error:
                raise PlenaError(f"not a TOML file: {error}", where) from None
        if isinstance(given, Space):
            return given
        if not isinstance(given, Mapping):
            raise PlenaError(
                f"a space is a dictionary or a file, not {type(given).__name__}", where, _EXAMPLE
            )
        given = dict(given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        constraints: Any = given.pop(CONSTRAINTS, ())
        if not isinstance(constraints, list | tuple):
            raise PlenaError(f"constraints must be a list of texts, not {constraints!r}", where, EXAMPLE)
        values = {key: _checked(key, entry, where) for key, entry in _flat(given, "", where)}
        if not values:
            raise PlenaError("there is nothing to search", where, _EXAMPLE)
        return Space(values, tuple(constraints))

    def __len__(self) -> int:
        return prod(len(values) for values in self.values.values())

    def points(self) -> Iterator[Point]:
        """All of them, the last key changing fastest."""
        for values in product(*self.values.values()):
            yield dict(zip(self.values, values, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain data, the same for the same space."""
        return {
            key: {"low": values[0], "high": values[-1], "step": values.step}
            if isinstance(values, range)
            else list(values)
            for key, values in self.values.items()
        }


def identity(point: Mapping[str, Any]) -> str:
    """What makes a point the same as another one."""
    return json.dumps(point, sort_keys=True)


def settings_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the machine in a point."""
    return {key: value for key, value in point.items() if key not in OPTION_KEYS}


def options_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `plena.compile` in a point."""
    return {key: value for key, value in point.items() if key in OPTION_KEYS}


def scaled(target: Target, settings: Mapping[str, Any]) -> Target:
    """A machine with other settings; those that must fit MLEN follow it unless they are given.

    Raises:
        SettingsError: an unknown setting or a malformed value.
    """
    changed = target.with_settings(settings)
    followers = {f: settings[k] for f, k in FOLLOWERS.items() if k in settings and f not in settings}
    if {"MLEN", "BROADCAST_AMOUNT"} & settings.keys() and "HLEN" not in settings and target.has_broadcast:
        followers["HLEN"] = max(1, changed.mlen // changed.broadcast_amount)
    return changed.with_settings(followers)


def _flat(given: Mapping[Any, Any], prefix: str, where: str) -> Iterator[tuple[str, Any]]:
    """Keys with dots and their entries; a table that is no range is a part of the key."""
    for key, entry in given.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping) and not {"low", "high"} & entry.keys():
            if not entry:
                raise PlenaError(f"`{name}` has no values", where, _EXAMPLE)
            yield from _flat(entry, f"{name}.", where)
        else:
            yield name, entry


def _checked(key: str, entry: Any, where: str) -> Values:
    """The values of a key, each of which it can have."""
    values = _range(key, entry, where) if isinstance(entry, Mapping) else entry
    if not isinstance(values, range | list | tuple):
        raise PlenaError(f"`{key}` needs a list or a range, not {entry!r}", where, _EXAMPLE)
    if not len(values):
        raise PlenaError(f"`{key}` has no values", where, _EXAMPLE)
    if key in OPTION_KEYS:
        values = [None if v == NOTHING and key == "max_instructions" else v for v in values]
    kept: list[Scalar] = []
    for value in values:
        if not isinstance(value, Scalar):
            raise PlenaError(
                f"`{key}` needs numbers or texts, not {value!r}",
                where,
                'Reach inside of tables: "PRECISION.HBM_M_WEIGHT_TYPE.block" = [8, 16].',
            )
        if any(value == other and type(value) is type(other) for other in kept):
            raise PlenaError(f"`{key}` has {value!r} twice", where)
        kept.append(value)
        _require_possible(key, value, where)
    return values if isinstance(values, range) else tuple(kept)


def _require_possible(key: str, value: Scalar, where: str) -> None:
    try:
        if key in OPTION_KEYS:
            check_options({key: value})
        else:
            Target().with_settings({key: value})
    except SettingsError as error:
        if not error.what.startswith("unknown setting"):
            raise
        close = did_you_mean(key, OPTION_KEYS) or f"{error.hint} "
        hint = f"{close}The options are {', '.join(OPTION_KEYS)}; all other keys are settings."
        raise PlenaError(f"`{key}` is neither a setting nor an option", where, hint) from None


def _range(key: str, table: Mapping[str, Any], where: str) -> Values:
    """The numbers of a table with low, high, and step or factor."""
    low, high, step, factor = (table.get(name) for name in ("low", "high", "step", "factor"))
    numbers = [n for n in (low, high, step, factor) if n is not None]
    if (
        set(table) - {"low", "high", "step", "factor"}
        or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        or low is None
        or high is None
        or (step is not None and factor is not None)
    ):
        raise PlenaError(f"`{key}` needs whole numbers low, high, and step or factor", where, _EXAMPLE)
    if high < low or (step is not None and step < 1):
        raise PlenaError(
            f"`{key}` has no values from {low} to {high} by {1 if step is None else step}", where, _EXAMPLE
        )
    if factor is None:
        return range(low, high + 1, step or 1)
    if low < 1 or factor < 2:
        raise PlenaError(f"`{key}` needs low of at least 1 and a factor of at least 2", where, _EXAMPLE)
    values = [low]
    while values[-1] * factor <= high:
        values.append(values[-1] * factor)
    return values
