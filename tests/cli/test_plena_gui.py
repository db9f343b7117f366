"""The terminal interface, driven without a terminal by textual's pilot."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdsl.passes import PassPipeline

from plena.cli import plena_gui
from plena.errors import PlenaError
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.universe import PASSES, PLENA_UNIVERSE, load_pass

if TYPE_CHECKING:
    from plena.cli.terminal_app import PlenaApp

ASM = "C_LOOP_START gp1, 5\nV_EXP_V gp2, gp2, 0\nS_ADDI_INT gp2, gp2, 64\nC_LOOP_END gp1\n"

LOOP = """
loop.for %i = 0 to 4 {
  %x = loop.affine 0 + 64 * %i
  plena_isa.v_exp_v dst(%x) a(%x)
}
"""


def test_without_the_extra_there_is_one_clear_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plena_gui, "find_spec", lambda name: None if name == "textual" else sys)
    assert plena_gui.main([]) == 1
    assert capsys.readouterr().err == "error: plena-gui needs textual. Run: pip install 'plena[gui]'\n"


def test_wrong_sources_and_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("textual")
    assert plena_gui.main([str(tmp_path / "none.mlir")]) == 1
    assert "none.mlir: cannot be read" in capsys.readouterr().err
    assert plena_gui.main(["-p", "no-such-pass"]) == 1
    assert "no-such-pass" in capsys.readouterr().err
    with pytest.raises(PlenaError, match="imm"):
        (tmp_path / "a.asm").write_text("S_ADDI_INT gp1, gp0, 262144\n")
        plena_gui.app(str(tmp_path / "a.asm"))


def drive(app: PlenaApp, steps: Callable[[Any], Awaitable[None]]) -> None:
    """Runs the application without a screen while `steps` uses it."""

    async def run() -> None:
        async with app.run_test(size=(160, 60)) as pilot:
            await pilot.pause()
            await steps(pilot)

    asyncio.run(run())


def test_choosing_a_pass_shows_the_ir_after_it(tmp_path: Path) -> None:
    pytest.importorskip("textual")
    source = tmp_path / "loop.mlir"
    source.write_text(LOOP)
    app = plena_gui.app(str(source))

    async def steps(pilot: Any) -> None:
        assert app.input_text_area.text == LOOP
        assert "loop.for" in app.output_text_area.text
        nodes = {str(node.label): node for node in app.passes_tree.root.children}
        assert list(nodes)[: len(PASSES)] == sorted(PASSES), "ours come first"
        app.passes_tree.move_cursor(nodes["canonicalize-loops"])
        app.passes_tree.action_select_cursor()
        await pilot.pause()
        nodes = {str(node.label): node for node in app.passes_tree.root.children}
        app.passes_tree.move_cursor(nodes["unroll-loops"])
        app.passes_tree.action_select_cursor()
        await pilot.pause()
        options = pilot.app.screen.argument_text_area
        assert options.text == "factor=2 full=false tail=false"
        options.load_text("full=true")
        await pilot.pause()
        await pilot.click("#enter_button")
        await pilot.pause()
        assert [p.name for p in app.pass_pipeline] == ["canonicalize-loops", "unroll-loops"]
        output = app.output_text_area.text
        assert "loop.for" not in output and output.count("plena_isa.v_exp_v") == 4
        query = app.get_query_string()
        assert query.startswith(f"plena-opt {source} -p 'canonicalize-loops,unroll-loops")
        await pilot.click("#clear_passes_button")
        await pilot.pause()
        assert "loop.for" in app.output_text_area.text

    drive(app, steps)


def test_an_error_of_a_pass_is_shown_where_the_ir_would_be(tmp_path: Path) -> None:
    pytest.importorskip("textual")
    (tmp_path / "loop.mlir").write_text(LOOP)
    app = plena_gui.app(str(tmp_path / "loop.mlir"), "canonicalize-loops,select-loops{max-instructions=0}")

    async def steps(pilot: Any) -> None:
        assert "max-instructions must be positive" in app.output_text_area.text
        await pilot.click("#condense_button")
        await pilot.pause()
        await pilot.click("#remove_last_pass_button")
        await pilot.pause()
        assert "loop.for" in app.output_text_area.text
        await pilot.click("#uncondense_button")
        await pilot.pause()
        assert len(app.available_pass_list) >= len(PASSES)

    drive(app, steps)


@pytest.mark.parametrize(
    ("name", "text", "passes", "shown"),
    [
        ("", "", "tensor", "plena.attention"),
        ("program.asm", ASM, "lift", "loop.for"),
        (
            "model.py:linear",
            "import torch\ndef linear():\n    return torch.nn.Linear(16, 16), (torch.ones(4, 16),)\n",
            "tensor",
            "plena.linear",
        ),
    ],
    ids=["the example", "assembly", "a model"],
)
def test_what_it_opens(name: str, text: str, passes: str, shown: str, tmp_path: Path) -> None:
    pytest.importorskip("textual")
    if name:
        (tmp_path / name.partition(":")[0]).write_text(text)
    app = plena_gui.app(str(tmp_path / name) if name else None, passes)

    async def steps(pilot: Any) -> None:
        assert shown in app.output_text_area.text
        assert shown not in app.input_text_area.text
        if passes == "tensor":
            assert [p.name for p in app.pass_pipeline] == list(TENSOR_PIPELINE)

    drive(app, steps)


@pytest.mark.parametrize("name", PASSES)
def test_the_options_that_are_offered_are_the_defaults(name: str) -> None:
    pytest.importorskip("textual")
    from plena.cli.terminal_app import default_options

    offered = default_options(load_pass(name))
    (parsed,) = PassPipeline.parse_spec(PLENA_UNIVERSE.all_passes, f"{name}{{{offered}}}").passes
    assert parsed == load_pass(name)()
