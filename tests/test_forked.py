"""What a copy of this process does stays there."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.forked import forked

STATE: list[int] = []


def test_nothing_comes_back_but_words_and_a_code(tmp_path: Path) -> None:
    def run() -> None:
        STATE.append(1)
        Path("made.txt").write_text("here", encoding="utf-8")
        print("said")
        print("complained", file=sys.stderr)

    assert forked(run, tmp_path) == (0, "said\ncomplained\n")
    assert STATE == [] and (tmp_path / "made.txt").read_text(encoding="utf-8") == "here"


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    code, said = forked(fail, tmp_path)
    assert code == 1 and said.endswith("ValueError: no such thing\n")
    assert forked(lambda: sys.exit(3), tmp_path)[0] == 3
