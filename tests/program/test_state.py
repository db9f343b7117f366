"""What a program keeps between runs: reading, assigning, starting over, folders, and calls that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import plena
from plena import PlenaError, Program
from plena.optimizing.expansion import expanded
from plena.program.manifest import HBM, INITIAL_STATE
from tests.kernels.checking import machine
from tests.kernels.stateful_modules import CachedAttention, Counter, RunningMean, seen_up_to

LENGTH = 32


def _args(at: int) -> tuple[Tensor, Tensor, Tensor]:
    positions = torch.tensor([at])
    return torch.randn(1, 1, 64), positions, seen_up_to(positions, LENGTH)


@pytest.fixture(scope="module")
def compiled() -> Program:
    return plena.compile(CachedAttention().eval(), _args(0), target=machine(32))


@pytest.fixture
def program(compiled: Program) -> Program:
    compiled.reset()
    return compiled


def test_run_goes_on_and_reset_starts_over(program: Program) -> None:
    first, second = _args(0), _args(1)
    program.run(*first)
    after = program.run(*second)
    program.reset()
    assert not any(tensor.any() for tensor in program.state.values())
    alone = program.run(*second)
    assert not torch.equal(after, alone), "the first row counts"
    program.reset()
    program.run(*first)
    assert torch.equal(program.run(*second), after)


def test_state_is_a_mapping_of_tensors(program: Program) -> None:
    assert list(program.state) == ["keys", "values"] and len(program.state) == 2
    assert "keys" in program.state and "other" not in program.state
    assert program.state["keys"].shape == (1, 2, LENGTH, 32)
    program.run(*_args(0))
    saved = dict(program.state)
    args = _args(1)
    expected = program.run(*args)
    program.state = saved
    assert all(torch.equal(program.state[name], saved[name]) for name in saved)
    assert torch.equal(program.run(*args), expected)
    program.state["keys"] = torch.zeros(1, 2, LENGTH, 32)
    assert not program.state["keys"].any() and program.state["values"].any()
    assert "keys: float32[1, 2, 32, 32]" in repr(program.state)


def test_a_program_without_states() -> None:
    program = plena.compile(torch.nn.Linear(16, 16), (torch.randn(4, 16),), target=machine(16))
    assert dict(program.state) == {}
    program.reset()
    with pytest.raises(PlenaError, match=r"has no state 'x'.*Its states: none"):
        program.state["x"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"cache": torch.zeros(1)}, "no state 'cache'.*Its states: keys, values"),
        ({"keys": torch.zeros(1, 2, 3, 32)}, r"state keys: .* was given as \[1, 2, 3, 32\]"),
        ({"keys": torch.full((1, 2, LENGTH, 32), torch.nan)}, "NaN or infinity"),
        ({"keys": torch.zeros(1, 2, LENGTH, 32, dtype=torch.complex64)}, "complex64"),
        ([torch.zeros(1)], "given as a dictionary, not as list"),
    ],
)
def test_states_that_do_not_fit_change_nothing(program: Program, value: object, message: str) -> None:
    program.run(*_args(0))
    before = dict(program.state)
    good = {"values": torch.ones(1, 2, LENGTH, 32)}
    with pytest.raises(PlenaError, match=message):
        program.state = {**good, **value} if isinstance(value, dict) else value  # type: ignore[assignment]
    assert all(torch.equal(program.state[name], before[name]) for name in before)


def test_reading_and_removing_what_is_not_there(program: Program) -> None:
    with pytest.raises(PlenaError, match="no state 'cache'"):
        _ = program.state["cache"]
    with pytest.raises(PlenaError, match="cannot be removed"):
        del program.state["keys"]


@pytest.mark.parametrize("at", [LENGTH, -1])
def test_positions_outside_change_nothing(program: Program, at: int) -> None:
    program.run(*_args(0))
    before = dict(program.state)
    x, _, mask = _args(1)
    with pytest.raises(PlenaError, match=rf"{at} at \[0\] is out of range") as error:
        program.run(x, torch.tensor([at]), mask)
    assert ("start over with reset()" in str(error.value)) == (at > 0)
    assert all(torch.equal(program.state[name], before[name]) for name in before)


def test_an_interrupted_run_changes_nothing(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program.run(*_args(0))
    before = dict(program.state)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("plena.emulator.emulate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program.run(*_args(1))
    assert all(torch.equal(program.state[name], before[name]) for name in before)


def test_a_folder_carries_the_state(program: Program, tmp_path: Path) -> None:
    program.run(*_args(0))
    program.save(tmp_path / "program")
    loaded = Program.load(tmp_path / "program")
    assert all(torch.equal(loaded.state[name], program.state[name]) for name in program.state)
    args = _args(1)
    expected = program.run(*args)
    assert torch.equal(loaded.run(*args), expected)
    again = Program.load(tmp_path / "program")
    assert torch.equal(again.run(*args), expected), "the folder is as it was saved"
    loaded.reset()
    assert not loaded.state["keys"].any()
    assert loaded.check(*args, module=CachedAttention().eval(), quiet=True).machine is None


def test_a_folder_remembers_where_to_start(tmp_path: Path) -> None:
    module = RunningMean(16).eval()
    program = plena.compile(module, (torch.randn(2, 16),), target=machine(16))
    initial = program.state["mean"].clone()
    program.run(torch.randn(2, 16))
    program.save(tmp_path / "program")
    loaded = Program.load(tmp_path / "program")
    assert not torch.equal(loaded.state["mean"], initial)
    loaded.reset()
    assert torch.equal(loaded.state["mean"], initial)
    (tmp_path / "program" / INITIAL_STATE).write_bytes(b"nothing")
    with pytest.raises(PlenaError, match="truncated"):
        Program.load(tmp_path / "program")


def test_programs_of_other_code_keep_states_of_their_own() -> None:
    program = plena.compile(Counter(), (torch.zeros(4, 64),), target=machine(16))
    program.run(torch.zeros(4, 64))
    others = [program.with_words(program.words), expanded(program)]
    program.run(torch.zeros(4, 64))
    assert [float(other.state["calls"][0, 0]) for other in others] == [1, 1]
    assert float(program.state["calls"][0, 0]) == 2


def test_a_memory_dump_goes_on_on_another_emulator(program: Program, tmp_path: Path) -> None:
    """The image of a run is that of the next one, inputs staged anew: all memories dumped and loaded again."""
    steps = [_args(at) for at in range(3)]
    program.save(tmp_path / "program")
    loaded = Program.load(tmp_path / "program")
    hbm = (tmp_path / "program" / HBM).read_bytes()
    for args in steps:
        expected = program.run(*args)
        preload = loaded.empty_image(loaded.image.hbm.copy())
        preload.hbm[:] = list(hbm[: preload.hbm.size])
        loaded.stage_inputs(args, preload)
        result = plena.emulate(
            loaded.words,
            hbm=preload.hbm,
            fp_sram=preload.fp,
            int_sram=preload.integers,
            target=loaded.target.with_settings({"HBM_SIZE": loaded.hbm_bytes}),
        )
        assert torch.equal(loaded.results(result), expected)
        hbm = result.hbm.tobytes()


def test_the_manifest_says_where_states_lie(program: Program, tmp_path: Path) -> None:
    import json

    program.save(tmp_path / "program")
    manifest = json.loads((tmp_path / "program" / "manifest.json").read_text())
    assert [port["name"] for port in manifest["states"]] == ["keys", "values"]
    assert {"state": "keys"} in [placement.get("source") for placement in manifest["placements"]]
