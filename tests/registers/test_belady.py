"""The compiled part of address planning: its disk cache follows every file and number that it is made from."""

from __future__ import annotations

import ast
from pathlib import Path

from plena.jit import source_stamp
from plena.machine.constants import IMMEDIATE_LIMIT, INT_LIMIT
from plena.registers.addressing.belady import passes
from plena.registers.addressing.values import CONSTANT

FOLDER = Path(passes.__file__).parent


def test_the_disk_cache_is_keyed_on_all_files() -> None:
    simulate = passes.simulate.py_func  # pyright: ignore[reportFunctionMemberAccess]
    stamp = source_stamp(FOLDER, (IMMEDIATE_LIMIT, INT_LIMIT, CONSTANT))
    assert stamp in [cell.cell_contents for cell in simulate.__closure__]


def test_no_other_number_comes_from_outside_the_folder() -> None:
    outside = {
        alias.name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plena.")
        if "belady" not in (node.module or "") and node.module != "plena.jit"
        for alias in node.names
    }
    assert outside == {"IMMEDIATE_LIMIT", "INT_LIMIT", "CONSTANT"}, "add it to the stamp of `simulate`"
