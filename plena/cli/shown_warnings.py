"""How the commands show warnings: ours as one line each, those of libraries only to developers."""

from __future__ import annotations

import os
import sys
import warnings

DEBUG_VARIABLE = "PLENA_DEBUG"
"""Environment variable: when set, errors show their traceback and libraries' warnings are shown."""


def show_warnings() -> None:
    """From now on warnings are lines on stderr."""
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, category: type[Warning], *where: object) -> None:
    from plena.errors import AssemblyWarning, FullCacheWarning, PositionsWarning
    from plena.host.image import StagingWarning

    if (
        issubclass(category, StagingWarning | AssemblyWarning | PositionsWarning | FullCacheWarning)
        or DEBUG_VARIABLE in os.environ
    ):
        print(f"warning: {message}", file=sys.stderr)
