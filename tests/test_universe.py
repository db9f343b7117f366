"""What xDSL finds of ours by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import XDSL_UNIVERSE, Universe
from xdsl.utils.target import Target

import plena.passes
from plena.universe import PASSES, PLENA_UNIVERSE


def passes_in_files() -> set[str]:
    """Names of the ModulePass classes in plena/passes, read from the sources."""
    names: set[str] = set()
    for file in Path(plena.passes.__path__[0]).glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(b) == "ModulePass" for b in node.bases):
                for statement in node.body:
                    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "name":
                        names.add(ast.literal_eval(statement.value))
    return names


def test_every_pass_file_is_in_the_table() -> None:
    assert passes_in_files() - set(PASSES) == set(), "add them to PASSES in plena/universe.py"


@pytest.mark.parametrize("name", sorted(PASSES))
def test_every_pass_loads_under_its_name(name: str) -> None:
    loaded = PLENA_UNIVERSE.all_passes[name]()
    assert issubclass(loaded, ModulePass)
    assert loaded.name == name


@pytest.mark.parametrize("name", sorted(PLENA_UNIVERSE.all_dialects))
def test_every_dialect_loads_under_its_name(name: str) -> None:
    loaded = PLENA_UNIVERSE.all_dialects[name]()
    assert isinstance(loaded, Dialect)
    assert loaded.name == name
    for operation in loaded.operations:
        assert operation.name.startswith(name + ".")


@pytest.mark.parametrize("name", sorted(PLENA_UNIVERSE.all_targets))
def test_every_target_loads_under_its_name(name: str) -> None:
    loaded = PLENA_UNIVERSE.all_targets[name]()
    assert issubclass(loaded, Target)
    assert loaded.name == name


def test_no_name_clashes_with_xdsl() -> None:
    for table in ("all_dialects", "all_passes", "all_targets"):
        assert not set(getattr(PLENA_UNIVERSE, table)) & set(getattr(XDSL_UNIVERSE, table))


def test_xdsl_discovers_us() -> None:
    everything = Universe.get_multiverse()
    assert set(PLENA_UNIVERSE.all_passes) <= set(everything.all_passes)
    assert set(PLENA_UNIVERSE.all_dialects) <= set(everything.all_dialects)


def test_loading_everything_imports_no_torch() -> None:
    program = """
import sys
from plena.universe import PLENA_UNIVERSE as u
for table in (u.all_dialects, u.all_passes, u.all_targets):
    for factory in table.values():
        factory()
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
