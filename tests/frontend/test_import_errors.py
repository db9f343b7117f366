"""Models that cannot be imported or have no kernel: one error that names operator, shape and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from xdsl.context import Context

from plena.errors import CompileError, PlenaError
from plena.frontend import import_module
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.universe import load_pass
from tests.frontend.test_import import Apply


def lower(module: nn.Module, *inputs: Any) -> None:
    program = import_module(module, inputs)
    for name in TENSOR_PIPELINE:
        load_pass(name)().apply(Context(), program.module)


def test_unsupported_operator() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x + 1
            return torch.logcumsumexp(x, dim=1)

    with pytest.raises(CompileError) as caught:
        lower(Model(), torch.randn(2, 3))
    text = str(caught.value)
    assert "aten.logcumsumexp.default" in text and "[2, 3] f32" in text
    found = re.search(r"test_import_errors\.py:(\d+)", text)
    assert found is not None and "logcumsumexp" in Path(__file__).read_text().splitlines()[int(found[1]) - 1]
    assert "\n" not in text and not getattr(caught.value, "__notes__", [])


def test_operator_of_run_time_integers() -> None:
    with pytest.raises(CompileError, match=r"no kernel for aten\.sort\.default on \(\[2, 3\] i64"):
        lower(Apply(lambda x: x.sort(-1).values), torch.ones(2, 3, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.int8])
def test_unsupported_dtype(dtype: torch.dtype) -> None:
    with pytest.raises(CompileError, match=f"unsupported dtype {dtype}") as caught:
        lower(Apply(lambda x: x.reshape(6)), torch.ones(2, 3).to(dtype))
    assert "of shape [2, 3]" in str(caught.value)


def test_unsupported_dtype_inside() -> None:
    with pytest.raises(CompileError, match=r"aten\.to\.dtype on \(\[2, 3\] f32\).*torch\.float64"):
        lower(Apply(lambda x: x.double().exp().float()), torch.ones(2, 3))


def test_dynamic_shape() -> None:
    exported = torch.export.export(
        Apply(lambda x: x * 2), (torch.randn(4, 3),), dynamic_shapes={"inputs": ({0: torch.export.Dim("n")},)}
    )
    with pytest.raises(CompileError, match="dynamic shape"):
        import_module(exported)


def test_control_flow_on_values() -> None:
    with pytest.raises(CompileError, match=r"torch\.export cannot capture Apply"):
        import_module(Apply(lambda x: x if x.sum() > 0 else -x), (torch.randn(3),))


def test_a_number_made_of_a_tensor() -> None:
    class Ring(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rows", torch.zeros(4, 8))
            self.register_buffer("at", torch.zeros((), dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.rows[self.at] = x
            return self.rows * 2

    with pytest.raises(CompileError, match=r"an index n of no axes: .*x\[n.reshape\(1\)\]"):
        import_module(Ring(), (torch.randn(8),))


def test_output_that_is_no_tensor() -> None:
    class Cache:
        pass

    with pytest.raises(CompileError, match=r"Apply returns a .*Cache, which is no tensor") as error:
        import_module(Apply(lambda x: (x * 2, Cache())), (torch.randn(3),))
    assert "use_cache = False" in str(error.value.hint)


def test_empty_input_and_no_output() -> None:
    with pytest.raises(CompileError, match=r"input 0: its shape \[0, 3\] is empty"):
        import_module(Apply(lambda x: x + 1), (torch.randn(0, 3),))
    with pytest.raises(CompileError, match="returns no tensor"):
        import_module(Apply(lambda x: None), (torch.randn(2, 3),))


@pytest.mark.parametrize(
    ("power", "message"),
    [
        (lambda x: x**17, r"aten\.pow\.Tensor_Scalar on .*exponent 17 is beyond 16"),
        (lambda x: x**x, r"aten\.pow\.Tensor_Tensor on .*exponents are a tensor"),
        (lambda x: x ** torch.arange(3), r"aten\.pow\.Tensor_Tensor on .*exponents are a tensor"),
    ],
)
def test_powers_without_a_kernel(power: Any, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        import_module(Apply(power), (torch.rand(2, 3),))


def test_masks_that_do_not_fit() -> None:
    sdpa = torch.nn.functional.scaled_dot_product_attention
    q = torch.randn(1, 2, 5, 8)
    with pytest.raises(PlenaError, match="cannot capture"):
        import_module(Apply(lambda q, m: sdpa(q, q, q, attn_mask=m)), (q, torch.zeros(5, 6)))


def test_wrong_inputs_of_evaluate() -> None:
    program = import_module(Apply(lambda x: x + 1), (torch.randn(2, 3),))
    with pytest.raises(CompileError, match="takes 1 inputs, got 2"):
        program.evaluate(torch.randn(2, 3), torch.randn(2, 3))
    with pytest.raises(CompileError, match=r"is \(2, 4\) torch.float32"):
        program.evaluate(torch.randn(2, 4))


def test_objects_that_are_no_tensors() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.randn(3, generator=torch.Generator().manual_seed(0))

    with pytest.raises(
        CompileError,
        match=r"test_import_errors\.py:\d+: no kernel for aten\.randn\S* on .*it takes .*no tensor",
    ):
        import_module(Model(), (torch.randn(3),))


@pytest.mark.parametrize("draw", [torch.rand_like, torch.bernoulli, lambda x: torch.rand(2, 8) + x])
def test_random_numbers(draw: Any) -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + draw(x)

    with pytest.raises(PlenaError, match=r"aten\.\w+.*draws no random numbers") as caught:
        lower(Noisy(), torch.rand(2, 8))
    assert "as an input" in str(caught.value) and "test_import_errors.py" in str(caught.value)


@pytest.mark.parametrize("losses", [1, 9])
def test_what_torch_loses_sight_of_is_traced_again(losses: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then it does so in a thread; what it never traces is an error."""
    export, left = torch.export.export, [losses]

    def losing(*args: Any, **kwargs: Any) -> torch.export.ExportedProgram:
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError("We found a fake tensor in the exported program constant's list. This ...")
        return export(*args, **kwargs)

    monkeypatch.setattr(torch.export, "export", losing)
    module, x = torch.nn.ReLU(), torch.randn(4, 8)
    if losses == 1:
        assert import_module(module, (x,)).exported is not None
    else:
        with pytest.raises(CompileError, match=r"ReLU: torch.export cannot capture .*fake tensor"):
            import_module(module, (x,))


def test_a_loop_over_chosen_experts_says_what_transformers_has() -> None:
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_local_experts": 4, "num_attention_heads": 1}
    block = mixtral.MixtralSparseMoeBlock(mixtral.MixtralConfig(**sizes)).eval()
    with pytest.raises(CompileError, match=r'config._experts_implementation = "grouped_mm"'):
        import_module(block, (torch.randn(1, 2, 16),))
