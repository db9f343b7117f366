"""`python -m tests.mutation [PART OF A NAME ...]`: breaks a line at a time and prints whether the tests notice."""

from __future__ import annotations

import sys
import time

from tests.mutation.breaking import broken_text, copied, is_noticed
from tests.mutation.mutants import MUTANTS


def main(parts: list[str]) -> int:
    """The exit code is 1 if a mutant survives; a line that is no longer there is an error."""
    for mutant in MUTANTS:
        broken_text(mutant)
    chosen = [m for m in MUTANTS if not parts or any(part in m.name for part in parts)]
    survivors = 0
    print(f"{'broken':24}{'in':42}{'seconds':>8}  outcome")
    with copied() as root:
        for mutant in chosen:
            started = time.monotonic()
            noticed = is_noticed(mutant, root)
            survivors += not noticed
            outcome = "noticed" if noticed else "SURVIVED"
            print(f"{mutant.name:24}{mutant.file:42}{time.monotonic() - started:8.1f}  {outcome}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} noticed")
    return 1 if survivors else 0


sys.exit(main(sys.argv[1:]))
