"""Runs a command in this process and says what a user would have seen of a mistake."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout


def outcome(main: Callable[[Sequence[str]], int], *args: str) -> tuple[int, str]:
    """The exit code and what was printed on stderr.

    Raises:
        AssertionError: something else than success or one error message came out.
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(args)
    printed = err.getvalue()
    assert code in (0, 1)
    assert "internal error" not in printed and "Traceback" not in printed, printed
    if code:
        assert printed.startswith("error: ") or (not printed and out.getvalue()), "no message"
    return code, printed
