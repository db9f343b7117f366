"""Every family of causal language models of transformers, as text token by token, and docs/text_families.md.

    python -m benchmarks.text_families [--limit SECONDS] [FAMILY ...]

Builds a small model with random weights, compiles it by `PlenaForCausalLM.from_pretrained` with all formats bf16, and
checks two texts of 26 tokens, prefills and single tokens, as `plena check` does. Each family has a process of its own.
With names only these are tried, and the page keeps what it says of the others.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

import plena
from benchmarks.coverage.building import merged, vary
from benchmarks.coverage.families import FAMILIES, OVERRIDES
from benchmarks.coverage.sizes import USUAL, small_fields
from benchmarks.rows import DATA
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

LARGER = replace(USUAL, hidden=256, head_dim=64)
LARGER_HEADS = frozenset(
    ["ernie4_5", "ernie4_5_moe", "gemma3n_text", "gemma4_unified_text", "glm", "glm4", "helium"]
)
"""Families whose heads of 16 features are refused: turned by pairs, or after a norm, they lie apart."""

BUG, FAILS = "BUG", "the check fails"
"""What messages begin with that no clear refusal has."""

HEAD = """# Families that write text

Which causal language models of transformers become programs that read a prompt and write token by token
([language models](language_models.md)). `python -m benchmarks.text_families` writes this page: small models with random
weights, all formats bf16, {length} positions of cache, a prefill of {prefill} tokens; two texts of {tokens} tokens.
"first choices" are those that equal the quantised reference's where its first two logits are more than 0.25 apart, KL
is that to PyTorch in float32. Families like BERT are made decoders (`is_decoder=True`); heads have 16
features, those of {larger} 64. Nothing reads a model's name: a
family that is not listed works if the cached step gives its logits, which is tried before anything is compiled.
Measured with {commits}.

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
    kind = transformers.CONFIG_MAPPING[family]
    torch.manual_seed(0)
    decoder = {"is_decoder": True} if getattr(kind(), "is_decoder", None) is False else {}
    size = LARGER if family in LARGER_HEADS else USUAL
    config = kind(**merged(small_fields(kind, size), {**decoder, **OVERRIDES.get(family, {})}))
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    vary(model)
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
        return Row(
            family, False, f"transformers does not make it so small: {_first_line(error)}", commit=commit
        )
    start = time.process_time()
    try:
        lm = PlenaForCausalLM.from_pretrained(model, max_length=LENGTH, prefill=(PREFILL,), formats="bf16")
        seconds = time.process_time() - start
        draw = torch.Generator().manual_seed(3)
        texts = [torch.randint(3, USUAL.vocabulary, (n,), generator=draw).tolist() for n in LENGTHS]
        report = lm.check(texts, model)
    except plena.PlenaError as error:
        return Row(family, False, " ".join(str(error).split()), commit=commit)
    except Exception as error:
        return Row(family, False, f"{BUG} {type(error).__name__}: {_first_line(error)}", commit=commit)
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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _serve(family: str, commit: str, sender: Connection) -> None:
    sys.setrecursionlimit(5000)
    sender.send(attempt(family, commit))


def _in_a_process(family: str, commit: str, limit: float) -> Row:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(family, commit, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            process.kill()
            return Row(family, False, f"no result after {limit:.0f} s", commit=commit)
        return receiver.recv()
    except EOFError:
        return Row(family, False, f"{BUG} the process ended", commit=commit)
    finally:
        process.join()


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    works, others = ([row for row in rows if row.works is kind] for kind in (True, False))
    head = HEAD.format(
        length=LENGTH,
        prefill=PREFILL,
        tokens=sum(LENGTHS),
        larger=", ".join(sorted(LARGER_HEADS)),
        commits=", ".join(sorted({row.commit for row in rows})),
    )
    lines = [head + f"{len(works)} of {len(rows)} families work.\n"]
    lines += ["| family | static, prefill | static, decode | first choices | KL | compile, s |"]
    lines += ["| --- | --: | --: | --: | --: | --: |"]
    for row in works:
        prefill, decode = (row.static or {}).values()
        choices = f"{row.alike} of {row.sure}" if row.sure else "none is sure"
        lines.append(
            f"| {row.family} | {prefill:,} | {decode:,} | {choices} | {row.kl:.1e} | {row.seconds:.0f} |"
        )
    lines += ["", "## Others", "", "| family | why |", "| --- | --- |"]
    lines += [f"| {row.family} | {_cell(row.message)} |" for row in others]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    short = " ".join(word.split("/site-packages/")[-1] for word in text.split())
    return (short if len(short) < 320 else short[:317] + "...").replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a family ends in anything but text or a clear error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text_families", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--limit", type=float, default=240.0)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.families) - set(causal()))
    if unknown:
        parser.error(f"the table has no causal family {', '.join(unknown)}")
    named = ("git", "rev-parse", "--short", "HEAD")
    commit = subprocess.run(named, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    plena.compile(torch.nn.Linear(8, 8), (torch.zeros(1, 8),)).check(quiet=True)  # imports, before forking
    known = {r["family"]: Row(**r) for r in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    bad = 0
    for number, family in enumerate(options.families or causal(), 1):
        row = known[family] = _in_a_process(family, commit, options.limit)
        bad += not row.works and row.message.startswith((BUG, FAILS))
        print(number, family, "works" if row.works else row.message[:200], flush=True)
        rows = [known[name] for name in causal() if name in known]
        RESULTS.write_text(json.dumps([asdict(r) for r in rows], indent=0) + "\n", encoding="utf-8")
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
