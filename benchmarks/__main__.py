"""`make bench`: count, measure, write docs/benchmark.md. `make bench-quick`: the short ones, nothing is written.

    python -m benchmarks [--quick] [--counts | --times] [--runs N] [PART OF A NAME ...]

--counts leaves the times as they are, --times the counts; parts of names say what is counted and measured again. The
exit code is 1 if a count is worse than the one recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.page import MEASUREMENTS, TIMINGS, page
from tests.budgets.groups import GROUPS, grown, record, recorded

PAGE = Path(__file__).parents[1] / "docs/benchmark.md"

QUICK = ("compile:clm-60m:1:64", "compile:clm-60m:8:64", "attention:64", "attention:1024", "emulate:scalars")


def count(parts: Sequence[str], quick: bool) -> list[str]:
    """Count the guarded programs and record what got better; one phrase for each that got worse."""
    worse: list[str] = []
    for group, cases in GROUPS.items():
        counts = recorded(group)
        for name, case in cases.items():
            if (quick and case.slow) or (parts and not any(part in name for part in parts)):
                continue
            found = case.counts()
            excess = grown(found, counts[name]) if name in counts else []
            print(
                f"{group}: {name}: {found}" + (f", worse: {', '.join(excess)}" if excess else ""), flush=True
            )
            worse += [f"{name}: {what}" for what in excess]
            if not excess and found != counts.get(name) and not quick:
                counts[name] = found
                record(group, counts)
    return worse


def measure(names: Sequence[str], runs: int) -> Iterator[dict[str, Any]]:
    """Every measurement, in one process with one thread."""
    command = [sys.executable, "-m", "benchmarks.measured", str(runs), *names]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            entry = json.loads(line)
            print(f"{entry['name']}: {entry.get('seconds', entry.get('error'))}", flush=True)
            yield entry
    if process.returncode:
        raise SystemExit(f"measuring failed with exit code {process.returncode}")


def kept_measurements(parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The measurements of the last time, if only some are made again."""
    if not parts or not TIMINGS.exists():
        return {}
    return {e["name"]: e for e in json.loads(TIMINGS.read_text(encoding="utf-8"))["measurements"]}


def machine() -> str:
    """The processor, how many there are, and the software that decides times."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    import torch

    python = platform.python_version()
    return f"{os.cpu_count()} x {model or platform.machine()}, Python {python}, torch {torch.__version__}"


def note() -> str:
    """How busy the machine was."""
    return f"The load of the machine was {os.getloadavg()[1]:.0f} when measuring began."


def main() -> int:
    """The exit code is 1 if a count got worse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help="only what has one of these in its name")
    parser.add_argument("--quick", action="store_true", help="short programs, few times, write nothing")
    parser.add_argument("--counts", action="store_true", help="leave the times as they are")
    parser.add_argument("--times", action="store_true", help="leave the counts as they are")
    parser.add_argument("--runs", type=int, default=3, help="of every measurement (default 3)")
    args = parser.parse_args()
    worse = [] if args.times else count(args.parts, args.quick)
    if not args.counts:
        document = {"machine": machine(), "note": note(), "runs": 1 if args.quick else args.runs}
        names = [
            name
            for name in (QUICK if args.quick else MEASUREMENTS)
            if not args.parts or any(part in name for part in args.parts)
        ]
        kept = {} if args.quick else kept_measurements(args.parts)
        for entry in measure(names, document["runs"]):
            kept[entry["name"]] = entry
            if not args.quick:
                found = [kept[name] for name in MEASUREMENTS if name in kept]
                text = json.dumps({**document, "measurements": found}, indent=1) + "\n"
                TIMINGS.write_text(text, encoding="utf-8")
    if not args.quick:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE}")
    for line in worse:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
