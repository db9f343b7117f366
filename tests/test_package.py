"""The wheel: what it holds, that it works outside of the checkout, what importing it loads; shell completion."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IMPORT = """
import sys
before = set(sys.modules)
import plena
print(*sorted(set(sys.modules) - before))
"""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing that lies about in the checkout gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "plena", source / "plena", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment with the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel)
    packages = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "bin"


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("plena/")}
    wanted = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "plena").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert held == wanted and "plena/py.typed" in held


class Shell:
    """Runs installed commands in a folder of its own."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self.installed, self.folder = installed, folder
        (folder / "x.asm").write_text("S_ADDI_INT gp1, gp0, 64\nV_EXP_V gp1, gp1, 0\n")

    def __call__(self, *command: str) -> str:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return run(self.installed / command[0], *command[1:], cwd=self.folder, env=clean)


def test_it_works_outside_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    shell = Shell(installed, tmp_path)
    where = shell("python", "-c", "import plena; print(plena.__file__)").strip()
    assert Path(where).is_relative_to(installed.parent)
    assert shell("plena", "--version").startswith("plena ")
    assert shell("plena", "asm", "x.asm").startswith("0x")
    assert "plena_isa.v_exp" in shell("plena-opt", "x.asm").lower()
    assert "V_EXP_V" in shell("plena-opt", "x.asm", "-t", "plena-asm")


@pytest.mark.slow
def test_all_of_it_works(installed: Path, tmp_path: Path) -> None:
    """Compiles the emulator anew."""
    shell = Shell(installed, tmp_path)
    (tmp_path / "model.py").write_text(
        "import torch\ndef f():\n    return torch.nn.Linear(64, 64), (torch.randn(4, 64),)\n"
    )
    assert "compiled in" in shell("plena", "compile", "model.py:f", "-o", "program")
    assert "cycles" in shell("plena", "run", "program")
    assert "V_EXP_V" in shell("plena", "stats", "x.asm")
    assert "0 errors" in shell("plena", "verify", "x.asm")
    shell("plena", "report", "program", "-o", "x.html")
    assert (tmp_path / "x.html").stat().st_size > 10_000


def test_importing_is_light() -> None:
    """It loads itself and the standard library's types; torch, xDSL and numpy come when they are needed."""
    loaded = run(sys.executable, "-c", IMPORT).split()
    assert [name for name in loaded if name.startswith("plena")] == ["plena"]
    assert len(loaded) < 20


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    from plena.cli import plena_cli

    assert plena_cli.main(["completion", shell]) == 0
    assert "plena" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("plena ver", {"verify"}),
        ("plena stats --j", {"--json"}),
        ("plena compile m.py:f --objective ", {"cycles", "size"}),
        ("plena completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_completions(line: str, wanted: set[str], tmp_path: Path) -> None:
    out = tmp_path / "completions"
    setting = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    setting["_ARGCOMPLETE_STDOUT_FILENAME"] = str(out)
    subprocess.run([sys.executable, "-m", "plena.cli.plena_cli"], env={**os.environ, **setting}, check=False)
    assert wanted <= {word.strip() for word in out.read_text().split("\n")}
