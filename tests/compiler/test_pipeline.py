"""The pipeline that `Program.pipeline` names makes the program of the imported module, from any level on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass

import plena
from plena.api.levels import LEVELS, module_at
from plena.cli.plena_opt import main as plena_opt
from plena.dialects.tile import BufferOp
from plena.driver import context, parsed_pipeline, pipeline_text, run_pipeline, verified_passes
from plena.errors import CompileError
from plena.passes.pipelines import TENSOR_PIPELINE
from tests.levels import SMALL, Attention, qkv
from tests.models.builders import REDUCED, Built, hidden
from tests.models.encoders import vit


def attention() -> Built:
    return Built(Attention(causal=True), qkv(2, 80, 64))


def small_attention() -> Built:
    return Built(Attention(), qkv(2, 16, 16))


def decoder() -> Built:
    pytest.importorskip("transformers")
    return hidden(REDUCED | {"family": "qwen2", "qkv_bias": True, "layers": 3}, 17)


def encoder() -> Built:
    pytest.importorskip("transformers")
    settings = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
    }
    return vit(16, 8, settings)


def convolution() -> Built:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(16, 8, 1))
    return Built(layers.eval(), (torch.randn(2, 3, 7, 8),))


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (attention, {}, "apply-loop-choices"),
        (attention, {"matmul": "mm", "timing": "pipelined", "max_instructions": 200}, 'matmul="mm"'),
        (decoder, {"max_instructions": 900}, "roll-layers,"),
        (encoder, {"objective": "size", "staging": "nearest"}, 'objective="size"'),
        (convolution, {}, "convert-plena-to-tile"),
        (small_attention, {"target": SMALL, "attention": "online"}, 'attention="online"'),
    ],
)
def test_plena_opt_makes_the_same_assembly(
    make: Callable[[], Built], options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    built = make()
    program = plena.compile(built.module, built.inputs, **options)
    assert says in program.pipeline
    imported = module_at("aten", built.module, built.inputs, target=options.get("target"))
    before, after = tmp_path / "aten.mlir", tmp_path / "program.asm"
    before.write_text(str(imported))
    passes = ["--pass-pipeline", program.pipeline]
    assert plena_opt([str(before), *passes, "-t", "plena-asm", "-o", str(after)]) == 0
    assert after.read_text() == program.asm


@pytest.mark.parametrize("level", LEVELS)
def test_the_text_of_every_level_leads_to_the_program(level: str) -> None:
    built = small_attention()
    program = plena.compile(built.module, built.inputs, target=SMALL)
    passes = parsed_pipeline(program.pipeline)
    text = str(module_at(level, built.module, built.inputs, target=SMALL))  # pyright: ignore[reportArgumentType]
    done = {
        "aten": 0,
        "plena": len(TENSOR_PIPELINE),
        "tile": [p.name for p in passes].index("convert-tile-to-isa"),
        "affine": [p.name for p in passes].index("materialize-addresses"),
    }.get(level, len(passes))
    module = Parser(context(), text).parse_module()
    assert str(module) == text
    run_pipeline(module, passes[done:])
    assert plena.Program.from_module(module).asm == program.asm


def test_a_pipeline_is_read_as_it_is_printed() -> None:
    text = 'convert-plena-to-tile{matmul="mm" query_block=16 pairing=true},apply-loop-choices{choices="0 jam 2x4"}'
    assert pipeline_text(parsed_pipeline(text)) == text
    with pytest.raises(ValueError, match="Incompatible types"):
        parsed_pipeline("convert-plena-to-tile{matmul=diagonal}")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(CompileError, match="no level 'words'"):
        module_at("words", nn.ReLU(), ())  # pyright: ignore[reportArgumentType]


class Breaks(ModulePass):
    """Leaves a buffer of no size."""

    name = "breaks"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        op.body.block.add_op(BufferOp("x", "vector", 0))


def test_modules_are_verified_between_passes_if_asked_for() -> None:
    with verified_passes(False):
        run_pipeline(ModuleOp([]), (Breaks(), "fuse-elementwise"))
    with verified_passes(True), pytest.raises(CompileError, match=r"breaks: the module is not valid.*size 0"):
        run_pipeline(ModuleOp([]), (Breaks(), "fuse-elementwise"))


class Shrinks(ModulePass):
    """Changes an attribute of an operation that stays where it is."""

    name = "shrinks"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for buffer in op.body.block.ops:
            buffer.attributes |= BufferOp("x", "vector", 0).attributes
            buffer.properties |= BufferOp("x", "vector", 0).properties
            buffer.results[0]._type = BufferOp("x", "vector", 0).results[0].type  # pyright: ignore[reportPrivateUsage]


def test_a_change_in_place_is_verified() -> None:
    module = ModuleOp([BufferOp("x", "vector", 4)])
    with (
        verified_passes(True),
        pytest.raises(CompileError, match=r"shrinks: the module is not valid.*size 0"),
    ):
        run_pipeline(module, (Shrinks(), Shrinks()))


def test_what_a_pipeline_made_is_verified_again_behind_passes_alone() -> None:
    wrong = ModuleOp([BufferOp("x", "vector", 0)])
    with verified_passes(True):
        run_pipeline(wrong.clone(), ("fuse-elementwise",), verified=True)
        with pytest.raises(CompileError, match=r"^the module is not valid.*size 0"):
            run_pipeline(wrong.clone(), ("fuse-elementwise",))
        for known in (ModuleOp([]), ModuleOp([BufferOp("x", "vector", 4)])):
            with pytest.raises(CompileError, match=r"breaks: the module is not valid.*size 0"):
                run_pipeline(known, (Breaks(), "fuse-elementwise"), verified=True)


@pytest.mark.parametrize("name", ["guard_3", "plain"])
def test_a_parameter_that_is_called_like_a_matrix_of_the_compiler(name: str) -> None:
    """The symbols of a program's data are one name space: the matrix would be staged for the parameter."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_parameter(name, nn.Parameter(torch.randn(16)))
            self.weight = nn.Parameter(torch.randn(16, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.weight, self.get_parameter(name))

    if name == "plain":
        program = plena.compile(Named(), (torch.randn(3, 16),), target=SMALL)
        assert "guard_3" in {p.source.symbol for p in program.placements_of("data")}
        return
    with pytest.raises(
        CompileError,
        match=r"parameter or buffer `guard_3`, which is the name of a matrix of the compiler\. Rename it",
    ):
        plena.compile(Named(), (torch.randn(3, 16),), target=SMALL)
