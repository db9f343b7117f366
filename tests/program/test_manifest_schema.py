"""Every field of a manifest is checked by one schema, and an error names the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import plena
from plena.errors import PlenaError
from plena.program.manifest_schema import MANIFEST, check_manifest
from tests.program_samples import linear_program, weights

FREE = ("target.",)
"""Fields that others check: the target its settings."""

WHOLE = (".view[", ".source.")
"""Fields that are named as a whole."""


class Attention(torch.nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("manifest")
    q = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    program = plena.compile(Attention(), (q, q, q))
    program.check(q, q, q)
    program.save(folder / "a")
    program.save(folder / "b", share=folder / "a")
    return json.loads((folder / "b" / "manifest.json").read_text())


def places(document: Any, path: str = "") -> list[str]:
    """The paths to every value, as errors name them."""
    if isinstance(document, dict):
        inner = [(f"{path}.{key}" if path else key, value) for key, value in document.items()]
    elif isinstance(document, list):
        inner = [(f"{path}[{i}]", value) for i, value in enumerate(document[:2])]
    else:
        inner = []
    return [place for at, value in inner for place in (at, *places(value, at))]


def holder(document: Any, path: str) -> tuple[Any, Any]:
    """What holds the value at a path, and its key there."""
    for name, value in document.items() if isinstance(document, dict) else enumerate(document):
        at = name if isinstance(document, dict) else f"[{name}]"
        if path == at:
            return document, name
        if path.startswith(f"{at}.") or path.startswith(f"{at}["):
            return holder(value, path[len(at) :].removeprefix("."))
    raise KeyError(path)


def test_every_field_of_the_wrong_kind_is_named(manifest: dict[str, Any]) -> None:
    checked = 0
    for path in places(manifest):
        if path.startswith(FREE) or any(part in path for part in WHOLE):
            continue
        inside, key = holder(manifest, path)
        before = inside[key]
        inside[key] = {"x": [None]} if not isinstance(before, dict) else "x"
        try:
            check_manifest(manifest, "manifest.json")
        except PlenaError as error:
            found = error
        else:
            pytest.fail(f"{path} is not checked")
        inside[key] = before
        assert str(found).startswith(f"manifest.json: `{path}"), (path, str(found))
        assert found.hint == "Compile the program again."
        checked += 1
    assert checked > 200


def test_every_needed_field_is_missed(manifest: dict[str, Any]) -> None:
    for name in MANIFEST.needed:
        rest = {key: value for key, value in manifest.items() if key != name}
        with pytest.raises(PlenaError, match=f"`{name}` is missing"):
            check_manifest(rest, "manifest.json")


def test_the_schema_knows_every_field_that_is_written(manifest: dict[str, Any], tmp_path: Path) -> None:
    linear_program(weights()).save(tmp_path / "program")
    for document in (manifest, json.loads((tmp_path / "program" / "manifest.json").read_text())):
        check_manifest(document, "manifest.json")
        assert set(document) <= {*MANIFEST.needed, *MANIFEST.optional}
