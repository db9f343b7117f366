"""Runs the lit tests, so that `pytest` covers them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "filecheck"


def test_all_lit_tests_pass() -> None:
    lit = [sys.executable, "-c", "from lit.main import main; main()", "-v", "--no-progress-bar"]
    run = subprocess.run([*lit, str(FOLDER)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Passed" in run.stdout
