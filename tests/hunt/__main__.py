"""`python -m tests.hunt --hours 2 --seed 7`: random modules until the time is up; prints a program for each failure."""

from __future__ import annotations

import argparse
import re
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.hunt.case import BlockCase, Case, blocks, cases
from tests.hunt.verdict import examine

CHUNK = 100
"""Cases from one seed."""

MINUTE = 60.0
"""Seconds between two lines where progress is not shown in place."""


@dataclass
class Hunt:
    """What was tried and found until the deadline.

    Attributes:
        known: failures by what and where they are; each is shrunk and printed once.
    """

    deadline: float
    started: float = field(default_factory=time.monotonic)
    shown: float = -MINUTE
    outcomes: Counter[str] = field(default_factory=Counter[str])
    known: Counter[str] = field(default_factory=Counter[str])

    def chunk(self, number: int, steps: int) -> None:
        """The cases of one seed; a new failure is shrunk and printed."""
        failed: list[tuple[Case | BlockCase, str, str]] = []

        @seed(number)
        @settings(
            max_examples=CHUNK,
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.one_of(cases(steps), cases(steps), blocks))
        def attempt(case: Case | BlockCase) -> None:
            if time.monotonic() > self.deadline and not failed:
                return
            try:
                self.outcomes[examine(case)] += 1
            except Exception as error:
                name = signature(error)
                if name in self.known:
                    self.known[name] += 1
                    return
                failed.append((case, name, str(error)))
                raise
            finally:
                self.show()

        try:
            attempt()
        except Exception:
            case, name, message = failed[-1]
            self.known[name] += 1
            print(f"\n{'#' * 100}\n# {name}\n# {message}\n{case}", flush=True)

    def show(self) -> None:
        """The line of progress: in place on a terminal, else one a minute."""
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if not terminal and now - self.shown < MINUTE:
            return
        self.shown = now
        compiled, total = self.outcomes["compiled"], sum(self.outcomes.values())
        minutes = (now - self.started) / 60
        line = f"{minutes:7.1f} min  {total:,} cases  {compiled:,} compiled  {len(self.known)} failures "
        print(f"\r{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)


def signature(error: Exception) -> str:
    """A failure's name: type, message without its numbers, and where in the compiler it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if "/plena/" in f.filename), frames[-1])
    message = re.sub(r"\d[\d.,]*", "N", str(error).splitlines()[0] if str(error) else "")
    return f"{type(error).__name__}: {message[:60]} at {frame.filename.rpartition('/')[2]}:{frame.name}"


def main() -> int:
    """The exit code is 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds try equal cases (default 0)")
    parser.add_argument("--steps", type=int, default=7, help="longest module (default 7)")
    args = parser.parse_args()
    hunt = Hunt(time.monotonic() + args.hours * 3600)
    number = args.seed
    while time.monotonic() < hunt.deadline:
        hunt.chunk(number, args.steps)
        number += 1
    print(f"\nseeds {args.seed} to {number - 1}")
    for outcome, count in hunt.outcomes.most_common():
        print(f"{count:8,}  {outcome}")
    for name, count in hunt.known.most_common():
        print(f"{count:8,}  FAILED {name}")
    return 1 if hunt.known else 0


if __name__ == "__main__":
    sys.exit(main())
