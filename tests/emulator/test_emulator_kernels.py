"""Kernels against the declarations and against references that the conformance programs do not reach."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.emulator import aborts, run_loop
from plena.emulator.kernels import Kernel
from plena.emulator.reductions import row_sum
from plena.emulator.rounding import round_bits
from plena.jit import source_stamp
from plena.machine.scalar_codes import bf16_bits


def test_every_executable_instruction_has_a_kernel_and_the_reverse() -> None:
    executable = {spec.mnemonic for spec in INSTRUCTIONS.values() if spec.executable}
    kernels = {kernel.name for kernel in Kernel} - {"FREE", "ABORT", "EXTENSION"}
    assert kernels == executable
    assert len(kernels) == 53


def test_the_loop_dispatches_every_kernel() -> None:
    dispatched = set(re.findall(r"\bKernel\.(\w+)", inspect.getsource(run_loop)))
    assert {kernel.name for kernel in Kernel} - dispatched == {"M_BMV"}, "M_BMV aborts when it is decoded"


def test_the_disk_cache_is_keyed_on_all_kernels() -> None:
    run = run_loop.run.py_func  # pyright: ignore[reportFunctionMemberAccess]
    stamp = source_stamp(Path(run_loop.__file__).parent, TOPK_SHAPES)
    assert stamp in [cell.cell_contents for cell in run.__closure__]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 40, 64, 100, 128, 333, 512, 1024, 2000, 4096])
def test_row_sums_are_those_of_libtorch(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        x = (rng.standard_normal(n) * np.exp(rng.uniform(-10, 10, n))).astype(np.float32)
        assert row_sum(x, n) == torch.from_numpy(x).sum().item()


def test_kernel_rounding_is_that_of_the_number_formats() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 20_000, dtype=np.uint64).astype(np.uint32)
    rounded = np.array([round_bits(b) for b in bits], np.uint32)
    np.testing.assert_array_equal(rounded >> 16, bf16_bits(bits.view(np.float32)))
    assert not (rounded & 0xFFFF).any()


def test_every_abort_has_a_message() -> None:
    codes = [v for k, v in vars(aborts).items() if k.isupper() and isinstance(v, int) and v != aborts.OK]
    assert len(set(codes)) == len(codes)
    for code in codes:
        error = aborts.abort_error(code, (70, 64, 4096), 12, "M_MM")
        assert error.abort_class in str(error)
        assert str(error).startswith("instruction 12 (M_MM): ")
