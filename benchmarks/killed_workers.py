"""One of four workers is killed every minute, for five minutes: no point is lost, none is counted twice.

    python -m benchmarks.killed_workers                              # about as long as it says, and more on few cores
    python -m benchmarks.killed_workers --minutes 1 --every 15 --points 20

Points are searched until the time is up and all of them are done; the exit code is 1 if one is missing, is there twice
or has a problem.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

import plena
from benchmarks.exploration import ROOT

MODEL = """
import torch
def factory():
    torch.manual_seed(0)
    layers = [torch.nn.LayerNorm(256), torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256)]
    return torch.nn.Sequential(*layers, *layers), (torch.randn(64, 256),)
"""

SMALLEST = 600
"""Instructions of the first budget; each point has one of its own, so that nothing is known of it."""


def main() -> int:
    """Searches, kills, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--points", type=int, default=100, help="of each study; studies follow each other")
    args = parser.parse_args()
    killer = Killer(args.every)
    started = time.monotonic()
    found, wrong = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        Path("model.py").write_text(MODEL)
        killer.start()
        number = 0
        while not number or time.monotonic() - started < 60 * args.minutes:
            first = SMALLEST + number * args.points
            budgets = range(first, first + args.points)
            study = plena.explore(
                "model.py:factory",
                {"max_instructions": budgets},
                ["cycles:transactional"],
                storage=f"study{number}.db",
                cache="cache",
                workers=args.workers,
                progress=False,
            )
            table = study.table
            seen = sorted(table["max_instructions"])
            problems = table["problem"].dropna().tolist()
            found += len(seen)
            wrong += len(problems) + (seen != list(budgets))
            for problem in problems:
                print(problem)
            number += 1
        killer.stop()
    seconds = time.monotonic() - started
    print(
        f"{killer.killed} workers killed in {seconds:.0f} s; {found} points, {wrong} lost, twice or with a problem"
    )
    return 1 if wrong or not killer.killed else 0


class Killer(threading.Thread):
    """Kills a worker of this process, chosen by chance, every so many seconds."""

    def __init__(self, every: float) -> None:
        super().__init__(daemon=True)
        self.every, self.killed = every, 0
        self._over = threading.Event()
        self._chance = random.Random(0)

    def run(self) -> None:
        while not self._over.wait(self.every):
            workers = [p for p in psutil.Process().children(recursive=True) if _is_worker(p)]
            if workers:
                self._chance.choice(workers).kill()
                self.killed += 1

    def stop(self) -> None:
        """Kills no more."""
        self._over.set()
        self.join()


def _is_worker(process: psutil.Process) -> bool:
    """What a nanny has started to work."""
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(main())
