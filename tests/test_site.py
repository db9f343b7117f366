"""The documentation site: built with warnings as errors, and whole without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Tags whose attribute a browser loads by itself."""


class Loads(HTMLParser):
    """Collects what a page loads and its drawings."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.drawings = 0
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.drawings += tag == "svg" and attributes.get("role") == "img"
        if attributes.get("rel") not in ("next", "prev", "canonical"):
            self.found += [value for name, value in attrs if name == LOADED.get(tag) and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def pages(site: Path) -> Iterator[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > 12
    yield from found


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in pages(site):
        for address in Loads(page).found:
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
            assert (
                page.parent / address.partition("?")[0].partition("#")[0]
            ).exists() or page.name == "404.html"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_drawings_are_part_of_their_pages(site: Path) -> None:
    text = (site / "machine.html").read_text(encoding="utf-8")
    assert Loads(site / "machine.html").drawings == text.count('<svg class="picture"') >= 4
    assert "M_MM_WO" in text and "<style>@media (prefers-color-scheme" not in text


def test_linked_code_is_shown(site: Path) -> None:
    assert "sentence" in (site / "source/examples/minilm.html").read_text(encoding="utf-8")
    assert "source/examples/minilm.html" in (site / "minilm.html").read_text(encoding="utf-8")


def test_braces_are_text(site: Path) -> None:
    """A Markdown extension that takes them for attributes would drop the choices of options."""
    assert "{cycles, size}" in (site / "cli.html").read_text(encoding="utf-8")
    assert "{batch, heads, rhs_heads?, transpose_rhs}" in (site / "tensor_level.html").read_text(
        encoding="utf-8"
    )
