"""What README.md and the demo promise."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import plena

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("attention_demo", ROOT / "examples" / "attention.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert (tmp_path / "out/linear/generated_asm_code.asm").is_file()
    assert "passed" in capsys.readouterr().out


FIGURES = [
    (64, 64, {"matmul": "mm", "attention": "rows"}),
    (64, 64, {"matmul": "mm", "attention": "online"}),
    (64, 128, {"matmul": "mm", "attention": "rows"}),
    (256, 64, {"matmul": "mm", "attention": "rows"}),
    (256, 64, {}),
]


def rows() -> list[tuple[str, str, str]]:
    """Case, published and our figures of the table."""
    return re.findall(r"^\| (\d+ x \d+) \| ([\d,]+ / [\d,]+) \| ([\d,]+ / [\d,]+) \|", README, re.M)


@pytest.mark.parametrize("number", range(len(FIGURES)))
def test_the_figures_are_those_of_the_demo(number: int, demo: ModuleType) -> None:
    sequence, head_dim, options = FIGURES[number]
    case, published, ours = rows()[number]
    assert case == f"{sequence} x {head_dim}"
    theirs = demo.published()[f"{sequence}, {head_dim}"]
    assert published == f"{theirs['static']:,} / {theirs['cycles']:,}"
    module, inputs = demo.attention(sequence, head_dim)
    stats = plena.compile(module, inputs, **options).stats()
    static, cycles = (int(n.replace(",", "")) for n in ours.split(" / "))
    assert stats.static <= static and stats.cycles["transactional"] <= cycles


def test_every_case_of_the_table_is_there(demo: ModuleType) -> None:
    assert len(rows()) == len(FIGURES)
    assert {case.published for case in demo.CASES} - {None} <= set(demo.published())


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link


def test_published_figures_name_their_source() -> None:
    data = json.loads((ROOT / "benchmarks/data/public_compiler.json").read_text(encoding="utf-8"))
    assert "a765612" in data["source"] and "static" in data["counting"]
