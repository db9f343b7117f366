"""docs/coverage.md, and the operators that are missing by how many families they keep out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.coverage.attempt import Outcome
from benchmarks.coverage.families import ELSEWHERE, FAMILIES, tasks_of
from plena.program.thresholds import STACK

HEAD = """# Model families

Which model families of transformers compile. `make coverage` writes this page: it builds a small model of every
family in `benchmarks/coverage/families.py` with random weights (`usual` sizes, and for common families `odd` ones),
compiles it for the shipped machine and compares the program's results with PyTorch, as `plena check` does. Nothing in
the compiler reads a model's name, so a model that is not listed compiles if its operators do.

    make coverage                                     # all of them, an hour on two cores
    python -m benchmarks.coverage resnet bert         # some of them
    python -m benchmarks.coverage --no-check resnet   # compile only, write nothing

Errors are relative RMS: the machine's against the machine reference, which has to be 0, the quantised one against
PyTorch on weights and inputs in the machine's formats ([what a check says](check.md)), both of the worst output.
"formats alone", "-" where it was not measured then, is what these formats cost without any program: PyTorch on them
against PyTorch in float32. Weights are random, so it is more than trained ones lose.
Cycles are the public emulator's without waits for HBM.

"""


ABOVE = """`check` passes these because roundings to bf16 alone, which no program avoids, take PyTorch as far:
"roundings alone" is what PyTorch loses that rounds each result to bf16, with no other formats and no program.
The last column says which operator makes most of it.
"""


def page(found: Sequence[Outcome]) -> str:
    """The whole page."""
    exported = [o for o in found if o.status not in ("unbuilt", "unexportable")]
    works = [o for o in exported if o.status == "works"]
    share = f"{len(works) / max(len(exported), 1):.0%}"
    parts = [
        HEAD,
        f"{len(works)} of {len(exported)} configurations that torch.export captures compile and pass: {share}.\n",
    ]
    total = len(tasks_of(FAMILIES))
    if len(found) < total:
        parts.append(
            f"\n{total - len(found)} of the {total} configurations of the table have not been checked.\n"
        )
    parts.append(_commits(found))
    if works:
        longest, largest = max(works, key=lambda o: o.seconds), max(works, key=lambda o: o.memory)
        compiled = max(works, key=_compiling)
        parts.append(
            f"\nThe longest takes {longest.seconds:.0f} s of a processor to compile ({longest.family}), the largest "
            f"{_compiling(compiled):,} MiB ({compiled.family}), PyTorch and the model included; with its check it is "
            f"{largest.memory:,} MiB ({largest.family}).\n"
        )
    parts += ["\n## Works\n", "\n| family | size | static | cycles | machine | quantised | formats alone |\n"]
    parts.append("| --- | --- | --: | --: | --: | --: | --: |\n")
    for o in works:
        parts.append(
            f"| {o.family} | {o.size} | {o.static:,} | {o.cycles:,} | {o.machine:.3%} | {o.quantized:.2%} | "
            f"{'-' if o.formats is None else f'{o.formats:.2%}'} |\n"
        )
    parts += _above(works)
    others = [o for o in exported if o.status != "works"]
    if others:
        parts += ["\n## Refused\n", "\n| family | size | what is missing |\n", "| --- | --- | --- |\n"]
        parts += [f"| {o.family} | {o.size} | {cell(_said(o))} |\n" for o in others]
        parts += ["\n## Missing operators by families\n", "\n| families | operator |\n", "| --: | --- |\n"]
        parts += [f"| {len(names)} | {cell(what)} |\n" for what, names in _missing(others)]
    rest = [o for o in found if o.status in ("unbuilt", "unexportable")]
    if rest:
        parts += [
            "\n## Not captured by torch.export\n",
            "\n| family | size | why |\n",
            "| --- | --- | --- |\n",
        ]
        parts += [f"| {o.family} | {o.size} | {cell(without_root(o.message)[:160])} |\n" for o in rest]
    parts += ["\n## Elsewhere\n\n"]
    parts += [f"* {reason}: {', '.join(names.split())}\n" for reason, names in ELSEWHERE.items()]
    return "".join(parts)


def _compiling(outcome: Outcome) -> int:
    """Peak of memory of compiling, of old rows at most that."""
    return outcome.compiling or outcome.memory


def _commits(found: Sequence[Outcome]) -> str:
    """Of which compilers the figures are, the one with most of them first."""
    counts = Counter(o.commit or "41580cc or before" for o in found).most_common()
    return "\nMeasured with " + ", ".join(f"{name} ({count})" for name, count in counts) + ".\n"


def _above(works: Sequence[Outcome]) -> list[str]:
    """What `check` says of errors above `STACK`: why the bound does not apply to them."""
    above = [o for o in works if o.quantized > STACK]
    if not above:
        return []
    parts = [
        f"\n## Above {STACK:.1%}\n\n",
        ABOVE,
        "\n| family | size | quantised | roundings alone | why |\n",
    ]
    parts.append("| --- | --- | --: | --: | --- |\n")
    for o in above:
        alone = "-" if o.roundings is None else f"{o.roundings:.2%}"
        parts.append(f"| {o.family} | {o.size} | {o.quantized:.2%} | {alone} | {cell(o.why)} |\n")
    return parts


def ranking(found: Sequence[Outcome]) -> str:
    """Counts by status, then missing operators, the one that keeps out most families first."""
    lines = [
        ", ".join(f"{count} {status}" for status, count in Counter(o.status for o in found).most_common())
    ]
    for what, names in _missing([o for o in found if o.status in ("refused", "wrong", "bug", "slow")]):
        lines.append(f"{len(names):4} {what[:160]}   [{' '.join(names)[:300]}]")
    return "\n".join(lines)


def _missing(found: Sequence[Outcome]) -> list[tuple[str, list[str]]]:
    families: dict[str, list[str]] = defaultdict(list)
    for o in found:
        what = o.operator if o.status == "refused" else f"{o.status}: {o.message}"
        if o.family not in families[what]:
            families[what].append(o.family)
    return sorted(families.items(), key=lambda item: (-len(item[1]), item[0]))


def _said(o: Outcome) -> str:
    """All of a refusal: what, the operator, its shapes, its place, what to write instead."""
    return without_root(o.message) if o.status == "refused" else f"{o.status}: {o.message[:160]}"


def without_root(text: str) -> str:
    """A text with places in transformers as it calls them, not as this machine does."""
    return re.sub(r"\S*/site-packages/", "", text)


def cell(text: str) -> str:
    """A text in a cell of a table."""
    return without_root(text).replace("|", "\\|").replace("\n", " ")
