"""Fusing elementwise operations changes nothing that anything reads: random chains before and after."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.parser import Parser

from plena.dialects.tile import ElementwiseOp
from plena.driver import context, run_pipeline
from tests.harness_tile import SMALL, run_both

PANELS = 4
ROWS = 3
VLEN = SMALL.vlen
SIZE = ROWS * VLEN

panels = st.integers(0, PANELS - 1)
binary = st.sampled_from(["add", "sub", "mul"])


@st.composite
def steps(draw: st.DrawFn) -> str:
    """One operation on panels: elementwise in one of its forms, or something in between that reads or writes."""
    out, a, b = draw(panels), draw(panels), draw(panels)
    row = 0 if draw(st.booleans()) and b != out else VLEN
    match draw(st.sampled_from(["one", "two", "both", "word", "shift", "zero"])):
        case "one":
            return _elementwise(
                [out], [(a, VLEN)], f'%r = tile.lanewise "{draw(binary)}" %i0, %word : !tile.buffer<fp>', "%r"
            )
        case "two":
            text = f'%r = tile.lanewise "{draw(binary)}" %i0, %i1 : !tile.lanes'
            return _elementwise([out], [(a, VLEN), (b, row)], text, "%r")
        case "both":
            if a == b:
                return ""
            text = '%r = tile.lanewise "add" %i0, %i1 : !tile.lanes\n'
            text += f'%q = tile.lanewise "{draw(binary)}" %r, %i0 : !tile.lanes'
            return _elementwise([a, b], [(a, VLEN), (b, VLEN)], text, "%r, %q")
        case "word":
            return 'tile.map_scalars kind = "mul" out(%spare : fp) a(%word : fp) b(%word : fp) count = 1'
        case "shift" if out != a:
            return f"tile.shift out(%p{out} : vector) x(%p{a} : vector) rows = {ROWS} blocks = 1 lanes = 1"
        case _:
            return f"tile.zero dst(%p{out} : vector) rows = 1"


def _elementwise(outs: list[int], inputs: list[tuple[int, int]], text: str, yields: str) -> str:
    inputs = [(n, VLEN if n in outs else row) for n, row in inputs]
    panels = " ".join(f"out(%p{n}[{VLEN}, {SIZE}])" for n in outs)
    panels += "".join(f" in(%p{n}[{row}, {SIZE}])" for n, row in inputs)
    panels += " scratch(%t)"
    arguments = ", ".join(f"%i{n} : !tile.lanes" for n in range(len(inputs)))
    body = f"^bb0({arguments}):\n{text}\ntile.yield {yields}"
    return f"tile.elementwise rows = {ROWS} blocks = 1 {panels} {{\n{body}\n}}"


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Steps, and then copies of some panels: what is not copied is not read any more."""
    names = [f"%p{n} = tile.buffer @p{n} [{SIZE}] : !tile.buffer<vector>" for n in range(PANELS)]
    names.append(f"%t = tile.buffer @t [{2 * VLEN}] : !tile.buffer<vector>")
    lines = [*names, "%word = tile.constant [1.5]", "%spare = tile.buffer @spare [1] : !tile.buffer<fp>"]
    lines += draw(st.lists(steps(), min_size=2, max_size=8))
    read = draw(st.sets(panels, min_size=1))
    for n in sorted(read):
        lines.append(f"%o{n} = tile.buffer @o{n} [{SIZE}] : !tile.buffer<vector>")
        lines.append(f"tile.shift out(%o{n} : vector) x(%p{n} : vector) rows = {ROWS} blocks = 1")
    return "\n".join(lines)


@settings(max_examples=40)
@given(programs(), st.integers(0, 9))
def test_results_stay(program: str, seed: int) -> None:
    before = Parser(context(), f"builtin.module {{\n{program}\n}}").parse_module()
    SMALL.attach(before)
    after = before.clone()
    run_pipeline(after, ("fuse-elementwise",))
    after.verify()
    expected, found = run_both(before, SMALL, seed=seed), run_both(after, SMALL, seed=seed)
    found.assert_equal(skip=[name for name in found.interpreted if name.startswith(("fused_row", "t"))])
    for name in found.emulated:
        if name.startswith("o"):
            assert (found.emulated[name] == expected.emulated[name]).all(), name


def test_fused_once_more_nothing_changes() -> None:
    lines = [f"%p{n} = tile.buffer @p{n} [{SIZE}] : !tile.buffer<vector>" for n in range(3)]
    lines.append(f"%t = tile.buffer @t [{2 * VLEN}] : !tile.buffer<vector>")
    for n in range(2):
        text = '%r = tile.lanewise "mul" %i0, %i0 : !tile.lanes'
        lines.append(_elementwise([n + 1], [(n, VLEN)], text, "%r"))
    module = Parser(context(), "builtin.module {\n" + "\n".join(lines) + "\n}").parse_module()
    run_pipeline(module, ("fuse-elementwise",))
    once = module.clone()
    run_pipeline(module, ("fuse-elementwise",))
    assert module.is_structurally_equivalent(once)
    assert sum(isinstance(op, ElementwiseOp) for op in module.walk()) == 1
