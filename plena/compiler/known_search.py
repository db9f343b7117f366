"""A search whose outcome may be known: the passes that it chose, run again on the module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import PassFailedException, VerifyException

from plena.compiler.cache import Cache
from plena.compiler.candidate import Candidate
from plena.compiler.search import search
from plena.driver import parsed_pipeline, pipeline_text, run_pipeline
from plena.errors import PlenaError
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.passes.emission import counted
from plena.passes.pipelines import BUFFER_PIPELINE
from plena.program.rationale import Rationale
from plena.timing.registry import is_ours


def known_search(
    kernels: ModuleOp,
    schedule: Schedule,
    max_instructions: int | None,
    known: Cache | None,
    source: str,
) -> Candidate:
    """`search`, or the passes that it chose before for the same question.

    Args:
        known: where outcomes are kept; None searches. Questions about profiles from outside are not kept: a name says
            nothing of what such a profile counts.
        source: a digest of the imported module.

    Raises:
        CompileError: as of `search`.
    """
    if known is None or not is_ours(schedule.timing):
        return search(kernels, schedule, max_instructions)
    target = Target.from_module(kernels)
    question = ("program", source, target.settings(), asdict(schedule), max_instructions)
    entry = known.get(*question)
    found = None if entry is None else _again(kernels, schedule, target, max_instructions, entry)
    if found is None:
        found = search(kernels, schedule, max_instructions)
        known.put(_entry(found), *question)
    return found


def _entry(chosen: Candidate) -> dict[str, Any]:
    return {
        "passes": pipeline_text(chosen.passes),
        "decisions": list(chosen.decisions),
        "rationale": chosen.rationale.to_json(),
        "static": chosen.static,
        "cycles": chosen.cycles,
    }


def _again(
    kernels: ModuleOp,
    schedule: Schedule,
    target: Target,
    max_instructions: int | None,
    entry: Mapping[str, Any],
) -> Candidate | None:
    """The candidate of an entry; None unless it comes out as it was, and meets what is asked."""
    try:
        passes = parsed_pipeline(entry["passes"])
        end = [p.name for p in passes].index(BUFFER_PIPELINE[-1]) + 1
        tiles = kernels.clone()
        run_pipeline(tiles, passes[:end])
        program = counted(tiles.clone(), schedule.timing, passes[end:])
        rationale = Rationale.from_json(entry["rationale"], "cache")
    except (PlenaError, PassFailedException, VerifyException, ValueError, KeyError, TypeError):
        return None
    fits = max_instructions is None or program.static <= max_instructions
    same = (program.static, program.cycles) == (entry.get("static"), entry.get("cycles"))
    if not fits or not same or not program.runs(target):
        return None
    decisions = tuple(str(line) for line in entry.get("decisions", ()))
    return Candidate(schedule, tiles, program, tuple(passes), decisions, rationale=rationale)
