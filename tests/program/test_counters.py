"""States of integers: the host keeps them, stages what depends on them and computes what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import plena
from plena import PlenaError, Program
from plena.errors import CompileError
from plena.program.manifest import INITIAL_STATE, MANIFEST
from tests.kernels.checking import machine

KEYS = 16


class Cached(nn.Module):
    """Attention over what it has seen, which counts its tokens itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(32, 96)
        self.register_buffer("keys", torch.zeros(1, KEYS, 32))
        self.register_buffer("values", torch.zeros(1, KEYS, 32))
        self.register_buffer("length", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).chunk(3, -1)
        positions = torch.arange(x.shape[1]) + self.length
        self.keys.index_copy_(1, positions, key)
        self.values.index_copy_(1, positions, value)
        seen = torch.arange(KEYS)[None] <= positions[:, None]
        self.length.add_(x.shape[1])
        return F.scaled_dot_product_attention(query, self.keys, self.values, attn_mask=seen)


class History(nn.Module):
    """The last ids, how many there were, and whether their number is odd: vectors, 32 bits, booleans, results."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 32)
        self.register_buffer("last", torch.zeros(4, dtype=torch.int32))
        self.register_buffer("count", torch.tensor([5], dtype=torch.int32))
        self.register_buffer("odd", torch.zeros((), dtype=torch.bool))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        self.last.copy_(torch.cat([self.last[1:], ids.to(torch.int32)]))
        self.count += 1
        self.odd.logical_not_()
        return self.table(self.last.long()), self.count


class Rows(nn.Module):
    """Writes a row where its counter says, and returns the buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(32, 32)
        self.register_buffer("rows", torch.zeros(8, 32))
        self.register_buffer("at", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.rows[self.at] = self.linear(x)
        self.at += 1
        return self.rows * 1.0


@pytest.fixture(scope="module")
def cached() -> Program:
    return plena.compile(Cached().eval(), (torch.randn(1, 1, 32),), target=machine(32))


def _follows(program: Program, module: nn.Module, steps: list[tuple[Tensor, ...]]) -> None:
    """Each step is checked and run; counters are those of the module after each."""
    for args in steps:
        before = {name: tensor.clone() for name, tensor in program.state.items()}
        assert program.check(*args, quiet=True).passed
        assert all(torch.equal(program.state[name], tensor) for name, tensor in before.items())
        found = program.run(*args)
        with torch.no_grad():
            expected = module(*args)
        found, expected = (x if isinstance(x, tuple) else (x,) for x in (found, expected))
        assert (found[0] - expected[0]).norm() < 0.1 * expected[0].norm()
        assert all(torch.equal(a, b) for a, b in zip(found[1:], expected[1:], strict=True))
        for name, buffer in module.named_buffers():
            if not buffer.is_floating_point():
                assert program.state[name].dtype == buffer.dtype
                assert torch.equal(program.state[name], buffer), name


def test_a_layer_that_counts_its_tokens(cached: Program) -> None:
    cached.reset()
    torch.manual_seed(1)
    _follows(cached, Cached().eval(), [(torch.randn(1, 1, 32),) for _ in range(3)])
    cached.reset()
    assert cached.state["length"] == 0
    cached.state["length"] = torch.tensor(9)
    cached.run(torch.randn(1, 1, 32))
    assert cached.state["length"] == 10
    assert cached.state["keys"][0, 9].any() and not cached.state["keys"][0, :9].any()


@pytest.mark.parametrize("mlen", [16, 64])
def test_integers_of_all_kinds(mlen: int) -> None:
    steps = [(torch.tensor([n]),) for n in (3, 19, 7)]
    _follows(plena.compile(History().eval(), steps[0], target=machine(mlen)), History().eval(), steps)


def test_rows_that_are_written_and_returned() -> None:
    """What the reference returns of a state is rounded as it lies in HBM."""
    torch.manual_seed(2)
    steps = [(torch.randn(1, 32),) for _ in range(2)]
    _follows(plena.compile(Rows().eval(), steps[0], target=machine(32)), Rows().eval(), steps)


def test_a_full_buffer_leaves_the_counter_as_it_is(cached: Program) -> None:
    cached.state["length"] = torch.tensor(KEYS)
    with pytest.raises(PlenaError, match=r"out of range.*The state is full"):
        cached.run(torch.randn(1, 1, 32))
    assert cached.state["length"] == KEYS


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor(2**63, dtype=torch.uint64), "int64 does not hold"),
        (torch.tensor(1.5), "Give integers"),
        (torch.zeros(2, dtype=torch.int64), r"\[2\]"),
    ],
)
def test_counters_take_integers_of_their_shape(cached: Program, value: Tensor, message: str) -> None:
    cached.state["length"] = torch.tensor(3)
    with pytest.raises(PlenaError, match=message):
        cached.state = {"keys": torch.ones(1, KEYS, 32), "length": value}
    assert cached.state["length"] == 3


def test_a_folder_carries_them(tmp_path: Path) -> None:
    program = plena.compile(History().eval(), (torch.tensor([3]),), target=machine(16))
    program.run(torch.tensor([11]))
    program.save(tmp_path / "p", inputs=(torch.tensor([2]),))
    loaded = Program.load(tmp_path / "p")
    assert loaded.state["last"].tolist() == [0, 0, 0, 11] and loaded.state["count"] == 6
    loaded.run_saved()
    assert loaded.state["last"].tolist() == [0, 0, 11, 2] and loaded.state["odd"].item() is False
    loaded.run(torch.tensor([4]))
    assert loaded.state["last"].tolist() == [0, 11, 2, 4]
    loaded.reset()
    assert loaded.state["count"] == 5


def test_a_folder_that_does_not_say_what_a_counter_becomes(tmp_path: Path) -> None:
    program = plena.compile(History().eval(), (torch.tensor([3]),), target=machine(16))
    program.save(tmp_path / "p")
    manifest = tmp_path / "p" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"after count"', '"after nothing"'))
    with pytest.raises(PlenaError, match="what counter count becomes"):
        Program.load(tmp_path / "p")
    (tmp_path / "p" / INITIAL_STATE).unlink()
    with pytest.raises(PlenaError):
        Program.load(tmp_path / "p")


def test_what_the_machine_computes_is_no_counter() -> None:
    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_((x > 0).sum())
            return x + 1

    with pytest.raises(CompileError, match="buffer count of int64 becomes what the machine computes"):
        plena.compile(Positive(), (torch.randn(4, 16),), target=machine(16))


def test_the_static_cache_export_of_transformers() -> None:
    """Its layers copy the first position into counters of their own, and read and advance those."""
    transformers: Any = pytest.importorskip("transformers")
    executorch: Any = pytest.importorskip("transformers.integrations.executorch")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, vocab_size=40, head_dim=16,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.generation_config = transformers.GenerationConfig(
        use_cache=True,
        cache_implementation="static",
        cache_config={"batch_size": 1, "max_cache_len": 16},
        max_length=16,
    )

    def step(token: int, at: int) -> dict[str, Tensor]:
        return {"input_ids": torch.tensor([[token]]), "cache_position": torch.tensor([at])}

    exported = executorch.TorchExportableModuleForDecoderOnlyLM(model).export(**step(0, 0))
    program, module = plena.compile(exported, (), step(0, 0)), exported.module()
    for token, at in [(5, 0), (17, 1), (31, 2), (9, 1)]:  # Positions may jump back.
        found = program.run(**step(token, at))
        with torch.no_grad():
            expected = module(**step(token, at))
        assert (found - expected).norm() < 0.15 * expected.norm()
        assert program.state["cumulative_length_0"] == at + 1
    assert program.check(**step(3, 2), quiet=True).passed


def test_a_full_state_is_saved(tmp_path: Path) -> None:
    """The example inputs find no room then: the folder has none, and reads what the program reads."""
    program = plena.compile(Rows().eval(), (torch.randn(1, 32),), target=machine(32))
    for _ in range(8):
        program.run(torch.randn(1, 32))
    program.save(tmp_path / "full")
    loaded = Program.load(tmp_path / "full")
    assert loaded.state["at"] == 8 and torch.equal(loaded.state["rows"], program.state["rows"])
    assert not loaded.has_saved_inputs
    with pytest.raises(PlenaError, match=r"8 at \[0\] is out of range.*The state is full"):
        program.save(tmp_path / "asked", inputs=(torch.randn(1, 32),))
    assert not (tmp_path / "asked").exists()
    loaded.reset()
    program.reset()
    x = torch.randn(1, 32)
    assert torch.equal(loaded.run(x), program.run(x))
