"""`python -m tests.hunt --hours 2 --seed 7`: random modules until the time is up; prints a program for each failure."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from tests.hunt.kinds import KINDS
from tests.hunt.search import SHOWN, Found, chunk

MINUTE = 60.0
"""Seconds between two lines where progress is not shown in place."""


@dataclass
class Hunt:
    """What was tried and found until the deadline.

    Attributes:
        known: failures by what and where they are; the first ones are shrunk and printed.
    """

    deadline: float
    started: float = field(default_factory=time.monotonic)
    shown: float = -MINUTE
    outcomes: Counter[str] = field(default_factory=Counter[str])
    known: Counter[str] = field(default_factory=Counter[str])

    def take(self, found: Found) -> None:
        """Count what a chunk has found; print what is new."""
        self.outcomes.update(found.outcomes)
        for name, text in found.shown:
            if self.known[name] < SHOWN:
                print(text, flush=True)
        self.known.update(found.failures)

    @property
    def tried(self) -> int:
        """Modules, failures too."""
        return sum(self.outcomes.values()) + sum(self.known.values())

    def alone(self, seed: int, steps: int, kind: str | None) -> None:
        """The chunk of a seed in this process."""
        before = self.outcomes.copy()

        def each(found: Found) -> None:
            self.outcomes = before + found.outcomes
            self.show()

        found = chunk(seed, steps, kind, self.deadline, self.known.copy(), each)
        self.outcomes = before
        self.take(found)

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


def together(hunt: Hunt, args: argparse.Namespace) -> int:
    """Seeds over several processes; the seed that would have been next."""
    seed, running = args.seed, set[Future[Found]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context, max_tasks_per_child=20) as pool:
        while running or _goes_on(hunt, args):
            while len(running) < args.jobs and _goes_on(hunt, args):
                left = (args.steps, args.kind, hunt.deadline, hunt.known.copy())
                running.add(pool.submit(chunk, seed, *left))
                seed += 1
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                hunt.take(future.result())
            hunt.show()
    return seed


def _goes_on(hunt: Hunt, args: argparse.Namespace) -> bool:
    return time.monotonic() < hunt.deadline and (not args.modules or hunt.tried < args.modules)


def main() -> int:
    """The exit code is 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument(
        "--modules", type=int, default=0, help="how many at least, if the time allows (default any)"
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds try equal cases (default 0)")
    parser.add_argument("--steps", type=int, default=7, help="longest module (default 7)")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only modules with such steps")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    args = parser.parse_args()
    hunt = Hunt(time.monotonic() + args.hours * 3600)
    if args.jobs > 1:
        seed = together(hunt, args)
    else:
        seed = args.seed
        while _goes_on(hunt, args):
            hunt.alone(seed, args.steps, args.kind)
            seed += 1
    minutes = (time.monotonic() - hunt.started) / 60
    print(f"\nseeds {args.seed} to {seed - 1}: {hunt.tried:,} modules in {minutes:.1f} minutes")
    for outcome, count in hunt.outcomes.most_common():
        print(f"{count:8,}  {outcome}")
    for name, count in hunt.known.most_common():
        print(f"{count:8,}  FAILED {name}")
    wrong = sum(count for name, count in hunt.known.items() if name.startswith("Wrong"))
    print(f"{wrong:8,}  silently wrong")
    return 1 if hunt.known else 0


if __name__ == "__main__":
    sys.exit(main())
