"""The notebook runs from the first cell to the last, and what it shows is so."""

from __future__ import annotations

import importlib.util
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import plena

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.py"


@pytest.fixture(scope="module")
def cells() -> tuple[Any, Any]:
    """What every cell shows, and what the cells define."""
    pytest.importorskip("marimo")
    spec = importlib.util.spec_from_file_location("plena_notebook", NOTEBOOK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app.run()


def test_the_words_are_the_program_that_was_chosen(cells: tuple[Any, Any]) -> None:
    _, names = cells
    selection, words = names["selection"], names["words"]
    for code in (words, names["assembly"]):
        stats = plena.stats(code)
        assert (stats.static, stats.cycles["transactional"]) == (selection.static, selection.cycles)
    assert len(words) <= names["budget"].value
    assert names["program"].stats().static <= names["budget"].value


def test_the_program_is_right(cells: tuple[Any, Any]) -> None:
    _, names = cells
    assert names["report"].passed and names["result"].shape == names["inputs"][0].shape


def test_every_level_is_shown(cells: tuple[Any, Any]) -> None:
    outputs, _ = cells
    shown = "\n".join(output.text for output in outputs if output is not None)
    shown = unescape(re.sub(r"<[^>]*>", "", shown))
    for level in (
        "aten.scaled_dot_product_attention",
        "plena.attention",
        "tile.matmul",
        "plena_isa.m_tmm vec(",
        "counter(",
        "M_MM_WO",
        "0x",
    ):
        assert level in shown, level
    assert "ModuleOp(" not in shown
    assert "passed" in shown and "transactional" in shown
