"""Programs with states, step by step on the emulator against PyTorch: cached attention, counters, running means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import plena
from plena import PlenaError, Program
from plena.checking.reference import as_tensors
from plena.machine.target import Target
from tests.kernels.against_torch import exact
from tests.kernels.checking import machine
from tests.kernels.stateful_modules import (
    CachedAttention,
    Counter,
    Decoder,
    OldAndNew,
    Places,
    Rows,
    RunningMean,
    Sequences,
    Shifted,
    seen_up_to,
)
from tests.poison import check_reads_what_is_defined

FORMATS = 0.09
"""Relative RMS error of small random attention layers in the shipped formats."""


def _distance(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def _steps(module: nn.Module, program: Program, steps: list[tuple[Any, ...]], error: float) -> None:
    """The same calls to both, each result and all buffers compared; the references of `check` before each step."""
    for args in steps:
        assert program.machine_reference is not None
        before = dict(program.state)
        expected = as_tensors(program.machine_reference(*args))
        report = program.check(*args, quiet=True)
        assert report.passed, str(report)
        assert all(torch.equal(before[name], program.state[name]) for name in before), (
            "a check changes nothing"
        )
        with torch.no_grad():
            wanted = module(*args)
        found = program.run(*args)
        assert torch.equal(found, expected[0]), "the machine reference sees the state"
        assert _distance(found, wanted) < error
        for name, buffer in module.named_buffers():
            assert _distance(program.state[name], buffer) < error


def _positions(
    length: int, first: int, count: int = 1, batch: int = 1, features: int = 64
) -> tuple[Tensor, ...]:
    positions = torch.arange(first, first + count)
    return torch.randn(batch, count, features), positions, seen_up_to(positions, length)


@pytest.mark.parametrize("write", ["index_copy", "index_put"])
def test_one_program_for_all_positions(write: str) -> None:
    module = CachedAttention(write=write).eval()
    program = plena.compile(module, _positions(32, 0), target=machine(32))
    words = program.words.copy()
    _steps(module, program, [_positions(32, at) for at in (0, 1, 2, 17, 31, 5)], FORMATS)
    assert (program.words == words).all()
    rows = program.state["keys"].abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert rows == [0, 1, 2, 5, 17, 31], "no other row is written"


def test_sequences_at_positions_of_their_own() -> None:
    """Rows of one sequence are not those of another; those that nobody wrote may hold anything."""
    torch.manual_seed(0)
    module = Sequences(batch=3, length=20, heads=4, kv_heads=2, size=16).eval()
    steps = [(torch.randn(3, 1, 64), torch.tensor(at)) for at in ([0, 19, 7], [1, 3, 8])]
    program = plena.compile(module, steps[0], target=machine(16))
    _steps(module, program, steps, FORMATS)
    check_reads_what_is_defined(program, *steps[1])
    written = program.state["keys"].abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert written == [0, 1, 20 + 3, 20 + 19, 40 + 7, 40 + 8]


def test_a_chunk_and_single_rows_fill_a_cache_alike() -> None:
    module = CachedAttention(length=48).eval()
    chunk = plena.compile(module, _positions(48, 0, 8), target=machine(32))
    single = plena.compile(module, _positions(48, 0), target=machine(32))
    x, positions, mask = _positions(48, 3, 8)
    chunk.run(x, positions, mask)
    for i in range(8):
        single.run(x[:, i : i + 1], positions[i : i + 1], mask[:, :, i : i + 1])
    for name in chunk.state:
        assert _distance(single.state[name], chunk.state[name]) < 0.02
    args = _positions(48, 11)
    single.state = chunk.state
    after_chunk = single.run(*args)
    chunk.reset()
    assert not chunk.state["keys"].any()
    assert _distance(after_chunk, single.run(*args)) < 0.02


def test_layers_are_one_loop_and_have_states_of_their_own() -> None:
    module = Decoder(3, features=64).eval()
    one = plena.compile(Decoder(1, features=64).eval(), _positions(32, 0), target=machine(32))
    program = plena.compile(module, _positions(32, 0), target=machine(32))
    assert len(program.state) == 6
    assert program.stats().static < 2 * one.stats().static
    _steps(module, program, [_positions(32, at) for at in (0, 7, 8)], FORMATS)


@settings(max_examples=8)
@given(st.data())
def test_random_caches(data: st.DataObject) -> None:
    """Lengths, heads, batches and machines of every kind, positions in any order."""
    mlen = data.draw(st.sampled_from([16, 32]), "mlen")
    heads = data.draw(st.sampled_from([1, 2, 4]), "heads")
    kv_heads = data.draw(st.sampled_from([n for n in (1, 2, 4) if heads % n == 0]), "kv heads")
    size = data.draw(st.sampled_from([16, 32]), "size")
    length = data.draw(st.integers(3, 50), "length")
    batch = data.draw(st.integers(1, 2), "batch")
    count = data.draw(st.integers(1, min(3, length)), "rows at a time")
    target = machine(
        mlen,
        HBM_V_Writeback_Amount=data.draw(st.sampled_from([1, 2, 4, 8]), "rows of a store"),
        HBM_V_Prefetch_Amount=data.draw(st.sampled_from([1, 4, 16]), "rows of a load"),
    )
    module = CachedAttention(64, heads, kv_heads, size, length, batch).eval()
    starts = data.draw(st.lists(st.integers(0, length - count), min_size=2, max_size=3), "positions")
    steps = [_positions(length, at, count, batch) for at in starts]
    program = plena.compile(module, steps[0], target=target)
    _steps(module, program, steps, 2 * FORMATS)
    check_reads_what_is_defined(program, *steps[-1])


@settings(max_examples=20)
@given(st.data())
def test_rows_of_any_buffer_and_their_neighbours(data: st.DataObject) -> None:
    """Numbers that every format holds: the buffer is PyTorch's to the bit after every write."""
    dim = data.draw(st.integers(0, 2), "dim")
    leading = [data.draw(st.integers(1, 3), f"axis {i}") for i in range(dim)]
    length = data.draw(st.integers(2, 21), "length")
    trailing = [data.draw(st.integers(1, 2), "heads"), 16 * data.draw(st.integers(1, 3), "features")]
    shape = [*leading, length, *trailing[dim == 2 :]]
    amount = data.draw(st.sampled_from([1, 4, 8]), "rows of a store")
    module = Rows(*shape, dim=dim)
    count = data.draw(st.integers(1, min(3, length)), "rows at a time")
    given_shape = [*shape[:dim], count, *shape[dim + 1 :]]
    target = machine(16, HBM_V_Writeback_Amount=amount)
    program = plena.compile(module, (exact(*given_shape), torch.arange(count)), target=target)
    for step in range(4):
        positions = data.draw(st.permutations(range(length)), "positions")[:count]
        args = exact(*given_shape, seed=step), torch.tensor(positions)
        with torch.no_grad():
            wanted = module(*args)
        assert torch.equal(program.run(*args), wanted)
        assert torch.equal(program.state["rows"], module.rows)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (Counter(), (exact(4, 64),)),
        (RunningMean(), (torch.randn(5, 100),)),
        (Shifted(), (torch.randn(1, 1, 64),)),
        (OldAndNew(), (torch.randn(2, 64), torch.tensor([3, 9]))),
        (Places(), (torch.randn(2, 64),)),
    ],
    ids=lambda x: type(x).__name__,
)
@pytest.mark.parametrize("mlen", [16, 64])
def test_whole_buffers(module: nn.Module, inputs: tuple[Tensor, ...], mlen: int) -> None:
    import copy

    module = copy.deepcopy(module).eval()
    program = plena.compile(module, inputs, target=machine(mlen))
    _steps(module, program, [inputs] * 3, 0.1)
    check_reads_what_is_defined(program, *inputs)


def test_a_whole_buffer_is_kept_to_bf16() -> None:
    """A counter counts further than the 16 that the shipped format of one number holds exactly."""
    program = plena.compile(Counter(), (torch.zeros(4, 64),), target=machine(16))
    for _ in range(40):
        found = program.run(torch.zeros(4, 64))
    assert torch.equal(found, torch.full((4, 64), 40.0))
    assert torch.equal(program.state["calls"], torch.full((1, 64), 40.0))


def test_keys_and_values_in_bf16() -> None:
    plain = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
    target = machine(32).with_settings({"PRECISION.HBM_M_KV_TYPE": plain, "PRECISION.HBM_V_KV_TYPE": plain})
    module = CachedAttention().eval()
    program = plena.compile(module, _positions(32, 0), target=target)
    _steps(module, program, [_positions(32, at) for at in (0, 1, 9)], FORMATS)


def test_an_exported_program_has_states() -> None:
    module = CachedAttention().eval()
    exported = torch.export.export(module, _positions(32, 0), strict=False)
    for program in (exported, exported.run_decompositions({})):
        compiled = plena.compile(program, target=machine(32))
        assert set(compiled.state) == {"keys", "values"}
        args = _positions(32, 4)
        with torch.no_grad():
            wanted = module(*args)
        assert _distance(compiled.run(*args), wanted) < FORMATS
        module.keys.zero_(), module.values.zero_()


def test_the_module_does_not_change() -> None:
    module = CachedAttention().eval()
    program = plena.compile(module, _positions(32, 0), target=machine(32))
    program.run(*_positions(32, 0))
    program.check(*_positions(32, 1), quiet=True)
    assert not module.keys.any() and not module.values.any()


def test_types_that_cannot_be_stored() -> None:
    narrow = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 4, "mantissa": 3}}
    target = machine(32).with_settings(
        {"PRECISION.HBM_V_KV_TYPE": narrow, "PRECISION.HBM_V_ACT_TYPE": narrow}
    )
    with pytest.raises(PlenaError, match="a state must be stored in a type that H_STORE_V writes"):
        plena.compile(CachedAttention().eval(), _positions(32, 0), target=target)


def test_a_machine_that_is_no_default() -> None:
    module = CachedAttention(size=64).eval()
    program = plena.compile(module, _positions(32, 0), target=Target())
    _steps(module, program, [_positions(32, at) for at in (0, 31)], FORMATS)


class Kept(nn.Module):
    """Buffers `a`, `b`, `c` of given shapes, and what `step` makes of them."""

    def __init__(self, step: Callable[[Any, Tensor], Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.step = step
        for name, shape in zip("abc", shapes, strict=False):
            self.register_buffer(name, torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, x)


def _exchanged(m: Any, x: Tensor) -> Tensor:
    old = m.a.clone()
    m.a.copy_(m.b.reshape(m.a.shape))
    m.b.copy_(old.reshape(m.b.shape))
    return x + m.a


def _rotated(m: Any, x: Tensor) -> Tensor:
    a, b, c = m.a.clone(), m.b.clone(), m.c.clone()
    m.a.copy_(b)
    m.b.copy_(c)
    m.c.copy_(a)
    return x + a


def _handed_on(m: Any, x: Tensor) -> Tensor:
    m.a.copy_(m.b)
    m.b.copy_(x)
    return x * 2


def _never_read(m: Any, x: Tensor) -> Tensor:
    m.a.copy_(x.mean(0))
    return x * 2


def _old_in_another_shape(m: Any, x: Tensor) -> Tensor:
    old = m.a.clone().reshape(2, 32)
    m.a.copy_(x)
    return old


def _one_row_as_a_slice(m: Any, x: Tensor) -> Tensor:
    m.a[1:2] = x[:1]
    return x + m.a


@pytest.mark.parametrize("mlen", [16, 64])
@pytest.mark.parametrize(
    ("step", "shapes"),
    [
        (_exchanged, [(4, 16), (4, 16)]),
        (_exchanged, [(4, 16), (2, 2, 16)]),
        (_exchanged, [(4, 16), (8, 8)]),
        (_rotated, [(4, 16), (4, 16), (4, 16)]),
        (_handed_on, [(4, 16), (4, 16)]),
        (_never_read, [(16,)]),
        (_old_in_another_shape, [(4, 16)]),
        (_one_row_as_a_slice, [(4, 16)]),
    ],
)
def test_what_buffers_hand_to_each_other(
    mlen: int, step: Callable[[Any, Tensor], Tensor], shapes: list[tuple[int, ...]]
) -> None:
    """All are written with what the others held before the run."""
    torch.manual_seed(0)
    module = Kept(step, *shapes).eval()
    program = plena.compile(module, (torch.randn(4, 16),), target=machine(mlen))
    _steps(module, program, [(torch.randn(4, 16),) for _ in range(3)], 0.09)
