"""Integer arithmetic that every level needs."""

from __future__ import annotations


def ceil_div(total: int, part: int) -> int:
    """How many parts cover the total."""
    return -(-total // part)


def round_up(total: int, part: int) -> int:
    """The smallest multiple of `part` that is at least `total`."""
    return ceil_div(total, part) * part
