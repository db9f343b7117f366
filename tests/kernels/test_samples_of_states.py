"""One sample of a state, picked by a number that a run knows: read and written where it lies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import plena
from plena import PlenaError, Target
from tests.covering import pairwise
from tests.kernels.checking import machine

TARGETS = {
    "16": machine(16),
    "narrow": machine(16).with_settings({"BLEN": 2, "HLEN": 2, "BROADCAST_AMOUNT": 8}),
    "shipped": Target(),
}


class Slots(nn.Module):
    """Three tokens of one of `samples` sequences join its rows, and see the first `bucket` of them."""

    def __init__(
        self, samples: int, length: int, bucket: int, heads: tuple[int, int, int], flat: bool
    ) -> None:
        super().__init__()
        self.samples, self.length, self.bucket, self.flat = samples, length, bucket, flat
        self.heads, self.kv_heads, self.size = heads
        torch.manual_seed(0)
        self.query = nn.Linear(32, self.heads * self.size)
        self.key = nn.Linear(32, self.kv_heads * self.size)
        shape = (samples * length, self.kv_heads) if flat else (samples, self.kv_heads, length)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.randn(*shape, self.size))

    def forward(self, x: Tensor, positions: Tensor, slot: Tensor) -> Tensor:
        mask = torch.arange(self.bucket) <= positions[:, None]
        new = self.key(x).view(-1, self.kv_heads, self.size)
        seen: list[Tensor] = []
        for buffer in (self.keys, self.values):
            assert isinstance(buffer, Tensor)
            if self.flat:
                buffer.index_copy_(0, positions + slot * self.length, new)
                whole = buffer.view(self.samples, self.length, self.kv_heads, self.size)[slot]
                seen.append(whole[:, : self.bucket].transpose(1, 2))
            else:
                seen.append(buffer[slot][:, :, : self.bucket])
        queries = self.query(x).view(1, -1, self.heads, self.size).transpose(1, 2)
        found = nn.functional.scaled_dot_product_attention(queries, *seen, attn_mask=mask, enable_gqa=True)
        return found.transpose(1, 2).reshape(len(x), -1)


HEADS = [(4, 2, 16), (4, 4, 8), (2, 2, 24)]


@pytest.mark.parametrize(
    ("name", "heads", "sizes"), pairwise(TARGETS, HEADS, [(3, 40, 16), (4, 24, 24)]), ids=str
)
def test_one_sample(name: str, heads: tuple[int, int, int], sizes: tuple[int, int, int]) -> None:
    samples, length, bucket = sizes
    module = Slots(samples, length, bucket, heads, flat=True).eval()
    x, positions = torch.randn(3, 32), torch.tensor([bucket - 1, 3, 0])
    program = plena.compile(module, (x, positions, torch.tensor([0])), target=TARGETS[name])
    for slot in (samples - 1, 0, 1):
        before = program.state["keys"].clone()
        report = program.check(x, positions, torch.tensor([slot]), quiet=True)
        assert report.passed, str(report)
        program.run(x, positions, torch.tensor([slot]))
        changed = (program.state["keys"] != before).flatten(1).any(-1).nonzero()[:, 0]
        assert set(changed.tolist()) <= {slot * length + int(p) for p in positions}
        assert len(changed)


def test_attention_reads_it_in_place() -> None:
    module = Slots(3, 40, 16, (4, 2, 16), flat=True).eval()
    args = torch.randn(3, 32), torch.tensor([2, 1, 0]), torch.tensor([2])
    assert "load state" not in plena.compile(module, args, target=machine(16)).asm


class Written(nn.Module):
    """A cache [samples, heads, positions, features] of which all samples get a row, and one is returned."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("cache", torch.randn(3, 2, 10, 16))

    def forward(self, x: Tensor, position: Tensor, slot: Tensor) -> Tensor:
        assert isinstance(self.cache, Tensor)
        self.cache.index_copy_(2, position, x)
        return self.cache[slot] * 2.0


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_sample_that_something_else_reads(target: Target) -> None:
    args = torch.randn(3, 2, 1, 16), torch.tensor([9]), torch.tensor([2])
    program = plena.compile(Written().eval(), args, target=target)
    for slot in range(3):
        report = program.check(*args[:2], torch.tensor([slot]), quiet=True)
        assert report.passed, str(report)


class ReadFirst(nn.Module):
    """A sample as it was before it is written, picked before or afterwards."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late
        torch.manual_seed(0)
        self.register_buffer("rows", torch.randn(4 * 6, 32))

    def forward(self, x: Tensor, slot: Tensor) -> Tensor:
        assert isinstance(self.rows, Tensor)
        kept = self.rows.clone().view(4, 6, 32)
        old = None if self.late else self.rows.view(4, 6, 32)[slot]
        self.rows.index_copy_(0, slot * 6, x)
        return (kept[slot] if old is None else old) + 1.0


@pytest.mark.parametrize("late", [False, True])
def test_a_sample_before_it_is_written(late: bool) -> None:
    args = torch.randn(1, 32), torch.tensor([1])
    program = plena.compile(ReadFirst(late).eval(), args, target=machine(16))
    report = program.check(*args, quiet=True)
    assert report.passed, str(report)


@pytest.mark.parametrize("slot", [3, -1])
def test_a_number_out_of_range(slot: int) -> None:
    module = Slots(3, 40, 16, (4, 2, 16), flat=True).eval()
    args = torch.randn(3, 32), torch.tensor([2, 1, 0])
    program = plena.compile(module, (*args, torch.tensor([2])), target=machine(16))
    before = program.state["keys"]
    with pytest.raises(PlenaError, match="is out of range"):
        program.run(*args, torch.tensor([slot]))
    assert torch.equal(program.state["keys"], before)
