"""docs/coverage.md, and the operators that are missing by how many families they keep out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.coverage.attempt import Outcome
from benchmarks.coverage.families import ELSEWHERE, FAMILIES, tasks_of

HEAD = """# Model families

Which model families of transformers compile. `make coverage` writes this page: it builds a small model of every
family in `benchmarks/coverage/families.py` with random weights (`usual` sizes, and for common families `odd` ones),
compiles it for the shipped machine and compares the program's results with PyTorch, as `plena check` does. Nothing in
the compiler reads a model's name, so a model that is not listed compiles if its operators do.

    make coverage                                     # all of them, an hour on two cores
    python -m benchmarks.coverage resnet bert         # some of them
    python -m benchmarks.coverage --no-check resnet   # compile only, write nothing

Errors are relative RMS: the machine's against the machine reference, which has to be 0, the quantised one against
PyTorch on weights and inputs in the machine's formats ([what a check says](check.md)). Cycles are the public emulator's
without waits for HBM.

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
    if works:
        longest, largest = max(works, key=lambda o: o.seconds), max(works, key=lambda o: o.memory)
        parts.append(
            f"\nThe longest takes {longest.seconds:.0f} s of a processor to compile ({longest.family}), the largest "
            f"{largest.memory:,} MiB to compile and check, PyTorch included ({largest.family}).\n"
        )
    parts += ["\n## Works\n", "\n| family | size | static | cycles | machine | quantised |\n"]
    parts.append("| --- | --- | --: | --: | --: | --: |\n")
    for o in works:
        parts.append(
            f"| {o.family} | {o.size} | {o.static:,} | {o.cycles:,} | {o.machine:.3%} | {o.quantized:.2%} |\n"
        )
    others = [o for o in exported if o.status != "works"]
    if others:
        parts += ["\n## Refused\n", "\n| family | size | what is missing |\n", "| --- | --- | --- |\n"]
        parts += [f"| {o.family} | {o.size} | {_cell(_said(o))} |\n" for o in others]
        parts += ["\n## Missing operators by families\n", "\n| families | operator |\n", "| --: | --- |\n"]
        parts += [f"| {len(names)} | {_cell(what)} |\n" for what, names in _missing(others)]
    rest = [o for o in found if o.status in ("unbuilt", "unexportable")]
    if rest:
        parts += [
            "\n## Not captured by torch.export\n",
            "\n| family | size | why |\n",
            "| --- | --- | --- |\n",
        ]
        parts += [f"| {o.family} | {o.size} | {_cell(o.message[:160])} |\n" for o in rest]
    parts += ["\n## Elsewhere\n\n"]
    parts += [f"* {reason}: {', '.join(names.split())}\n" for reason, names in ELSEWHERE.items()]
    return "".join(parts)


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
    return o.operator[:160] if o.status == "refused" else f"{o.status}: {o.message[:160]}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
