"""Code that registers what would stay, in a copy of this process: a new one would import torch again, for seconds."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path


def forked(run: Callable[[], None], folder: Path) -> tuple[int, str]:
    """Runs a function in a folder, in a process that ends with it.

    Modules that this process has imported are imported there.

    Returns: 0, or 1 if it raised, or what it exits with, and what was printed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = os.fork()
        if child == 0:
            _run_and_end(run, folder, said.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return code, said.read()


def _run_and_end(run: Callable[[], None], folder: Path, output: int) -> None:
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = open(output, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
