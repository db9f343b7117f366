"""Writes the pages of docs/ that show what the compiler does, by running it.

    python docs/generate.py            # write the pages, the drawings, README.md's figures
    python docs/generate.py --check    # fail if one of them is not current

tests/test_docs.py does the latter.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any

from xdsl.dialects.builtin import ModuleOp

import plena
from plena.assembly import print_asm
from plena.assembly.stream import stream_from_module
from plena.dialects.tile import CHOICES, BufferOp, DataOp
from plena.driver import run_pipeline
from plena.frontend import import_module
from plena.passes.convert_plena_to_tile import ConvertPlenaToTile
from plena.passes.pipelines import AFFINE_PIPELINE, REGISTER_PIPELINE, TENSOR_PIPELINE
from plena.statistics.statistics import statistics_of

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def loaded(path: Path) -> ModuleType:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def example(name: str) -> ModuleType:
    """One of examples/*.py as a module."""
    return loaded(ROOT / "examples" / f"{name}.py")


pictures = loaded(DOCS / "pictures.py")
mistakes = loaded(DOCS / "mistakes.py")
loop_choice = loaded(DOCS / "loop_choice.py")
PICTURES: dict[str, Callable[..., Any]] = pictures.PICTURES


def drawn(name: str) -> str:
    """docs/assets/<name>.svg."""
    return PICTURES[name](plena.Target()).svg()


def screen() -> str:
    """docs/assets/gui.svg: plena-gui with the tensor passes chosen. It depends on textual's version too."""
    from plena.cli.plena_gui import app

    interface = app(None, "tensor")

    async def shown() -> str:
        async with interface.run_test(size=(150, 46)) as pilot:
            await pilot.pause()
            await pilot.pause()
            return interface.export_screenshot(title="plena-gui -p tensor")

    svg = re.sub(r"@font-face \{.*?\}\s*", "", asyncio.run(shown()), flags=re.S)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def fenced(text: str, language: str = "mlir") -> str:
    """A code block."""
    return f"```{language}\n{text.rstrip()}\n```"


def printed(module: ModuleOp) -> str:
    """A module as text, without where its operations come from and what the host stages."""
    shown = module.clone()
    for op in list(shown.walk()):
        if isinstance(op, DataOp):
            op.detach()
            op.erase()
            continue
        for name in [n for n in op.attributes if n.startswith(("plena.", CHOICES)) and n != "plena.name"]:
            del op.attributes[name]
        if isinstance(op, BufferOp):
            op.placements = None
    return str(shown)


LEVELS = """\
# One attention head through every level

This page is made by the compiler (`python docs/generate.py`), so it shows what it does today: a head of 64 tokens and
64 features, with the M_MM schedule and a plain softmax over rows. Attributes that say where an operation comes from
are left out, and so are the placements of buffers (layouts, formats and views of what the host stages).

You can make every listing yourself. `plena compile --emit` prints a program at each level, with these attributes;
`plena-opt` runs one pass or a pipeline at a time, and prints what comes out. The pipeline that `plena compile` ran,
with what it chose as options of the passes, makes the same assembly of the imported module, byte for byte:

```sh
plena compile examples/attention.py:one_head --matmul mm --emit aten > aten.mlir    # plena, tile, affine, register, asm
plena compile examples/attention.py:one_head --matmul mm --print-pipeline > passes.txt
plena-opt aten.mlir --pass-pipeline "$(cat passes.txt)" -t plena-asm
```

Here passes.txt is (one line):

{pipeline}

`PLENA_VERIFY_PASSES=1` or `--verify-passes` verifies modules between the passes of `plena compile`, which takes a third
more time; `plena-opt` always does.

## torch

```python
{source}
```

## aten: what was imported

torch.export captures the graph; every operator becomes one operation on tensors. Nothing is decided yet.

{aten}

## plena: kernels

The pipeline `tensor` ({tensor_passes}) recognises what the machine has kernels for and moves layout changes to where
they cost nothing. Here the reshapes at both ends cost nothing at all: the host stages and reads tensors through them.

{plena}

## tile and loop: what lies where, what is loaded when

`convert-plena-to-tile` chooses tile sizes and loop order. Keys and values go to matrix SRAM as whole tiles; the loop
runs over blocks of BLEN = 4 query rows, so queries and scores need four rows of vector SRAM only. The scale 1/8 is
folded into the queries, where it is exact. Then `allocate-buffers` gives addresses: in HBM bytes, in matrix and vector
SRAM elements, in FP SRAM words. Buffers whose lives do not meet share space.

{tile}

## plena_isa, affine form: instructions

`convert-tile-to-isa` replaces each tile operation by a loop nest of instructions. Addresses are linear in the loop
indices (`loop.affine`), and f registers are cells that nobody has numbered yet. What the machine keeps in sticky
registers, such as the address of the scale plane, is still an operand. Loops are rolled, expanded and interchanged on
this form, because everything that decides whether that is legal is in the operands.

{affine}

## plena_isa, register form

`set-state` sets sticky state once, outside of the loops. `materialize-addresses` turns addresses into running pointers:
one `S_ADDI_INT` per step where needed, shared between accesses where they advance together. `allocate-registers` gives
every cell one of gp1..gp15, f1..f7, a0..a7.

{registers}

## Assembly and words

{static} instructions, {dynamic} executed; {transactional} cycles in the transactional profile, {pipelined} in the
pipelined one, DMA waits apart.

{assembly}

`Program.words` are the same instructions as 32-bit words; `Program.save` writes the folder that the public emulator
loads. `Program.check` runs the words on our emulator and compares the result with PyTorch.
"""


def levels_page() -> str:
    """docs/levels.md."""
    demo = example("attention")
    model, inputs = demo.one_head()
    module = import_module(model, inputs).module
    values: dict[str, str] = {
        "source": "class Attention(nn.Module):\n"
        "    def forward(self, q, k, v):  # [1, 1, 64, 64] each\n"
        "        return nn.functional.scaled_dot_product_attention(q, k, v)",
        "tensor_passes": ", ".join(f"`{name}`" for name in dict.fromkeys(TENSOR_PIPELINE)),
        "aten": fenced(printed(module)),
    }
    run_pipeline(module, TENSOR_PIPELINE)
    values["plena"] = fenced(printed(module))
    run_pipeline(module, (ConvertPlenaToTile(matmul="mm", attention="rows"), "allocate-buffers"))
    values["tile"] = fenced(printed(module))
    run_pipeline(module, AFFINE_PIPELINE[:1])
    values["affine"] = fenced(printed(module))
    run_pipeline(module, (*AFFINE_PIPELINE[1:], *REGISTER_PIPELINE))
    values["registers"] = fenced(printed(module))
    instructions = stream_from_module(module).instructions
    stats = statistics_of(instructions, plena.Target())
    values["static"], values["dynamic"] = f"{stats.static:,}", f"{stats.dynamic:,}"
    values |= {profile: f"{cycles:,}" for profile, cycles in stats.cycles.items()}
    values["assembly"] = fenced(print_asm(instructions), "text")
    passes = plena.compile(model, inputs, matmul="mm").pipeline
    values["pipeline"] = fenced(fill(passes.replace(",", ", "), 110).replace(", ", ","), "text")
    return LEVELS.format(**values)


def cli_page() -> str:
    """docs/cli.md."""
    from plena.cli.plena_cli import commands

    lines = [
        "# Command line",
        "",
        "`plena COMMAND --help` shows the same. Models are named `file.py:factory`; the factory returns",
        "`(module, example_inputs)`. `plena-opt` is xDSL's driver with our dialects and passes: `plena-opt --help`.",
    ]
    for command in commands():
        parser = argparse.ArgumentParser(prog=f"plena {command.name}", add_help=False)
        command.arguments(parser)
        lines += [
            "",
            f"## plena {command.name}",
            "",
            f"{command.summary[0].upper()}{command.summary[1:]}.",
            "",
        ]
        lines += ["| argument | meaning |", "| --- | --- |"]
        for action in parser._actions:
            names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
            if action.option_strings and action.nargs != 0:
                names += f" {_metavar(action)}"
            lines.append(f"| {names} | {action.help or ''} |")
        lines += ["", fenced(command.examples, "sh")]
    return "\n".join(lines) + "\n"


def _metavar(action: argparse.Action) -> str:
    choices = ", ".join(str(choice) for choice in action.choices or ())
    text = f"{{{choices}}}" if choices else str(action.metavar or action.dest.upper())
    return text.replace("|", "&#124;")


FIGURES = (
    ("64 x 64, M_MM, rows", "softmax over whole rows"),
    ("64 x 64, M_MM, online", "online softmax"),
    ("64 x 128, M_MM, rows", ""),
    ("256 x 64, M_MM, rows", ""),
    ("256 x 64, auto", "broadcast unit, chosen by default"),
)
"""The demo's cases that README.md shows."""


def readme_page() -> str:
    """README.md with the figures of examples/attention.py."""
    demo = example("attention")
    cases, published = {case.name: case for case in demo.CASES}, demo.published()
    lines = ["| | public compiler | plena | |", "| --- | --: | --: | --- |"]
    for name, remark in FIGURES:
        case = cases[name]
        module, inputs = demo.attention(case.sequence, case.head_dim, case.heads)
        stats, theirs = plena.compile(module, inputs, **case.options).stats(), published[case.published]
        lines.append(
            f"| {case.sequence} x {case.head_dim} | {theirs['static']:,} / {theirs['cycles']:,} "
            f"| {stats.static:,} / {stats.cycles['transactional']:,} | {remark} |"
        )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- figures -->\n")
    _, _, after = rest.partition("<!-- end of figures -->")
    return f"{before}<!-- figures -->\n{chr(10).join(lines)}\n<!-- end of figures -->{after}"


def curve_page() -> str:
    """docs/curve.md with the curve of one head."""
    module, inputs = example("attention").one_head()
    curve = plena.size_curve(plena.compile(module, inputs, matmul="mm", attention="rows"))
    lines = ["| | static | dynamic | transactional cycles |", "| --- | --: | --: | --: |"]
    for point in curve.points:
        lines.append(f"| {point.name} | {point.static:,} | {point.dynamic:,} | {point.cycles:,} |")
    text = (DOCS / "curve.md").read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- curve -->\n")
    _, _, after = rest.partition("<!-- end of curve -->")
    return f"{before}<!-- curve -->\n{chr(10).join(lines)}\n<!-- end of curve -->{after}"


def benchmark_page() -> str:
    """docs/benchmark.md: the guarded counts and the last measurements (`make bench` measures again)."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.page import page

    return page()


PAGES: dict[str, Callable[[], str]] = {
    "levels.md": levels_page,
    "errors.md": mistakes.page,
    "cli.md": cli_page,
    "curve.md": curve_page,
    "../README.md": readme_page,
    "loop_choice.md": loop_choice.page,
    "benchmark.md": benchmark_page,
    "assets/loop_curve.svg": lambda: loop_choice.drawing(pictures),
    **{f"assets/{name}.svg": partial(drawn, name) for name in PICTURES},
}
"""Path from docs/ -> what makes the page."""


UNCHECKED: dict[str, Callable[[], str]] = {"assets/gui.svg": screen}
"""Written as well, but not compared."""


def main(check: bool) -> int:
    """Write the pages, or compare them; the exit code is 1 if one is not current."""
    stale = 0
    for name, page in (PAGES if check else {**PAGES, **UNCHECKED}).items():
        path, text = DOCS / name, page()
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not current: run `make docs`")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
