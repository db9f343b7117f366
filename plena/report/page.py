"""From what is known of a program to the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from plena.errors import PlenaError
from plena.program.comparison import CheckReport
from plena.program.rationale import SizePoint, best_by_size
from plena.program.thresholds import Comparison
from plena.report.contents import Contents, Missing
from plena.report.curve_picture import CurvePicture, curve_picture
from plena.report.loop_views import loop_views
from plena.report.memory_pictures import memory_pictures
from plena.report.timeline_picture import TimelinePicture, timeline_picture
from plena.statistics.counts import Count
from plena.statistics.statistics import Statistics
from plena.statistics.timeline import timeline_of
from plena.text_files import write_text

BINS = 240
"""Stretches of time in the picture of engines."""


@dataclass(frozen=True)
class CountRow:
    """A part of the program in a table; `share` of all cycles in the profile that ranks."""

    name: str
    count: Count
    share: float


@dataclass(frozen=True)
class CheckRow:
    """A reference of a check: what was compared, what was demanded, how it went ("" if nothing was demanded)."""

    name: str
    meaning: str
    comparison: Comparison | None
    bound: str
    verdict: str


def page_of(contents: Contents) -> str:
    """The page as HTML text: style, script and pictures are in it, it loads nothing.

    What turns out not to be known is added to ``contents.missing``.
    """
    statistics = contents.statistics()
    ranking = contents.ranking
    pictures = memory_pictures(contents) if contents.instructions or contents.memory_map else []
    loops = loop_views(contents, statistics) if statistics else None
    picture = _curve(contents, statistics, ranking)
    timeline = _timeline(contents) if statistics else None
    _note_what_is_missing(contents, picture)
    return rendered(
        "report.html",
        contents=contents,
        statistics=statistics,
        profiles=list(statistics.cycles) if statistics else [],
        ranking=ranking,
        modules=_rows(statistics.modules, "(the model)", statistics, ranking) if statistics else [],
        steps=_rows(statistics.steps, "(other)", statistics, ranking) if statistics else [],
        knows_work=bool(statistics and statistics.utilization),
        loops=loops,
        source_loops=contents.rationale.loops if contents.rationale else (),
        curve=picture,
        timeline=timeline,
        pictures=pictures,
        check=list(_check_rows(contents.check)) if contents.check else [],
        machine=_flat(contents.target.settings()),
        missing=[] if contents.failure else list(dict.fromkeys(contents.missing)),
    )


def write_report(contents: Contents, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        PlenaError: the file cannot be written.
    """
    write_text(path, page_of(contents))


def _rows(groups: dict[str, Count], unnamed: str, statistics: Statistics, ranking: str) -> list[CountRow]:
    total = max(statistics.cycles[ranking], 1)
    return [CountRow(name or unnamed, c, c.cycles[ranking] / total) for name, c in groups.items()]


def _curve(contents: Contents, statistics: Statistics | None, timing: str) -> CurvePicture | None:
    """The measured curve if there is one, else what the compiler predicted and tried."""
    rationale, measured = contents.rationale, contents.curve
    if rationale is None and measured is None:
        return None
    taken = None if statistics is None else SizePoint(statistics.static, statistics.cycles[timing])
    made = [
        (SizePoint(a.static, a.cycles), a.schedule + ("" if a.runs else ", an iteration is too long to run"))
        for a in (rationale.attempts if rationale else ())
        if not a.taken
    ]
    points = rationale.curve if rationale else ()
    if measured is not None:
        points = best_by_size([SizePoint(p.static, p.cycles) for p in measured.predicted])
        named = [(p, p.name or "in between") for p in measured.points if p.name != "chosen"]
        made += [
            (SizePoint(p.static, p.cycles), name if p.exact else f"{name}, estimated") for p, name in named
        ]
    budget = rationale.options.get("max_instructions") if rationale else None
    limit = int(budget) if budget is not None and budget.isdecimal() else None
    return curve_picture(points, made, taken, limit, timing)


def _timeline(contents: Contents) -> TimelinePicture | None:
    """Engines over time by the profile that chose, or by the first one in which transfers run beside other work."""
    origins = contents.provenance or None
    try:
        return timeline_picture(
            timeline_of(contents.instructions, contents.target, None, origins, BINS, own=contents.timing)
        )
    except PlenaError as error:
        contents.missing.append(Missing.because("timeline", error))
        return None


def _note_what_is_missing(contents: Contents, curve: CurvePicture | None) -> None:
    """What a program that was loaded without an error may still lack."""
    if contents.failure is not None:
        return
    known = {m.part for m in contents.missing}
    if contents.rationale is None and not known & {"choices", "rationale", "manifest"}:
        why = "the program does not hold what its loops were before they were expanded"
        contents.missing.append(Missing("choices", why, "Compile the model again."))
    if (curve is None or not curve.line) and "curve" not in known:
        why = "no curve of size against cycles was saved"
        contents.missing.append(Missing("curve", why, "`plena report ... --curve` measures one."))
    if contents.check is None and not known & {"check", "manifest"}:
        hint = "`plena report DIR --module model.py:factory` makes one, `plena compile --check` saves one."
        contents.missing.append(Missing("check", "no comparison with PyTorch was saved", hint))


def _check_rows(report: CheckReport) -> Iterator[CheckRow]:
    bounds = report.thresholds
    demanded = {
        "machine": "" if bounds.machine is None else f"RMS at most {bounds.machine:.2%}",
        "quantized": "" if bounds.quantized is None else f"RMS at most {bounds.quantized:.2%}",
        "float32": ""
        if report.added is None
        else f"added to the formats' cost: at most {report.added.allowed:.2%}",
        "formats": "",
    }
    meanings = {
        "machine": "what the program should compute, rounding by rounding",
        "quantized": "the PyTorch module in float32 on rounded weights and inputs",
        "float32": "the PyTorch module in plain float32",
        "formats": "quantized against float32: what the number formats alone cost",
    }
    if (magnified := report.magnified) is not None:
        demanded["quantized"] = (
            f"the module magnifies roundings: those to bf16 alone cost {magnified.cost:.2%}; "
            f"at most {magnified.allowed:.2%}"
        )
    failed = {failure.split(":", 1)[0] for failure in report.failures}
    for name, meaning in meanings.items():
        comparison: Comparison | None = getattr(report, name)
        judged = comparison is not None and (demanded[name] or name in failed)
        verdict = "" if not judged else "failed" if name in failed else "passed"
        yield CheckRow(name, meaning, comparison, demanded[name], verdict)


def rendered(template: str, **values: Any) -> str:
    """A page from a template that extends `page.html`."""
    return _environment().get_template(template).render(version=version("plena"), **values)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("plena.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    environment.filters["rough_percent"] = _rough_percent
    environment.filters["amount"] = _amount
    environment.filters["code"] = _code
    return environment


def _code(text: str) -> Markup:
    """Text whose parts between backticks are code."""
    parts = str(escape(text)).split("`")
    closed = len(parts) % 2
    return Markup(
        "".join(f"<code>{part}</code>" if n % 2 and closed else part for n, part in enumerate(parts))
    )


def _rough_percent(share: float) -> str:
    """A share that may be tiny."""
    if share < 1e-5:
        return "less than 0.001 %"
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def _amount(number: int) -> str:
    """A large number in short: 4.19 M."""
    for unit, name in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)


def _flat(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Settings as rows: tables by dotted name."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += [(f"{key}.{inner}", text) for inner, text in _flat(value)]
        else:
            rows.append((key, str(value)))
    return rows
