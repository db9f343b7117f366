"""Makes a failing module smaller: fewer results, fewer lines, fewer settings, as long as it fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.hunt.case import BlockCase, Case
from tests.hunt.writer import Source

C = Case | BlockCase


def shrunk(case: C, still_fails: Callable[[C], bool], time_is_up: Callable[[], bool]) -> C:
    """The smallest case that was found before the time was up."""
    smaller = True
    while smaller and not time_is_up():
        smaller = False
        for candidate in _candidates(case):
            if time_is_up():
                break
            if still_fails(candidate):
                case, smaller = candidate, True
                break
    return case


def _candidates(case: C) -> Iterator[C]:
    if isinstance(case, Case):
        for source in _sources(case.source):
            yield replace(case, source=source)
    for name in case.options:
        yield replace(case, options={k: v for k, v in case.options.items() if k != name})
    for name in case.settings:
        if name.startswith(("PRECISION", "DC_EN", "MAX_LOOP", "HBM_V")):
            yield replace(case, settings={k: v for k, v in case.settings.items() if k != name})


def _sources(source: Source) -> Iterator[Source]:
    lines = source.text.splitlines()
    last = lines[-1].removeprefix("        return ")
    made = [m.group(1) for line in lines if (m := re.match(r" {8}(t\d+) = ", line))]
    for name in [*made, *_parts(last)]:
        if name != last:
            yield _without_unused(
                replace(source, text="\n".join([*lines[:-1], f"        return {name}", ""]))
            )
    if (lean := _without_unused(source)) != source:
        yield lean
    for at, line in enumerate(lines):
        match = re.match(r" {8}(t\d+) = .*?\b([tx]\d+)\b", line)
        if match:
            # A step is left out: what it computed is what it was computed from.
            kept = [*lines[:at], *(re.sub(rf"\b{match[1]}\b", match[2], other) for other in lines[at + 1 :])]
            yield _without_unused(replace(source, text="\n".join([*kept, ""])))


def _parts(result: str) -> list[str]:
    inside = re.sub(r'^[\[{(]|[\]})]$|"r\d+": ', "", result)
    return (
        [part.strip() for part in inside.split(", ")] if inside.count("(") == inside.count(")") == 0 else []
    )


def _without_unused(source: Source) -> Source:
    """Without lines of forward that nothing reads, and without inputs that nothing reads if none are packed."""
    lines = source.text.splitlines()
    for at in range(len(lines) - 1, -1, -1):
        match = re.match(r" {8}(?:self\.)?([tmc]\d+) = |.*register_buffer\(\"(c\d+)\"", lines[at])
        name = match and (match[1] or match[2])
        if name and not re.search(rf"\b{name}\b", "\n".join(lines[:at] + lines[at + 1 :])):
            del lines[at]
    inputs = source.inputs
    if not source.packed:
        start = next(n for n, line in enumerate(lines) if "def forward" in line)
        body = "\n".join(lines[start + 1 :])
        inputs = tuple(port for port in inputs if re.search(rf"\b{port[0]}\b", body)) or inputs[:1]
        lines[start] = f"    def forward(self, {', '.join(name for name, _, _ in inputs)}):"
    return Source("\n".join([*lines, ""]), inputs, source.packed)
