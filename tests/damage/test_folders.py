"""Damaged program folders, input files and model files: one message that names the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plena.cli import plena_cli
from plena.program.folder import checksum
from tests.damage.commands import outcome
from tests.damage.strategies import damaged_bytes, damaged_text
from tests.program_samples import linear_program, weights

X = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "program"
    linear_program(weights(), example_inputs=(X,)).save(folder)
    return folder


def copy_of(program: Path, into: Path) -> Path:
    shutil.rmtree(into / "program", ignore_errors=True)
    return Path(shutil.copytree(program, into / "program"))


COMMANDS = (["run"], ["stats"], ["verify"], ["check", "--inputs", "random"], ["optimize"])


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_files(program: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A changed byte anywhere is noticed by the checksums; a changed manifest by its contents."""
    folder = copy_of(program, tmp_path_factory.mktemp("damaged"))
    name = data.draw(st.sampled_from(sorted(p.name for p in folder.iterdir())))
    before = (folder / name).read_bytes()
    after = data.draw(
        damaged_text(st.just(before.decode())).map(str.encode)
        if name == "manifest.json"
        else damaged_bytes(before)
    )
    (folder / name).write_bytes(after)
    command = data.draw(st.sampled_from(COMMANDS))
    code, printed = outcome(plena_cli.main, command[0], str(folder), *command[1:])
    if name != "manifest.json" and after != before:
        assert code == 1 and name in printed


WRONG = st.sampled_from(
    [None, -1, 0, 1, 1 << 40, 1.5, True, "", "x", [], [1], [[]], {}, {"x": 1}, [{}], [None]]
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value of plain data."""
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


@settings(max_examples=150)
@given(data=st.data())
def test_manifests_with_wrong_values(
    program: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any value replaced by one of another type or size, or left out."""
    folder = copy_of(program, tmp_path_factory.mktemp("wrong"))
    manifest = json.loads((folder / "manifest.json").read_text())
    *way, last = data.draw(st.sampled_from(places(manifest)[1:]))
    inside = manifest
    for key in way:
        inside = inside[key]
    if data.draw(st.booleans()):
        inside[last] = data.draw(WRONG)
    else:
        del inside[last]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    command = data.draw(st.sampled_from(COMMANDS))
    outcome(plena_cli.main, command[0], str(folder), *command[1:])


@settings(max_examples=40)
@given(data=st.data())
def test_code_and_manifest_that_agree_on_nonsense(
    program: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Damage with a right checksum: files are read, not only compared."""
    folder = copy_of(program, tmp_path_factory.mktemp("resigned"))
    name = data.draw(
        st.sampled_from(
            sorted(p.name for p in folder.iterdir() if p.name not in ("manifest.json", "hbm_size.txt"))
        )
    )
    path = folder / name
    path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": path.stat().st_size, "crc32": checksum(path)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    command = data.draw(st.sampled_from(COMMANDS))
    outcome(plena_cli.main, command[0], str(folder), *command[1:])


INPUTS: dict[str, Any] = {
    "no tensor": "x",
    "a number": 3,
    "none": None,
    "empty list": [],
    "numbers": [1, 2],
    "two": [X, X],
    "flat": X.reshape(-1),
    "transposed": X.T,
    "integers": X.long(),
    "complex": X + 0j,
    "sparse": X.to_sparse(),
    "names": {"y": X},
    "nested": {"x": [X]},
    "none inside": [None],
    "half": X.half(),
    "double": X.double(),
    "not finite": X / 0,
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(program: Path, tmp_path: Path, name: str) -> None:
    torch.save(INPUTS[name], tmp_path / "inputs.pt")
    code, _ = outcome(plena_cli.main, "run", str(program), "--inputs", str(tmp_path / "inputs.pt"))
    assert code == (name not in ("half", "double"))


@settings(max_examples=25)
@given(data=st.data())
def test_damaged_inputs(program: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.mktemp("inputs") / "inputs.pt"
    torch.save([X], file)
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    outcome(plena_cli.main, "run", str(program), "--inputs", str(file))


HEAD = "import torch\nfrom torch import nn\nx = torch.randn(4, 16)\n"
FORWARD = """
class M(nn.Module):
    def forward(self, x):
        {}
def f():
    return M(), (x,)
"""


def forward(statement: str) -> str:
    """A file whose model computes something that it must not."""
    return HEAD + FORWARD.format(statement)


MODELS = {
    "syntax": "def f(:\n",
    "indentation": "def f():\nreturn 1\n",
    "no function": "g = 3\n",
    "not callable": "f = 3\n",
    "import": "import no_such_module_at_all\n",
    "raises": "def f():\n    raise ValueError('two\\nlines')\n",
    "raises its own": "class Mine(Exception):\n    pass\ndef f():\n    raise Mine\n",
    "exits": "import sys\ndef f():\n    sys.exit(3)\n",
    "exits on import": "raise SystemExit('bye')\n",
    "recursion": "def f():\n    return f()\n",
    "takes arguments": "def f(size):\n    return size\n",
    "returns nothing": "def f():\n    pass\n",
    "returns a module": HEAD + "def f():\n    return nn.Linear(16, 4)\n",
    "returns three": HEAD + "def f():\n    return nn.Linear(16, 4), (x,), 3\n",
    "inputs are text": HEAD + "def f():\n    return nn.Linear(16, 4), 'x'\n",
    "inputs are numbers": HEAD + "def f():\n    return nn.Linear(16, 4), (1, 2)\n",
    "no inputs": HEAD + "def f():\n    return nn.Linear(16, 4), ()\n",
    "too many inputs": HEAD + "def f():\n    return nn.Linear(16, 4), (x, x)\n",
    "wrong shape": HEAD + "def f():\n    return nn.Linear(15, 4), (x,)\n",
    "no module": HEAD + "def f():\n    return torch.relu, (x,)\n",
    "a class": HEAD + "def f():\n    return nn.Linear, (x,)\n",
    "forward raises": forward("raise KeyError('k')"),
    "forward branches": forward("return x if x.sum() > 0 else -x"),
    "forward returns text": forward("return 'x'"),
    "forward leaves torch": forward("return torch.tensor(x.numpy())"),
    "double": HEAD + "def f():\n    return nn.Linear(16, 4).double(), (x.double(),)\n",
    "on no device": HEAD + "def f():\n    return nn.Linear(16, 4, device='meta'), (x,)\n",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("name", MODELS)
def test_models(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken_model.py").write_text(MODELS[name])
    model = f"{tmp_path}/broken_model.py:f"
    code, printed = outcome(plena_cli.main, "compile", model, "-o", str(tmp_path / "out"))
    assert code == 1 and printed.count("\n") == 1, printed
    if name.startswith("forward "):
        assert "model.py:7: " in printed or "returns" in name, printed
    assert not (tmp_path / "out").exists()


def test_model_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "latin.py").write_bytes(b"# \xe9\xff\ndef f(): pass\n")
    for path in ("folder.py", "latin.py", "absent.py"):
        code, printed = outcome(
            plena_cli.main, "compile", f"{tmp_path}/{path}:f", "-o", str(tmp_path / "out")
        )
        assert code == 1 and path in printed
