"""What exploring costs: points per minute, a second worker, the cache, memory by point.

    python -m benchmarks.exploration --old DIR    # DIR: a checkout of 09f27b2, whose plena.explore compiled every point

Ratios are of one run on one machine; `--quick` takes fewer points.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import plena
from plena.exploring.study import Study

ROOT = Path(__file__).parents[1]

MODEL = """
from tests.budgets.decoders import layers
def factory():
    built = layers("clm-60m", 1, 64)
    return built.module, tuple(built.inputs)
"""

LINEAR = """
import torch
def factory():
    torch.manual_seed(0)
    return torch.nn.Linear(16, 16, bias=False), (torch.randn(4, 16),)
"""

MACHINES = {"BLEN": [4, 8], "MATRIX_SRAM_SIZE": [1024, 1536, 2048, 3072, 4096], "MLEN": [64, 32]}
"""20 machines; `--quick` takes BLEN alone."""

BUDGETS = [600, 800, 1000, 1500, None]
TIMING = {"VECTOR_MUL_CYCLES": list(range(1, 11))}
"""10 settings that change timing only."""

OBJECTIVES = ["cycles:transactional", "area"]

OLD = """
import json, sys, time, plena
settings, budgets = json.loads(sys.argv[2])
if __name__ == "__main__":
    started = time.perf_counter()
    rows = plena.explore(sys.argv[1], settings=settings, budgets=budgets, jobs=2, progress=False)
    good = sum(row.problem is None for row in rows)
    print(json.dumps([len(rows), good, time.perf_counter() - started]))
"""


def main() -> None:
    """Measures and prints one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, help="a checkout of 09f27b2")
    parser.add_argument("--quick", action="store_true", help="2 machines, not 20")
    parser.add_argument(
        "--points", type=int, default=5000, help="points of the study whose memory is measured"
    )
    args = parser.parse_args()
    machines = {"BLEN": MACHINES["BLEN"]} if args.quick else MACHINES
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        sys.path.insert(0, str(ROOT))
        Path("model.py").write_text(MODEL)
        Path("linear.py").write_text(LINEAR)
        rate = _points_per_minute(machines, args.old)
        _cached(machines, rate)
        _workers(machines)
        _memory(args.points)


def explored(name: str, space: dict[str, Any], **given: Any) -> tuple[Study, float]:
    """A study of its own and its seconds."""
    started = time.perf_counter()
    options = {"workers": 2, "cache": "cache", "progress": False} | given
    model = options.pop("model", "model.py:factory")
    study = plena.explore(model, space, OBJECTIVES, storage=f"{name}.db", **options)
    return study, time.perf_counter() - started


def _points_per_minute(machines: dict[str, Any], old: Path | None) -> Study:
    study, seconds = explored("first", {**machines, "max_instructions": BUDGETS, **TIMING})
    points = len(study.table)
    print(f"{points} points in {seconds:.1f} s: {60 * points / seconds:.0f} a minute; {study}", flush=True)
    if old is not None:
        Path("old.py").write_text(OLD)
        few = {**{key: values[:2] for key, values in machines.items()}, "VECTOR_MUL_CYCLES": [1, 5]}
        words = [sys.executable, "old.py", "model.py:factory", json.dumps([few, BUDGETS])]
        environment = os.environ | {"PYTHONPATH": str(old)}
        once = [*words[:3], json.dumps([{"BLEN": [4]}, [None, 600]])]
        subprocess.run(once, env=environment, check=True, capture_output=True)  # numba compiles now
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        count, good, taken = json.loads(done.stdout.splitlines()[-1])
        ratio = points / seconds * taken / count
        print(
            f"before: {count} points ({good} with a program) in {taken:.1f} s; {ratio:.1f} times", flush=True
        )
    return study


def _cached(machines: dict[str, Any], first: Study) -> None:
    again, seconds = explored("second", {**machines, "max_instructions": BUDGETS, **TIMING})
    before, after = (float(s.table["seconds"].sum()) for s in (first, again))
    print(
        f"evaluation: {before:.2f} s, everything cached {after:.3f} s ({before / after:.0f} times); "
        f"the whole search again {seconds:.1f} s",
        flush=True,
    )


def _workers(machines: dict[str, Any]) -> None:
    taken: dict[int, float] = {}
    for workers in (1, 2):
        space = {**machines, "max_instructions": BUDGETS}
        _, seconds = explored(f"workers{workers}", space, workers=workers, cache=f"cache{workers}")
        taken[workers] = seconds
    print(f"one worker {taken[1]:.1f} s, two {taken[2]:.1f} s: {taken[1] / taken[2]:.2f} times", flush=True)


def _memory(points: int) -> None:
    space = {"VECTOR_MUL_CYCLES": range(1, 51), "VECTOR_ADD_CYCLES": range(1, points // 50 + 1)}
    explored("warm", {"BLEN": [4]}, model="linear.py:factory", workers=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    study, seconds = explored("memory", space, model="linear.py:factory", workers=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(study.results())} points: {(after - before) / points:.1f} KiB of memory, "
        f"{1000 * seconds / points:.0f} ms each",
        flush=True,
    )


if __name__ == "__main__":
    main()
