"""Every run of the tests tries the same cases; what is skipped for want of a program is said before they start.

Tests run side by side, one process a core: each computes in one thread, and modules are compiled for all of them once.

Hypothesis profiles: `ci`, the default, repeats its cases exactly, `dev` looks for new failures, `mutants` shrinks
nothing. Random search is `make hunt`'s. Modules are verified between passes, unless PLENA_VERIFY_PASSES=0.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.fixed_draws import forget_own_constants

gc.disable()  # until all tests are collected: modules stay, and each collection would walk all of them
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch is imported, here and in processes that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

try:
    import torch
except ModuleNotFoundError:  # assembly, emulator and passes do without; then only their tests run
    torch = None

os.environ.setdefault("PLENA_VERIFY_PASSES", "1")

forget_own_constants()

_SLOW = [HealthCheck.too_slow]

settings.register_profile("dev", max_examples=40, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", max_examples=40, deadline=None, suppress_health_check=_SLOW, derandomize=True)
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Random numbers of a test must not hang on which tests the same worker ran before it."""
    random.seed(0)
    np.random.seed(0)
    if torch is not None:
        torch.manual_seed(0)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def missing_programs() -> list[str]:
    """What will be skipped because a program is not installed, with how to get it."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if not absent:
        return []
    return [
        f"There is no {' and no '.join(absent)}: tests/report/test_browser.py, which opens the pages of",
        "`plena report` in a browser, will be skipped. Debian, Ubuntu: apt-get install chromium chromium-driver",
    ]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Said here because `-q` hides what pytest_report_header returns."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    everything = session.config.args == session.config.getini("testpaths")
    if reporter is not None and everything and not hasattr(session.config, "workerinput"):
        for line in missing_programs():
            reporter.write_line(line)
