"""Programs that join the HBM image of others: what they share lies where it was, everything else meets nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import plena
from plena.api.program import Program
from plena.buffers.common_image import CommonImage, key_of
from plena.compiler.lowered import memory_map_of, placements_of
from plena.driver import run_pipeline
from plena.errors import CompileError, PlenaError
from plena.host.layout import TensorPlacement, hbm_alignment
from plena.machine.target import Target
from tests.buffers.test_segments import MIXED, SHIPPED, TYPES, buffer, check_ranges
from tests.harness_tile import parse

SPAN = st.tuples(st.integers(0, 4000), st.integers(1, 700)).map(lambda p: (p[0] * 64, (p[0] + p[1]) * 64))


@given(
    st.lists(SPAN, max_size=6),
    st.integers(0, 4000),
    st.integers(1, 100_000),
    st.sampled_from([(), (8,), (8, 16)]),
)
def test_a_free_start(spans: list[tuple[int, int]], plane: int, size: int, ratios: tuple[int, ...]) -> None:
    image = CommonImage({}, tuple(sorted(spans)), plane * 64)
    start = image.free_start(size, ratios, SHIPPED)
    assert start % hbm_alignment(SHIPPED) == 0
    mine = [(start, start + size)]
    for ratio in ratios:
        mine.append((plane * 64 + start // ratio, plane * 64 + (start + size) // ratio))
    assert not ratios or mine[0][1] <= min(a for a, _ in mine[1:]) or max(b for _, b in mine[1:]) <= start
    assert all(b <= first or end <= a for a, b in mine for first, end in spans)


Rows = st.tuples(st.integers(1, 9), st.sampled_from(TYPES))


def _placed(
    numbered: dict[int, tuple[int, str]], target: Target, beside: CommonImage | None
) -> list[TensorPlacement]:
    module = parse("\n".join(buffer(n, rows, kind, target) for n, (rows, kind) in numbered.items()), target)
    if beside is not None:
        beside.attach(module)
    run_pipeline(module, ("allocate-buffers",))
    found = list(placements_of(module))
    image = CommonImage.of(found, memory_map_of(module), target)
    assert image is not None
    return found


@given(
    st.lists(Rows, min_size=2, max_size=7),
    st.lists(Rows, max_size=4),
    st.integers(1, 6),
    st.sampled_from([SHIPPED, MIXED]),
)
def test_what_is_shared_stays(
    first: list[tuple[int, str]], more: list[tuple[int, str]], shared: int, target: Target
) -> None:
    """The second program has some buffers of the first, and others; a third has all of the others."""
    mine = dict(enumerate(first))
    image = CommonImage.of(one := _placed(mine, target, None), (), target)
    assert image is not None
    others = {100 + n: rows for n, rows in enumerate(more)}
    second = dict(list(mine.items())[:shared]) | others
    two = _placed(second, target, image)
    joined = image.joined(CommonImage.of(two, (), target))
    three = _placed(others | {200: (1, TYPES[0])}, target, joined)
    known: dict[str, TensorPlacement] = {}
    for placement in (*one, *two, *three):
        before = known.setdefault(key_of(placement), placement)
        assert (before.address, before.scale_offset) == (placement.address, placement.scale_offset)
    check_ranges(list(known.values()), target)
    assert all(a[1] < b[0] for a, b in pairwise(joined.taken))


class Cached(nn.Module):
    """Rows that pass a layer join a cache, of which a step sees the first ones."""

    def __init__(self, layer: nn.Module, seen: int, more: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.seen = layer, seen
        self.more = more
        self.register_buffer("rows", torch.zeros(32, 48))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        assert isinstance(self.rows, Tensor)
        self.rows.index_copy_(0, position, self.layer(x))
        found = x[:, :48] + self.rows[: self.seen].sum(0, keepdim=True)
        return found if self.more is None else self.more(found)


def test_programs_on_one_machine() -> None:
    """One memory for two programs in turns; only inputs are staged between."""
    layer, more = nn.Linear(48, 48), nn.Linear(48, 80)
    example = torch.randn(1, 48), torch.tensor([0])
    large = plena.compile(Cached(layer, 32, more).eval(), example)
    small = plena.compile(Cached(layer, 8).eval(), example, beside=[large])
    places = [
        {key_of(p): p.address for p in program.placements if p.memory == "hbm"} for program in (large, small)
    ]
    assert places[0].items() & places[1].items(), "the layer and the cache"
    hbm = torch.zeros(max(p.hbm_bytes for p in (large, small)), dtype=torch.uint8).numpy()
    memories = {id(p): p.empty_image(hbm) for p in (large, small)}
    for program in (large, small):
        program.stage_data(memories[id(program)])
    torch.manual_seed(0)
    own = {id(p): p for p in (large, small)}
    for step in range(5):
        program = small if step % 2 else large
        x, position = torch.randn(1, 48), torch.tensor([step])
        preload = memories[id(program)]
        program.stage_inputs((x, position), preload)
        result = plena.emulate(
            program.words, hbm=hbm, fp_sram=preload.fp, int_sram=preload.integers, target=program.target
        )
        hbm[:] = result.hbm[: hbm.size]
        other = own[id(large if program is small else small)]
        wanted = program.run(x, position)
        assert torch.equal(program.results(result), wanted)
        other.state = {"rows": program.state["rows"]}


def test_what_is_no_image_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(32, 32)
    x = torch.randn(2, 32)
    program = plena.compile(layer, (x,))
    for wrong in (program, [layer], "program"):
        with pytest.raises(CompileError, match="beside must be a list of programs"):
            plena.compile(layer, (x,), beside=wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(CompileError, match="has their target"):
        plena.compile(layer, (x,), beside=[program], target=MIXED)
    small = Target().with_settings({"HBM_SIZE": program.hbm_bytes // 64 * 64})
    tight = plena.compile(layer, (x,), target=small)
    with pytest.raises(PlenaError, match="does not fit in hbm memory"):
        plena.compile(nn.Linear(32, 512), (x,), target=small, beside=[tight])
    monkeypatch.setattr(CommonImage, "of", staticmethod(lambda *_: None))
    with pytest.raises(CompileError, match="several segments of HBM"):
        plena.compile(layer, (x,), beside=[program])
    assert isinstance(program, Program)


class _Modulo(torch.nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (torch.arange(48 * 48).view(48, 48) % self.number).float()


def test_tensors_of_one_name_that_differ_are_refused() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 48)
    pairs = [(torch.nn.Linear(48, 48), torch.nn.Linear(48, 48)), (_Modulo(3), _Modulo(5))]
    for first, second in pairs:
        program = plena.compile(first, (x,))
        with pytest.raises(plena.PlenaError, match="is not what it is in the programs that this one"):
            plena.compile(second, (x,), beside=[program])
        assert len(plena.compile(first, (x,), beside=[program]).words) == len(program.words)


def test_programs_that_overlap_are_refused() -> None:
    x = torch.randn(2, 48)
    one, other = plena.compile(torch.nn.Linear(48, 48), (x,)), plena.compile(_Modulo(3), (x,))
    with pytest.raises(plena.PlenaError, match="different tensors in the same place of HBM"):
        plena.compile(torch.nn.Linear(48, 16), (x,), beside=[one, other])
