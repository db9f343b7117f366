"""Every family of causal language models of transformers, as text token by token, and docs/text_families.md.

    python -m benchmarks.text_families [--jobs N] [--limit SECONDS] [FAMILY ...]

Builds a small model with random weights, compiles it by `PlenaForCausalLM.from_pretrained` with all formats bf16, and
checks two texts of 26 tokens, prefills and single tokens, as `plena check` does. Each family has a process of its own.
With names only these are tried, and the page keeps what it says of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from textwrap import shorten
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

import plena
from benchmarks.coverage.attempt import words
from benchmarks.coverage.building import model_of
from benchmarks.coverage.families import FAMILIES, OVERRIDES
from benchmarks.coverage.page import cell, without_root
from benchmarks.coverage.processes import current_commit, in_processes
from benchmarks.coverage.sizes import USUAL
from benchmarks.rows import DATA
from plena.errors import CompileError
from plena.hf import PlenaForCausalLM

ROOT = DATA.parents[1]
PAGE, RESULTS = ROOT / "docs/text_families.md", DATA / "text_families.json"

LENGTH, PREFILL = 48, 8
"""Positions of the cache, tokens of a prefill program."""
LENGTHS = (21, 5)
"""Tokens of the two texts."""

SHARPER = 4.0
"""What weights are multiplied with, so that random models are surer of their first choice."""

NEAR = 0.01
"""KL per token up to which a model that is nowhere sure is still taken for right."""

LONGEST = 320
"""Characters of a message that the page shows."""

BUG, FAILS = "BUG", "the check fails"
"""What messages begin with that no clear refusal has."""

HEAD = """# Families that write text

Which causal language models of transformers become programs that read a prompt and write token by token
([language models](language_models.md)). `python -m benchmarks.text_families` writes this page: small models with random
weights, all formats bf16, {length} positions of cache, a prefill of {prefill} tokens; two texts of {tokens} tokens.
"first choices" are those that equal the quantised reference's where its first two logits are more than 0.25 apart, KL
is that to PyTorch in float32. Families like BERT are made decoders (`is_decoder=True`). Heads have 16 features.
Without a prefill program (`prefill=()`) prompts
are read token by token. Nothing reads a model's name: a family that is not listed works if the cached step gives its
logits, which is tried before anything is compiled. Measured with {commits}.

"""


@dataclass(frozen=True)
class Row:
    """What became of a family; `static` by program, `message` of what does not work."""

    family: str
    works: bool
    message: str = ""
    alike: int = 0
    sure: int = 0
    kl: float = 0.0
    static: dict[str, int] | None = None
    seconds: float = 0.0
    commit: str = ""


def causal() -> list[str]:
    """Model types with a causal language model, of those that the table of coverage knows."""
    return [name for name in FAMILIES if name in CAUSAL]


def build(family: str) -> Any:
    """A small model of a family.

    Raises:
        Exception: transformers cannot make it of these sizes.
    """
    default = transformers.CONFIG_MAPPING[family]()
    decoder = {"is_decoder": True} if getattr(default, "is_decoder", None) is False else {}
    overrides = {**decoder, **OVERRIDES.get(family, {})}
    model, _ = model_of(family, USUAL, overrides, transformers.AutoModelForCausalLM)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(SHARPER if weight.ndim > 1 else 1)
    return model


def attempt(family: str, commit: str) -> Row:
    """Build, compile, check."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    try:
        model = build(family)
    except Exception as error:
        what = f"transformers does not make it so small: {words(error)}"
        return Row(family, False, what, commit=commit)
    start = time.process_time()
    try:
        lm = _compiled(model)
        seconds = time.process_time() - start
        draw = torch.Generator().manual_seed(3)
        texts = [torch.randint(3, USUAL.vocabulary, (n,), generator=draw).tolist() for n in LENGTHS]
        report = lm.check(texts, model)
    except plena.PlenaError as error:
        return Row(family, False, words(error), commit=commit)
    except Exception as error:
        return Row(family, False, f"{BUG} {type(error).__name__}: {words(error)}", commit=commit)
    static = {name: program.stats().static for name, program in lm.programs.items()}
    works = report.passed if report.sure.tokens else report.exact.kl < NEAR
    message = ""
    if not works:
        message = (
            f"{FAILS}: {report.sure.alike} of {report.sure.tokens} first choices; KL to PyTorch {report.exact.kl:.1e}, "
            f"of the formats alone {report.formats.kl:.1e}"
        )
    return Row(
        family,
        works,
        message,
        report.sure.alike,
        report.sure.tokens,
        report.exact.kl,
        static,
        seconds,
        commit,
    )


def _compiled(model: Any) -> PlenaForCausalLM:
    """With a prefill program, without one where that is the advice."""
    sizes: dict[str, Any] = {"max_length": LENGTH, "formats": "bf16"}
    try:
        return PlenaForCausalLM.from_pretrained(model, prefill=(PREFILL,), **sizes)
    except CompileError as error:
        if not (error.hint or "").endswith("prefill=()."):
            raise
        return PlenaForCausalLM.from_pretrained(model, prefill=(), **sizes)


def _without_result(family: str, why: TimeoutError | ChildProcessError, commit: str) -> Row:
    message = str(why) if isinstance(why, TimeoutError) else f"{BUG} {why}"
    return Row(family, False, message, commit=commit)


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    works, others = ([row for row in rows if row.works is kind] for kind in (True, False))
    head = HEAD.format(
        length=LENGTH,
        prefill=PREFILL,
        tokens=sum(LENGTHS),
        commits=", ".join(sorted({row.commit for row in rows})),
    )
    lines = [head + f"{len(works)} of {len(rows)} families work.\n"]
    lines += ["| family | static, prefill | static, decode | first choices | KL | compile, s |"]
    lines += ["| --- | --: | --: | --: | --: | --: |"]
    for row in works:
        *prefill, decode = (row.static or {}).values()
        first = f"{prefill[0]:,}" if prefill else "none"
        choices = f"{row.alike} of {row.sure}" if row.sure else "none is sure"
        lines.append(
            f"| {row.family} | {first} | {decode:,} | {choices} | {row.kl:.1e} | {row.seconds:.0f} |"
        )
    lines += ["", "## Others", "", "| family | why |", "| --- | --- |"]
    for row in others:
        message = shorten(without_root(row.message), LONGEST, placeholder="...")
        lines.append(f"| {row.family} | {cell(message)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a family ends in anything but text or a clear error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text_families", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=240.0)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.families) - set(causal()))
    if unknown:
        parser.error(f"the table has no causal family {', '.join(unknown)}")
    known = {r["family"]: Row(**r) for r in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    bad, commit = 0, current_commit()
    tried = in_processes(
        options.families or causal(), partial(attempt, commit=commit), options.jobs, options.limit
    )
    for number, (family, result) in enumerate(tried, 1):
        row = result if isinstance(result, Row) else _without_result(family, result, commit)
        known[family] = row
        bad += not row.works and row.message.startswith((BUG, FAILS))
        print(number, family, "works" if row.works else row.message[:200], flush=True)
        rows = [known[name] for name in causal() if name in known]
        RESULTS.write_text(json.dumps([asdict(r) for r in rows], indent=0) + "\n", encoding="utf-8")
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
