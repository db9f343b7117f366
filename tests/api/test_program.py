"""Program: running, measuring and checking."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plena.api.program import Program
from plena.assembly import encode, parse_asm
from plena.errors import PlenaError
from tests.program_samples import SMALL, linear_program, lookup_program, weights


class Linear(torch.nn.Module):
    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T


def test_run_gives_the_product_of_the_rounded_operands() -> None:
    program, x = linear_program(weights()), torch.randn(4, 16)
    y = program.run(x)
    mx = SMALL.precision["HBM_V_ACT_TYPE"]
    want = mx.quantize(x.numpy()) @ mx.quantize(weights()).T
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), want, rtol=2.0**-8, atol=1e-5)
    assert program.last_run is not None and program.last_run.cycles == program.stats().cycles["transactional"]
    assert program.last_run.executed == program.stats().dynamic
    x2 = torch.randn(4, 16)
    assert not torch.equal(program.run(x2), y), "the next run sees its own inputs"
    assert torch.equal(program.run(x), y)


def test_weights_are_asked_for_only_when_the_image_is_written() -> None:
    asked: list[str] = []

    def data(symbol: str) -> np.ndarray:
        asked.append(symbol)
        return weights()

    program = linear_program(None, data)
    program.stats()
    _ = program.asm
    assert asked == []
    program.run(torch.randn(4, 16))
    program.run(torch.randn(4, 16))
    assert asked == ["weight"]


def test_scalar_memories_and_several_outputs() -> None:
    program = lookup_program()
    x = torch.randn(16, 2, dtype=torch.bfloat16).float()
    identity, z, c = program.run(torch.tensor([4, 9]), x)
    assert identity.tolist() == [9] and identity.dtype == torch.int64
    assert torch.equal(z, x.T)
    assert c.dtype == torch.bfloat16 and c.item() == pytest.approx(1.0133e-6, rel=1e-2)
    with pytest.raises(
        PlenaError, match=r"input 0 \(\w+\): 10 at \[.*\] is out of range. Values lie in 0\.\.9"
    ):
        program.run(torch.tensor([4, 10]), x)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), r"takes 1 inputs, not 0. It takes: x: float32\[4, 16\]"),
        ((torch.randn(4, 17),), r"input x: float32\[4, 16\] was given as float32\[4, 17\]"),
        ((torch.zeros(4, 16, dtype=torch.int64),), r"was given as int64\[4, 16\]"),
        (([1.0],), "input x must be a tensor, not list"),
    ],
)
def test_inputs_that_do_not_fit(inputs: tuple[object, ...], message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        linear_program(weights()).run(*inputs)  # type: ignore[arg-type]


def test_statistics_by_module_and_step() -> None:
    program = linear_program(weights())
    stats = program.stats()
    assert stats.static == 13 and stats.dynamic == 8 + 5 * 4
    assert set(stats.steps) == {"load", "product"}
    assert stats.utilization["pipelined"] == pytest.approx(1024 / (4 * 16 * stats.cycles["pipelined"]))
    assert program.stats() is stats


def test_the_assembly_says_what_belongs_to_what() -> None:
    program = linear_program(weights())
    comments = [line for line in program.asm.splitlines() if line.startswith(";")]
    assert comments == ["; linear: load", "; linear: product"]
    np.testing.assert_array_equal(encode(parse_asm(program.asm)), program.words)


def test_check_with_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    module, x = Linear(weights()), torch.randn(4, 16)
    program = linear_program(weights())
    report = program.check(x, module=module)
    assert report.machine is None and report.quantized is not None and report.float32 is not None
    assert report.float32.relative_rms < 0.06
    assert "float32" in capsys.readouterr().out
    with pytest.raises(PlenaError, match="nothing to compare with"):
        program.check(x)


def test_check_uses_example_inputs_and_attached_references() -> None:
    x = torch.randn(4, 16)
    program = linear_program(weights(), example_inputs=(x,))
    y = program.run(x)
    program.machine_reference = lambda given: y + 0 * given
    program.float_reference = lambda given: (y,)
    report = program.check(quiet=True)
    assert report.passed and report.machine is not None and report.machine.relative_rms == 0
    program.machine_reference = lambda given: y * 1.01
    report = program.check(quiet=True)
    assert not report.passed and "machine: relative RMS error" in str(report)


def test_a_program_of_bare_words_runs() -> None:
    program = Program(encode(parse_asm("S_ADDI_INT gp1, gp0, 5\nS_ST_INT gp1, gp0, 0")), SMALL)
    assert program.run() == ()
    assert program.emulate().int_sram[0] == 5


def test_data_without_a_source_is_an_error() -> None:
    program = linear_program(weights())
    program.data = None
    with pytest.raises(PlenaError, match="no tensors to stage"):
        program.run(torch.randn(4, 16))
