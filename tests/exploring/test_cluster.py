"""Workers that are processes: whatever defines the factory, and what becomes of a point that kills one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import plena
from plena.errors import PlenaError

pytest.importorskip("distributed")

SCRIPT = """
import os
import torch
import plena
from plena.dialects.plena_isa.spec import Cost
from plena.timing.profile import TableProfile
from plena.timing.registry import register

print("the script runs")
width = 16

def deadly(target, work):
    if target.blen == 2:
        os.kill(os.getppid(), 9)
    return os.kill(os.getpid(), 9) if target.blen in (2, 8) else 5

register(TableProfile("fives", "five cycles each", {cost: deadly for cost in Cost}))

def factory():
    return torch.nn.Linear(width, width), (torch.zeros(16, width),)

study = plena.explore(
    factory,
    {"BLEN": [8, 4, 16]},
    ["cycles:fives"],
    target=plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16}),
    storage="study.db",
    workers=1,
)
table = study.table.sort_values("BLEN")
assert (table["cycles:fives"].dropna() == 5 * table["dynamic"].dropna()).all()
print(table["problem"].tolist())
"""


def problems(folder: Path, blen: str) -> str:
    """What the script says of points with these values of BLEN; it comes from standard input."""
    script = SCRIPT.replace("[8, 4, 16]", blen)
    done = subprocess.run(
        [sys.executable, "-"], input=script, cwd=folder, capture_output=True, text=True, check=False
    )
    first, *lines = done.stdout.splitlines()
    assert first == "the script runs" and len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    return lines[0]


def test_a_script_without_a_guard_on_standard_input(tmp_path: Path) -> None:
    """Workers get factory and profile, and never run the script."""
    assert problems(tmp_path, "[4, 16]") == "[<NA>, <NA>]"


@pytest.mark.slow
def test_a_point_that_kills_its_worker(tmp_path: Path) -> None:
    """The worker is started again, with its nanny if that is gone too, and the point given up."""
    problem = "the worker died of it twice; perhaps it takes too much memory"
    assert problems(tmp_path, "[8, 2, 4, 16]") == f"['{problem}', <NA>, '{problem}', <NA>]"


def test_a_scheduler_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plena.exploring.cluster.ANSWER_SECONDS", 0.2)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(PlenaError, match="no scheduler answers"):
            plena.explore("m.py:f", {"BLEN": [4]}, storage=tmp_path / "s.db", scheduler=address)
