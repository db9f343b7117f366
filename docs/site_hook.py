"""What the site (mkdocs.yml) does with the pages beyond what Markdown says.

* Drawings (`![text](assets/name.svg)`) become part of the page, so that they follow its colours.
* Links to Python files of the repository lead to pages that show them.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from posixpath import relpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

_SOURCE = re.compile(r"\]\((?:\.\./)+((?:examples|plena|benchmarks)/[\w/]+\.py)\)")
_DRAWING = re.compile(r'<img alt="([^"]*)" src="((?:\.\./)*assets/[\w-]+\.svg)"\s*/?>')


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for every Python file that a page links to."""
    linked = {name for file in files.documentation_pages() for name in _SOURCE.findall(file.content_string)}
    for name in sorted(linked):
        code = (ROOT / name).read_text(encoding="utf-8")
        text = f"# {name}\n\n````python\n{code.rstrip()}\n````\n"
        files.append(File.generated(config, _page_of(name), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to Python files lead to their pages."""
    folder = str(Path(page.file.src_uri).parent)
    return _SOURCE.sub(lambda match: f"]({relpath(_page_of(match[1]), folder)})", markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Drawings become part of the page."""

    def inlined(match: re.Match[str]) -> str:
        path = Path(page.file.abs_src_path).parent / match[2]
        if not path.is_file():
            raise PluginError(f"{page.file.src_uri}: there is no {match[2]}; `make docs` draws it")
        drawing = path.read_text(encoding="utf-8")
        if "currentColor" not in drawing:
            return match[0]
        drawing = re.sub(r"<style>.*?</style>\s*", "", drawing, flags=re.S)
        label = f'<svg class="picture" role="img" aria-label="{escape(match[1])}" '
        return drawing.replace("<svg ", label, 1)

    return _DRAWING.sub(inlined, html)


def _page_of(source: str) -> str:
    return f"source/{source.removesuffix('.py')}.md"
