"""Buffers in HBM beyond what one base address reaches: every byte has one owner, and addresses have 32 bits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from xdsl.dialects.builtin import ModuleOp

import plena
from plena.api.program import Program
from plena.buffers import segments
from plena.buffers.segments import BeyondReach
from plena.compiler.lowered import placements_of
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.host.layout import TensorPlacement
from plena.machine.constants import INT_LIMIT
from plena.machine.target import Target
from plena.passes.convert_tile_to_isa import HBM_SEGMENT
from tests.harness_tile import SMALL, parse

GIB = 1 << 30
SHIPPED, MIXED = Target(), Target().with_formats("mixed")
TYPES = ("HBM_M_WEIGHT_TYPE", "HBM_V_ACT_TYPE", "HBM_M_KV_TYPE")


def buffer(number: int, rows: int, kind: str, target: Target) -> str:
    """Rows of 4096 elements."""
    size = target.precision[kind].element_bytes(rows * 4096)
    placement = f'#tile.placement<"b{number}" of state @s{number} as rows [{rows}, 4096] {kind}>'
    return f"%b{number} = tile.buffer @b{number} [{size}] : !tile.buffer<hbm> placements [{placement}]"


def allocated(buffers: Sequence[tuple[int, str]], target: Target) -> ModuleOp:
    text = "\n".join(buffer(n, rows, kind, target) for n, (rows, kind) in enumerate(buffers))
    module = parse(text, target)
    run_pipeline(module, ("allocate-buffers",))
    return module


def check_ranges(placements: Sequence[TensorPlacement], target: Target) -> None:
    """Nothing shares a byte, all lies in HBM, and no transfer needs an offset or SCALE of more than 32 bits."""
    ranges = [p.hbm_range(target) for p in placements]
    scales = [p.scale_range(target) for p in placements]
    taken = sorted(r for r in (*ranges, *scales) if r[1] > r[0])
    assert all(a[1] <= b[0] for a, b in pairwise(taken))
    assert taken[-1][1] <= target.hbm_size
    for placement, (start, end) in zip(placements, ranges, strict=True):
        assert start == placement.base + placement.address and end - placement.base <= INT_LIMIT
        assert placement.scale_offset < INT_LIMIT
    assert len({p.scale_offset for p in placements}) == 1, "SCALE is set once"


@given(
    st.lists(st.tuples(st.integers(1, 500_000), st.sampled_from(TYPES)), min_size=1, max_size=12),
    st.sampled_from((SHIPPED, MIXED)),
)
def test_every_byte_has_one_owner(buffers: list[tuple[int, str]], target: Target) -> None:
    needed = sum(target.precision[kind].element_bytes(rows * 4096) for rows, kind in buffers)
    try:
        module = allocated(buffers, target)
    except CompileError:
        assert needed > 11 * GIB, "with scales and the room that the longest segment takes"
        return
    check_ranges(list(placements_of(module)), target)
    assert (HBM_SEGMENT in module.attributes) == (needed > INT_LIMIT - 4096)


def test_one_segment_reaches_scales_beyond_4_gib() -> None:
    module = allocated([((1 << 20) - 1, TYPES[0])], SHIPPED)
    (placement,) = placements_of(module)
    assert placement.base == 0 and placement.scale_range(SHIPPED)[1] > INT_LIMIT
    assert HBM_SEGMENT not in module.attributes


def test_segments_are_equally_long() -> None:
    """Five tensors of 1 GiB: three and two, not four and one."""
    placed = list(placements_of(allocated([(1 << 18, TYPES[0])] * 5, SHIPPED)))
    assert sorted(p.address for p in placed) == [0, 0, GIB, GIB, 2 * GIB]
    assert {p.base for p in placed} == {0, 3 * GIB + 3 * GIB // 8}


def test_what_no_offset_reaches_is_refused() -> None:
    with pytest.raises(BeyondReach, match=r"b0 needs 4,294,967,296 bytes") as error:
        allocated([(1 << 20, TYPES[0])], SHIPPED)
    assert error.value.pieces == 2


def test_an_image_larger_than_hbm_is_refused() -> None:
    target = SHIPPED.with_settings({"HBM_SIZE": 5 * GIB})
    allocated([(1 << 18, TYPES[0])] * 4, target)
    with pytest.raises(CompileError) as error:
        allocated([(1 << 18, TYPES[0])] * 5, target)
    message = str(error.value)
    # Three tensors and their scales, then the planes of two, which are as far apart as those of three.
    assert f"its image needs {3 * GIB * 9 // 8 + 3 * GIB + 2 * GIB // 8:,} bytes" in message
    assert f"{5 * GIB:,} available (HBM_SIZE)" in message and "b0 (1,073,741,824)" in message


class Layer(nn.Module):
    """A residual layer whose weights are one number each, in no memory."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = (nn.Linear(1, 1, bias=False) for _ in range(2))
        number = torch.full((1,), 0.5)
        self.up.weight = nn.Parameter(number.expand(hidden, size), requires_grad=False)
        self.down.weight = nn.Parameter(number.expand(size, hidden), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


def compiled(layers: int, size: int, hidden: int, target: Target = SHIPPED) -> Program:
    module = nn.Sequential(*(Layer(size, hidden) for _ in range(layers)))
    return plena.compile(module, (torch.zeros(4, size),), target=target)


def test_layers_of_6_gib() -> None:
    """Both stacks of weights have 3 GiB: each its segment, and one base is set for the whole program."""
    program = compiled(3, 16384, 65536)
    check_ranges([p for p in program.placements if p.memory == "hbm"], SHIPPED)
    assert program.asm.count("C_SET_ADDR_REG") == program.asm.count("C_SET_SCALE_REG") == 1
    assert program.stats().hbm_traffic["weights"] == 6 * GIB + 6 * GIB // 8 + 4096 + 512
    assert not [line for line in program.decisions if "unwritten" in line]
    assert len(program.words) <= 300


def test_layers_of_12_gib_are_two_loops() -> None:
    """A stack of 6 GiB no base reaches: two loops of three layers."""
    program = compiled(6, 16384, 65536)
    check_ranges([p for p in program.placements if p.memory == "hbm"], SHIPPED)
    assert "roll-layers,split-layers," in program.pipeline
    assert program.asm.count("C_SET_ADDR_REG") == 3
    assert program.stats().hbm_traffic["weights"] == 12 * GIB + 12 * GIB // 8 + 4096 + 512


def test_a_model_larger_than_hbm_is_refused() -> None:
    with pytest.raises(CompileError, match=r"needs [\d,]+ bytes, 4,294,967,296 available \(HBM_SIZE\)"):
        compiled(3, 16384, 65536, SHIPPED.with_settings({"HBM_SIZE": 4 * GIB}))


class Small(nn.Module):
    """Rows of two tables, then layers of equal shape."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(96, 32) for _ in range(2))
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(layers))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tables[0](ids) + self.tables[1](ids)
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return x


@pytest.mark.parametrize("formats", ["shipped", "bf16"])
def test_programs_in_segments_compute_what_pytorch_does(
    formats: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Offsets that reach 4 KiB: two tables and six layers of 1 KiB lie in several segments, the layers in two loops."""
    torch.manual_seed(0)
    unit = 2 if formats == "bf16" else 1
    monkeypatch.setattr(segments, "INT_LIMIT", unit * 5120)
    monkeypatch.setattr(segments, "BASE_UNIT", 64)
    ids = torch.tensor([3, 95, 0, 40])
    program = plena.compile(Small(6), (ids,), target=SMALL.with_formats(formats))
    assert program.check(ids, quiet=True).passed
    assert {p.base for p in program.placements_of("data")} > {0}
    assert "split-layers" in program.pipeline
    program.save(tmp_path / "program")
    assert torch.equal(Program.load(tmp_path / "program").run(ids), program.run(ids))
