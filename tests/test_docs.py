"""The pages of docs/ are current, and their links lead somewhere."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import plena
from plena.cli import plena_cli
from tests.forked import forked

DOCS = Path(__file__).parents[1] / "docs"
WRITTEN = ("levels.md", "errors.md", "cli.md", "curve.md", "../README.md", "loop_choice.md", "benchmark.md")
DRAWN = ("machine", "product", "broadcast", "column_blocks", "mx", "hardware_loop", "loop_curve")
PAGES = (*WRITTEN, *(f"assets/{name}.svg" for name in DRAWN))

COMMANDS = {
    "new_operator.md": {
        "check before.py:model": "no kernel for aten.cosh.default on ([64, 128] f32) -> ([64, 128] f32)",
        "check cosh.py:model --per-op": "",
    },
    "index.md": {"check model.py:layer": "", "compile model.py:layer -o out": "", "stats out": ""},
}
"""Commands of a page, run after its files were written, and what they refuse to do (with exit code 1)."""

FRESH = "index.md"
"""The page that is typed into a new process, as a reader does it; the others into a copy of this one."""

DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.test_docs import type_in
type_in(sys.argv[2:])
"""


def type_in(commands: list[str]) -> None:
    """Runs the commands of a page and what it says to run, in one process, in the folder of its files."""
    sys.path.insert(0, "")
    for number, command in enumerate(commands):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = plena_cli.main(command.split())
        Path(f"{number}.txt").write_text(f"{code}\n{said.getvalue()}", encoding="utf-8")
    runpy.run_path("run.py")


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


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda p: p.name)
def test_the_site_has_every_page_in_its_menu(page: Path) -> None:
    menu = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert f": {page.relative_to(DOCS)}\n" in menu, f"add {page.name} to the nav of mkdocs.yml"


BLOCK = re.compile(r"<!-- (file: (?P<file>\S+)|run) -->\n```python\n(?P<code>.*?)```", re.S)


@pytest.mark.parametrize(
    "page", [p for p in sorted(DOCS.glob("*.md")) if BLOCK.search(p.read_text())], ids=lambda p: p.name
)
def test_typing_in_a_page_works(page: Path, tmp_path: Path) -> None:
    """Files are written piece by piece, in the order of the page; then everything marked to be run is run."""
    pieces: dict[str, str] = {}
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        name = block["file"] or "run.py"
        pieces[name] = f"{pieces[name]}\n\n{block['code']}" if name in pieces else block["code"]
    if set(pieces) == {"run.py"}:
        exec(pieces["run.py"], {})  # nothing is declared or imported from files, so no process of its own
        return
    for name, text in pieces.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    commands = COMMANDS.get(page.name, {})
    if page.name == FRESH:
        driver = [sys.executable, "-c", DRIVER, str(DOCS.parent), *commands]
        done = subprocess.run(driver, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:
        code, said = forked(lambda: type_in(list(commands)), tmp_path)
        assert code == 0, said
    text = page.read_text(encoding="utf-8")
    for number, (command, refusal) in enumerate(commands.items()):
        code, _, message = (tmp_path / f"{number}.txt").read_text(encoding="utf-8").partition("\n")
        assert int(code) == (1 if refusal else 0), message
        assert refusal in message and refusal in text and f"plena {command}" in text


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_pages_use_public_names_of_plena_or_import_what_they_use(page: Path) -> None:
    """Where other modules have been imported already, `plena.timing.registry` works without an import."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        nodes = list(ast.walk(ast.parse(block["code"])))
        if not any(isinstance(node, ast.Import) and node.names[0].name == "plena" for node in nodes):
            continue
        for node in nodes:
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "plena"
            ):
                assert node.attr in plena.__all__, f"plena.{node.attr}"


def test_every_error_class_is_listed() -> None:
    from plena import errors

    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    classes = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.PlenaError)]
    assert classes and all(f"`{c.__name__}`" in text for c in classes)
