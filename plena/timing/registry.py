"""The timing profiles there are: those of this package, of installed packages, and registered by a program.

A profile is loaded when its cycles are wanted; to list the names loads none.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from plena.errors import CompileError, PlenaError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plena.timing.profile import Profile

GROUP = "plena.timing"
"""Entry points by which installed packages add profiles: name = "module:PROFILE"."""

_OURS: dict[str, str] = {
    "transactional": "plena.timing.transactional",
    "pipelined": "plena.timing.pipelined",
    "serialized": "plena.timing.serialized",
    "rtl-v1": "plena.timing.rtl_v1",
}
"""Name -> the file whose `PROFILE` it is."""

DEFAULT_TIMING = next(iter(_OURS))

_registered: dict[str, Profile] = {}


def timings() -> tuple[str, ...]:
    """The names of the registered timing profiles: what `timing=` takes.

    Raises:
        PlenaError: two profiles have the same name.
    """
    return (*_OURS, *_installed(), *_registered)


def profile_named(name: str, where: str = "options") -> Profile:
    """A profile.

    Raises:
        CompileError: there is none of that name: it says which there are, and `where` the name was given.
        PlenaError: an installed package names one that cannot be loaded.
    """
    if name not in timings():  # a caller's value, which may not even be text
        hint = did_you_mean(name, timings()).rstrip() or None
        raise CompileError(f"timing must be one of {', '.join(timings())}, not {name!r}", where, hint)
    return _registered[name] if name in _registered else _loaded(name)


def profiles() -> tuple[Profile, ...]:
    """All profiles, in the order of `timings`."""
    return tuple(profile_named(name) for name in timings())


def register(profile: Profile) -> Profile:
    """Adds a profile to everything that lists them; `withdraw` takes it back.

    Raises:
        PlenaError: there is one of that name.
    """
    if profile.name in timings():
        raise PlenaError(
            f"there is a timing profile {profile.name!r} already", "register", "Give it another name."
        )
    _registered[profile.name] = profile
    return profile


def withdraw(name: str) -> None:
    """Takes back what `register` added.

    Raises:
        PlenaError: nothing of that name was registered by a program.
    """
    if _registered.pop(name, None) is None:
        raise PlenaError(f"no program registered a timing profile {name!r}", "withdraw")


def is_ours(name: str) -> bool:
    """Whether a profile is one of this package: then its name says what it counts."""
    return name in _OURS


def registered() -> tuple[Profile, ...]:
    """What `register` added, for other processes."""
    return tuple(_registered.values())


def register_missing(profiles: Sequence[Profile]) -> None:
    """Adds what another process registered, where this one does not have it."""
    for profile in profiles:
        if profile.name not in timings():
            _registered[profile.name] = profile


@cache
def _installed() -> dict[str, EntryPoint]:
    """The profiles of installed packages."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if point.name in _OURS or point != other:
            raise PlenaError(
                f"there are two timing profiles {point.name!r}, one is {point.value} of an installed package",
                f"entry point group {GROUP}",
                "Remove the package, or rename its profile.",
            )
    return found


@cache
def _loaded(name: str) -> Profile:
    if name in _OURS:
        return import_module(_OURS[name]).PROFILE
    point = _installed()[name]
    try:
        profile = point.load()
    except (ImportError, AttributeError) as error:
        raise PlenaError(
            f"timing profile {name!r} cannot be loaded from {point.value}: {error}",
            f"entry point group {GROUP}",
            "Repair or remove the package.",
        ) from error
    from plena.timing.profile import StreamProfile, TableProfile

    if not isinstance(profile, TableProfile | StreamProfile) or profile.name != name:
        raise PlenaError(
            f"{point.value} is no timing profile of the name {name!r}", f"entry point group {GROUP}"
        )
    return profile
