"""The geometry of the pictures."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from plena.host.ports import Region
from plena.program.rationale import SizePoint, best_by_size
from plena.report.contents import Contents
from plena.report.curve_picture import HEIGHT, LEFT, RIGHT, WIDTH, curve_picture
from plena.report.memory_pictures import WIDTH as MAP_WIDTH
from plena.report.memory_pictures import memory_pictures

REGIONS = st.lists(
    st.builds(
        Region,
        st.sampled_from(("a", "a_rather_long_name")),
        st.just("vector"),
        st.integers(0, 5000),
        st.integers(1, 3000),
        st.sampled_from(("input", "output", "data", "scratch")),
    ),
    min_size=1,
    max_size=40,
)


@given(REGIONS)
def test_bars_lie_in_the_picture_where_their_addresses_are(regions: list[Region]) -> None:
    picture = next(
        p for p in memory_pictures(Contents("", "", memory_map=tuple(regions))) if p.memory == "vector"
    )
    end = max(r.address + r.size for r in regions)
    assert picture.end == end and len(picture.bars) == len(regions)
    assert picture.used == len({a for r in regions for a in range(r.address, r.address + r.size)})
    for region, bar in zip(regions, picture.bars, strict=True):
        assert abs(bar.x - region.address * MAP_WIDTH / end) < 1e-6
        assert bar.y >= 0 and bar.y + bar.height <= picture.height
        assert bar.x + bar.width <= MAP_WIDTH + 1.3
        assert str(f"{region.size:,}") in bar.text and region.role == bar.role


@given(REGIONS)
def test_a_buffer_stands_below_those_whose_addresses_it_takes_over(regions: list[Region]) -> None:
    picture = next(
        p for p in memory_pictures(Contents("", "", memory_map=tuple(regions))) if p.memory == "vector"
    )
    for n, (later, below) in enumerate(zip(regions, picture.bars, strict=True)):
        for earlier, above in zip(regions[:n], picture.bars[:n], strict=True):
            shares = (
                earlier.address < later.address + later.size
                and later.address < earlier.address + earlier.size
            )
            assert not shares or above.y < below.y


def test_memories_that_are_not_used_say_so() -> None:
    pictures = memory_pictures(Contents("", ""))
    assert [p.memory for p in pictures] == ["matrix", "vector", "fp", "int", "hbm"]
    assert {p.note for p in pictures} == {"not used"}


POINTS = st.lists(st.builds(SizePoint, st.integers(1, 10**6), st.integers(0, 10**9)), max_size=60)


@given(POINTS, st.none() | st.integers(1, 10**6))
def test_marks_lie_in_the_picture(points: list[SizePoint], budget: int | None) -> None:
    curve = best_by_size(points)
    picture = curve_picture(curve, [(p, "tried") for p in points], None, budget, "pipelined")
    if not points:
        assert picture is None
        return
    assert picture is not None
    assert len(picture.marks) == len(curve) + len(points)
    for mark in picture.marks:
        assert LEFT <= mark.x <= WIDTH - RIGHT and 0 <= mark.y <= HEIGHT
    assert all(LEFT - 1 <= x <= WIDTH - RIGHT + 1 for x, _ in picture.x_ticks)
    assert 1 <= len(picture.y_ticks) <= 12 and len(picture.x_ticks) <= 40
    assert budget is None or (picture.budget is not None and LEFT <= picture.budget <= WIDTH - RIGHT)


@given(POINTS)
def test_the_curve_falls(points: list[SizePoint]) -> None:
    curve = best_by_size(points)
    assert all(a.static < b.static and a.cycles > b.cycles for a, b in pairwise(curve))
    if points:
        assert curve[0].static == min(p.static for p in points)
        assert curve[-1].cycles == min(p.cycles for p in points)
