"""docs/benchmark.md: a function of the budget files, the public compiler's figures and the last measurements."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Any

from benchmarks.formats import table as formats
from benchmarks.rows import DATA, PUBLIC, SECTIONS, Published, Row
from plena.machine.target import Target
from tests.budgets.groups import recorded

TIMINGS = DATA / "timings.json"
COUNTS = ("static", "dynamic", "transactional", "pipelined")

LINEAR = 1.05
"""Exponent of the fit up to which a cost counts as growing no faster than its size."""


@dataclass(frozen=True)
class Fit:
    """``cost = factor * size ** exponent`` by least squares of the logarithms."""

    factor: float
    exponent: float

    @staticmethod
    def of(sizes: Sequence[float], costs: Sequence[float]) -> Fit:
        """The fit through at least two sizes."""
        xs, ys = [log(n) for n in sizes], [log(max(c, 1e-6)) for c in costs]
        mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((x - mean_x) ** 2 for x in xs)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
        return Fit(exp(mean_y - slope * mean_x), slope)


def page() -> str:
    """The page."""
    timings = json.loads(TIMINGS.read_text(encoding="utf-8"))
    return "\n".join([*_head(), *_table(), *formats.section(), *_times(timings)])


def counts_of(row: Row) -> Mapping[str, int]:
    """The guarded counts of a row."""
    return recorded(row.group)[row.case]


def missed(row: Row) -> list[str]:
    """The bars that a row does not meet, one phrase each."""
    counts = counts_of(row)
    found = [f"{n} {counts[n]:,} instead of {bar:,}" for n, bar in row.bars.items() if counts[n] > bar]
    share = utilization(row)
    if share is not None and row.least_utilization is not None and share < row.least_utilization:
        found.append(f"utilisation {share:.3f} instead of {row.least_utilization}")
    return found


def utilization(row: Row) -> float | None:
    """Useful multiply-accumulates over BLEN * MLEN * pipelined cycles, at the shipped settings."""
    target = Target()
    return None if row.macs is None else row.macs / (target.blen * target.mlen * counts_of(row)["pipelined"])


def _head() -> Iterator[str]:
    yield """\
# Benchmark

Written by `make bench`; nobody edits this page. Counts are exact and come from `tests/budgets`: a program that gets
longer or slower fails the tests, one that gets better is recorded. `make bench-quick` counts the short ones and prints.

Static instructions, dynamic instructions, cycles under every timing profile, waits for HBM apart; shipped settings
unless the row says otherwise. The public compiler's figures are copied into `benchmarks/data/public_compiler.json`:
"""
    yield f"> {PUBLIC['source']}. {PUBLIC['counting']}\n"
    yield """\
Where it published several versions, A is of 18 May 2026, B of 22 July 2026, "parent" the one before A. "size" and
"cycles" say how many times fewer static instructions and transactional cycles ours takes. "Asked" are the largest
counts that the issues allow. Our programs do more: they load operands from HBM where the public ones find them in
vector SRAM, have norm gains, and apply SiLU where the model does.
"""


def _table() -> Iterator[str]:
    yield "## Counts\n"
    ours = " | ".join(COUNTS)
    yield f"| work | ours | {ours} | public | {ours} | size | cycles | asked |"
    yield "| --- | --- " + "| --: " * 4 + "| --- " + "| --: " * 6 + "| --- |"
    for title, rows in SECTIONS.items():
        yield f"| **{title}** " + "| " * 13 + "|"
        for row in rows:
            yield f"| {' | '.join(_cells(row))} |"
    wrong = [
        f"* {r.work} ({r.options}): {', '.join(missed(r))}"
        for rows in SECTIONS.values()
        for r in rows
        if missed(r)
    ]
    yield ""
    if wrong:
        yield "Asked for and not reached:\n"
        yield "\n".join(dict.fromkeys(wrong)) + "\n"


def _cells(row: Row) -> Iterator[str]:
    counts, published = counts_of(row), row.published or Published("")
    yield row.work + (f" ({row.note})" if row.note else "")
    yield row.options
    yield from (f"{counts[name]:,}" if name in counts else "" for name in COUNTS)
    yield published.version
    theirs = {name: getattr(published, name) for name in COUNTS}
    yield from ("" if number is None else f"{number:,}" for number in theirs.values())
    for name in ("static", "transactional"):
        number = theirs[name]
        yield _times_fewer(number, counts[name]) if number is not None and name in counts else ""
    asked = [
        f"{name} {bar:,}{'' if counts[name] <= bar else ' **missed**'}" for name, bar in row.bars.items()
    ]
    share = utilization(row)
    if share is not None:
        asked.append(f"utilisation {row.least_utilization} (is {share:.3f})")
    yield ", ".join(asked)


def _times_fewer(theirs: int, ours: int) -> str:
    ratio = theirs / ours
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _times(timings: Mapping[str, Any]) -> Iterator[str]:
    measured = {entry["name"]: entry for entry in timings["measurements"]}
    runs, machine = timings["runs"], timings["machine"]
    yield f"""\
## Times

Measured on {machine}. Every figure is the median of {runs} runs with the smallest and the largest in brackets. Seconds
are of the processor, one thread, so that other work on the machine counts as little as possible; it still shares
caches, so compare ratios. {timings["note"]} Runs follow each other in a process of their own for each line: the first
fills caches. Memory is the largest peak above what the process had before, the model's parameters not counted.

Importing torch, building the model and a first small compile are not counted; weights are never looked at. The public
compiler's times are those published, without its golden references, on another machine.

| compiling | seconds | peak MiB | static | asked | public |
| --- | --: | --: | --: | --: | --: |"""
    for name, (title, goal, public) in COMPILES.items():
        yield f"| {title} | {_line(measured.get(name))} | {goal} | {public} |"
    for title, unit, names in SERIES:
        yield f"\n### {title}\n"
        yield f"| {unit} | seconds | peak MiB | static |"
        yield "| --: | --: | --: | --: |"
        for size, name in names.items():
            yield f"| {size:,} | {_line(measured.get(name))} |"
        yield "\n" + _fits(unit, {n: measured[name] for n, name in names.items() if name in measured})
    yield from _emulator(measured)


def _fits(unit: str, measured: Mapping[int, Mapping[str, Any]]) -> str:
    """Both fits in words."""
    sentences: list[str] = []
    for title, key, of in (("Time", "seconds", median), ("Peak memory", "peak_mib", max)):
        costs = {n: of(entry[key]) for n, entry in measured.items() if key in entry}
        if len(costs) < 2:
            sentences.append(f"{title}: too few sizes for a fit.")
            continue
        fit = Fit.of(list(costs), list(costs.values()))
        verdict = "no faster than" if fit.exponent <= LINEAR else "**faster than**"
        first, last = min(costs), max(costs)
        sentences.append(
            f"{title} fits {fit.factor:.3g} x {unit}^{fit.exponent:.2f}: it grows {verdict} linearly "
            f"({last // first} times the size takes {costs[last] / max(costs[first], 1e-6):.2g} times as much)."
        )
    return " ".join(sentences) + "\n"


def _line(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "not measured | | "
    if "error" in entry:
        return f"not compiled: {entry['error']} | | "
    peak = f"{max(entry['peak_mib']):.0f}" if "peak_mib" in entry else ""
    return f"{_spread(entry['seconds'], '.2f')} | {peak} | {entry['static']:,}"


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _emulator(measured: Mapping[str, Any]) -> Iterator[str]:
    yield """\
### Emulator

| program | instructions | seconds | millions a second |
| --- | --: | --: | --: |"""
    for name, title in EMULATED.items():
        entry = measured.get(name)
        if entry is not None:
            rates = [entry["instructions"] / s / 1e6 for s in entry["seconds"]]
            yield (
                f"| {title} | {entry['instructions']:,} | {_spread(entry['seconds'], '.3f')} | "
                f"{_spread(rates, '.1f')} |"
            )
    public = PUBLIC["emulator"]
    dynamic = next(
        e for e in PUBLIC["models"] if (e["case"], e["version"]) == (public["case"], public["version"])
    )
    yield (
        f"| public emulator, its own {public['case']} (version {public['version']}) | {dynamic['dynamic']:,} | "
        f"{public['seconds']} | {dynamic['dynamic'] / public['seconds'] / 1e6:.2f} |\n"
    )


SEQUENCES = tuple(64 << n for n in range(7))
LAYERS = (1, 2, 4, 8, 16, 30)

COMPILES: dict[str, tuple[str, str, str]] = {
    "compile:clm-60m:1:64": ("CLM-60M layer", "", "0.1 to 0.3"),
    "compile:clm-60m:8:64": ("CLM-60M 8 layers", "1.5", "3.6"),
    "compile:smollm2-135m:30:64": ("SmolLM2-135M 30 layers", "10", "45 to 80"),
    "compile:llama-3.2-1b:1:64": ("Llama-3.2-1B layer", "1.5", "2 to 3"),
    "attention:4096": ("attention 4,096 x 64", "2", ""),
}
"""Measurement -> title, seconds asked, seconds of the public compiler."""

SERIES: tuple[tuple[str, str, dict[int, str]], ...] = (
    ("One attention head by sequence", "sequence", {n: f"attention:{n}" for n in SEQUENCES}),
    ("One CLM-60M layer by sequence", "sequence", {n: f"compile:clm-60m:1:{n}" for n in SEQUENCES}),
    ("CLM-60M by layers, sequence 64", "layers", {n: f"compile:clm-60m:{n}:64" for n in LAYERS}),
)

EMULATED = {
    "emulate:scalars": "scalar additions in two loops",
    "emulate:layer": "CLM-60M layer, sequence 64, M_MM schedule",
}

MEASUREMENTS = tuple(
    dict.fromkeys([*COMPILES, *(name for _, _, names in SERIES for name in names.values()), *EMULATED])
)
"""What `make bench` measures."""
