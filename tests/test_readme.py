"""What README.md and the demo promise."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

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


def test_every_published_case_is_there(demo: ModuleType) -> None:
    assert {case.published for case in demo.CASES} - {None} <= set(demo.published())


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link


def test_every_page_is_linked() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#]+)[^)]*\)", README))


def test_the_commands_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    commands = set(re.findall(r"make ([\w-]+)", README))
    assert {"demo", "demo-search", "demo-attention", "test"} <= commands <= targets


def test_published_figures_name_their_source() -> None:
    data = json.loads((ROOT / "benchmarks/data/public_compiler.json").read_text(encoding="utf-8"))
    assert "a765612" in data["source"] and "static" in data["counting"]
