"""From torch to machine words: a marimo notebook.

marimo edit examples/notebook.py     # in the browser; needs the extra `notebook`
python examples/notebook.py          # all cells once, without a browser
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="From torch to machine words")


@app.cell
def _():
    import marimo as mo

    mo.md(
        """
        # From torch to machine words

        One attention head, level by level: imported, recognised, tiled, made into instructions, its loops chosen, its
        registers allocated, encoded, run, checked. Change the model or the budget below, and the cells that depend on
        it run again.
        """
    )
    return (mo,)


@app.cell
def _():
    import torch

    import plena

    class Attention(torch.nn.Module):
        def forward(self, q, k, v):  # [batch, heads, tokens, features] each
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    torch.manual_seed(0)
    model = Attention()
    inputs = tuple(0.5 * torch.randn(1, 1, 64, 64) for _ in range(3))
    return inputs, model, plena


@app.cell
def _(mo):
    def ir(module):
        """A module as text, without where its operations come from and what the host stages."""
        shown = module.clone()
        for op in shown.walk():
            for name in [n for n in op.attributes if n.startswith("plena.") and n != "plena.name"]:
                del op.attributes[name]
            op.properties.pop("placements", None)
        return mo.md("```text\n" + str(shown) + "\n```")

    return (ir,)


@app.cell
def _(inputs, ir, mo, model):
    from plena.frontend import import_module

    imported = import_module(model, inputs)
    mo.vstack([mo.md("## aten: what torch.export captured"), ir(imported.module)])
    return (imported,)


@app.cell
def _(imported, ir, mo):
    from plena.driver import run_pipeline
    from plena.passes.pipelines import TENSOR_PIPELINE

    kernels = imported.module.clone()
    run_pipeline(kernels, TENSOR_PIPELINE)
    mo.vstack([mo.md("## plena: what the machine has kernels for"), ir(kernels)])
    return kernels, run_pipeline


@app.cell
def _(ir, kernels, mo, run_pipeline):
    from plena.passes.convert_plena_to_tile import ConvertPlenaToTile
    from plena.passes.pipelines import BUFFER_PIPELINE

    tiles = kernels.clone()
    run_pipeline(tiles, (ConvertPlenaToTile(matmul="mm", attention="rows"), *BUFFER_PIPELINE))
    mo.vstack([mo.md("## tile and loop: what lies where, what is loaded when"), ir(tiles)])
    return (tiles,)


@app.cell
def _(ir, mo, run_pipeline, tiles):
    from plena.passes.pipelines import AFFINE_PIPELINE

    affine = tiles.clone()
    run_pipeline(affine, AFFINE_PIPELINE[:-1])  # set-state comes after the choice of loops
    mo.vstack([mo.md("## plena_isa, affine form: instructions with addresses in loop indices"), ir(affine)])
    return (affine,)


@app.cell
def _(mo):
    budget = mo.ui.slider(40, 500, step=10, value=100, label="static instructions at most", show_value=True)
    mo.vstack([mo.md("## Choose loops"), budget])
    return (budget,)


@app.cell
def _(affine, budget, mo):
    from plena.loops.selection.apply import apply_choices
    from plena.passes.select_loops import select

    selection = select(affine, max_instructions=budget.value, measure=True)
    chosen = affine.clone()
    apply_choices(chosen, selection.point.choices)
    mo.vstack(
        [
            mo.md(
                f"{len(selection.frontier)} programs are best for their size. This one has {selection.static} "
                f"instructions and takes {selection.cycles:,} cycles."
            ),
            mo.ui.table(
                [
                    {"loop": d.loop, "trips": d.trips, "choice": d.choice, "why": d.why}
                    for d in selection.decisions
                ],
                selection=None,
            ),
        ]
    )
    return chosen, selection


@app.cell
def _(chosen, ir, mo, run_pipeline):
    from plena.passes.pipelines import REGISTER_PIPELINE

    registers = chosen.clone()
    run_pipeline(registers, ("set-state", *REGISTER_PIPELINE))
    mo.vstack([mo.md("## plena_isa, register form"), ir(registers)])
    return (registers,)


@app.cell
def _(mo, registers):
    from plena.assembly import encode, print_asm
    from plena.assembly.stream import stream_from_module

    instructions = stream_from_module(registers).instructions
    assembly, words = print_asm(instructions), encode(instructions)
    lines = zip(words, assembly.splitlines(), strict=True)
    listing = "\n".join(f"0x{int(word):08X}  {line}" for word, line in lines)
    mo.vstack([mo.md("## Words and assembly"), mo.md(f"```text\n{listing}\n```")])
    return assembly, words


@app.cell
def _(budget, inputs, mo, model, plena):
    program = plena.compile(model, inputs, matmul="mm", attention="rows", max_instructions=budget.value)
    result = program.run(*inputs, progress=False)
    report = program.check(*inputs, quiet=True)
    mo.vstack(
        [
            mo.md("## All of it at once: compile, run, check"),
            mo.md(f"`program.run` gives a tensor of shape {tuple(result.shape)}."),
            mo.md(f"```text\n{report}\n```"),
        ]
    )
    return program, report, result


@app.cell
def _(mo, program):
    statistics = program.stats()
    mo.vstack([mo.md("## Where the cycles go"), mo.md(f"```text\n{statistics}\n```")])
    return (statistics,)


if __name__ == "__main__":
    app.run()
