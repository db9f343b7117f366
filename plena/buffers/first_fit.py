"""First-fit placing: the largest buffers first, each at the lowest address that is free while it lives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import IntAttr

from plena.buffers.groups import Taken, take
from plena.buffers.intervals import Interval
from plena.dialects.provenance import LENGTH_ATTRIBUTE
from plena.integers import round_up


def first_fit(intervals: Sequence[Interval], alignment: int, base: int, placed: list[Taken]) -> int:
    """Assigns addresses from `base` on beside what is `placed`, and enters them there. The end of the highest."""
    settled = {interval for _, _, interval in placed}
    top = max([base, *(end for _, end, _ in placed)])
    for interval in largest_first([i for i in intervals if i not in settled], alignment):
        address = lowest_free(interval, alignment, base, placed)
        end = address + interval.buffer.size.data
        interval.buffer.address = IntAttr(address)
        take(placed, address, end, interval)
        top = max(top, end)
    return top


def largest_first(intervals: Iterable[Interval], alignment: int) -> list[Interval]:
    """Spare rows, then the largest buffers first, those that hang on a very long operand at last.

    Spare rows stay where they are in every loop: the lowest address is the zero register's. What lies behind a very
    long buffer would have addresses that hang on the length, beyond what an instruction holds.
    """

    def order(interval: Interval) -> tuple[bool, bool, int, int]:
        is_long = LENGTH_ATTRIBUTE in interval.buffer.attributes
        return not is_spare(interval, alignment), is_long, -interval.buffer.size.data, interval.start

    return sorted(intervals, key=order)


def lowest_free(interval: Interval, alignment: int, base: int, placed: Iterable[Taken]) -> int:
    """The lowest aligned address from `base` on at which a buffer meets nothing that lives when it does.

    What is `placed` stands in the order of its addresses.
    """
    size = interval.buffer.size.data
    address = round_up(base, alignment)
    start, end = interval.start, interval.end
    for low, high, other in placed:
        if high > address and other.start <= end and start <= other.end:
            if low >= address + size:
                break
            address = round_up(high, alignment)
    return address


def is_spare(interval: Interval, alignment: int) -> bool:
    """Whether a buffer is a few rows that hold intermediate values."""
    buffer = interval.buffer
    return buffer.space == "vector" and buffer.placements is None and buffer.size.data <= 4 * alignment
