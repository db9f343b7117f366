"""`make coverage`: every family of transformers, compiled and checked, and docs/coverage.md.

    python -m benchmarks.coverage [--jobs N] [--limit SECONDS] [--size usual|odd] [--no-check] [FAMILY ...]

With names of families only they are tried, and the page keeps what it says of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.coverage.attempt import Outcome
from benchmarks.coverage.families import FAMILIES, tasks_of
from benchmarks.coverage.page import page, ranking
from benchmarks.coverage.pool import outcomes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/coverage.md"
RESULTS = ROOT / "benchmarks/data/coverage.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a configuration is wrong or ends in anything but a clear error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=120.0)
    parser.add_argument("--size", choices=["usual", "odd"])
    parser.add_argument("--no-check", action="store_true", help="compile only; nothing is recorded")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.families) - set(FAMILIES))
    if unknown:
        parser.error(f"the table has no family {', '.join(unknown)}")
    tasks = [
        task
        for task in tasks_of(options.families or FAMILIES)
        if options.size is None or task.size == options.size
    ]
    found: list[Outcome] = []
    for outcome in outcomes(tasks, options.jobs, options.limit, not options.no_check):
        found.append(outcome)
        detail = outcome.message[:250] or f"{outcome.quantized:.2%}"
        print(
            f"{len(found)}/{len(tasks)} {outcome.family} {outcome.size}: {outcome.status} "
            f"{outcome.seconds:.1f} s {outcome.memory} MiB {detail}",
            flush=True,
        )
        if not options.no_check:
            _record([outcome])
    print(ranking(found))
    return int(any(outcome.status in ("wrong", "bug") for outcome in found))


def _record(found: Sequence[Outcome]) -> None:
    known = [Outcome(**entry) for entry in json.loads(RESULTS.read_text())] if RESULTS.exists() else []
    merged = {(o.family, o.size): o for o in (*known, *found)}
    wanted = [(task.family, task.size) for task in tasks_of(FAMILIES)]
    kept = [merged[key] for key in wanted if key in merged]
    RESULTS.write_text(json.dumps([o.to_json() for o in kept], indent=0) + "\n")
    PAGE.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
