"""Programs of every state for the tests of reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import torch

from plena.api.program import Program
from tests.program_samples import linear_program, weights

X = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32))


def checked_program() -> Program:
    """A linear layer written by hand, with everything that a compiled program knows, checked."""
    program = linear_program(weights(), example_inputs=(X,))
    stored = program.target.precision["HBM_M_WEIGHT_TYPE"]
    seen = torch.from_numpy(stored.quantize(weights())).T
    program.quantized_reference = lambda x: torch.from_numpy(stored.quantize(x.numpy())) @ seen
    program.float_reference = lambda x: x @ torch.from_numpy(weights()).T
    program.check(quiet=True)
    return program


def saved_program(folder: Path) -> Path:
    """The same as a folder."""
    checked_program().save(folder)
    return folder


@dataclass
class Page(HTMLParser):
    """What a page says: its text by section, tables, pictures, and everything that it would load."""

    html: str
    sections: dict[str, str] = field(default_factory=dict[str, str])
    ids: set[str] = field(default_factory=set[str])
    loads: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        super().__init__()
        self._section = ""
        self._open: list[str] = []
        self.feed(self.html)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag not in ("meta", "link", "rect", "line", "circle", "polyline", "path"):
            self._open.append(tag)
        if "id" in found:
            assert found["id"] not in self.ids, "ids are unique"
            self.ids.add(str(found["id"]))
        if tag == "section":
            self._section = str(found.get("id", "figures"))
        for name in ("src", "href", "srcset", "data"):
            value = found.get(name)
            if value and not value.startswith(("#", "data:")):
                self.loads.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("rect", "line", "circle", "polyline", "path"):
            return
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text:
            self.sections[self._section] = f"{self.sections.get(self._section, '')} {text}".strip()
