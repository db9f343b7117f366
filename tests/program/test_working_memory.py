"""The memory that runs share: equal to one made anew for each run, and little is copied between two of them."""

from __future__ import annotations

import gc
import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import plena
from plena import Program
from plena.host import mapped_image
from plena.host.mapped_image import PAGE
from plena.program import working_memory
from plena.program.pages import UNKNOWN, Pages, pages_of
from tests.kernels.checking import machine
from tests.kernels.stateful_modules import CachedAttention, seen_up_to

LENGTH = 512


def _args(at: int) -> tuple[Tensor, Tensor, Tensor]:
    positions = torch.tensor([at])
    return torch.randn(1, 1, 64), positions, seen_up_to(positions, LENGTH)


@pytest.fixture(scope="module")
def compiled() -> Program:
    return plena.compile(CachedAttention(length=LENGTH).eval(), _args(0), target=machine(32))


@pytest.fixture(params=["in memory", "in a file"])
def program(compiled: Program, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Program:
    if request.param == "in a file":
        monkeypatch.setattr(mapped_image, "LARGE", 0)
    compiled.reset()
    for name in ("memory", "image"):
        compiled.__dict__.pop(name, None)
    return compiled


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for every memory that is made."""
    made, begin = list[int](), working_memory.memory_like

    def counted(image: Any, size: int) -> Any:
        made.append(size)
        return begin(image, size)

    monkeypatch.setattr(working_memory, "memory_like", counted)
    return made


def _numbers(program: Program) -> np.ndarray[Any, Any]:
    assert program.kept is not None
    return np.concatenate([pages.numbers for _, pages in program.kept.pages()])


def test_a_run_copies_the_pages_of_its_row(program: Program, begun: list[int]) -> None:
    for at in range(3):
        program.run(*_args(at))
    before = _numbers(program)
    program.run(*_args(3))
    changed = int((_numbers(program) != before).sum())
    assert 0 < changed <= 8 < len(before), "elements and scales of a row of keys and of values, over a border"
    assert len(begun) == 1, "all runs have one memory"


def test_it_is_as_one_made_anew(program: Program) -> None:
    """Runs, states that are assigned, copied and reset: each run gives what a program gives that has no memory yet."""
    torch.manual_seed(0)
    for step in range(12):
        if step == 3:
            program.state["keys"] = torch.randn(1, 2, LENGTH, 32)
        if step == 6:
            program.reset()
        if step == 8:
            assert program.kept is not None
            program.kept.copy_rows(1, 130, 70)
        other = program.with_words(program.words)
        args = _args(37 * step % LENGTH)
        assert torch.equal(program.run(*args), other.run(*args))
        assert all(torch.equal(program.state[name], other.state[name]) for name in program.state)


def test_a_result_that_is_kept_stays(program: Program, begun: list[int]) -> None:
    result = program.emulate(*_args(1))
    part = result.hbm[: 4 * PAGE]
    copy = part.copy()
    del result
    program.run(*_args(2))
    assert len(begun) == 2 and np.array_equal(part, copy)
    del part
    gc.collect()
    program.run(*_args(3))
    assert len(begun) == 2


def test_an_interrupted_run_leaves_no_trace(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program.run(*_args(0))
    args, execute = _args(1), program.execute
    expected = program.with_words(program.words).run(*args)

    def interrupted(*given: Any) -> Any:
        execute(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(program.__dict__, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program.run(*_args(1))
    assert torch.equal(program.run(*args), expected)


def test_states_of_another_program(program: Program, begun: list[int]) -> None:
    """Two texts that take turns in one program: their states move by the pages that differ."""
    assert program.kept is not None
    texts = [program.kept.copy(), program.kept.copy()]
    torch.manual_seed(1)
    args = [_args(at) for at in range(6)]
    for number, given_args in enumerate(args):
        text = texts[number % 2]
        program.kept.hold(text)
        program.run(*given_args)
        text.hold(program.kept)
    assert len(begun) == 1
    for first, text in enumerate(texts):
        program.reset()
        for given_args in args[first::2]:
            program.run(*given_args)
        assert np.array_equal(program.kept.array("keys"), text.array("keys"))


@given(st.integers(0, 3 * PAGE + 5), st.data())
def test_pages(size: int, data: st.DataObject) -> None:
    bytes_of = np.random.default_rng(size).integers(0, 3, size).astype(np.uint8)
    pages, expected = Pages.of(bytes_of), bytes_of.copy()
    length = data.draw(st.integers(0, size // 2))
    source, to = (data.draw(st.integers(0, size - length)) for _ in range(2))
    expected[to : to + length] = bytes_of[source : source + length]
    moved = pages.moved(source, to, length)
    assert np.array_equal(moved.array(), expected) and np.array_equal(pages.array(), bytes_of)
    memory, held = bytes_of.copy(), pages.numbers.copy()
    moved.write(memory, held)
    assert np.array_equal(memory, expected) and np.array_equal(held, moved.numbers)
    assert np.array_equal(pickle.loads(pickle.dumps(moved)).array(), expected)
    assert Pages.of(np.zeros(size, np.uint8)).array().sum() == 0 and UNKNOWN not in pages.numbers


@given(st.integers(0, 4 * PAGE), st.integers(0, 4 * PAGE), st.sets(st.integers(0, 9)))
def test_pages_that_blocks_reach_into(start: int, length: int, blocks: set[int]) -> None:
    reached = {
        (byte - start) // PAGE
        for block in blocks
        for byte in (max(start, block * PAGE), min(start + length, (block + 1) * PAGE) - 1)
        if start <= byte < start + length and byte // PAGE == block
    }
    found = pages_of(start, start + length, np.array(sorted(blocks), np.int64))
    assert found.tolist() == sorted(reached)


def test_copies_of_programs_have_memories_of_their_own() -> None:
    program = plena.compile(torch.nn.Linear(8, 8), (torch.ones(2, 8),))
    first = program.run(torch.ones(2, 8), progress=False)
    other = deepcopy(program)
    assert other.memory is not program.memory
    assert torch.equal(other.run(torch.ones(2, 8), progress=False), first)


def test_copies_of_programs_with_states_go_on_apart() -> None:
    program = plena.compile(CachedAttention(length=LENGTH).eval(), _args(0), target=machine(32))
    program.run(*_args(0), progress=False)
    other = deepcopy(program)
    args = _args(1)
    first = program.run(*args, progress=False)
    assert torch.equal(other.run(*args, progress=False), first)
    program.reset()
    assert any(state.any() for state in other.state.values())
