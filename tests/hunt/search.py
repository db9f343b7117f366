"""A chunk of the search: cases by number, their outcomes, failures made small and shown as programs."""

from __future__ import annotations

import gc
import re
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tests.hunt.case import BlockCase, Case
from tests.hunt.draws import numbered
from tests.hunt.shrink import shrunk
from tests.hunt.verdict import examine

CHUNK = 100
"""Cases from one seed."""

SHRINK_SECONDS = 20.0

SHOWN = 3
"""Programs that are shown for failures of one name: there may be several reasons."""


@dataclass
class Found:
    """What some cases came to.

    Attributes:
        outcomes: "compiled" and refusals.
        failures: by what and where they are.
        shown: names and programs of failures that were new.
        seen: the modules tried, to count each once.
    """

    outcomes: Counter[str] = field(default_factory=Counter[str])
    failures: Counter[str] = field(default_factory=Counter[str])
    shown: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    seen: set[int] = field(default_factory=set[int])


def chunk(
    seed: int,
    steps: int,
    kind: str | None,
    deadline: float,
    known: Counter[str],
    each: Callable[[Found], None] = lambda _: None,
) -> Found:
    """The cases of a seed, until a time of the monotonic clock.

    Args:
        known: failures so far, of which only the first ones are shown.
        each: called after each case.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = Found()
    for number in range(seed * CHUNK, (seed + 1) * CHUNK):
        if time.monotonic() > deadline:
            break
        case = numbered(number, steps, kind)
        if hash(repr(case)) in found.seen:
            continue
        found.seen.add(hash(repr(case)))
        try:
            found.outcomes[examine(case)] += 1
        except Exception as error:
            name = signature(error)
            found.failures[name] += 1
            if known[name] + found.failures[name] <= SHOWN:
                found.shown.append((name, _shown(number, case, error)))
        each(found)
    # Exported graphs are cycles; the compiler pauses the collector.
    gc.collect()
    return found


def _shown(number: int, case: Case | BlockCase, error: Exception) -> str:
    name, end = signature(error), time.monotonic() + SHRINK_SECONDS
    last = error

    def still_fails(candidate: Case | BlockCase) -> bool:
        nonlocal last
        try:
            examine(candidate)
        except Exception as other:
            same = signature(other) == name
            last = other if same else last
            return same
        return False

    small = shrunk(case, still_fails, lambda: time.monotonic() > end)
    return f"\n{'#' * 100}\n# {name}\n# case {number}: {last}\n{small}"


def signature(error: Exception) -> str:
    """A failure's name: type, message without its numbers, and where in the compiler it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if "/plena/" in f.filename), frames[-1])
    first = str(error).splitlines()[0] if str(error) else ""
    message = re.sub(r"-?\d[\d.,e+-]*", "N", first.partition(" (inputs")[0])
    return f"{type(error).__name__}: {message[:60]} at {frame.filename.rpartition('/')[2]}:{frame.name}"
