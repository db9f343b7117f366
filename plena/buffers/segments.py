"""Buffers in HBM: one plane of elements and one of scales, or several pairs where offsets do not reach everything.

A transfer's address is a 64-bit base plus a 32-bit offset, its scales lie at the base plus SCALE, 32 bits too, plus the
offset divided (plena_isa.md section 5.1). What needs more lies in *segments* at equal distances. Each has its own
planes, at the same SCALE, and no buffer crosses one: a base address serves a buffer whatever loop it is used in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import IntAttr

from plena.buffers.common_image import CommonImage
from plena.buffers.first_fit import largest_first, lowest_free
from plena.buffers.groups import Taken, take
from plena.buffers.intervals import Interval
from plena.errors import CompileError
from plena.host.layout import hbm_alignment, scale_plane
from plena.integers import ceil_div, round_up
from plena.machine.constants import INT_LIMIT
from plena.machine.number_formats import Mx
from plena.machine.target import Target

BASE_UNIT = 4096
"""Segments begin at multiples of it: one instruction makes the lower half of a base address."""

_STEPS = 12
"""Halvings in the search for segments of equal length."""


class BeyondReach(CompileError):
    """A buffer that no base address reaches as a whole.

    Args:
        size: its bytes.
        reach: the bytes that offsets from a base address reach.
    """

    pieces: int
    """How many pieces are short enough."""

    def __init__(self, name: str, size: int, reach: int) -> None:
        super().__init__(
            f"{name} needs {size:,} bytes of HBM in one piece, offsets from a base address reach {reach:,}",
            hint="Compile fewer layers at a time, or choose smaller number formats.",
        )
        self.pieces = ceil_div(size, reach)


@dataclass(frozen=True)
class HbmPlan:
    """Where the planes lie.

    Attributes:
        scale_plane: SCALE of all transfers: bytes from the beginning of a segment to its scales.
        segment: bytes from one segment to the next; 0 if there is one.
        image: bytes from address 0 to the end of the last plane.
    """

    scale_plane: int
    segment: int
    image: int


def place_in_hbm(
    intervals: Sequence[Interval], base: int, target: Target, common: CommonImage | None = None
) -> HbmPlan:
    """Gives buffers their addresses, from `base` on in the first segment; as many segments as are needed, equally long.

    Args:
        common: the image of other programs, in one segment, which this one joins.

    Raises:
        CompileError: the image is larger than HBM_SIZE.
        BeyondReach: a buffer alone is longer than a segment can be.
    """
    if common is not None:
        return _placed_beside(intervals, common, target)
    parts = list(_apart(intervals, target))
    reach = INT_LIMIT - scale_plane(1, target)
    segments = _filled(parts, base, reach, target)
    if len(segments) > 1:
        segments = _levelled(parts, base, segments, target)
    used = max((segment.top for segment in segments), default=base)
    plane = scale_plane(used, target)
    ends = [max(segment.top, plane + segment.scales if segment.scales else 0) for segment in segments]
    distance = round_up(max(ends, default=0), BASE_UNIT) if len(segments) > 1 else 0
    for number, segment in enumerate(segments):
        for start, _, interval in segment.placed:
            interval.buffer.address = IntAttr(number * distance + start)
    image = distance * (len(segments) - 1) + ends[-1] if segments else base
    _require_room(image, intervals, target)
    return HbmPlan(plane, distance, image)


def _require_room(image: int, intervals: Sequence[Interval], target: Target) -> None:
    """Raises CompileError for an image that HBM does not hold."""
    if image > target.hbm_size:
        raise CompileError(
            f"the program does not fit in hbm memory: its image needs {image:,} bytes, {target.hbm_size:,} available "
            f"(HBM_SIZE); the largest buffers are {largest_buffers(intervals)}",
            hint="Compile fewer layers at a time, choose smaller number formats, or a target with more HBM.",
        )


def _placed_beside(intervals: Sequence[Interval], common: CommonImage, target: Target) -> HbmPlan:
    """Buffers that other programs have too lie where those have them, the others together where nothing lies yet."""
    own: list[Interval] = []
    for interval in intervals:
        address = common.address_of(interval.buffer)
        if address is None:
            own.append(interval)
        else:
            interval.buffer.address = IntAttr(address)
    segments = _filled(list(_apart(own, target)), 0, INT_LIMIT - common.scale_plane, target)
    size = segments[0].top if segments else 0
    start = common.free_start(size, _ratios(own, target), target) if own else 0
    if len(segments) > 1 or start + size > INT_LIMIT:
        raise CompileError(
            f"what this program alone has in HBM ({size:,} bytes and more) is out of reach behind what it shares",
            hint="Compile it with an image of its own.",
        )
    for address, _, interval in segments[0].placed if segments else ():
        interval.buffer.address = IntAttr(start + address)
    ends = [start + size, *(end for _, end in common.taken)]
    ends += [
        common.scale_plane + _scales_to(start + end, i, target) for s in segments for _, end, i in s.placed
    ]
    _require_room(max(ends), intervals, target)
    return HbmPlan(common.scale_plane, 0, max(ends))


def _ratios(intervals: Sequence[Interval], target: Target) -> list[int]:
    """The different numbers of element bytes per scale byte of what lies in some buffers."""
    formats = [f.ratio for f in target.precision.values() if isinstance(f, Mx)]
    found = {_ratio(i, target) for i in intervals if i.buffer.placements is not None}
    found.update(formats if any(i.buffer.placements is None for i in intervals) else ())
    return sorted(found - {0})


def largest_buffers(intervals: Sequence[Interval]) -> str:
    """The five largest buffers with their sizes, for messages."""
    largest = sorted(intervals, key=lambda i: -i.buffer.size.data)[:5]
    return ", ".join(f"{i.buffer.symbol.data} ({i.buffer.size.data:,})" for i in largest)


@dataclass
class _Segment:
    """What lies in a segment: its end, the bytes of its scales, where the present part begins."""

    base: int
    top: int
    scales: int = 0
    placed: list[Taken] = field(default_factory=list[Taken])


def _filled(parts: Sequence[Sequence[Interval]], base: int, limit: int, target: Target) -> list[_Segment]:
    """The buffers in as many segments of at most `limit` element bytes as first-fit takes."""
    segments: list[_Segment] = []
    alignment = hbm_alignment(target)
    for part in parts:
        for segment in segments:
            segment.base = segment.top
        for interval in largest_first(part, alignment):
            size = interval.buffer.size.data
            for segment in segments:
                address = lowest_free(interval, alignment, segment.base, segment.placed)
                if address + size <= limit:
                    break
            else:
                start = 0 if segments else base
                segment, address = _Segment(start, start), round_up(start, alignment)
                if address + size > limit:
                    raise BeyondReach(interval.buffer.symbol.data, size, limit - start)
                segments.append(segment)
            end = address + size
            take(segment.placed, address, end, interval)
            segment.top = max(segment.top, end)
            segment.scales = max(segment.scales, _scales_to(end, interval, target))
    return segments


def _levelled(
    parts: Sequence[Sequence[Interval]], base: int, segments: list[_Segment], target: Target
) -> list[_Segment]:
    """As many segments, the longest of them as short as a search finds: they all take the room of the longest."""
    low, high = max(i.buffer.size.data for part in parts for i in part), max(s.top for s in segments)
    for _ in range(_STEPS):
        limit = (low + high) // 2
        if limit >= high:
            break
        try:
            tried = _filled(parts, base, limit, target)
        except BeyondReach:  # A large buffer, behind the spare rows.
            low = limit + 1
            continue
        if len(tried) > len(segments):
            low = limit + 1
        else:
            segments, high = tried, max(s.top for s in tried)
    return segments


def _apart(intervals: Sequence[Interval], target: Target) -> Iterator[list[Interval]]:
    """The buffers that may mix: those with as many element bytes per scale byte, the most first.

    Scales lie at the element address divided by that number, so those of a part are all behind those of the one before.
    """
    ratios = {i: _ratio(i, target) for i in intervals}
    for ratio in sorted({*ratios.values(), 0}, reverse=True):
        yield [i for i in intervals if ratios[i] == ratio]


def _ratio(interval: Interval, target: Target) -> int:
    """Element bytes per scale byte of what lies in a buffer, 0 without scales."""
    if interval.buffer.placements is None:
        return 0
    (name,) = {placement.number_format.data for placement in interval.buffer.placements}
    number_format = target.precision[name]
    return number_format.ratio if isinstance(number_format, Mx) else 0


def _scales_to(end: int, interval: Interval, target: Target) -> int:
    """The scale bytes up to the element address where a buffer ends; without placements any type may lie there."""
    ratio = _ratio(interval, target)
    if interval.buffer.placements is None:
        ratio = min((f.ratio for f in target.precision.values() if isinstance(f, Mx)), default=0)
    return ceil_div(end, ratio) if ratio else 0
