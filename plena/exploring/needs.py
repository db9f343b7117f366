"""What exploring needs beside the compiler: the extra `explore`."""

from __future__ import annotations

from importlib.util import find_spec

from plena.errors import PlenaError

_LIBRARIES = ("optuna", "distributed", "bokeh", "plotly", "pandas", "pyarrow")


def require_libraries() -> None:
    """Fails early, before anything was computed.

    Raises:
        PlenaError: a library of the extra is not installed.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise PlenaError(
            f"exploring needs {', '.join(missing)}, not installed here",
            "explore",
            "pip install 'plena[explore]'",
        )
