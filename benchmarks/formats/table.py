"""The part of docs/benchmark.md about number formats: a function of benchmarks/data/formats.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.rows import DATA

RECORD = DATA / "formats.json"

ASKED: dict[str, str] = {
    "shipped:calibrated": "0.50 times nearest",
    "e3m4:calibrated": "0.75 times nearest",
    "mixed:calibrated": "0.5 times nearest",
    "auto@1.10:calibrated": "KL 0.012, agreement 95 %",
    "auto@1.4:calibrated": "KL 0.006",
}
"""What the issues ask of the rows."""


def section() -> Iterator[str]:
    """Lines of markdown; none if nothing was measured."""
    if not RECORD.exists():
        return
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = {name: row for name, row in found.items() if "kl" in row}
    if rows:
        positions = next(iter(rows.values()))["positions"]
        yield f"""\
## Number formats

`python -m benchmarks.formats` ([choosing formats](formats.md)). SmolLM2-135M-Instruct with PyTorch's answers to 16
questions, {positions} positions, against PyTorch in float32: of the quantised reference, and of the emulator where it
ran. Calibration and the choice of formats saw made-up texts alone. "over nearest" is the divergence over that of the
nearest elements in the same formats; auto@1.4 are formats that move at most 1.4 times the shipped bytes.

| formats and staging | bytes | KL | agreement | over nearest | emulator KL | agreement | asked |
| --- | --: | --: | --: | --: | --: | --: | --- |"""
        for name, row in rows.items():
            yield _row(name, row)
        yield ""
    sentences = {name: row for name, row in found.items() if "1 - cosine" in row}
    if sentences:
        count = next(iter(sentences.values()))["sentences"]
        yield f"MiniLM, {count} sentences, shipped formats, 1 - cosine (asked: calibrated 0.5 times nearest):\n"
        yield "| staging | reference | emulator |"
        yield "| --- | --: | --: |"
        for name, row in sentences.items():
            emulator = _number(row.get("emulator 1 - cosine"))
            yield f"| {name.partition(':')[2]} | {_number(row['1 - cosine'])} | {emulator} |"
        yield ""


def _row(name: str, row: Mapping[str, Any]) -> str:
    formats, _, staging = name.rpartition(":")
    chosen = f" ({row['formats']})" if formats.startswith("auto") else ""
    cells = (
        f"{formats}{chosen}, {staging}",
        f"{row['bytes']:,}",
        _number(row["kl"]),
        _share(row["agreement"]),
        f"{row['over nearest']:.2f}" if "over nearest" in row else "",
        _number(row.get("emulator kl")),
        _share(row.get("emulator agreement")),
        ASKED.get(name, ""),
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
