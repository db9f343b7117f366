"""The pages of docs/ are current, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"
WRITTEN = ("levels.md", "errors.md", "cli.md", "../README.md", "loop_choice.md")
DRAWN = ("machine", "product", "broadcast", "column_blocks", "mx", "hardware_loop", "loop_curve")
PAGES = (*WRITTEN, *(f"assets/{name}.svg" for name in DRAWN))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_compiler_does(name: str, generate: ModuleType) -> None:
    assert set(generate.PAGES) == set(PAGES)
    assert (DOCS / name).read_text(encoding="utf-8") == generate.PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_every_error_class_is_listed() -> None:
    from plena import errors

    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    classes = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.PlenaError)]
    assert classes and all(f"`{c.__name__}`" in text for c in classes)
