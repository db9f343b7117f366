"""How long compiling takes: `python benchmarks/compile_time.py [PART OF A NAME ...]`.

Importing torch and transformers and building the models is not counted; the weights are never looked at. Seconds
differ from machine to machine, so that every time is also given as a ratio to one reference compile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from plena.compiler import compile
from plena.program import Program
from tests.models.builders import Built, hidden, public

REFERENCE = "CLM-60M layer"


@dataclass(frozen=True)
class Row:
    """What to compile, and the seconds that the issue allows or the public compiler takes."""

    build: Callable[[], Built]
    goal: float | None = None
    public: str = ""


ROWS: dict[str, Row] = {
    REFERENCE: Row(lambda: hidden(public("clm-60m", 1), 64, weights=False), public="1.9"),
    "CLM-60M 8 layers": Row(lambda: hidden(public("clm-60m", 8), 64, weights=False), 1.5, "3.6"),
    "SmolLM2-135M 30 layers": Row(
        lambda: hidden(public("smollm2-135m", 30), 64, weights=False), 10.0, "45 to 80"
    ),
    "Llama-3.2-1B layer": Row(lambda: hidden(public("llama-3.2-1b", 1), 64, weights=False), 1.5, "3"),
}


def measured(build: Callable[[], Built], runs: int = 2) -> tuple[float, Program]:
    """The shortest of a few compiles in seconds, and the program."""
    model = build()
    best: tuple[float, Program] | None = None
    for _ in range(runs):
        start = time.perf_counter()
        program = compile(model.module, model.inputs)
        seconds = time.perf_counter() - start
        if best is None or seconds < best[0]:
            best = (seconds, program)
    assert best is not None
    return best


def main(parts: list[str]) -> None:
    """Prints one line per model."""
    reference, _ = measured(ROWS[REFERENCE].build)
    print(f"{'model':24} {'seconds':>8} {'ratio':>6} {'goal':>5} {'public':>9} {'static':>7} {'dynamic':>10}")
    for name, row in ROWS.items():
        if parts and not any(part in name for part in parts):
            continue
        seconds, program = measured(row.build)
        statistics = program.stats()
        goal = "" if row.goal is None else f"{row.goal:g}"
        print(
            f"{name:24} {seconds:8.2f} {seconds / reference:6.2f} {goal:>5} {row.public:>9} "
            f"{statistics.static:7,} {statistics.dynamic:10,}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
