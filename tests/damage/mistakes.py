"""Slips of the hand drawn from a seeded generator, for long searches; `strategies.py` has them for hypothesis."""

from __future__ import annotations

import random
from typing import Any

from tests.damage.strategies import TOKENS

WRONG: tuple[Any, ...] = (
    None, -1, 0, 1, 3, 7, 1 << 20, 1 << 31, 1 << 40, 1 << 62, 1 << 64, 1.5, -0.5, True, False, "", "x", "abc",
    [], [1], [[]], ["x"], {}, {"x": 1}, [{}], [None], [[0, "a"]], [1 << 40],
)  # fmt: skip


def wrong_value(chance: random.Random) -> Any:
    """Plain data of any kind."""
    return chance.choice(WRONG)


def damaged(text: str, chance: random.Random) -> str:
    """A text with a few tokens put in, taken out, exchanged or repeated, or cut off."""
    for _ in range(chance.randrange(1, 5)):
        start = chance.randrange(len(text) + 1)
        stop = min(len(text), start + chance.choice((0, 0, 1, 1, 2, 5, 20)))
        match chance.randrange(8):
            case 0 | 1:
                text = text[:start] + chance.choice(TOKENS) + text[stop:]
            case 2:
                text = text[:start] + text[stop:]
            case 3 if chance.random() < 0.3:
                text = text[:start]
            case 4 if chance.random() < 0.5:
                text = text[:stop] + text[start:]
            case 5:
                lines = text.split("\n")
                lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
                text = "\n".join(lines)
            case 6:
                lines = text.split("\n")
                del lines[chance.randrange(len(lines))]
                text = "\n".join(lines)
            case _:
                words = text.split(" ")
                words[chance.randrange(len(words))] = chance.choice((*TOKENS, *words))
                text = " ".join(words)
    return text
