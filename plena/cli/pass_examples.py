"""The examples in pass docstrings: modules before and after the pass, as text."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.passes import ModulePass

_TITLE = re.compile(r"^(Before|After)::$")


@dataclass(frozen=True)
class PassExample:
    """One pair of modules, as text."""

    before: str
    after: str


def pass_examples(pass_class: type[ModulePass]) -> list[PassExample]:
    """The pairs of blocks titled `Before::` and `After::` in a pass's docstring.

    Raises:
        ValueError: the blocks do not come in pairs.
    """
    blocks = list(_blocks(inspect.getdoc(pass_class) or ""))
    titles = [title for title, _ in blocks]
    if titles != ["Before", "After"] * (len(titles) // 2):
        raise ValueError(f"{pass_class.__name__}: blocks {titles} are not pairs of Before and After")
    texts = [text for _, text in blocks]
    return [PassExample(before, after) for before, after in zip(texts[::2], texts[1::2], strict=True)]


def prose(pass_class: type[ModulePass]) -> str:
    """The docstring without its examples."""
    documentation = inspect.getdoc(pass_class) or ""
    lines = documentation.splitlines()
    first = next((n for n, line in enumerate(lines) if _TITLE.match(line)), len(lines))
    return "\n".join(lines[:first]).strip()


def _blocks(documentation: str) -> Iterator[tuple[str, str]]:
    """Every title with the indented text under it."""
    title: str | None = None
    body: list[str] = []
    for line in [*documentation.splitlines(), "end"]:
        if title is not None and (not line.strip() or line.startswith(" ")):
            body.append(line)
            continue
        if title is not None:
            yield title, textwrap.dedent("\n".join(body)).strip() + "\n"
        match = _TITLE.match(line)
        title, body = (match[1] if match else None), []
