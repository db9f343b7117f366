"""Whether points can move so few bytes as formats are to be chosen for: what is known before the search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

from plena.api.choosing_formats import require_within
from plena.errors import SettingsError
from plena.exploring.found import Found, no_errors, no_shipped_formats, require_number
from plena.exploring.objectives import Objectives
from plena.exploring.space import Point
from plena.exploring.worker import moved_by
from plena.machine.formats import Formats
from plena.machine.target import FORMATS, Target

if TYPE_CHECKING:
    from distributed import Client


def require_judged(objectives: Objectives, traffic: Any) -> None:
    """Whether points can be chosen by their error under a budget of bytes.

    Raises:
        PlenaError: the budget is no number, or errors are not measured.
    """
    require_number(traffic)
    if "error" not in objectives.figures:
        raise no_errors()


def require_choice(study: Found, traffic: float, client: Client) -> Point:
    """Whether `study.chosen(traffic)` can find a point, as far as that is known before the search; a point with the
    shipped formats, whose bytes all others are measured by.

    The bytes of the shipped formats, for which a program is compiled, say those of all others, as for
    `formats="auto"`; so they do only where nothing but formats is searched.

    Raises:
        PlenaError: no point has the shipped formats, or no formats move so little.
    """
    shipped = next((machine for formats, machine in _machines(study) if formats == Formats()), None)
    if shipped is None:
        raise no_shipped_formats("the points")
    point, target = shipped
    values = study.space.values
    varied = [key for key in values if not _is_of_formats(key) and len(values[key]) > 1]
    if varied or len(study.results()) == len(study.space):
        return point
    task = study.task_of(point, (target,))
    moved: Mapping[str, int] = client.submit(moved_by, study.source, task, pure=False).result()
    if moved:
        require_within(dict(_machines(study)), moved, traffic)
    return point


def _machines(study: Found) -> Iterator[tuple[Formats, tuple[Point, Target]]]:
    """The points whose machines can be, by their formats: all formats of one machine, then those of the next."""
    keys = sorted(study.space.values, key=_is_of_formats)
    for values in product(*(study.space.values[key] for key in keys)):
        found = dict(zip(keys, values, strict=True))
        point = {key: found[key] for key in study.space.values}
        try:
            target = study.machine_of(point)
            target.validate()
            yield target.formats, (point, target)
        except SettingsError:
            continue


def _is_of_formats(key: str) -> bool:
    return key.partition(".")[0] == FORMATS
