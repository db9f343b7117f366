"""What holds of the tree as a whole: imports run downwards (pyproject.toml has the layers), nothing hides anything.

Imports are read from the sources, so that those inside functions and those for types alone count too.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import plena
from plena import universe
from plena.timing import registry
from tests.forked import forked

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "plena"

MOST_LOOSE_MODULES = 10
"""Modules directly in plena."""

BY_NAME = {
    "plena/universe.py",  # what xDSL loads
    "plena/__init__.py",  # the public names, which are imported for types too
    "plena/timing/registry.py",  # timing profiles, ours beside it and those of other packages
    "plena/frontend/model_files.py",  # the user's models
}
"""Files that import by a string, where the layers cannot be seen to hold."""

ACROSS = {
    *("affine", "register_form"),  # programs in a form that several packages read
    *("budgets", "conformance", "corpus", "damage", "filecheck", "hunt", "models", "mutation", "properties"),
}
"""Folders of tests that follow a kind of test, not a package."""

UNMIRRORED = {"tensor"}
"""Packages without tests of their own: tests/passes runs what tensor passes share."""


def modules(root: Path) -> dict[str, Path]:
    """Every module of a package by its full name."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that one names in an import, wherever that stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                targets = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(module), level=0):
                targets = [f"{module}.{alias.name}" for alias in node.names]
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{path}: a relative import")
            case _:
                continue
        for target in targets:
            module = target
            while module and module not in known:
                module = module.rpartition(".")[0]
            if module and module != name:
                yield module


def circle(known: Mapping[str, Path]) -> list[str]:
    """Modules that import one another in a circle, the first again at the end; none if there is no such circle."""
    graph = {name: set(imported(name, path, known)) for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@cache
def own() -> dict[str, Path]:
    return modules(SOURCES)


def packages() -> list[str]:
    return [name for name, path in own().items() if path.name == "__init__.py"]


def test_nothing_imports_in_a_circle() -> None:
    assert len(own()) > 300
    assert circle(own()) == []


def test_a_circle_is_found_also_through_a_lazy_import(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from toy import b\n")
    (package / "b.py").write_text("def f():\n    from toy.a import g\n")
    assert set(circle(modules(package))) == {"toy.a", "toy.b"}


def test_packages_import_downwards() -> None:
    """The contracts in pyproject.toml; a package that no layer names breaks them too."""
    pytest.importorskip("importlinter")
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_few_modules_are_loose() -> None:
    loose = sorted(path.name for path in SOURCES.glob("*.py"))
    assert len(loose) <= MOST_LOOSE_MODULES, loose


def test_modules_are_imported_by_name_in_few_places() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in own().values()
        if "from importlib import import_module" in path.read_text()
        or "importlib.import_module(" in path.read_text()
    }
    assert found == BY_NAME
    for profile in registry._OURS.values():
        assert profile in own() and profile.startswith("plena.timing.")
    for dialect in universe.DIALECTS:
        assert f"plena.dialects.{dialect}" in own()
    for name in universe.PASSES:
        assert f"plena.passes.{name.replace('-', '_')}" in own()


def test_no_package_hides_what_it_gives() -> None:
    """A module of the same name as a function of its package takes that name when it is imported."""
    for package in packages():
        tree = ast.parse(own()[package].read_text())
        given = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plena")
            for alias in node.names
            if f"{node.module}.{alias.name}" not in own()
        }
        given |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        hidden = {name for name in given if f"{package}.{name}" in own()}
        assert not hidden, f"{package} has modules called {hidden}"


def test_public_names_stay_functions_whatever_is_imported(tmp_path: Path) -> None:
    def import_all() -> None:
        for name in own():
            if not name.startswith("plena.cli.plena_gui"):
                importlib.import_module(name)
        hidden = [n for n in plena.__all__ if isinstance(getattr(plena, n), ModuleType)]
        assert not hidden, hidden

    code, said = forked(import_all, tmp_path)
    assert code == 0, said
    assert not {name for name in plena.__all__ if f"plena.{name}" in own()}


def test_tests_mirror_the_packages() -> None:
    def folders(root: Path) -> set[str]:
        return {path.name for path in root.iterdir() if path.is_dir() and any(path.rglob("*.py"))}

    mine, theirs = folders(SOURCES), folders(ROOT / "tests")
    assert theirs - mine == ACROSS, "tests without a package"
    assert mine - theirs == UNMIRRORED, "packages without tests"
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts and folder.parts[0] not in ACROSS:
            assert (SOURCES / folder).is_dir(), f"{path}: there is no {SOURCES / folder}"
