"""Breaks a line in a copy of the repository and runs tests on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]

PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--assert=plain")
"""Without explanations: of two long sequences that differ, pytest's take minutes."""

FAILED_TESTS = 1
"""pytest's exit code when tests ran and some failed; others mean that they did not run."""


@contextmanager
def copied() -> Generator[Path]:
    """A copy of the package and its tests; times are kept so that compiled kernels stay valid."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        for name in ("plena", "tests"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        yield Path(folder)


def broken_text(mutant: Mutant, root: Path = ROOT) -> tuple[str, str]:
    """The file as it is and with the line broken.

    Raises:
        LookupError: the line is not there exactly once: the mutant must follow the code.
    """
    text = (root / mutant.file).read_text(encoding="utf-8")
    places = [n for n, line in enumerate(text.splitlines()) if line.strip() == mutant.line]
    if len(places) != 1:
        raise LookupError(f"{mutant.name}: {mutant.file} has {mutant.line!r} {len(places)} times, not once")
    lines = text.splitlines(keepends=True)
    lines[places[0]] = lines[places[0]].replace(mutant.line, mutant.broken)
    return text, "".join(lines)


def is_noticed(mutant: Mutant, root: Path) -> bool:
    """Whether the mutant's tests fail in a copy; the file is whole again afterwards.

    Raises:
        LookupError: the line is not there.
        RuntimeError: pytest did not run the tests.
    """
    whole, broken = broken_text(mutant, root)
    file = root / mutant.file
    times = file.stat()
    file.write_text(broken, encoding="utf-8")
    try:
        done = subprocess.run(
            [*PYTEST, *mutant.tests],
            cwd=root,
            env={**os.environ, "HYPOTHESIS_PROFILE": "mutants", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        file.write_text(whole, encoding="utf-8")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    if done.returncode not in (0, FAILED_TESTS):
        raise RuntimeError(f"{mutant.name}: pytest exited with {done.returncode}: {done.stdout[-500:]}")
    return done.returncode == FAILED_TESTS
